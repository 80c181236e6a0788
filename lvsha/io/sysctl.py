"""Kernel settings under ``/proc/sys``, read, written, and put back.

``/proc/sys/net`` shows the network namespace of the *thread* that opens it, as
every path here needs. (``/proc/net`` does not: it is ``/proc/self/net``, the
namespace of the main thread; ``lvsha.io.procfs`` reads ``/proc/thread-self/net``.)
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvsha.core.errors import KernelError

ROOT = Path("/proc/sys")


def sysctl_path(name: str, root: Path = ROOT) -> Path:
    """The file of a setting: ``net.ipv4.vs.sync_threshold``.

    A dot inside an interface's name is written as a slash, as sysctl(8) has it:
    ``net.ipv4.conf.eth0/10.arp_ignore``.

    Raises:
        ValueError: not the name of a setting.
    """
    parts = [part.replace("/", ".") for part in name.split(".")]
    if not all(parts) or any(part.strip(".") == "" for part in parts):
        raise ValueError(f"{name!r} is not the name of a kernel setting: write net.ipv4.ip_forward")
    return root.joinpath(*parts)


_HINTS = {
    errno.ENOENT: "this kernel has no such setting, or the module that has it is not loaded",
    errno.EACCES: "it may not be written here: needs root in the initial user namespace",
    errno.EPERM: "it may not be written here: needs root in the initial user namespace",
    errno.EROFS: "/proc/sys is mounted read-only (a container?): set it on the host",
    errno.EINVAL: "the kernel refuses this value",
}


def read_sysctl(name: str, *, root: Path = ROOT) -> str:
    """The value, without the newline; several values are separated by single blanks.

    Raises:
        KernelError: ENOENT, no such setting in this kernel or namespace; EACCES.
    """
    try:
        return " ".join(sysctl_path(name, root).read_text().split())
    except OSError as error:
        raise _error(f"read {name}", error) from None


def write_sysctl(name: str, value: str, *, root: Path = ROOT) -> None:
    """Set it.

    Raises:
        KernelError: ENOENT, EACCES, EROFS, or EINVAL when the kernel refuses the value.
    """
    try:
        # Not write_text(): that would create a file where there is no setting.
        with sysctl_path(name, root).open("r+b", buffering=0) as file:
            file.write(f"{value}\n".encode())
    except OSError as error:
        raise _error(f"set {name} to {value!r}", error) from None


def _error(operation: str, error: OSError) -> KernelError:
    code = error.errno or errno.EIO
    return KernelError(operation, code, _HINTS.get(code, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSysctl:
    """What a setting was before we changed it, and what we made of it."""

    name: str
    before: str
    ours: str


def change_sysctls(
    wanted: Mapping[str, str], *, root: Path = ROOT
) -> tuple[list[SavedSysctl], list[KernelError]]:
    """Set all that differ.

    Returns:
        What was changed, for ``restore_sysctls``; and what could not be.
    """
    saved: list[SavedSysctl] = []
    failures: list[KernelError] = []
    for name, value in wanted.items():
        value = " ".join(value.split())
        try:
            before = read_sysctl(name, root=root)
            if before == value:
                continue
            write_sysctl(name, value, root=root)
        except KernelError as error:
            failures.append(error)
        else:
            saved.append(SavedSysctl(name=name, before=before, ours=value))
    return saved, failures


def restore_sysctls(saved: Iterable[SavedSysctl], *, root: Path = ROOT) -> list[KernelError]:
    """Put back what is still ours, last changed first; what somebody else set meanwhile stays.

    Returns:
        What could not be put back.
    """
    failures: list[KernelError] = []
    for entry in reversed(list(saved)):
        try:
            if read_sysctl(entry.name, root=root) == entry.ours:
                write_sysctl(entry.name, entry.before, root=root)
        except KernelError as error:
            failures.append(error)
    return failures
