"""Process 1 of a guest: ``python -m lvsha.lab.init SESSION KIND``.

Makes the machine usable (file systems, modules, loop-back), runs the session's command as its child,
collects orphans, writes ``status.json`` and switches the machine off. KIND is ``uml`` or ``host``; on the
host's kernel we are process 1 of a process namespace only, and end by returning.
"""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import tty
from pathlib import Path
from typing import Any, NoReturn

from lvsha.lab import syscalls

GRACE_S = 10.0
"""A guest ends itself this long after its limit, should nobody outside be left to do it."""


def main(arguments: list[str]) -> NoReturn:
    folder, kind = Path(arguments[0]), arguments[1]
    own_machine = kind == "uml"
    request = json.loads((folder / "request.json").read_text())
    result: dict[str, object]
    try:
        os.environ.clear()
        os.environ.update(request["environment"])
        _mount_everything(request, own_machine=own_machine)
        _load_modules(request["modules"], own_machine=own_machine)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        os.chdir(request["cwd"])
        result = {"exit": _run(request, own_machine=own_machine)}
    except (OSError, subprocess.SubprocessError) as error:
        result = {"exit": 125, "error": f"the guest could not be set up: {error}"}
    (folder / "status.json").write_text(json.dumps(result))
    if own_machine:
        syscalls.power_off()
    raise SystemExit(0)


def _mount_everything(request: dict[str, Any], *, own_machine: bool) -> None:
    if own_machine:
        syscalls.mount("proc", "/proc", "proc")
        os.makedirs("/dev/pts", exist_ok=True)
        os.makedirs("/dev/shm", exist_ok=True)
        syscalls.mount("devpts", "/dev/pts", "devpts", data="ptmxmode=666")
    else:
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("sysfs", "/sys", "sysfs")
    kept = [(path, os.open(path, os.O_PATH)) for path in request["keep"]]
    for folder in request["hidden"]:
        if os.path.isdir(folder) and not os.path.islink(folder):
            syscalls.mount("tmpfs", folder, "tmpfs", data="mode=1777" if folder != "/run" else "mode=755")
    for path, fd in kept:
        _show_again(path, fd)
    for folder in ("/run/netns", "/run/lock", request["environment"]["HOME"]):
        os.makedirs(folder, exist_ok=True)


def _show_again(path: str, fd: int) -> None:
    """Bind what was at ``path`` before a tmpfs covered it back to its place."""
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    elif not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).touch()
    syscalls.mount(source, path, flags=syscalls.MS_BIND)
    os.close(fd)


def _load_modules(batches: list[list[str]], *, own_machine: bool) -> None:
    """Load what is there; a kernel with a part built in, or without it, is no error here."""
    command = ["modprobe", "-q", "-a"]
    if own_machine:
        release = os.uname().release
        os.makedirs("/run/lm/lib/modules")
        os.symlink(f"/usr/lib/uml/modules/{release}", f"/run/lm/lib/modules/{release}")
        command += ["-d", "/run/lm"]
        # The kernel's own module requests (a scheduler named in a new service) must find them too.
        helper = Path("/run/modprobe")
        helper.write_text('#!/bin/sh\nexec /sbin/modprobe -d /run/lm "$@"\n')
        helper.chmod(0o755)
        Path("/proc/sys/kernel/modprobe").write_text(str(helper))
        # Else every tunnel module puts a device of its own into each new network namespace.
        Path("/proc/sys/net/core/fb_tunnels_only_for_init_net").write_text("1")
    for batch in batches:
        subprocess.run([*command, *batch], check=False, capture_output=True)
    if not Path("/proc/net/ip_vs").exists():
        raise OSError("ip_vs did not load: is the package user-mode-linux complete?")


def _run(request: dict[str, Any], *, own_machine: bool) -> int:
    if not own_machine:
        child = subprocess.Popen(request["argv"])
        return _wait(child, request["limit_s"])
    if request["interactive"]:
        child = subprocess.Popen(
            request["argv"], preexec_fn=lambda: _take_terminal("/dev/tty1", request["terminal"])
        )
        return _wait(child, request["limit_s"])
    child = subprocess.Popen(
        request["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    copies = [
        threading.Thread(target=_copy, args=(child.stdout.fileno(), "/dev/ttyS0"), daemon=True),
        threading.Thread(target=_copy, args=(child.stderr.fileno(), "/dev/ttyS1"), daemon=True),
    ]
    for thread in copies:
        thread.start()
    status = _wait(child, request["limit_s"])
    for thread in copies:
        # A process that the command left behind may hold the pipe open: do not wait for that one.
        thread.join(timeout=1.0)
    return status


def _copy(source: int, line: str) -> None:
    """Copy a pipe to a serial line, which user-mode Linux copies to a pipe of the host.

    Pipes at both ends, so that programs do not believe that they talk to a terminal.
    """
    target = os.open(line, os.O_WRONLY | os.O_NOCTTY)
    tty.setraw(target)
    while data := os.read(source, 4096):
        while data:
            data = data[os.write(target, data) :]
    termios.tcdrain(target)


def _take_terminal(device: str, size: tuple[int, int] | None) -> None:
    os.setsid()
    fd = os.open(device, os.O_RDWR)
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    if size is not None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
    for standard in (0, 1, 2):
        os.dup2(fd, standard)


def _wait(child: "subprocess.Popen[bytes]", limit_s: float) -> int:
    """Wait for our command; collect the orphans that process 1 inherits on the way."""

    def expire(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S)
    try:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == child.pid:
                signal.setitimer(signal.ITIMER_REAL, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode if child.returncode >= 0 else 128 - child.returncode
    except TimeoutError:
        child.kill()
        return 124


if __name__ == "__main__":
    main(sys.argv[1:])
