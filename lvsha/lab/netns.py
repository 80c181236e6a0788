"""Network namespaces by name, cheaply: entering one costs a system call, not a process."""

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from lvsha.lab import syscalls
from lvsha.lab.errors import LabError

FOLDER = Path("/run/netns")


class Namespace:
    """A named network namespace, made and deleted by ``ip netns``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def enter(self) -> None:
        """Move this process inside for good."""
        there = os.open(FOLDER / self.name, os.O_RDONLY)
        syscalls.setns(there)
        os.close(there)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside for the length of a block. Sockets and ``/proc/net`` files opened there stay there.

        Only for the main thread of a process: ``/proc/net`` is always the main thread's.
        """
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(FOLDER / self.name, os.O_RDONLY)
        try:
            syscalls.setns(there)
            yield
        finally:
            syscalls.setns(here)
            os.close(here)
            os.close(there)

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a process inside."""
        with self.entered():
            return subprocess.Popen(argv, **options)

    def run(self, argv: Sequence[str], *, check: bool = True) -> str:
        """Run a command inside and return what it printed."""
        with self.entered():
            return run(argv, check=check)

    def batch(self, lines: Iterable[str]) -> None:
        """Run many ``ip`` commands inside with one process."""
        with self.entered():
            ip_batch(lines)

    def sysctl(self, **values: str | int) -> None:
        """Set ``net__ipv4__ip_forward=1`` and the like; two underscores stand for a slash."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys", name.replace("__", "/")).write_text(f"{value}\n")

    def read(self, path: str) -> str:
        """A file of ``/proc/net`` or ``/proc/sys/net`` as it is inside."""
        with self.entered():
            return Path(path).read_text()

    def open(self, path: str) -> IO[bytes]:
        """As ``read``, for a caller that reads again and again."""
        with self.entered():
            return open(path, "rb", buffering=0)


def run(argv: Sequence[str], *, check: bool = True) -> str:
    """Run a command to its end and return its output.

    Raises:
        LabError: it could not be run or failed, with what it said.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip_batch(lines: Iterable[str]) -> None:
    """Run many ``ip`` commands with one process, here."""
    commands = list(lines)
    text = "\n".join(commands) + "\n"
    done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said, _, number = done.stderr.strip().partition("\nCommand failed -:")
        command = commands[int(number) - 1] if number.isdigit() else commands[0]
        raise LabError(f"ip {command}: {said}")


def present() -> list[str]:
    """The named namespaces there are."""
    return sorted(path.name for path in FOLDER.iterdir()) if FOLDER.is_dir() else []


def links() -> list[str]:
    """The network devices here."""
    return [path.name for path in Path("/sys/class/net").iterdir()]


SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def set_link(device: str, *, up: bool) -> None:
    """Switch a device on or off at once; starting ``ip`` takes a tenth of a second on user-mode Linux."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        name = device.encode()
        flags: int = struct.unpack_from(
            "16sH", fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH22x", name, 0))
        )[1]
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags))
