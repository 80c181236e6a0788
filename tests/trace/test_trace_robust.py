"""Whatever a capture holds, trace ends with a story: no hardware addresses, holes, doubles, damage."""

import random
from collections.abc import Iterator

import pytest

from lvsha.io.capture import RAW_IP, Frame
from lvsha.trace.as_json import as_json
from lvsha.trace.decode import Decoder
from lvsha.trace.explain import Explanation
from lvsha.trace.gather import Gatherer, Limits
from lvsha.trace.packet import Endpoint, Packet
from lvsha.trace.report import report
from lvsha.trace.svg import svg
from tests.trace.stories import CAPTURES, files, frames, told_of
from tests.trace.test_trace_decode import ether, tcp, v4
from tests.trace.test_trace_lab import WELL

CASES = sorted(path.stem for path in CAPTURES.glob("*.toml"))


def is_told(explanation: Explanation) -> bool:
    """In every form."""
    return bool(list(report(explanation, remedies={})) and as_json(explanation) and svg(explanation))


@pytest.mark.parametrize("case", WELL)
def test_bare_ip_gives_no_false_alarm(case: str) -> None:
    def bare(path_frames: list[Frame]) -> Iterator[Frame]:
        for frame in path_frames:
            if frame.data[12:14] != b"\x08\x06":
                yield frame._replace(link=RAW_IP, data=frame.data[14:])

    explanation = told_of((path.name, bare(frames(path))) for path in files(case))

    assert explanation.findings == []
    assert is_told(explanation)


@pytest.mark.parametrize("case", CASES)
def test_holes_doubles_and_damage_end_in_a_story(case: str) -> None:
    dice = random.Random(case)

    def spoilt(found: list[Frame]) -> Iterator[Frame]:
        for frame in found:
            fate = dice.random()
            data = bytearray(frame.data)
            if fate < 0.1:
                continue
            if fate < 0.2:
                data[dice.randrange(len(data))] = dice.randrange(256)
            elif fate < 0.3:
                data = data[: dice.randrange(len(data))]
            yield frame._replace(data=bytes(data), time_ns=frame.time_ns + dice.randrange(-(10**7), 10**7))
            if fate > 0.9:
                yield frame

    for _ in range(3):
        assert is_told(told_of((path.name, spoilt(frames(path))) for path in files(case)))


def test_a_flood_of_clients_is_bounded_and_counted() -> None:
    limits = Limits(connections=50, packets=400)
    gathered = Gatherer(limits=limits)
    place = gathered.place("lb.pcap")
    decoder = Decoder()
    for number in range(2000):
        packet = decoder.decode(1, ether(v4(tcp())), number, number + 1)
        assert isinstance(packet, Packet)
        source = Endpoint((0x0A010000 + number).to_bytes(4, "big"), 40_000)
        gathered.add(place, packet._replace(source=source))

    assert len(gathered.buckets) == 50
    assert gathered.packets_not_followed == 1950
    assert gathered.connections_not_followed == 8 * 50


def test_a_following_gatherer_keeps_nobody_else() -> None:
    wanted = Endpoint(bytes((10, 0, 0, 100)), 0)
    gathered = Gatherer(follow=[wanted])
    place = gathered.place("lb.pcap")
    packet = Decoder().decode(1, ether(v4(tcp())), 1, 1)
    assert isinstance(packet, Packet)
    gathered.add(place, packet)
    gathered.add(place, packet._replace(source=Endpoint(bytes((10, 0, 0, 101)), 9)))

    assert [bucket.client.address for bucket in gathered.buckets.values()] == [wanted.address]
