"""The packets of a flood, and that nothing but a guest is flooded."""

from ipaddress import IPv4Address

import pytest

from lvsha.core.errors import LvshaError
from lvsha.lab.guest import IN_GUEST
from lvsha.lab.scenarios.flood import Gun, datagram, shown, syn
from lvsha.wire.checksum import internet_checksum

CLIENT, VIP = IPv4Address("198.18.0.1"), IPv4Address("10.0.0.10")


def test_a_syn_has_a_good_checksum() -> None:
    packet = syn(CLIENT, 1024, VIP)

    segment = packet[20:]
    pseudo = CLIENT.packed + VIP.packed + bytes((0, 6, 0, len(segment)))
    assert (len(packet), packet[9], segment[13]) == (40, 6, 0x02)
    assert internet_checksum(pseudo + segment) == 0


def test_a_datagram_is_the_smallest_packet_of_ethernet() -> None:
    packet = datagram(CLIENT, 1024, VIP)

    assert (len(packet), packet[9], packet[20:22]) == (46, 17, b"\x04\x00")


def test_only_a_guest_is_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IN_GUEST, raising=False)

    with pytest.raises(LvshaError, match="guest only"):
        Gun([syn(CLIENT, 1024, VIP)], VIP)


def test_the_table_has_a_row_for_each_flood() -> None:
    row = {"flood": "syn", "defence": "none", "sent_pps": 28786, "forwarded_pps": 28735, "connections": 7}

    assert shown([row])[2].split() == ["syn", "none", "28,786", "28,735", "7"]
