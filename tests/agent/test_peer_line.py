"""Frames of peers are taken in slices, whatever has come."""

import asyncio
import io
import socket
from ipaddress import IPv4Address

from lvsha.agent.journal import Journal
from lvsha.agent.peer_line import FRAMES_AT_ONCE, Datagram, PeerLine
from lvsha.config.settings import AgentSettings
from lvsha.sync.relay_settings import RelayPeer

LOOPBACK = IPv4Address("127.0.0.1")


def test_frames_come_in_their_order_and_never_more_than_a_slice() -> None:
    lots: list[list[bytes]] = []
    frames = [number.to_bytes(2, "big") * (20 + number % 3) for number in range(200)]

    async def story() -> None:
        done = asyncio.Event()

        def take(datagrams: list[Datagram]) -> None:
            lots.append([data for data, _ in datagrams])
            if sum(map(len, lots)) == len(frames):
                done.set()

        journal = Journal("directord", AgentSettings(), stream=io.StringIO())
        line = PeerLine(LOOPBACK, 0, journal, take=take)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for frame in frames:
                peer.sendto(frame, ("127.0.0.1", line.port))
        line.open()
        await asyncio.wait_for(done.wait(), 60)
        line.close()

    asyncio.run(story())

    assert [frame for lot in lots for frame in lot] == frames
    assert max(map(len, lots)) == FRAMES_AT_ONCE


def test_why_nothing_can_be_sent_is_said_once() -> None:
    async def story() -> list[str]:
        journal = Journal("directord", AgentSettings(), stream=io.StringIO())
        line = PeerLine(LOOPBACK, 0, journal, take=lambda _: None)
        line.open()
        peer = RelayPeer(name="b", director=2, address=LOOPBACK, port=9)
        for _ in range(3):
            assert line.send(peer, [bytes(65_508)])
        line.close()
        return [entry["event"] for entry in journal.recent]

    assert asyncio.run(story()) == ["relay.send_failed"]
