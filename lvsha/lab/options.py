"""What a run can be asked for in words: as options of a command, or behind a scenario's name.

``crash,advert=1,method=nat`` is the scenario ``crash`` with two settings of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvsha.lab.errors import LabError

MAX_VIPS = 60_000


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("at least 1")
    return value


def address_count(text: str) -> int:
    value = positive(text)
    if value > MAX_VIPS:
        raise ValueError(f"at most {MAX_VIPS}, the networks of the lab have no more")
    return value


def duration(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError("seconds, more than 0")
    return value


def milliseconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 1000:
        raise ValueError("milliseconds, 1 to 1000")
    return value


def percent(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 90:
        raise ValueError("between 0 and 90")
    return value


def mark(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise ValueError("32 bits")
    return value


def yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("yes or no")
    return text == "yes"


def phase(text: str) -> float | None:
    if text == "any":
        return None
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("between 0 and 1, or any")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing to ask for."""

    name: str
    """``--name`` on the command line, ``name=`` behind a scenario."""
    field: str
    """Of ``RunSettings``."""
    metavar: str
    help: str
    parse: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()

    def value(self, text: str) -> Any:
        """What ``text`` means.

        Raises:
            LabError: nothing.
        """
        try:
            value = self.parse(text)
        except ValueError as error:
            raise LabError(f"{self.name}={text}: {error}") from error
        if self.choices and value not in self.choices:
            raise LabError(f"{self.name}={text}: one of {', '.join(map(str, self.choices))}")
        return value


OPTIONS = (
    Option(
        name="connections",
        field="connections",
        metavar="N",
        parse=positive,
        help="established TCP connections",
    ),
    Option(name="advert", field="advert_s", metavar="S", parse=duration, help="seconds between adverts"),
    Option(
        name="vips",
        field="vips",
        metavar="N",
        parse=address_count,
        help="virtual addresses; the first and the last have services",
    ),
    Option(
        name="crowd",
        field="crowd",
        metavar="N",
        parse=positive,
        help="realservers more, unchecked, in a service of every virtual address",
    ),
    Option(name="method", field="method", metavar="M", choices=("dr", "nat", "tun"), help="dr, nat or tun"),
    Option(name="family", field="family", metavar="F", parse=int, choices=(4, 6), help="4 or 6"),
    Option(
        name="crash-after",
        field="crash_after_s",
        metavar="S",
        parse=duration,
        help="seconds from the last new connection to the fault",
    ),
    Option(
        name="process",
        field="process",
        metavar="P",
        choices=("vrrpd", "directord", "both", "all"),
        help="what agent-kill kills",
    ),
    Option(
        name="restart-after",
        field="restart_after_s",
        metavar="S",
        parse=duration,
        help="seconds from a kill to the restart",
    ),
    Option(
        name="duration",
        field="duration_s",
        metavar="S",
        parse=duration,
        help="seconds that a fault lasts: load, a cut, a flapping link",
    ),
    Option(
        name="sync-maxlen",
        field="sync_maxlen",
        metavar="BYTES",
        parse=positive,
        help="of a sync message; none: each one's default",
    ),
    Option(
        name="transport",
        field="transport",
        metavar="T",
        choices=("relay", "multicast"),
        help="how lvsha's directors synchronise: relay or multicast",
    ),
    Option(
        name="rate",
        field="rate",
        metavar="PPS",
        parse=positive,
        help="packets per second of a flood, new connections per second of a load; 0: the scenario's own",
    ),
    Option(
        name="protocol",
        field="protocol",
        metavar="P",
        choices=("tcp", "udp"),
        help="of the connections; udp is always persistent",
    ),
    Option(
        name="persistent",
        field="persistent",
        metavar="yes|no",
        parse=yes_or_no,
        help="persistent services, and connections from 50 addresses",
    ),
    Option(name="fwmark", field="fwmark", metavar="N", parse=mark, help="services by mark; 0: by address"),
    Option(
        name="idle", field="idle", metavar="N", parse=positive, help="connections that say nothing, in a load"
    ),
    Option(
        name="distance",
        field="distance_ms",
        metavar="MS",
        parse=milliseconds,
        help="of the client from the directors, each way",
    ),
    Option(
        name="handovers",
        field="handovers",
        metavar="N",
        parse=positive,
        help="in one run of switchover-under-load, the directors in turn",
    ),
    Option(
        name="entries", field="entries", metavar="N", parse=positive, help="rows put into the master's kernel"
    ),
    Option(
        name="loss",
        field="loss",
        metavar="PERCENT",
        parse=percent,
        help="of the packets that carry connections between the directors",
    ),
    Option(
        name="warm",
        field="warm",
        metavar="yes|no",
        parse=yes_or_no,
        help="lvsha starts as a fork with its modules loaded, which saves a busy guest much time",
    ),
    Option(
        name="beat",
        field="beat_ms",
        metavar="MS",
        parse=milliseconds,
        help="between two heartbeats; fewer of them leave the processor to the directors",
    ),
    Option(
        name="capture",
        field="capture",
        metavar="yes|no",
        parse=yes_or_no,
        help="record the wire, to be kept if the run fails",
    ),
    Option(
        name="phase",
        field="phase",
        metavar="P",
        parse=phase,
        help="where between two adverts the fault falls, 0 to 1, so that runs can be compared; or any",
    ),
)


def parse_cell(text: str, scenarios: list[str]) -> tuple[str, dict[str, Any]]:
    """A scenario's name and the fields of ``RunSettings`` that its words set.

    Raises:
        LabError: no such scenario or setting; the text says what there is.
    """
    scenario, *words = text.split(",")
    if scenario not in scenarios:
        raise LabError(f"there is no scenario {scenario!r}: {', '.join(scenarios)}")
    by_name = {option.name: option for option in OPTIONS}
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in by_name:
            raise LabError(f"{text}: there is no setting {name!r}: {', '.join(by_name)}")
        found[by_name[name].field] = by_name[name].value(value)
    return scenario, found
