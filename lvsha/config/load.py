"""A file's text to settings, or every reason why not.

Nothing here reads a file, asks for a host name or looks at an interface: the
caller does, and passes what it found. A text with one error yields no settings
at all, so that a bad reload changes nothing; what only looks doubtful comes
back as warnings beside the settings.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from lvsha.config.context import Parts
from lvsha.config.explain import explain
from lvsha.config.findings import Findings, did_you_mean
from lvsha.config.lines import Path, line_map, line_of, path_text
from lvsha.config.pieces import Pieces
from lvsha.config.resolve import resolve
from lvsha.config.schema import Document
from lvsha.config.services import ServiceMemory
from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.core.errors import ConfigErrors, ConfigProblem

STANDALONE = "director"
"""What a director without ``[directors]`` and without a host name is called."""


def loads(
    text: str,
    source: str = "lvsha.toml",
    node: str | None = None,
    *,
    hostname: str = "",
    local_addresses: Collection[Address] = (),
) -> Settings:
    """The settings of one director.

    ``node`` names it in ``[directors]``; else ``hostname`` does, else the first
    director whose address is among ``local_addresses``.

    Raises:
        ConfigErrors: with every problem found, in the order of the file.
    """
    settings, _ = load_with_warnings(text, source, node, hostname=hostname, local_addresses=local_addresses)
    return settings


def load_with_warnings(
    text: str,
    source: str = "lvsha.toml",
    node: str | None = None,
    *,
    hostname: str = "",
    local_addresses: Collection[Address] = (),
) -> tuple[Settings, tuple[ConfigProblem, ...]]:
    """As ``loads``, with what looks doubtful.

    Raises:
        ConfigErrors: as ``loads``.
    """
    return Loader().load(text, source, node, hostname=hostname, local_addresses=local_addresses)


class Loader:
    """Reads one version of a file after the other.

    What a ``[[service]]`` says is parsed, checked and worked out once: as long as neither its text nor
    what it draws upon changes, its ``ServiceSettings`` are the very same object in the next version.
    """

    def __init__(self) -> None:
        self._pieces: Pieces | None = None
        self._memory = ServiceMemory()

    def load(
        self,
        text: str,
        source: str = "lvsha.toml",
        node: str | None = None,
        *,
        hostname: str = "",
        local_addresses: Collection[Address] = (),
    ) -> tuple[Settings, tuple[ConfigProblem, ...]]:
        """Settings and warnings, as ``load_with_warnings`` gives them.

        Raises:
            ConfigErrors: with every problem found, in the order of the file.
        """
        findings = Findings()
        pieces = Pieces.of(text, self._pieces)
        document, parts = _read(text, source, findings, pieces)
        name = _identify(document, node, hostname, local_addresses, findings)
        settings = None
        if document is not None:
            memory = ServiceMemory() if findings.has_errors else self._memory
            own = name or next(iter(document.directors), STANDALONE)
            settings = resolve(document, parts, own, findings, memory)
        line = pieces.line if pieces is not None else _line_finder(text)
        _refuse(line, source, findings)
        assert settings is not None, "a document that could not be read is refused"
        self._pieces = pieces
        return settings, findings.problems(line, errors=False)


def check(text: str, source: str = "lvsha.toml") -> tuple[ConfigProblem, ...]:
    """The warnings of a file, whoever will run it.

    Raises:
        ConfigErrors: as ``loads``, but for not knowing which director this is.
    """
    findings = Findings()
    document, parts = _read(text, source, findings, None)
    if document is not None:
        for node in document.directors or (STANDALONE,):
            resolve(document, parts, node, findings)
    line = _line_finder(text)
    _refuse(line, source, findings)
    return findings.problems(line, errors=False)


FILE_KEYS = frozenset(
    {"ca_file", "certificate_file", "key_file", "command", "hook", "pre_hook", "script", "exec"}
)
"""Keys that name a file which has to be there when the director runs."""


def named_files(text: str) -> Iterator[tuple[str, ConfigProblem]]:
    """Every file that a good configuration names, with the problem to report if it is not there."""
    document = tomllib.loads(text)
    lines = line_map(text)

    def walk(value: object, path: Path) -> Iterator[tuple[str, Path]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                at: Path = (*path, key)
                if key in FILE_KEYS and isinstance(inner, str):
                    yield inner, at
                elif key in FILE_KEYS and isinstance(inner, list) and inner and isinstance(inner[0], str):
                    yield inner[0], (*at, 0)
                else:
                    yield from walk(inner, at)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                yield from walk(inner, (*path, number))

    for name, path in walk(document, ()):
        yield (
            name,
            ConfigProblem(
                path=path_text(path), message=f"there is no file {name} here", line=line_of(lines, path)
            ),
        )


# --- reading ------------------------------------------------------------------------------------------


def _line_finder(text: str) -> Callable[[Path], int | None]:
    lines: dict[Path, int] = {}

    def find(path: Path) -> int | None:
        if not lines:
            lines.update(line_map(text))
        return line_of(lines, path)

    return find


def _refuse(line: Callable[[Path], int | None], source: str, findings: Findings) -> None:
    if findings.has_errors:
        raise ConfigErrors(source, findings.problems(line, errors=True))


def _syntax_problem(text: str, error: ValueError) -> ConfigProblem:
    """``tomllib`` stops at the first error and names its place in the sentence only."""
    message = str(error)
    line: int | None = None
    if match := re.search(r" ?\(at line (\d+), column (\d+)\)", message):
        line = int(match[1])
        message = message.replace(match[0], f" at column {match[2]}")
    elif "(at end of document)" in message:
        line = text.count("\n") + 1
        message = message.replace("(at end of document)", "at the end of the file")
    suggestion = None
    if message.startswith("Invalid value"):
        suggestion = 'text stands in quotes: interface = "eth0"'
    elif message.startswith("Invalid initial character for a key part"):
        suggestion = "is a quote or a bracket missing before it?"
    elif message.startswith("Expected '=' after a key"):
        suggestion = 'write key = "value"'
    elif message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        suggestion = "this name is there already; several of a kind need [[double]] brackets"
    return ConfigProblem(path="TOML", message=message, line=line, suggestion=suggestion)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number beyond int's own limit
        raise ConfigErrors(source, [_syntax_problem(text, error)]) from None
    except RecursionError:
        raise ConfigErrors(source, [ConfigProblem(path="TOML", message="is nested too deeply")]) from None


def _read(text: str, source: str, findings: Findings, pieces: Pieces | None) -> tuple[Document | None, Parts]:
    """The document without the parts that the schema refuses; None when too little is left."""
    raw = _parse(text, source) if pieces is None else pieces.raw(afresh=False)
    try:
        document = Document.model_validate(raw)
        if pieces is not None:
            pieces.remember(document)
        return document, _parts(raw, set())
    except ValidationError as error:
        if pieces is not None:
            raw = pieces.raw(afresh=True)
        refused = explain(raw, error, findings)
    if any(path[0] in ("directors", "defaults") for path in (*refused.values, *refused.unknown)):
        return None, _parts(raw, set())
    # What is left when the refused parts are gone still has something to say.
    raw = _with_meant_keys(raw, refused.unknown)
    lost: set[Path] = set()
    try:
        Document.model_validate(raw)
    except ValidationError as error:
        lost = {_part(raw, path) for path in explain(raw, error, Findings()).values}
        # The flags of a scheduler that nobody knows belong to it.
        lost |= {(*path[:-1], "scheduler_flags") for path in lost if path[-1] == "scheduler"}
    try:
        return Document.model_validate(_without(raw, lost)), _parts(raw, lost)
    except ValidationError:
        return None, _parts(raw, set())


def _with_meant_keys(value: Any, unknown: Mapping[Path, str | None], path: Path = ()) -> Any:
    """``value`` with misspelt keys put right and other unknown ones left out."""
    if isinstance(value, dict):
        table = {}
        for key, inner in value.items():
            at: Path = (*path, key)
            if at not in unknown:
                table[key] = _with_meant_keys(inner, unknown, at)
            elif (meant := unknown[at]) is not None and meant not in value:
                table[meant] = inner
        return table
    if isinstance(value, list):
        return [_with_meant_keys(inner, unknown, (*path, place)) for place, inner in enumerate(value)]
    return value


SPARE_KEYS = frozenset(
    {
        *("scheduler", "scheduler_flags"),
        *("name", "check", "sorry", "quorum", "hysteresis", "quorum_unit", "on_failure"),
        *("minimum_pooled_percent", "slow_start", "garp", "password", "advert_interval", "preempt"),
        *("authentication", "key_file", "pre_hook", "pre_hook_timeout", "link_up_delay", "link_down_delay"),
        *("routes", "rules", "paths", "prove_to"),
        *("preempt_delay", "min_ttl", "checksum", "release_deadline", "lease", "priority"),
        *("startup_delay", "boot_delay", "vmac", "vmac_interface", "accept"),
        *("track", "group", "hook", "hook_timeout", "hook_repeat"),
    }
)
"""Keys whose value can be refused without making other checks of their table say nonsense."""


def _part(raw: Mapping[str, Any], path: Path) -> Path:
    """The smallest part around a refused value without which the rest still makes sense."""
    if not isinstance(raw.get(str(path[0])), list) or len(path) < 3:
        return path[:2] if isinstance(raw.get(str(path[0])), list) else path[:1]
    depth = 4 if path[0] == "service" and path[2] == "realservers" and len(path) > 3 else 2
    if len(path) > depth and path[depth] in SPARE_KEYS:
        return path[: depth + 1]
    return path[:depth]


def _without(value: Any, lost: Collection[Path], path: Path = ()) -> Any:
    """``value`` without the parts in ``lost``."""
    if isinstance(value, dict):
        return {
            key: _without(inner, lost, (*path, key))
            for key, inner in value.items()
            if (*path, key) not in lost
        }
    if isinstance(value, list):
        return [
            _without(inner, lost, (*path, place))
            for place, inner in enumerate(value)
            if (*path, place) not in lost
        ]
    return value


def _parts(raw: Mapping[str, Any], lost: Collection[Path]) -> Parts:
    def places(tables: object, path: Path) -> tuple[int, ...]:
        if not isinstance(tables, list) or path in lost:
            return ()
        return tuple(place for place in range(len(tables)) if (*path, place) not in lost)

    services = places(raw.get("service"), ("service",))
    cut = {path[1] for path in lost if len(path) == 4 and path[2] == "realservers"}
    return Parts(
        vrrp=places(raw.get("vrrp"), ("vrrp",)),
        service=services,
        realservers={
            place: places(raw["service"][place]["realservers"], ("service", place, "realservers"))
            for place in services
            if place in cut
        },
        vrrp_complete=not any(path[0] == "vrrp" and len(path) < 3 for path in lost),
    )


# --- who are we ---------------------------------------------------------------------------------------


def _identify(
    document: Document | None,
    node: str | None,
    hostname: str,
    local_addresses: Collection[Address],
    findings: Findings,
) -> str | None:
    if document is None:
        return None
    names = list(document.directors)
    short = hostname.partition(".")[0]
    if not names:
        return node or short or STANDALONE
    if node is not None:
        if node not in names:
            findings.error(
                ("directors",),
                f'no director is called "{node}"',
                did_you_mean(node, names) or f"known: {', '.join(names)}",
            )
        return node if node in names else None
    if hostname in names:
        return hostname
    if short:
        alike = [name for name in names if name.partition(".")[0].lower() == short.lower()]
        if len(alike) == 1:
            return alike[0]
    for name, director in document.directors.items():
        if director.address is not None and director.address in local_addresses:
            return name
    findings.error(
        ("directors",),
        f'this host, "{hostname}", is none of {", ".join(names)} and has none of their addresses',
        f"say which one with --node {names[0]}",
    )
    return None
