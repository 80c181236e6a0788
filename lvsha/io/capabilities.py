"""What this process may do, as the kernel sees it: capabilities(7)."""

from enum import IntEnum
from pathlib import Path

from lvsha.core.errors import LvshaError

_STATUS = Path("/proc/self/status")


class Capability(IntEnum):
    """Numbers of ``linux/capability.h``."""

    NET_ADMIN = 12
    NET_RAW = 13


class NotAllowed(LvshaError):
    """A capability is missing, and nothing works without it."""


def parse_effective(status: str) -> int:
    """The ``CapEff`` line of a ``/proc/PID/status``, as a bit mask."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def require_capabilities(*needed: Capability, status: Path = _STATUS) -> None:
    """Return when all of them are in effect.

    Raises:
        NotAllowed: which are not, and what to do.
    """
    effective = parse_effective(status.read_text())
    missing = [f"CAP_{capability.name}" for capability in needed if not effective >> capability & 1]
    if missing:
        names = " and ".join(missing)
        raise NotAllowed(
            f"{names} missing: run it as root, through its systemd unit, or in a container with "
            + " ".join(f"--cap-add {name.removeprefix('CAP_')}" for name in missing)
        )
