"""systemd's notification protocol: one datagram to ``$NOTIFY_SOCKET`` (sd_notify(3))."""

import contextlib
import os
import socket


class Notifier:
    """Silent where there is no systemd."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        """None where there is no systemd."""
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Take ``NOTIFY_SOCKET`` out of the environment, so that no child inherits it."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def send(self, *assignments: str) -> None:
        """Send e.g. ``READY=1`` and ``STATUS=...``; a lost message is systemd's watchdog's business."""
        if self._socket is None or not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError):  # systemd is restarting; it asks again by its watchdog
            self._socket.sendto("\n".join(assignments).encode(), address)


def watchdog_interval_s() -> float | None:
    """How often to send ``WATCHDOG=1``: half of what systemd allows; None where it does not watch us."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    return int(microseconds) / 2e6 if microseconds else None
