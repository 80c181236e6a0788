"""Run one command where there is a real IPVS kernel.

Two kinds of kernel serve: the host's own, when it has ``ip_vs``, with the command in network, mount and
process namespaces of its own; or user-mode Linux, an ordinary process that needs no KVM, no image and no
network and mounts the host's root file system. Either way the command sees the host's files and programs,
but ``/tmp``, ``/run`` and their like are its own, so that nothing is littered on the host.

The command's output is passed on while it runs; its exit status comes back through a file, because a
virtual machine has none. A guest never outlives its time limit or us.
"""

import compileall
import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

from lvsha.lab import syscalls
from lvsha.lab.errors import GuestTimeout, LabError

MODULES = (
    # ipv6 first: ip_vs and bridge need its symbols.
    ("ipv6",),
    ("ip_vs", "veth", "bridge", "dummy", "macvlan", "tun", "nlmon"),
    ("sch_netem", "sch_prio", "cls_u32"),
    ("ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_sh", "ip_vs_mh"),
    (
        "ipip",
        "ip_gre",
        "ip6_tunnel",
        "ip6_gre",
        "sit",
        "fou",
        "fou6",
        "nf_tables",
        "ip_vs_ftp",
        "ip_vs_pe_sip",
    ),
)
"""Loaded in this order. The kernel finds other schedulers by itself where it can call modprobe."""

HIDDEN = ("/run", "/tmp", "/var/tmp", "/dev/shm")
"""Folders that the guest has to itself."""

IN_GUEST = "LVSHA_IN_GUEST"
"""Set in a guest's environment: only there may bridges and namespaces be made and deleted at will."""

CONSOLE_LINES = 200
"""Kernel lines kept for the error text; older ones go."""

INSTALL_HINT = "apt-get install user-mode-linux kmod iproute2"


class Kernel(StrEnum):
    """Whose IPVS is used."""

    HOST = "host"
    UML = "uml"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRequest:
    """What to run in a guest."""

    argv: tuple[str, ...]
    limit_s: float = 300.0
    """The guest is ended after this long."""
    memory: str = "1G"
    """Of a user-mode guest, as its ``mem=`` takes it."""
    kernel_words: tuple[str, ...] = ()
    """On the command line of a user-mode guest: options of modules, for instance."""
    interactive: bool = False
    """Connect the guest to our terminal."""
    keep: tuple[str, ...] = ()
    """Files and folders under a hidden folder that must be seen in the guest all the same."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the guest's small environment."""


def choose_kernel(wanted: str) -> Kernel:
    """The kernel to use for ``auto``, ``host`` or ``uml``.

    Raises:
        LabError: the wanted kind is not to be had; the text says what to install.
    """
    if wanted in ("auto", "host"):
        if _host_has_ipvs():
            if os.geteuid() != 0:
                raise LabError("the lab needs root to make network namespaces: run it with sudo")
            return Kernel.HOST
        if wanted == "host":
            raise LabError("this kernel has no ip_vs (modprobe ip_vs failed): use --kernel uml")
    if shutil.which("linux.uml") is None:
        raise LabError(f"this kernel has no ip_vs, and linux.uml is not installed: {INSTALL_HINT}")
    for program in ("modprobe", "ip"):
        if shutil.which(program, path=_GUEST_PATH) is None:
            raise LabError(f"{program} is not installed: {INSTALL_HINT}")
    return Kernel.UML


def run_in_guest(request: GuestRequest, kernel: Kernel, *, output: IO[bytes] | None = None) -> int:
    """Run the command in a fresh guest and return its exit status (128 + signal when one ended it).

    Its stdout goes to ``output`` (default: ours), its stderr to our stderr, both while it runs.

    Raises:
        LabError: the guest did not start, or ended before the command did.
        GuestTimeout: the limit has passed.
    """
    with session(request) as folder:
        return run_session(folder, request, kernel, output=output)


