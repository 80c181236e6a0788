"""Who joins a group. The messages are as Linux 6.1 sends them, but for the checksums."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from lvsha.wire.igmp import joined_groups

SYNC = IPv4Address("224.0.0.81")
JOIN_V3 = bytes.fromhex("2200f9ad0000000104000000e0000051")
LEAVE_V3 = bytes.fromhex("2200f9ad0000000103000000e0000051")
STATE_V3 = bytes.fromhex("2200f9ad0000000102000000e0000051")
TWO_V3 = bytes.fromhex("2200f9ad0000000205000001e00000120a00000104000000e0000051")
JOIN_V2 = bytes.fromhex("160009aee0000051")
QUERY = bytes.fromhex("1164ee9b00000000")


def test_who_begins_to_listen_is_seen_in_every_version() -> None:
    assert joined_groups(JOIN_V3) == (SYNC,)
    assert joined_groups(JOIN_V2) == (SYNC,)
    assert joined_groups(TWO_V3) == (IPv4Address("224.0.0.18"), SYNC)


def test_who_leaves_answers_or_asks_does_not_begin() -> None:
    assert [joined_groups(each) for each in (LEAVE_V3, STATE_V3, QUERY)] == [(), (), ()]


def test_a_report_that_is_cut_gives_what_is_whole() -> None:
    for end in range(len(TWO_V3)):
        assert joined_groups(TWO_V3[:end]) == ((IPv4Address("224.0.0.18"),) if end >= 16 else ())


@given(st.binary(max_size=64))
def test_any_bytes_are_groups_or_nothing(data: bytes) -> None:
    assert all(isinstance(group, IPv4Address) for group in joined_groups(data))
