"""The kernel's watchdog device: it restarts the machine unless somebody writes to it in time.

Source: ``Documentation/watchdog/watchdog-api.rst`` of the kernel. Closing it does not stop it, but for a
``V`` written last (the magic close), and not even that where it was loaded with ``nowayout``.
"""

import contextlib
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_GETSUPPORT = 0x80285700
_SETTIMEOUT = 0xC0045706
_GETTIMEOUT = 0x80045707
_INFO = struct.Struct("=II32s")
_INT = struct.Struct("=i")
_MAGIC_CLOSE = 0x0100
_SYSFS = Path("/sys/dev/char")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogFacts:
    """What the driver says of itself."""

    identity: str
    timeout_s: int
    """The driver may round what it was asked for."""
    can_stop: bool
    """A magic close stops it."""


class WatchdogDevice:
    def __init__(self, path: str, timeout_s: int) -> None:
        """Open it, which starts it.

        Raises:
            OSError: EBUSY where another program holds it.
        """
        # Without waiting: a pipe in its place has perhaps no reader.
        self._fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.facts = self._ask(timeout_s)

    def pet(self) -> None:
        """Raises: OSError."""
        os.write(self._fd, b"\0")

    def close(self, *, stop: bool) -> None:
        """``stop`` False: it goes on, and the machine is restarted unless a successor comes in time."""
        with contextlib.suppress(OSError):
            if stop:
                os.write(self._fd, b"V")
        os.close(self._fd)

    def _ask(self, timeout_s: int) -> WatchdogFacts:
        timeout = bytearray(_INT.pack(timeout_s))
        info = bytearray(_INFO.size)
        try:
            fcntl.ioctl(self._fd, _GETSUPPORT, info)
        except OSError:  # no watchdog: a file or a pipe in a trial
            return WatchdogFacts(identity="no watchdog", timeout_s=timeout_s, can_stop=True)
        options, _, identity = _INFO.unpack(info)
        with contextlib.suppress(OSError):  # a timeout that cannot be set can be asked for
            fcntl.ioctl(self._fd, _SETTIMEOUT, timeout)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, _GETTIMEOUT, timeout)
        return WatchdogFacts(
            identity=identity.rstrip(b"\0").decode(errors="replace"),
            timeout_s=_INT.unpack(timeout)[0],
            can_stop=bool(options & _MAGIC_CLOSE) and not self._has_no_way_out(),
        )

    def _has_no_way_out(self) -> bool:
        status = os.fstat(self._fd)
        if not stat.S_ISCHR(status.st_mode):
            return False
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        for path in (_SYSFS / number / "nowayout", Path("/sys/class/watchdog/watchdog0/nowayout")):
            with contextlib.suppress(OSError):
                return path.read_text().strip() == "1"
        return False
