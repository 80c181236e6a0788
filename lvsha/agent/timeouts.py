"""The kernel's IPVS time-outs, kept as the settings want them.

Puts back at a planned stop what it found at its first start, also when a killed
directord lies between the two: the originals wait in the run directory.
"""

import json
from pathlib import Path
from typing import Protocol

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.ipvs.model import Timeouts

_FIELDS = ("tcp_s", "tcp_fin_s", "udp_s")


class TimeoutsPort(Protocol):
    """What is needed of ``io.ipvs_genl.IpvsSocket``."""

    def timeouts(self) -> Timeouts: ...

    def set_timeouts(self, timeouts: Timeouts) -> None: ...


class KernelTimeouts:
    """Level-triggered: ``settle`` writes nothing when the kernel has what is wanted."""

    def __init__(self, kernel: TimeoutsPort, journal: Journal, run_dir: Path) -> None:
        self._kernel = kernel
        self._journal = journal
        self._path = run_dir / "timeouts.json"
        self._original = self._load()
        self._complaint = ""

    def settle(self, wanted: Timeouts | None) -> None:
        """Bring the kernel to ``wanted``; what it leaves at 0 or None is what was found."""
        values = {name: getattr(wanted, name) for name in _FIELDS} if wanted is not None else {}
        target = {name: values.get(name) or self._original.get(name, 0) for name in _FIELDS}
        if not any(target.values()):
            return
        try:
            found = self._kernel.timeouts()
            changed = {
                name: value for name, value in target.items() if value and value != getattr(found, name)
            }
            if changed:
                self._remember(found, values)
                self._kernel.set_timeouts(Timeouts(**changed))
                self._journal.write("director.timeouts_set", **changed)
        except KernelError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._journal.write("director.timeouts_failed", error=str(error))
            return
        self._complaint = ""

    def restore(self) -> None:
        """Put back what was found at the first start."""
        self.settle(None)
        self._path.unlink(missing_ok=True)
        self._original = {}

    def _remember(self, found: Timeouts, wanted: dict[str, int]) -> None:
        new = {name: getattr(found, name) for name, value in wanted.items() if value}
        if not new.keys() <= self._original.keys():
            self._original = {**new, **self._original}
            self._path.write_text(json.dumps(self._original))

    def _load(self) -> dict[str, int]:
        try:
            loaded = json.loads(self._path.read_text())
            return {name: int(loaded[name]) for name in _FIELDS if name in loaded}
        except (OSError, ValueError, TypeError):
            return {}
