"""What would be lost is said by service, as the kernel finds a connection's service."""

import struct
from ipaddress import ip_address

import pytest

from lvsha.core.addr import AF_INET
from lvsha.core.instant import Instant
from lvsha.director.coverage import NO_SERVICE, by_service
from lvsha.ipvs.model import ServiceKey
from lvsha.sync.conn_entry import key_of
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.names import ConnFlag
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry

VIP = ip_address("10.0.0.10")
NAMES = {
    ServiceKey.of(6, VIP, 80): "web",
    ServiceKey.of(6, VIP, 0): "any port",
    ServiceKey.of_fwmark(5, AF_INET): "marked",
}


def entry(
    *, protocol: int = 6, vport: int = 80, fwmark: int = 0, cport: int = 40_000, flags: int = 0
) -> bytes:
    virtual = VIP if protocol else ip_address(struct.pack(">L", fwmark))
    return encode_entry(
        SyncConn.build(
            protocol=protocol,
            client=(ip_address("10.0.0.100"), cport),
            virtual=(virtual, vport),
            destination=(ip_address("10.0.0.11"), 80),
            state=1,
            flags=flags,
            fwmark=fwmark,
            timeout=900,
        )
    )


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (entry(), "web"),
        (entry(vport=443), "any port"),
        (entry(fwmark=5), "marked"),
        (entry(fwmark=6), "web"),
        (entry(protocol=17), NO_SERVICE),
        (entry(protocol=0, fwmark=5, cport=0, vport=0, flags=ConnFlag.TEMPLATE), "marked"),
    ],
)
def test_a_connection_belongs_to_the_service_that_the_kernel_finds(one: bytes, name: str) -> None:
    store = Store(director=1)
    store.observe(one, Instant(0))

    assert by_service([key_of(one)], store, NAMES) == {name: 1}


def test_the_worst_comes_first_and_what_has_ended_is_still_counted() -> None:
    store = Store(director=1)
    web, other = entry(cport=1), entry(vport=443)

    assert by_service([key_of(other), key_of(web), key_of(entry(cport=2))], store, NAMES) == {
        "web": 2,
        "any port": 1,
    }
