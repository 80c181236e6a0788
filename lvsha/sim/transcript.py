"""Scenarios that a human can review: commands, and under ``----`` what they led to.

::

    # The master loses power; the backup takes over after its down interval.
    director a priority=200
    director b priority=100
    start
    advance 1s
    ----
    0.000 a became_backup reason=started master=None master_priority=None
    ...

A block is commands, ``----``, and the outputs of every machine while they ran, up to
an empty line. Regular adverts are left out (``adverts on`` shows them), priority 0 is
not. ``run`` gives the text back with the outputs as they are now; a test compares,
``lvsha sim run --rewrite`` accepts. Chance, where weather asks for it, comes from
``seed N``.
"""

import re
import shlex
from collections.abc import Callable
from inspect import signature
from ipaddress import ip_address, ip_interface
from random import Random
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.errors import LvshaError
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, to_seconds
from lvsha.core.machine import Output
from lvsha.sim.director import Director, Trap
from lvsha.sim.lines import line
from lvsha.sim.network import CALM, GATEWAY, Network, Weather
from lvsha.sim.world import World
from lvsha.vrrp.outputs import RenewAddresses, SendAdvertisement
from lvsha.vrrp.settings import RouterSettings, problems

_UNITS = {
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "vrid": ("vrid", int),
    "version": ("version", int),
    "family": ("family", int),
    "priority": ("priority", int),
    "advert": ("advert_interval", lambda text: duration(text)),
    "addresses": ("addresses", lambda text: tuple(map(ip_interface, text.split(",")))),
    "preempt": ("preempts", lambda text: text == "yes"),
    "preempt_delay": ("preempt_delay", lambda text: duration(text)),
    "lease": ("lease", lambda text: duration(text)),
    "release_deadline": ("release_deadline", lambda text: duration(text)),
    "password": ("password", str),
    "peers": ("unicast_peers", lambda text: tuple(map(ip_address, text.split(",")))),
}


_LONGEST = 4096


def _shape(method: Callable[..., None]) -> str:
    """`` NAME LOSS``, for who left one out."""
    words = [f" {each.name.upper()}" for each in signature(method).parameters.values()]
    return " takes" + ("".join(words) or " no words")


class TranscriptError(LvshaError):
    """A scenario that cannot be run, with its line."""


def duration(text: str) -> int:
    """Nanoseconds from ``100ms``, ``3.61s``, ``2h``.

    Raises:
        ValueError: not a number with a unit.
    """
    match = re.fullmatch(r"([0-9.]+)(us|ms|s|m|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 100ms, 3.61s or 2h")
    return round(float(match[1]) * _UNITS[match[2]])


