"""The parsers that Kaitai makes of proto/ipvs_sync_*.ksy see in every message what the codec sees.

Compared is which entries a receiver looks at, and every field of them. An entry that it skips for its
protocol, state or engine is looked at; one that comes after a bad entry is not.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.wire.ipvs_sync.records import SyncConn
from tests.conformance.ipvs_sync_vectors import Vector, load_vectors
from tests.conformance.sync_captures import capture_paths, datagrams
from tests.conformance.sync_mutations import mutated
from tests.conformance.sync_reading import looked_at
from tests.interop.kaitai_parsers import parse

pytestmark = pytest.mark.interop

VECTORS = [vector for vector in load_vectors() if vector.error is None]
BASES = [vector.data for vector in VECTORS if 8 <= len(vector.data) < 700]


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector.name) for vector in VECTORS])
def test_on_every_vector(vector: Vector) -> None:
    assert kaitai(vector.data) == codec(vector.data)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in capture_paths()])
def test_on_every_capture(path: Path) -> None:
    for data in datagrams(path):
        assert kaitai(data) == codec(data)


@given(st.integers(0, 2**64), st.sampled_from(BASES))
def test_on_messages_that_are_nearly_right(seed: int, base: bytes) -> None:
    data = mutated(random.Random(seed), base, seed & 0xFFFF)

    assert kaitai(data) == codec(data)


@given(st.binary(max_size=200))
def test_on_any_bytes(data: bytes) -> None:
    for marked in (data, b"\0\0" + len(data).to_bytes(2, "big") + b"\2\1\0\0" + data[8:]):
        assert kaitai(marked) == codec(marked)


def codec(data: bytes) -> list[SyncConn]:
    """The entries that a receiver looks at, in order."""
    return [conn for conn, _ in looked_at(data)[1]]


def kaitai(data: bytes) -> list[SyncConn]:
    """The same by the generated parsers."""
    if len(data) >= 8 and data[0] == 0 and data[5:8] == b"\1\0\0":
        return _version_1(data)
    return _version_0(data)


def _version_1(data: bytes) -> list[SyncConn]:
    parsed = parse("ipvs_sync_v1", data)
    entries = _complete(parsed.root, parsed.error)
    found: list[SyncConn] = []
    for entry in entries:
        kinds: list[int] = []
        options = b""
        for option in getattr(entry.body, "options", None) or []:
            if option.kind in kinds and option.kind in (1, 2, 3):
                return found  # the one rule that the specification cannot say
            kinds.append(option.kind)
            options += bytes((option.type, option.len_data)) + option._raw_data
        body = entry.body
        found.append(
            SyncConn(
                type=entry.type,
                protocol=int(entry.protocol),
                flags=body.flags,
                state=body.state,
                cport=body.cport,
                vport=body.vport,
                dport=body.dport,
                fwmark=body.fwmark,
                timeout=body.timeout,
                caddr=body.caddr,
                vaddr=body.vaddr,
                daddr=body.daddr,
                options=options,
            )
        )
    return found


def _version_0(data: bytes) -> list[SyncConn]:
    parsed = parse("ipvs_sync_v0", data, False)
    found = []
    for entry in _complete(parsed.root, parsed.error):
        sequence, options = getattr(entry, "sequence_data", None), b""
        if sequence is not None:
            numbers = [
                getattr(sequence, f"{way}_{name}")
                for way in ("in", "out")
                for name in ("init_seq", "delta", "previous_delta")
            ]
            options = b"\x01\x18" + b"".join(number.to_bytes(4, "big") for number in numbers)
        found.append(
            SyncConn(
                type=entry.reserved,
                protocol=entry.protocol,
                flags=entry.flags,
                state=entry.state,
                cport=entry.cport,
                vport=entry.vport,
                dport=entry.dport,
                fwmark=0,
                timeout=0,
                caddr=entry.caddr,
                vaddr=entry.vaddr,
                daddr=entry.daddr,
                options=options,
            )
        )
    return found


def _complete(root: Any, error: Exception | None) -> list[Any]:
    """The entries that parsed whole; where there was an error, it was in the last."""
    entries = list(getattr(root, "entries", []))
    return entries[:-1] if error is not None else entries