@contextlib.contextmanager
def session(request: GuestRequest, *, with_session: bool = False) -> Iterator[Path]:
    """A folder, seen in the guest under the same path, that takes the request in and brings results out.

    ``with_session``: the command gets the folder as its last argument.
    """
    with tempfile.TemporaryDirectory(prefix="lvsha-guest-") as name:
        folder = Path(name)
        document = asdict(request) | {
            "argv": [*request.argv, name] if with_session else request.argv,
            "cwd": os.getcwd(),
            "keep": [*_kept_paths(request), name],
            "modules": MODULES,
            "hidden": HIDDEN,
            "terminal": _terminal_size() if request.interactive else None,
            "environment": _guest_environment() | request.environment,
        }
        (folder / "request.json").write_text(json.dumps(document))
        _compile()
        yield folder


def _compile() -> None:
    """Byte-compile lvsha here, where it is kept: a guest would compile it anew in every process it starts."""
    compileall.compile_dir(Path(__file__).resolve().parents[1], quiet=2)


def run_session(
    folder: Path, request: GuestRequest, kernel: Kernel, *, output: IO[bytes] | None = None
) -> int:
    """``run_in_guest`` for a caller that wants to read more than the exit status out of the session."""
    with _terminal_in_raw_mode(request.interactive and kernel is Kernel.UML):
        if kernel is Kernel.UML:
            console = _run_user_mode(folder, request, output)
        else:
            console = _run_unshared(folder, request, output)
    status = folder / "status.json"
    if not status.exists():
        raise LabError(f"the guest ended before its command did; its last words:\n{console}")
    result = json.loads(status.read_text())
    if result.get("error"):
        raise LabError(str(result["error"]))
    return int(result["exit"])


# What the guest sees