class Transcript:
    """One scenario being played."""

    def __init__(self) -> None:
        self.world = World()
        self.network = Network(self.world, Random(0))
        self.beside: Network | None = None
        """A second path for adverts, of the directors made after it."""
        self.directors: dict[str, Director] = {}
        self._defaults: dict[str, Any] = {}
        self._lines: list[str] = []
        self._adverts = False

    def run(self, text: str) -> str:
        """Play ``text``; the same text with the outputs as they are.

        Raises:
            TranscriptError: a command that does not exist or cannot be carried out.
        """
        written: list[str] = []
        in_output = False
        for number, raw in enumerate(text.splitlines(), start=1):
            if in_output:
                in_output = bool(raw.strip())
                if not in_output:
                    written.append("")
                continue
            written.append(raw)
            if raw.strip() == "----":
                written += self._lines
                self._lines = []
                in_output = True
            elif raw.strip() and not raw.lstrip().startswith("#"):
                self._command(raw, number)
        if self._lines:
            written += ["----", *self._lines]
        return "\n".join(written).rstrip("\n") + "\n"

    def command(self, text: str) -> None:
        """Carry out one line.

        Raises:
            TranscriptError: it does not exist or cannot be carried out.
        """
        self._command(text, 1)

    def note(self, text: str) -> None:
        """A line of the output, with the time."""
        self._lines.append(f"{to_seconds(self.world.now):.3f} {text}")

    def lines(self) -> list[str]:
        """What has come out since the last ``----``."""
        return list(self._lines)

    def log(self, node: str, output: Output) -> None:
        """What a director of this scenario puts out."""
        self._log(node, output)

    def _command(self, raw: str, number: int) -> None:
        if len(raw) > _LONGEST:
            raise TranscriptError(f"line {number}: {len(raw)} characters: this is no scenario")
        try:
            verb, *words = shlex.split(raw, comments=True)
        except ValueError as error:
            raise TranscriptError(f"line {number}: {raw.strip()}: {str(error).lower()}") from None
        method: Callable[..., None] | None = getattr(self, f"_do_{verb}", None)
        if method is None:
            verbs = sorted(name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_"))
            raise TranscriptError(f"line {number}: no command {verb[:40]!r}; there are {', '.join(verbs)}")
        try:
            signature(method).bind(*words)
        except TypeError as error:
            raise TranscriptError(f"line {number}: {raw.strip()}: {error}; {verb}{_shape(method)}") from None
        try:
            method(*words)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise TranscriptError(f"line {number}: {raw.strip()}: {error}") from error

    def _log(self, node: str, output: Output) -> None:
        if isinstance(output, SendAdvertisement) and output.priority and not self._adverts:
            return
        if isinstance(output, RenewAddresses):
            return
        self._lines.append(line(self.world.now, node, output))

    def _each(self, names: tuple[str, ...]) -> list[Director]:
        return [self.directors[name] for name in names] if names else list(self.directors.values())

    # Making

    def _do_seed(self, seed: str) -> None:
        self.network._dice.seed(int(seed))

    def _do_router(self, *pairs: str) -> None:
        """Settings of the directors that follow."""
        self._defaults |= _settings(pairs)

    def _do_director(self, name: str, *pairs: str) -> None:
        fields: dict[str, Any] = {
            "name": "r",
            "interface": "eth0",
            "vrid": 51,
            "addresses": (ip_interface("10.0.0.10/24"),),
        }
        fields |= self._defaults
        fields |= _settings(pairs)
        settings = RouterSettings(**fields)
        for problem in problems(settings):
            raise ValueError(f"{problem.field}: {problem.message}")
        number = len(self.directors) + 1
        address: Address = ip_address(f"10.0.0.{number}" if settings.family == 4 else f"fe80::{number}")
        self.directors[name] = Director(
            name=name,
            address=address,
            routers=(settings,),
            world=self.world,
            network=self.network,
            log=self._log,
            beside=self.beside,
        )

    def _do_path(self) -> None:
        """The directors that follow hear each other on a second network, too."""
        self.beside = Network(self.world, Random(0))

    # Time and weather

    def _do_advance(self, text: str) -> None:
        self.world.advance(duration(text))

    def _do_loss(self, text: str) -> None:
        self._weather(loss=float(text))

    def _do_duplication(self, text: str) -> None:
        self._weather(duplication=float(text))

    def _do_delay(self, least: str, most: str = "") -> None:
        self._weather(delay_least=duration(least), delay_most=duration(most or least))

    def _weather(self, **changes: Any) -> None:
        now = self.network.weather
        fields = {name: getattr(now, name) for name in ("loss", "duplication", "delay_least", "delay_most")}
        self.network.weather = Weather(**(fields | changes))

    def _do_calm(self) -> None:
        self.network.weather = CALM

    def _do_cut(self, source: str, destination: str) -> None:
        self.network.cut(self._known(source), self._known(destination))

    def _do_partition(self, one: str, other: str) -> None:
        self.network.partition(self._known(one), self._known(other))

    def _do_isolate(self, name: str) -> None:
        self.network.isolate(self._known(name))

    def _do_partition_path(self, one: str, other: str) -> None:
        if self.beside is None:
            raise ValueError("there is no second path; say `path` before the directors")
        self.beside.partition(self._known(one), self._known(other))

    def _do_heal(self) -> None:
        self.network.heal()
        if self.beside is not None:
            self.beside.heal()

    def _known(self, name: str) -> str:
        if name != GATEWAY and name not in self.directors:
            raise ValueError(f"no director {name!r}")
        return name

    # What happens to directors

    def _do_start(self, *names: str) -> None:
        for director in self._each(names):
            director.start()

    def _do_kill(self, name: str) -> None:
        self.directors[name].kill()

    def _do_power_off(self, name: str) -> None:
        self.directors[name].power_off()

    def _do_freeze(self, name: str) -> None:
        self.directors[name].freeze()

    def _do_thaw(self, name: str) -> None:
        self.directors[name].thaw()

    def _do_trap(self, name: str, steps: str, how: str = "kill") -> None:
        """Its next transition goes no further than ``steps`` outputs: kill, power_off or freeze."""
        director = self.directors[name]
        ends = {"kill": director.kill, "power_off": director.power_off, "freeze": director.freeze}
        if how not in ends:
            raise ValueError(f"{how!r} is not kill, power_off or freeze")
        director.trap = Trap(int(steps), ends[how])

    def _do_drift(self, name: str, ppm: str) -> None:
        """From now on its clock is so many parts in a million fast; below 0: slow."""
        director = self.directors[name]
        director.clock.drift(int(ppm))
        director.arm()

    def _do_queue(self, name: str, text: str) -> None:
        """From now on what it receives lies so long in its kernel; 0s: not at all."""
        self.directors[name].queue = duration(text)

    def _do_lag(self, name: str, text: str) -> None:
        """From now on its process runs so late, always; 0s: never."""
        self.directors[name].lag = duration(text)

    def _do_link(self, name: str, up_or_down: str) -> None:
        self.directors[name].set_link({"up": True, "down": False}[up_or_down])

    def _do_release(self, name: str) -> None:
        self.directors[name].release()

    def _do_resume(self, name: str) -> None:
        self.directors[name].resume()

    def _do_shutdown(self, name: str) -> None:
        self.directors[name].shutdown()

    def _do_priority(self, name: str, priority: str) -> None:
        self.directors[name].set_priority(int(priority))

    def _do_reconfigure(self, name: str, *pairs: str) -> None:
        self.directors[name].reconfigure(**_settings(pairs))

    def _do_refuse(self, name: str, what: str, errno: str = "1") -> None:
        """The kernel refuses to bind, unbind or send, until errno 0."""
        if what not in ("bind", "unbind", "send"):
            raise ValueError(f"{what!r} is not bind, unbind or send")
        setattr(self.directors[name].kernel, f"{what}_errno", int(errno))

    def _do_bind(self, name: str, address: str) -> None:
        self.directors[name].tamper(ip_interface(address), bound=True)

    def _do_unbind(self, name: str, address: str) -> None:
        self.directors[name].tamper(ip_interface(address), bound=False)

    # Looking

    def _do_adverts(self, on_or_off: str) -> None:
        self._adverts = {"on": True, "off": False}[on_or_off]

    def _do_status(self) -> None:
        for director in self.directors.values():
            bound = ",".join(str(prefix.ip) for prefix in sorted(director.kernel.bound)) or "nothing"
            if not director.is_running:
                self._lines.append(f"{director.name} not running, bound {bound}")
            for router in director.routers.values():
                frozen = ", frozen" if director.is_frozen else ""
                modest = ", modest" if router.is_modest else ""
                follows = f", follows {router.master_address}" if router.master_address else ""
                self._lines.append(
                    f"{director.name} {router.state} ({router.phase}) priority {router.priority}, "
                    f"bound {bound}{follows}{modest}{frozen}"
                )
        for address in sorted(self.network.beliefs, key=int):
            self._lines.append(f"gateway sends {address} to {self.network.beliefs[address]}")


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in _SETTINGS:
            raise ValueError(f"{pair!r} is not one of {', '.join(f'{name}=' for name in _SETTINGS)}")
        name, convert = _SETTINGS[key]
        fields[name] = convert(value)
    return fields
