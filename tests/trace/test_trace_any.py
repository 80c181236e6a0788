"""Captures of ``tcpdump -i any``: they say who sent a frame and in which direction, not to whom."""

import struct
from pathlib import Path

import pytest

from lvsha.io.capture import LINUX_COOKED, Frame
from tests.trace.make_trace_captures import MACS
from tests.trace.stories import files, frames, told, told_of

LINUX_COOKED_2 = 276
OUTGOING = 4


def cooked(frame: Frame, own: set[bytes], version: int) -> Frame:
    target, source, kind, packet = frame.data[:6], frame.data[6:12], frame.data[12:14], frame.data[14:]
    way = OUTGOING if source in own else 1 if target[0] & 1 else 0
    if version == 1:
        head = struct.pack(">HHH6s2x", way, 1, 6, source) + kind
        return frame._replace(link=LINUX_COOKED, data=head + packet)
    head = kind + struct.pack(">2xLHBB6s2x", 2, 1, way, 6, source)
    return frame._replace(link=LINUX_COOKED_2, data=head + packet)


def any_of(path: Path) -> set[bytes]:
    """All interfaces of the machine that a capture was made on."""
    machine = path.name.split(".")[1].split("-")[0]
    return {bytes.fromhex(mac.replace(":", "")) for (host, _), mac in MACS.items() if host == machine}


def is_ours(frame: Frame, own: set[bytes]) -> bool:
    """Such a capture does not put the interfaces into promiscuous mode."""
    return bool(frame.data[0] & 1) or frame.data[:6] in own or frame.data[6:12] in own


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "case",
    [
        "dr",
        "dr-ipv6",
        "dr-routed",
        "nat-two-networks",
        "nat-one-network",
        "tun-gre",
        "tun-gue",
        "dr-vip-missing",
        "dr-service-closed",
        "dr-no-service",
        "dr-gateway-is-director",
        "dr-realserver-answers-arp",
        "dr-weight-zero",
        "nat-no-forward",
        "nat-one-network-direct",
        "nat-one-network-redirect",
        "nat-wrong-gateway",
        "tun-mtu",
        "tun-no-device",
        "tun-gue-port-closed",
    ],
)
def test_any_interface_tells_the_same_story(case: str, version: int) -> None:
    plain = told(case)
    captures: dict[str, list[Frame]] = {}
    for path in files(case):
        # One capture for all interfaces of a machine, as `-i any` makes it.
        name = path.name.split("-eth")[0].removesuffix(".pcap") + ".pcap"
        own = any_of(path)
        captures.setdefault(name, []).extend(
            cooked(frame, own, version) for frame in frames(path) if is_ours(frame, own)
        )

    explanation = told_of(
        (name, sorted(found, key=lambda frame: frame.time_ns)) for name, found in captures.items()
    )

    assert {finding.id for finding in explanation.findings} == {finding.id for finding in plain.findings}
    assert [talk.outcome for talk in explanation.talks] == [talk.outcome for talk in plain.talks]
    assert [talk.method for talk in explanation.talks] == [talk.method for talk in plain.talks]
    assert {host.name for host in explanation.hosts.all() if host.roles} == {
        host.name for host in plain.hosts.all() if host.roles
    }


@pytest.mark.parametrize("where", ["client", "lb", "rs"])
@pytest.mark.parametrize("case", ["dr", "nat-one-network", "tun-ipip"])
def test_one_machine_alone_gives_no_false_alarm(case: str, where: str) -> None:
    (path,) = files(case, where)

    explanation = told_of([(path.name, [cooked(frame, any_of(path), 2) for frame in frames(path)])])

    assert explanation.findings == []
    assert explanation.is_well