_LEAST_MEMORY = 128 << 20
_GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("LANG", "LC_ALL", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CI", "PYTEST_ADDOPTS")


def _guest_environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    lvsha = {name: value for name, value in os.environ.items() if name.startswith("LVSHA_")}
    own = {"PATH": _GUEST_PATH, "HOME": "/tmp/home", "PYTHONDONTWRITEBYTECODE": "1", IN_GUEST: "1"}
    return passed | lvsha | own


def _kept_paths(request: GuestRequest) -> list[str]:
    """Everything the command needs that lies in a folder the guest hides."""
    package = Path(__file__).resolve().parents[2]
    wanted = [os.getcwd(), sys.prefix, sys.base_prefix, str(package), *request.keep]
    wanted += [word for word in request.argv if word.startswith("/")]
    found = {os.path.abspath(path) for path in wanted if os.path.exists(path)}
    return sorted(path for path in found if any(path.startswith(f"{top}/") for top in HIDDEN))


def _terminal_size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return size.lines, size.columns


# User-mode Linux


def _run_user_mode(folder: Path, request: GuestRequest, output: IO[bytes] | None) -> str:
    with contextlib.ExitStack() as stack:
        pipes = [_pipe(stack) for _ in range(3)]
        (console_r, console_w), (out_r, out_w), (err_r, err_w) = pipes
        words = [
            "linux.uml",
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
            f"mem={request.memory}",
            *request.kernel_words,
            f"uml_dir={folder}",
            "umid=guest",
            f"init={sys.executable}",
            "con=null",
            f"con0=null,fd:{console_w}",
            "ssl=null",
            f"ssl0=null,fd:{out_w}",
            f"ssl1=null,fd:{err_w}",
        ]
        inherited = [console_w, out_w, err_w]
        if request.interactive:
            words.append("con1=fd:0,fd:1")
        words += ["--", "-m", "lvsha.lab.init", str(folder), "uml"]
        process = subprocess.Popen(
            words,
            stdin=None if request.interactive else subprocess.DEVNULL,
            stdout=None if request.interactive else console_w,
            stderr=console_w,
            pass_fds=inherited,
            cwd="/",
            env={"PATH": _GUEST_PATH, "HOME": str(folder), "TMPDIR": memory_folder(request.memory)},
            start_new_session=True,
        )
        stack.callback(_end, process)
        stack.enter_context(_mourner(process.pid, folder))
        for fd in inherited:
            os.close(fd)
        relay = _Relay(process, request.limit_s)
        relay.add(console_r, None)
        relay.add(out_r, output or sys.stdout.buffer)
        relay.add(err_r, sys.stderr.buffer)
        relay.run()
        return relay.console()


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose read end the stack closes."""
    read_end, write_end = os.pipe()
    stack.callback(os.close, read_end)
    return read_end, write_end


@contextlib.contextmanager
def _mourner(group: int, folder: Path) -> Iterator[None]:
    """Leave someone who ends the guest should we be killed: its helper processes would stay for ever."""
    script = 'read -r word || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }'
    mourner = subprocess.Popen(
        ["sh", "-c", script, "mourner", str(group), str(folder)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert mourner.stdin is not None
    try:
        yield
    finally:
        mourner.communicate(b"alive\n")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a guest with everything in it. It leads a process group that only it and its threads are in."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory_folder(memory: str) -> str:
    """Where the guest's memory file goes: in RAM if it fits, and where programs may be mapped from."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    if (match := re.fullmatch(r"([0-9]{1,12})([KMG]?)", memory.upper())) is None:
        raise LabError(f"{memory!r} is no size of a guest's memory: write 512M or 2G")
    size = int(match[1]) * units.get(match[2], 1)
    if size < _LEAST_MEMORY:
        raise LabError(f"{memory} is too little for a guest: give it 128M or more")
    for folder in ("/dev/shm", tempfile.gettempdir()):
        with contextlib.suppress(OSError):
            space = os.statvfs(folder)
            if space.f_bavail * space.f_frsize > size and not space.f_flag & os.ST_NOEXEC:
                return folder
    raise LabError(f"no room for a guest of {memory}: free some of /dev/shm or set TMPDIR to a larger disk")


class _Relay:
    """Passes a guest's output on until it ends or its time is up."""

    def __init__(self, process: "subprocess.Popen[bytes]", limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self._selector = selectors.DefaultSelector()
        self._console: deque[str] = deque(maxlen=CONSOLE_LINES)

    def add(self, fd: int, target: IO[bytes] | None) -> None:
        """Copy what ``fd`` brings to ``target``; None: keep the last lines for ``console``."""
        self._selector.register(fd, selectors.EVENT_READ, target)

    def run(self) -> None:
        # The guest's host threads inherit the pipes: its end is told by the process, not by the pipes' end.
        while self._process.poll() is None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise GuestTimeout(
                    f"the guest was still busy after {self._limit_s:.0f} s and was ended: raise --limit"
                )
            self._copy(min(left, 0.2))
        while self._copy(0):
            pass

    def console(self) -> str:
        return "\n".join(list(self._console)[-20:])

    def _copy(self, timeout_s: float) -> bool:
        copied = False
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fd)
            elif key.data is None:
                self._console.extend(data.decode(errors="replace").splitlines())
            else:
                key.data.write(data)
                key.data.flush()
            copied = True
        return copied


@contextlib.contextmanager
def _terminal_in_raw_mode(wanted: bool) -> Iterator[None]:
    """The guest's terminal does the editing; ours passes every key."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


# The host's kernel


def _host_has_ipvs() -> bool:
    if Path("/proc/net/ip_vs").exists():
        return True
    if shutil.which("modprobe", path=_GUEST_PATH) is None or os.geteuid() != 0:
        return False
    subprocess.run(["modprobe", "-q", "ip_vs"], capture_output=True, check=False)
    return Path("/proc/net/ip_vs").exists()


def _run_unshared(folder: Path, request: GuestRequest, output: IO[bytes] | None) -> str:
    """``unshare --kill-child`` gives the command namespaces that end with it."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words += [sys.executable, "-m", "lvsha.lab.init", str(folder), "host"]
    with contextlib.ExitStack() as stack:
        out_r, out_w = _pipe(stack)
        process = subprocess.Popen(
            words,
            stdin=None if request.interactive else subprocess.DEVNULL,
            stdout=None if request.interactive else out_w,
            cwd="/",
            env=_guest_environment(),
            start_new_session=not request.interactive,
            preexec_fn=lambda: syscalls.die_with_parent(signal.SIGKILL),
        )
        stack.callback(_end_unshared, process, request.interactive)
        os.close(out_w)
        relay = _Relay(process, request.limit_s)
        relay.add(out_r, output or sys.stdout.buffer)
        relay.run()
        return relay.console()


def _end_unshared(process: "subprocess.Popen[bytes]", shares_our_group: bool) -> None:
    if shares_our_group:
        process.kill()
        process.wait()
    else:
        _end(process)
