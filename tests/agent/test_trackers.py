"""What directord looks at for vrrpd."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from lvsha.agent.ipc import Message
from lvsha.agent.trackers import Trackers, has_route
from lvsha.core.instant import MILLISECOND
from lvsha.io.probes.runner import ProbeRunner
from lvsha.vrrp.track import TrackKind, TrackSettings

IPV4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0
"""
IPV6 = """\
20010db8000000000000000000000000 20 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("0.0.0.0/0", True),
        ("192.0.2.0/24", True),
        ("192.0.2.0/25", False),
        ("10.0.0.0/8", False),
        ("2001:db8::/32", True),
        ("2001:db8::/33", False),
        ("::/0", False),
    ],
)
def test_a_route_is_there_when_it_works_and_is_exactly_that(network: str, found: bool) -> None:
    """10/8 and ::/0 are there and refuse what is sent to them."""
    assert has_route(network, IPV4, IPV6) == found


def looked(track: TrackSettings, *, quorum: bool | None = None) -> Message:
    """The first verdict that vrrpd is told."""

    async def look() -> Message:
        told: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def send(message: Message) -> None:
            if not told.done():
                told.set_result(message)

        trackers = Trackers(
            send=send,
            has_quorum=lambda _: quorum,
            runner=cast(ProbeRunner, None),
        )
        trackers._tasks[track] = asyncio.create_task(trackers._watch(track))
        answer = await told
        trackers.close()
        return answer

    return asyncio.run(look())


def script(code: str, **changes: Any) -> TrackSettings:
    command = (sys.executable, "-S", "-c", code)
    return TrackSettings(kind=TrackKind.SCRIPT, target=command[0], command=command, **changes)


def test_a_script_is_up_when_it_ends_with_zero() -> None:
    assert looked(script(""))["up"] is True
    assert looked(script("raise SystemExit(3)"))["up"] is False


def test_a_script_that_takes_too_long_is_down() -> None:
    assert looked(script("input('') or __import__('time').sleep(9)", timeout=MILLISECOND))["up"] is False


def test_a_script_that_is_not_there_is_down() -> None:
    missing = TrackSettings(kind=TrackKind.SCRIPT, target="/nowhere", command=("/nowhere",))

    assert looked(missing) == {"type": "track", "key": "script:/nowhere", "up": False}


def test_a_file_is_up_unless_it_is_gone_or_holds_zero(tmp_path: Path) -> None:
    track = TrackSettings(kind=TrackKind.FILE, target=str(tmp_path / "ok"))
    verdicts = [looked(track)["up"]]
    for text in ("", "0\n", "1\n"):
        (tmp_path / "ok").write_text(text)
        verdicts.append(looked(track)["up"])

    assert verdicts == [False, True, False, True]


def test_a_process_is_found_by_its_name() -> None:
    own = Path("/proc/self/comm").read_text().strip()

    assert looked(TrackSettings(kind=TrackKind.PROCESS, target=own))["up"] is True
    assert looked(TrackSettings(kind=TrackKind.PROCESS, target="no-such-process"))["up"] is False


def test_a_service_is_down_when_its_quorum_is_lost() -> None:
    track = TrackSettings(kind=TrackKind.SERVICE, target="web")

    assert [looked(track, quorum=quorum)["up"] for quorum in (True, False, None)] == [True, False, True]
