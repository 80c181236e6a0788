"""What ipvsadm prints, column by column; the figures were read off the real one."""

import pytest

from lvsha.ipvs.ipvsadm.connections import lines
from lvsha.ipvs.ipvsadm.listing import Listing, daemon_lines, exact, large
from lvsha.ipvs.ipvsadm.names import Names
from lvsha.ipvs.ipvsadm.order import destination_key, destination_order, sort
from lvsha.ipvs.ipvsadm.saving import Saving
from lvsha.wire.genl_ipvs import DestinationRow, ServiceRow

NAMES = Names()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "        0"),
        (99_999_999, " 99999999"),
        (100_000_000, "  100000K"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (99_999_999_999_999, "   99999G"),
        (100_000_000_000_000, "     100T"),
        (2**64 - 1, "18446744T"),
    ],
)
def test_large_counters_are_shortened(value: int, text: str) -> None:
    assert large(value) == text


def test_exact_counters_are_never_glued_together() -> None:
    assert exact(7) + exact(10**15) + exact(1) == "        7 1000000000000000        1"


def service(
    address: str,
    port: int,
    *,
    scheduler: str = "wlc",
    flags: int = 2,
    timeout: int = 0,
    mark: int = 0,
    pe: str = "",
) -> ServiceRow:
    packed = bytes(map(int, address.split("."))).ljust(16, b"\0")
    mask = bytes((255, 255, 0, 0)) if timeout else b"\xff\xff\xff\xff"
    row = (2, 6, packed, port.to_bytes(2, "big"), mark, f"{scheduler}\0".encode())
    return ServiceRow(
        (*row, flags.to_bytes(4, "little") + b"\xff" * 4, timeout, mask, f"{pe}\0".encode(), *range(10))
    )


def server(address: str, port: int, method: int = 0, **tunnel: int) -> DestinationRow:
    packed = bytes(map(int, address.split("."))).ljust(16, b"\0")
    kind, tun_port, sums = tunnel.get("kind", 0), tunnel.get("tun_port", 0), tunnel.get("sums", 0)
    where = (packed, port.to_bytes(2, "big"), method, 70000, 100, 50, 2)
    return (*where, kind, tun_port.to_bytes(2, "big"), sums, 3, 4, 5, *range(10))


SERVICES = [
    service("10.0.0.1", 80, scheduler="sh", flags=0x10 | 1, timeout=60, pe="sip"),
    service("0.0.0.0", 0, mark=0xFFFFFFFF),
]
SERVERS = {80: [server("10.1.0.2", 8080), server("10.1.0.1", 80, 2, kind=1, tun_port=6080, sums=1)], 0: []}


def listed(*options: str) -> list[str]:
    rows = Listing(["numeric", *options], NAMES).lines(
        SERVICES, lambda row: SERVERS[row.port], version=(0x010201, 4096)
    )
    return list(rows)


def test_list() -> None:
    assert listed() == [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "FWM  -1 wlc",
        "TCP  10.0.0.1:80 sh (sh-port) persistent 60 mask 255.255.0.0 pe sip",
        "  -> 10.1.0.1:80                  Tunnel  70000  3          4         ",
        "  -> 10.1.0.2:8080                Masq    70000  3          4         ",
    ]


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("tun-info", "  -> 10.1.0.1:80                  Tunnel  gue:6080:+c   70000  3          4         "),
        ("thresholds", "  -> 10.1.0.1:80                  100        50         3          4         "),
        ("persistent-conn", "  -> 10.1.0.1:80                  70000     5           3          4         "),
        ("stats", "  -> 10.1.0.1:80                         0        1        2        3        4"),
        ("rate", "  -> 10.1.0.1:80                         5        6        7        8        9"),
    ],
)
def test_list_with_other_columns(option: str, line: str) -> None:
    assert listed(option)[5] == line


