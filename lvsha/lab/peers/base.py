"""What a stage needs to know of a kind of director."""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.lab.errors import LabError
from lvsha.lab.forked import Forked
from lvsha.lab.settings import Process, RunSettings
from lvsha.lab.topology import Topology

CROWD_PORT = 9090
"""Of the services of ``Peer.crowd``."""
PERSISTENCE_S = 120
"""Where services are persistent."""


class Peer(ABC):
    """A pair of directors of one kind: each one a process tree in its namespace, with a folder and a log."""

    name: str
    takes_back = True
    """Whether a director of higher priority that comes back takes its address back unasked."""

    def __init__(self, topology: Topology, settings: RunSettings, folder: Path) -> None:
        self.topology = topology
        self.settings = settings
        self.folder = folder
        self.weights = dict.fromkeys(topology.realservers, 1)
        """As the next configuration file that is written has them."""
        self.preempts = False
        """Whether a director of higher priority takes its address back (keepalived does by default)."""
        self.idle_timeout_s: int | None = None
        """Of an idle connection in the kernel; None: the kernel's own 900 s, and 300 s of UDP."""
        self.served: list[Address] = list(topology.service_addresses)
        """Virtual addresses that have a service in the next configuration file."""
        self.tracked: Address | None = None
        """Whom both directors ask whether they can be of any use; without an answer they give the role up."""
        self._processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        for node in topology.directors:
            self.node_folder(node).mkdir(parents=True, exist_ok=True)

    def crowd(self) -> list[tuple[str, list[str]]]:
        """Virtual addresses, and the realservers of a service there that nobody checks or uses."""
        vips = [str(vip.ip) for vip in self.topology.vips]
        members: dict[str, list[str]] = {vip: [] for vip in vips}
        for number in range(self.settings.crowd):
            members[vips[number % len(vips)]].append(f"198.18.{number // 250}.{1 + number % 250}")
        return [(vip, listed) for vip, listed in members.items() if listed]

    @abstractmethod
    def command(self, node: str) -> list[str]:
        """What to run; called after ``write_config``."""

    @abstractmethod
    def write_config(self, node: str) -> None:
        """Put its configuration into its folder."""

    def pids(self, node: str, process: Process) -> list[int]:
        """The processes that make up this part of a running director."""
        main = self._main_pid(node)
        children = tree(main)
        if process is Process.ALL:
            return [main, *children]
        parts = (Process.VRRPD, Process.DIRECTORD) if process is Process.BOTH else (process,)
        found = [self.pid(node, part) for part in parts]
        return [pid for pid in found if pid in children]

    @abstractmethod
    def pid(self, node: str, process: Process) -> int | None:
        """Who is ``vrrpd`` or ``directord`` now."""

    def restarts_itself(self, process: Process) -> bool:
        """Whether a supervisor of the director's own starts this part again when it is killed."""
        return process is not Process.ALL

    def detection_limit_s(self) -> float:
        """A dead realserver's weight is 0 after this long at the latest, by what its checks are set to."""
        settings = self.settings
        # The last good answer, then ``fall`` checks, the last of which takes its whole time-out.
        return settings.check_interval_s * settings.check_fall + settings.check_timeout_s

    def knows_connections(self, node: str) -> bool:
        """Whether it has what the other one had before it came; the kernel's daemons never catch up."""
        return True

    def has_said(self, node: str, event: str) -> bool:
        """Whether its log has an event of this name."""
        return event in self.log(node).read_text(errors="replace")

    def extras(self, node: str) -> dict[str, Any]:
        """What this kind of director tells about itself, for the result."""
        return {}

    def node_folder(self, node: str) -> Path:
        return self.folder / node

    def log(self, node: str) -> Path:
        return self.node_folder(node) / "log"

    # Life and death

    def start(self, node: str) -> None:
        """Start a director; its log goes on where an earlier life of it ended."""
        self.write_config(node)
        with self.log(node).open("ab") as log:
            self._processes[node] = self.launch(node, log.fileno())

    def launch(self, node: str, log: int) -> "subprocess.Popen[bytes] | Forked":
        """Begin its process; ``log``: a descriptor for what it prints."""
        return self.topology.directors[node].popen(
            self.command(node),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def terminate(self, node: str) -> None:
        """Ask it to leave, as an operator does before maintenance."""
        self._processes[node].terminate()

    def reload(self, node: str) -> None:
        """Have it read its configuration again."""
        self._processes[node].send_signal(signal.SIGHUP)

    def switch_over(self, node: str, *, force: bool = False) -> str:
        """Hand the addresses over as an operator does who will go on; what was refused, empty: nothing.

        keepalived knows no order for that: it is stopped.
        """
        self.terminate(node)
        return ""

    def take_part(self, node: str) -> None:
        """After ``switch_over``: be there for the next one."""
        self._processes[node].wait()
        self.start(node)

    def kill(self, node: str, process: Process) -> None:
        """SIGKILL a part of it, or all."""
        pids = self.pids(node, process)
        if not pids:
            raise LabError(
                f"{self.name} on {node} has no {process} to kill; its log: {self._last_line(node)}"
            )
        # Stopped first, so that none of them sees another one die and tidies up.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if process is Process.ALL:
            self._processes[node].wait()

    def has_ended(self, node: str) -> bool:
        return node not in self._processes or self._processes[node].poll() is not None

    def why_not(self, node: str) -> str:
        """For an error: what this director said last."""
        ended = f"{self.name} on {node} has ended" if self.has_ended(node) else f"{self.name} on {node}"
        return f"{ended}; the end of its log: {self._last_line(node)}"

    def stop(self) -> None:
        """End every director, whatever its state."""
        for process in self._processes.values():
            for pid in (*tree(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def _main_pid(self, node: str) -> int:
        return self._processes[node].pid

    def _last_line(self, node: str) -> str:
        log = self.log(node)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return " | ".join(lines[-3:]) if lines else "(empty)"


def tree(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *tree(child)]
    return found
