"""Authenticated adverts between two directors, an attacker on the switch, and a keepalived without a key."""

import os
import signal
import socket
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsha.wire.checksum import internet_checksum, pseudo_header
from tests.interop.stories import Stories
from tests.interop.test_keepalived_mismatch import first_event, refusal
from tests.interop.vrrp_directors import Keepalived, Lvsha, Pair, dropped, ended
from tests.interop.vrrp_stage import Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

PAIR = Pair()
ALL = addresses(*PAIR.addresses)
START_S = 40
OLD, NEW = (b64encode(os.urandom(32)).decode() for _ in range(2))


def with_keys(lvsha: Lvsha, *keys: str, authentication: str = "hmac") -> Lvsha:
    """Its configuration and key file, as from now on."""
    file = lvsha.host.folder / "keys"
    file.touch(mode=0o600)
    file.write_text("".join(f"{key}\n" for key in keys))
    lvsha.write_config()
    with lvsha.config_path.open("a") as config:
        config.write(f'authentication = "{authentication}"\nkey_file = "{file}"\n')
    return lvsha


def farewell(frame: bytes, *, trailer: bool) -> bytes:
    """An advert over IPv4 as one of priority 0, checksums right, with its old trailer or none."""
    message, end = bytearray(frame[34:-32]), frame[-32:] if trailer else b""
    message[2], message[6:8] = 0, b"\0\0"
    header = pseudo_header(
        source=IPv4Address(frame[26:30]),
        destination=IPv4Address(frame[30:34]),
        protocol=112,
        length=len(message),
    )
    message[6:8] = internet_checksum(header + message).to_bytes(2, "big")
    ip = bytearray(frame[14:34])
    ip[2:4] = (20 + len(message) + len(end)).to_bytes(2, "big")
    ip[10:12] = b"\0\0"
    ip[10:12] = internet_checksum(bytes(ip)).to_bytes(2, "big")
    return frame[:14] + ip + message + end


class Attacker:
    """Hears and sends on the switch's side of a cable."""

    def __init__(self, stage: Stage, *, hears: str, reaches: str) -> None:
        with stage.switch.entered():
            self._ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
            self._ear.bind((hears, 3))
            self._mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._mouth.bind((reaches, 0))

    def heard(self) -> list[bytes]:
        """VRRP over IPv4 of that cable's director since the last time."""
        frames: list[bytes] = []
        while True:
            try:
                frame, address = self._ear.recvfrom(2048)
            except BlockingIOError:
                return frames
            if address[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00" and frame[23] == 112:
                frames.append(frame)

    def say(self, frame: bytes) -> None:
        self._mouth.send(frame)

    def close(self) -> None:
        self._ear.close()
        self._mouth.close()


@stories.story
async def test_keys_change_and_forgeries_fail_and_the_role_stays(stage: Stage) -> None:
    lb1, lb2 = (with_keys(Lvsha(stage.host(node), PAIR), OLD) for node in ("lb1", "lb2"))
    with ended(lb1, lb2), closing(Attacker(stage, hears="lb1", reaches="lb2")) as attacker:
        lb1.start()
        lb2.start()
        await until(lambda: stage.holders(ALL) == ["lb1"] or None, within=START_S, what="one MASTER")
        await first_event(lb2, "vrrp.became_backup")
        assert lb2.ask()["process"]["drops"] == {}

        # Rotation: added everywhere, moved first everywhere, the old one removed everywhere.
        for keys in ((OLD, NEW), (NEW, OLD), (NEW,)):
            for director in (lb1, lb2):
                before = len(director.events("vrrp.reloaded"))
                with_keys(director, *keys)
                director.signal(signal.SIGHUP)
                await until(
                    lambda director=director, before=before: (  # type: ignore[misc]
                        len(director.events("vrrp.reloaded")) > before
                    ),
                    within=START_S,
                    what="a reload",
                )
        assert stage.holders(ALL) == ["lb1"]
        assert lb2.ask()["process"]["drops"] == {}
        assert len(lb1.events("vrrp.became_master")) == 1

        # A forged farewell, and one without any code; of an advert under the key that counts now.
        attacker.heard()
        recorded = await until(lambda: attacker.heard() or None, within=3, what="adverts")
        attacker.say(farewell(recorded[-1], trailer=False))
        attacker.say(farewell(recorded[-1], trailer=True))
        await first_event(lb2, "vrrp.advertisement_dropped", reason="unauthenticated")
        await first_event(lb2, "vrrp.advertisement_dropped", reason="auth_failed")

        # The MASTER dies, and what it said is said again and again: it stays dead.
        recorded += attacker.heard()
        stage.cable("lb1", plugged=False)

        def replayed() -> bool:
            for frame in recorded[-5:]:
                attacker.say(frame)
            return "lb2" in stage.holders(ALL)

        await until(replayed, within=3, what="a takeover")
        await first_event(lb2, "vrrp.advertisement_dropped", reason="replayed")
        drops = lb2.ask()["process"]["drops"]
        assert drops["replayed"] >= 3
        assert drops["unauthenticated"] == 1
        for director in (lb1, lb2):
            assert OLD not in director.log()
            assert NEW not in director.log()


@stories.story
async def test_directors_are_given_keys_one_by_one(stage: Stage) -> None:
    lb1, lb2 = (Lvsha(stage.host(node), PAIR) for node in ("lb1", "lb2"))
    with_keys(lb1, OLD, authentication="permissive")
    with ended(lb1, lb2):
        lb1.start()
        lb2.start()
        event = await first_event(lb2, "vrrp.peer_disagrees", what="authentication")
        await until(lambda: stage.holders(ALL) == ["lb1"] or None, within=START_S, what="one MASTER")

        assert "theirs are authenticated" in event["detail"]
        assert lb2.ask()["process"]["drops"] == {}


@stories.story
async def test_a_keepalived_and_a_key_refuse_each_other_and_both_say_so(stage: Stage) -> None:
    """keepalived 2.2.7 takes no packet that is longer than its header says."""
    lvsha = with_keys(Lvsha(stage.host("lb1"), PAIR), OLD)
    keepalived = Keepalived(stage.host("lb2"), PAIR)
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "unauthenticated")

        assert 'authentication = "none"' in event["detail"]
        assert "packet_len_err" in dropped(await keepalived.statistics())


@stories.story
async def test_a_key_file_that_others_can_read_is_refused_at_the_start(stage: Stage) -> None:
    lvsha = with_keys(Lvsha(stage.host("lb1"), replace(PAIR, vrid=7)), OLD)
    os.chmod(lvsha.host.folder / "keys", 0o644)
    with ended(lvsha):
        lvsha.start()
        status = await until(lambda: lvsha.status, within=START_S, what="an exit")

        assert status == 1
        assert "can be read by others" in lvsha.log()
