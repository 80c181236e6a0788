"""directord's eyes for what virtual routers track: scripts, files, processes, services, routes, gateways.

vrrpd must not wait for any of these, so directord looks and tells. It tells after
every look, not only when something changes: a vrrpd that was restarted knows within
one interval. While directord is away, vrrpd keeps the last verdicts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from lvsha.agent.ipc import Message
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckKind, CheckSettings, PingOptions
from lvsha.core.instant import to_seconds
from lvsha.io.launcher import Program, Run, run_program
from lvsha.io.probes.runner import ProbeRunner
from lvsha.io.probes.workers import ProbeWorkers
from lvsha.vrrp.settings import RouterSettings
from lvsha.vrrp.track import Debounce, TrackKind, TrackSettings

_FILE_BYTES = 64
_ROUTE_UP, _ROUTE_REJECT = 0x1, 0x200


class Trackers:
    """One task per thing that is tracked, whoever tracks it."""

    def __init__(
        self,
        *,
        send: Callable[[Message], object],
        has_quorum: Callable[[str], bool | None],
        runner: ProbeRunner | ProbeWorkers,
        run: Run = run_program,
    ) -> None:
        """``has_quorum``: of a service by its name; None: there is none of it. ``run`` starts scripts."""
        self._start = run
        self._send = send
        self._has_quorum = has_quorum
        self._runner = runner
        self._tasks: dict[TrackSettings, asyncio.Task[None]] = {}

    def reconfigure(self, routers: Iterable[RouterSettings]) -> None:
        """Look at what these track, and at nothing else; what goes on keeps its verdict."""
        wanted = {
            track for router in routers for track in router.track if track.kind is not TrackKind.INTERFACE
        }
        for track in set(self._tasks) - wanted:
            self._tasks.pop(track).cancel()
        for track in wanted - set(self._tasks):
            self._tasks[track] = asyncio.create_task(self._watch(track))

    def close(self) -> None:
        self.reconfigure(())

    async def _watch(self, track: TrackSettings) -> None:
        debounce = Debounce(rise=track.rise, fall=track.fall)
        while True:
            up = debounce.look(await self._look(track))
            self._send({"type": "track", "key": track.key, "up": up})
            await asyncio.sleep(to_seconds(track.interval))

    async def _look(self, track: TrackSettings) -> bool:
        if track.kind is TrackKind.SCRIPT:
            return await self._script(track)
        if track.kind is TrackKind.GATEWAY:
            return await self._gateway(track)
        if track.kind is TrackKind.SERVICE:
            return self._has_quorum(track.target) is not False
        if track.kind is TrackKind.FILE:
            return _file(Path(track.target))
        if track.kind is TrackKind.ROUTE:
            return has_route(track.target, *_route_tables())
        return _process(track.target)

    async def _script(self, track: TrackSettings) -> bool:
        """Ended with 0 within its time-out; killed when it takes longer."""
        program = Program(words=track.command, limit_s=to_seconds(track.timeout), says="errors")
        try:
            return (await self._start(program)).status == 0
        except OSError:
            return False

    async def _gateway(self, track: TrackSettings) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def on_result(_id: str, result: ProbeResult) -> None:
            if not answer.done():
                answer.set_result(result.ok)

        settings = CheckSettings(
            kind=CheckKind.PING,
            address=ip_address(track.target),
            port=0,
            options=PingOptions(),
            timeout=track.timeout,
        )
        self._runner.start(f"track {track.key}", settings, on_result)
        return await answer


def _file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES).strip() != b"0"
    except OSError:
        return False


def _process(name: str) -> bool:
    """By its short name, as ``ps -C`` has it."""
    wanted = name[:15]
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has just ended
            if comm.read_text(errors="replace").rstrip("\n") == wanted:
                return True
    return False


def _route_tables() -> tuple[str, str]:
    texts = []
    for name in ("route", "ipv6_route"):
        try:
            texts.append(Path("/proc/net", name).read_text())
        except OSError:
            texts.append("")  # a kernel without that family
    return texts[0], texts[1]


def has_route(network: str, ipv4: str, ipv6: str) -> bool:
    """Whether ``/proc/net/route`` or ``/proc/net/ipv6_route`` has a working route to exactly ``network``."""
    wanted = ip_network(network)
    if wanted.version == 4:
        for line in ipv4.splitlines()[1:]:
            words = line.split()
            address = IPv4Address(int.from_bytes(bytes.fromhex(words[1]), "little"))
            prefix = bytes.fromhex(words[7])
            length = int.from_bytes(prefix, "little").bit_count()
            if (address, length) == (wanted.network_address, wanted.prefixlen) and _works(int(words[3], 16)):
                return True
        return False
    for line in ipv6.splitlines():
        words = line.split()
        address6 = IPv6Address(bytes.fromhex(words[0]))
        if (address6, int(words[1], 16)) == (wanted.network_address, wanted.prefixlen) and _works(
            int(words[8], 16)
        ):
            return True
    return False


def _works(flags: int) -> bool:
    return bool(flags & _ROUTE_UP) and not flags & _ROUTE_REJECT
