"""One event, one line, stable name, fields and not sentences.

``vrrp.became_master router=eth0-51 after_ms=361 reason=...`` as text, or the
same as a JSON object. Nothing parses our prose. The last events are kept in
memory for ``lvsha status`` and the API, whatever their level; ``log_level``
decides which get a line.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TextIO

from lvsha.config.settings import AgentSettings, LogFormat, LogLevel

_KEEP = 1000
"""Events kept in memory; the oldest goes."""

_RANK = {level: rank for rank, level in enumerate(LogLevel)}
_LEVELS = {
    LogLevel.ERROR: (
        "agent.reload_refused",
        "agent.renewal_refused",
        "agent.worker_died",
        "agent.worker_killed",
        "agent.worker_silent",
        "agent.last_good_used",
        "director.api_refused",
        "director.config_not_rolled_back",
        "director.dump_failed",
        "director.operation_failed",
        "director.orders_not_kept",
        "director.orders_unreadable",
        "director.timeouts_failed",
        "sync.daemon_failed",
        "sync.no_interface",
        "sync.stop_failed",
        "sync.sysctl_failed",
        "vrrp.action_failed",
        "vrrp.address_conflict",
        "vrrp.bind_failed",
        "vrrp.duplicate_master",
        "vrrp.entered_fault",
        "vrrp.interface_unusable",
        "vrrp.unbind_failed",
    ),
    LogLevel.WARNING: (
        "agent.config_warning",
        "alert.coverage_low",
        "alert.failed",
        "alert.held_back",
        "alert.queue_full",
        "agent.restart_needed",
        "change.kernel",
        "checker.check_fell",
        "checker.loop_became_late",
        "checker.quorum_lost",
        "director.accept_mode_repaired",
        "director.accept_mode_unavailable",
        "director.config_differs",
        "director.config_rolled_back",
        "director.maintenance_dir_unreadable",
        "director.maintenance_file_refused",
        "director.orders_not_understood",
        "director.orders_passed_over",
        "director.reload_refused",
        "director.reset_grace_repaired",
        "director.reset_grace_unavailable",
        "director.switchover_failed",
        "director.switchover_missed",
        "director.vrrpd_gone",
        "ipvs.destination_altered",
        "ipvs.destination_foreign",
        "ipvs.destination_missing",
        "ipvs.drift_not_told",
        "ipvs.service_altered",
        "ipvs.service_missing",
        "sync.sync_daemon_repaired",
        "vrrp.addresses_repaired",
        "vrrp.advertisement_dropped",
        "vrrp.not_waiting",
        "vrrp.peer_disagrees",
        "vrrp.ran_late",
        "vrrp.realtime_refused",
        "vrrp.supervisor_gone",
        "vrrp.vmac_failed",
    ),
    LogLevel.DEBUG: ("checker.pool_changed",),
}
_LEVEL_OF = {name: level for level, names in _LEVELS.items() for name in names}


def level_of(event: str) -> LogLevel:
    """How important an event is: INFO unless something is or may be wrong."""
    return _LEVEL_OF.get(event, LogLevel.INFO)


def plain(value: Any) -> Any:
    """A value as JSON can carry it: records become objects, addresses text, enums their value.

    The only bytes in events are MAC addresses: ``02:00:5e:00:00:01``.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex(":")
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    return str(value)


def snake(name: str) -> str:
    """``BecameMaster`` -> ``became_master``."""
    return "".join("_" + char.lower() if char.isupper() else char for char in name).lstrip("_")


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"))
    text = str(value)
    return json.dumps(text) if not text or any(char in text for char in ' "=\n') else text


class Journal:
    """Writes events to a stream, keeps the last ones, tells who listens."""

    def __init__(self, process: str, settings: AgentSettings, *, stream: TextIO | None = None) -> None:
        self._process = process
        self.configure(settings)
        self._stream = stream if stream is not None else sys.stderr
        self.recent: deque[dict[str, Any]] = deque(maxlen=_KEEP)
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def configure(self, settings: AgentSettings) -> None:
        """How lines look, and which are written, from now on."""
        self._as_json = settings.log_format is LogFormat.JSON
        self._least = _RANK[settings.log_level]

    def record(self, engine: str, event: object) -> None:
        """A machine's event: the name is the engine's and the record's, the fields are the record's."""
        self.write(f"{engine}.{snake(type(event).__name__)}", **plain(event))

    def write(self, name: str, **values: Any) -> None:
        """An event by name."""
        entry = {"at": round(time.time(), 3), "event": name, "process": self._process, **plain(values)}
        self.recent.append(entry)
        if _RANK[level_of(name)] >= self._least:
            self._say(entry)
        for listener in self.listeners:
            listener(entry)

    def _say(self, entry: dict[str, Any]) -> None:
        if self._as_json:
            line = json.dumps(entry, separators=(",", ":"))
        else:
            stamp = time.strftime("%H:%M:%S", time.localtime(entry["at"])) + f"{entry['at'] % 1:.3f}"[1:]
            pairs = " ".join(
                f"{key}={_text(value)}"
                for key, value in entry.items()
                if key not in ("at", "event", "process")
            )
            line = f"{stamp} {self._process} {entry['event']} {pairs}".rstrip()
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # a full disk or a closed terminal must not stop a director
