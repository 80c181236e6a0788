"""Somebody on the network sends entries to the sync group, and replays what the directors send each other.

The kernel's protocol knows no sender: whoever is on the segment and guesses one byte writes into the table.
"""

import contextlib
import socket
import struct
from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage
from lvsha.lab.topology import PORT
from lvsha.sync.resync import pack
from lvsha.wire.ipvs_sync.names import Protocol, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry

SUMMARY = "forged sync messages and replayed relay frames, then a crash"

FORGED = 1000
RELAY_PORT = 8849
_FORGER_PORT = 20_000


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    captured = _listen(stage)
    connect(stage)
    stage.pump(1.0)

    frames = _frames(captured)
    _forge(stage)
    for name, address in ((name, stage.topology.director_address(name)) for name in stage.topology.directors):
        _replay(stage, frames, str(address))
        stage.story.say(
            f"{FORGED} forged entries to the group, {len(frames)} relay frames once more to {name}"
        )
    stage.pump(1.0)
    accepted = sum(_forged_rows(stage, name) for name in stage.topology.directors)
    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    stage.wait_for_holder("lb2")
    stage.settle()

    outcome = judge(stage, new_master="lb2")
    return replace(
        outcome,
        ok=outcome.ok and accepted == 0 and (bool(frames) or not _has_relay(stage)),
        verdict=f"{accepted} of {2 * FORGED} forged entries were taken; {outcome.verdict}",
        extras=outcome.extras | {"forged": FORGED, "accepted": accepted, "replayed_frames": len(frames)},
    )


def _has_relay(stage: Stage) -> bool:
    return stage.peer.name == "lvsha" and stage.settings.transport == "relay"


def _forge(stage: Stage) -> None:
    """As a host of the segment would: every connection to the first realserver, under the right syncid."""
    is_tcp = stage.settings.protocol == "tcp"
    server = stage.topology.realserver_address("rs1")
    client = stage.topology.director_address("lb1")
    entries = [
        encode_entry(
            SyncConn.build(
                protocol=Protocol.TCP if is_tcp else Protocol.UDP,
                client=(client, _FORGER_PORT + number),
                virtual=(stage.topology.vips[0].ip, PORT),
                destination=(server, PORT),
                state=TcpState.ESTABLISHED if is_tcp else 0,
                flags=0,
                timeout=900,
                fwmark=stage.settings.fwmark,
            )
        )
        for number in range(FORGED)
    ]
    with stage.topology.client.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out = struct.pack("@4s4si", bytes(4), bytes(4), socket.if_nametoindex("eth0"))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, out)
        for message in pack(_SYNCID, entries):
            sender.sendto(message, ("224.0.0.81", 8848))
        sender.close()


_SYNCID = 51
"""Of both kinds of director in the lab."""


def _forged_rows(stage: Stage, name: str) -> int:
    rows = stage.topology.directors[name].read("/proc/self/net/ip_vs_conn").splitlines()[1:]
    ports = {f"{_FORGER_PORT + number:04X}" for number in range(FORGED)}
    return sum(row.split()[2] in ports for row in rows)


def _listen(stage: Stage) -> socket.socket:
    """What passes the second director's switch port."""
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    capture.bind((stage.topology.port("lb2"), 3))
    capture.setblocking(False)
    return capture


def _frames(capture: socket.socket) -> list[bytes]:
    frames = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data = capture.recv(65_536)
            header = _header(data)
            if header and struct.unpack_from("!H", data, header + 2)[0] == RELAY_PORT:
                frames.append(data[header + 8 :])
    capture.close()
    return frames


def _header(data: bytes) -> int:
    """The length of the IP header before UDP; 0: it is something else."""
    if len(data) > 28 and data[0] >> 4 == 4 and data[9] == Protocol.UDP:
        return (data[0] & 15) * 4
    return 40 if len(data) > 48 and data[0] >> 4 == 6 and data[6] == Protocol.UDP else 0


def _replay(stage: Stage, frames: list[bytes], address: str) -> None:
    """From another host: the directors would answer it if they believed it."""
    with stage.topology.client.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sender = socket.socket(family, socket.SOCK_DGRAM)
        for frame in frames:
            sender.sendto(frame, (address, RELAY_PORT))
        sender.close()
