"""Which services in the kernel are ours, across a killed directord.

Only what we made may we remove when the configuration no longer names it. The
list lies in the run directory: a reboot empties the kernel's table and it alike.
"""

import json
import os
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path

from lvsha.ipvs.model import ServiceKey


class OwnedServices:
    """A set of keys that survives us. A file that cannot be read counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: frozenset[ServiceKey] = frozenset()
        try:
            rows = json.loads(path.read_text())
            self.keys = frozenset(
                ServiceKey(**{**row, "address": ip_address(row["address"]) if row["address"] else None})
                for row in rows
            )
        except (OSError, ValueError, TypeError, KeyError):
            pass  # none yet, or not ours: then nothing in the kernel is

    def set(self, keys: frozenset[ServiceKey]) -> None:
        """Remember ``keys``; writes only when they changed."""
        if keys == self.keys:
            return
        rows = [
            {**asdict(key), "address": str(key.address) if key.address is not None else None} for key in keys
        ]
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(rows))
        os.replace(temporary, self._path)
        self.keys = keys

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)
        self.keys = frozenset()
