"""Captures for the tests of ``lvsha sync``."""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from lvsha.io.capture import ETHERNET, CaptureWriter
from lvsha.wire.ipvs_sync.message import encode_message
from lvsha.wire.ipvs_sync.names import ConnFlag
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.wire.frames import ethernet, ipv4, udp

START_NS = 1_795_257_261 * 10**9

WEB = SyncConn.build(
    protocol=6,
    client=(ip_address("192.0.2.1"), 40_001),
    virtual=(ip_address("10.0.0.10"), 80),
    destination=(ip_address("10.1.0.1"), 8080),
    state=1,
    flags=0,
    timeout=900,
)
CLOSING = WEB._replace(cport=40_002, state=4, flags=ConnFlag.INACTIVE, timeout=120)
TEMPLATE = WEB._replace(cport=0, state=1, flags=ConnFlag.TEMPLATE, timeout=360)
OTHER = SyncConn.build(
    protocol=17,
    client=(ip_address("fd00::1"), 53_000),
    virtual=(ip_address("fd00::100"), 53),
    destination=(ip_address("fd00:9::1"), 53),
    state=0,
    flags=ConnFlag.INACTIVE | 3,
    timeout=300,
)
MARKED = SyncConn.build(
    protocol=0,
    client=(ip_address("192.0.2.9"), 0),
    virtual=(ip_address("0.0.0.5"), 0),
    destination=(ip_address("10.1.0.2"), 0),
    state=1,
    flags=ConnFlag.TEMPLATE,
    timeout=300,
    pe_name=b"sip",
    pe_data=b"call\xff1",
)
BAD_STATE = WEB._replace(cport=40_003, state=77)


def message(*entries: SyncConn, syncid: int = 7) -> bytes:
    return encode_message(syncid, entries)


def frame(payload: bytes, *, port: int = 8848) -> bytes:
    return ethernet(ipv4(udp(payload, port=port)))


def write_capture(path: Path, frames: Iterable[bytes], *, interval_ns: int = 10**9) -> Path:
    """Frames a second apart."""
    with path.open("wb") as file:
        writer = CaptureWriter(file, link=ETHERNET)
        for number, data in enumerate(frames):
            writer.write(START_NS + number * interval_ns, data)
    return path