def test_save() -> None:
    assert list(Saving(["numeric"], NAMES).lines(SERVICES, lambda row: SERVERS[row.port])) == [
        "-A -f -1 -s wlc",
        "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.0.0 --pe sip -b sh-port",
        "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 70000 --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 70000",
    ]


def test_full_save_keeps_thresholds_and_marks() -> None:
    saved = list(Saving(["numeric"], NAMES, full=True).lines(SERVICES, lambda row: SERVERS[row.port]))

    assert saved[0] == "-A -f 4294967295 -s wlc"
    assert saved[3] == "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 70000 -x 100 -y 50"


CONNECTIONS = b"""\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A090001 9C41 0A090064 0050 0A090032 1F90 ESTABLISHED     899
IP  0A090001 0000 00000005 0000 0A090032 0000 ASSURED         3599
IP_50 0A090001 0000 0A090064 0000 0A090032 0000 ERR!            3600
UDP 0A090001 13C4 0A090064 13C4 0A090032 13C4 UDP             5 sip 1234567890@10.0.0.1
the rest of an engine's data
"""


def test_connections() -> None:
    table = CONNECTIONS.splitlines(keepends=True)

    assert list(lines(table, NAMES, numeric=True, engine=False)) == [
        "IPVS connection entries",
        "pro expire state       source             virtual            destination",
        "TCP 14:59  ESTABLISHED 10.9.0.1:40001     10.9.0.100:80      10.9.0.50:8080",
        "IP  59:59  ASSURED     10.9.0.1:0         0.0.0.5:0          10.9.0.50:0",
        "IP_50 60:00  ERR!        10.9.0.1:0         10.9.0.100:0       10.9.0.50:0",
        "UDP 00:05  UDP         10.9.0.1:5060      10.9.0.100:5060    10.9.0.50:5060",
    ]


def test_connections_with_the_engines_data() -> None:
    table = CONNECTIONS.splitlines(keepends=True)

    shown = list(lines(table, NAMES, numeric=True, engine=True))

    assert shown[1].endswith("destination        pe name          pe_data")
    assert shown[5] == (
        "UDP 00:05  UDP         10.9.0.1:5060      10.9.0.100:5060    10.9.0.50:5060   sip"
        "                1234567890@10.0.0.1"
    )


def test_daemons() -> None:
    rows = [
        (2, "eth1", 9, 1024, bytes((224, 0, 0, 99)), 9000, 7),
        (1, "eth0", 0, 1472, bytes((224, 0, 0, 81)), 8848, 1),
    ]

    assert list(daemon_lines(rows, NAMES)) == [
        "master sync daemon (mcast=eth0, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
        "backup sync daemon (mcast=eth1, syncid=9, maxlen=1024, group=224.0.0.99, port=9000, ttl=7)",
    ]


def test_order_is_that_of_a_merge_sort_over_differences_in_32_bits() -> None:
    """Marks as a guest's kernel dumped them, and as ipvsadm printed them."""
    dumped = [0] * 13 + [2147483648, 1, 1, 4294967295, 2147483647, 4294967295]

    order = sort([(mark, place) for place, mark in enumerate(dumped)])

    assert [dumped[place] for place in order] == [
        4294967295,
        *[0] * 13,
        1,
        1,
        2147483647,
        2147483648,
        4294967295,
    ]


def test_order_of_near_keys_is_plain() -> None:
    keys = [(3, 1), (1, 9), (1, 2), (2, 0)]

    assert sort(keys) == [2, 1, 3, 0]


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.9", "10.0.0.10", "9.255.0.1", "10.0.0.9"],
        ["250.0.0.1", "0.0.0.1", "128.0.0.1", "10.0.0.1"],
    ],
)
def test_order_by_bytes_is_the_same_order(addresses: list[str]) -> None:
    rows = [server(address, 80 + number) for number, address in enumerate(addresses)]

    assert list(destination_order(rows)) == sort([destination_key(row) for row in rows])
