"""A running pair of directors in the guest, its configuration in the test's hands, and what it says.

The lab's stage does the rest: topology, realservers, witness, client. What the lab
does not need is here: a beat that counts every datagram that was lost, a
configuration that changes under way, events as they are logged.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from lvsha.cli.client import AgentUnreachable, ask
from lvsha.lab.helper import Helper
from lvsha.lab.netns import Namespace, run
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import Process, RunSettings
from lvsha.lab.stage import Stage
from lvsha.lab.story import Story
from lvsha.lab.topology import PORT

T = TypeVar("T")

ADVERT_S = 0.1
DOWN_S = 3 * ADVERT_S + ADVERT_S
"""master_down_interval, the skew rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """What became of a datagram every 5 ms through the virtual address."""

    sent: int
    lost: tuple[int, ...]
    """Their numbers, from 0."""
    longest_silence_ms: float


class EditedLvsha(Lvsha):
    """Writes the lab's configuration, changed by whatever is in ``edits``."""

    edits: list[Callable[[str], str]]

    def config(self, node: str) -> str:
        text = super().config(node) + 'log_format = "json"\n'
        for edit in self.edits:
            text = edit(text)
        return text

    def process(self, node: str) -> "subprocess.Popen[bytes]":
        process = self._processes[node]
        assert isinstance(process, subprocess.Popen), "a rig's directors are not forks"
        return process

    def pid(self, node: str, process: Process) -> int | None:
        """As the lab's, from a log in JSON."""
        pid = None
        for line in self.log(node).read_text(errors="replace").splitlines():
            if f'"worker":"{process}"' in line and "agent.worker_started" in line:
                pid = int(json.loads(line)["pid"])
        return pid


@dataclass(slots=True)
class Rig:
    """A pair: lb1 is MASTER, lb2 is BACKUP, lvsha on both."""

    stage: Stage
    folder: Path
    _journals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _read_to: dict[str, int] = field(default_factory=dict)
    """Bytes of each log that are in its journal."""
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @property
    def peer(self) -> EditedLvsha:
        assert isinstance(self.stage.peer, EditedLvsha)
        return self.stage.peer

    def namespace(self, node: str = "lb1") -> Namespace:
        return self.stage.topology.directors[node]

    # What it says

    def events(
        self, name: str | None = None, *, node: str = "lb1", since: float = 0.0
    ) -> list[dict[str, Any]]:
        """Of the journal, in its order; ``since`` in seconds of the wall clock."""
        journal = self._journals.setdefault(node, [])
        with self.peer.log(node).open("rb") as log:
            log.seek(self._read_to.get(node, 0))
            # A line that is not whole yet comes the next time.
            text, _, _ = log.read().rpartition(b"\n")
        self._read_to[node] = self._read_to.get(node, 0) + (len(text) + 1 if text else 0)
        for line in text.splitlines():
            with suppress(ValueError):
                journal.append(json.loads(line))
        return [event for event in journal if event["at"] >= since and name in (None, event["event"])]

    def event(self, name: str, *, node: str = "lb1", since: float, within: float = 5.0) -> dict[str, Any]:
        """The first of that name since then; waits for it."""
        return self.until(
            lambda: next(iter(self.events(name, node=node, since=since)), None), name, within=within
        )

    def log(self, node: str = "lb1") -> str:
        return self.peer.log(node).read_text(errors="replace")

    def status(self, node: str = "lb1") -> dict[str, Any]:
        """As ``lvsha status --json`` prints it; waits for a directord that starts."""

        def answer() -> dict[str, Any] | None:
            try:
                return dict(ask(str(self.run_dir(node)), "GET", "/v1/status"))
            except AgentUnreachable:
                return None

        return self.until(answer, f"a status of {node}", within=10)

    def command(self, *words: str, node: str = "lb1") -> str:
        """What ``lvsha WORDS`` prints about a running director."""
        return run(
            [sys.executable, "-m", "lvsha.cli.main", *words, "--run-dir", str(self.run_dir(node))],
            check=False,
        )

    def run_dir(self, node: str = "lb1") -> Path:
        return self.peer.node_folder(node) / "run"

    def worker(self, name: Process, node: str = "lb1") -> int:
        pid = self.peer.pid(node, name)
        assert pid is not None, f"{name} of {node} was never started"
        return pid

    def main_pid(self, node: str = "lb1") -> int:
        """Of the supervisor."""
        return self.peer.process(node).pid

    def exit_status(self, node: str, within: float = 5.0) -> int:
        """Of the agent; waits for its end."""
        return self.peer.process(node).wait(within)

    def roles(self) -> tuple[str, str]:
        """Who is MASTER and who is BACKUP, once both say so and are well."""

        def found() -> tuple[str, str] | None:
            states = {}
            for node in ("lb1", "lb2"):
                status = self.status(node)
                if not status["ok"]:
                    return None
                states[status["vrrp"]["routers"][0]["state"]] = node
            return (states["MASTER"], states["BACKUP"]) if len(states) == 2 else None

        return self.until(found, "one MASTER and one BACKUP, both well", within=15)

    def holders(self, address: str | None = None) -> set[str]:
        """Who has an address bound."""
        self.stage.pump(0)
        return self.stage.timeline.holders.get(address or self.stage.vip, set())

    def until(self, condition: Callable[[], T | None], what: str, *, within: float = 5.0) -> T:
        """Let time pass until there is an answer that is neither None nor False."""
        end = time.monotonic() + within
        while True:
            late = time.monotonic() > end
            answer = condition()
            if answer is not None and answer is not False:
                return answer
            if late:
                logs = "\n".join(f"--- {node} ---\n{self.log(node)[-3000:]}" for node in ("lb1", "lb2"))
                raise AssertionError(f"not within {within:g} s: {what}\n{logs}")
            # Seldom: a guest has one processor, and what is waited for needs it.
            self.stage.pump(0.05)

    # What is done to it

    def reload(self, *edits: Callable[[str], str], nodes: tuple[str, ...] = ("lb1",)) -> float:
        """Write the configuration with these changes alone and send SIGHUP; returns when."""
        self.peer.edits[:] = edits
        at = time.time()
        for node in nodes:
            self.peer.write_config(node)
            self.peer.reload(node)
        return at

    def reloaded(self, *edits: Callable[[str], str], nodes: tuple[str, ...] = ("lb1",)) -> float:
        """As ``reload``, and wait until both workers have taken it."""
        at = self.reload(*edits, nodes=nodes)
        for node in nodes:
            self.event("vrrp.reloaded", node=node, since=at)
            self.event("director.reloaded", node=node, since=at)
        return at

    # The client

    @contextmanager
    def beating(self, address: str | None = None) -> Iterator[list[Beats]]:
        """Beat for the length of the block; the list holds the result afterwards."""
        target = address or self.stage.vip
        name = f"beat{next(self._numbers)}"
        helper = Helper(
            name,
            lambda: _beat(target, PORT),
            namespace=self.stage.topology.client,
            log=self.folder / f"{name}.log",
            nice=-10,
        )
        try:
            helper.receive(5.0)
            result: list[Beats] = []
            yield result
            helper.send({})
            answer = helper.receive(10.0)
            result.append(
                Beats(
                    sent=answer["sent"],
                    lost=tuple(answer["lost"]),
                    longest_silence_ms=answer["longest_silence_ms"],
                )
            )
        finally:
            helper.kill()


def _beat(address: str, port: int) -> None:
    """A numbered datagram every 5 ms until the next line on stdin; then wait for what is under way."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.setblocking(False)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(sock, select.POLLIN)
    seen: set[int] = set()
    sent, due, stop_at, last, longest = 0, time.monotonic(), float("inf"), time.monotonic(), 0.0
    print("{}", flush=True)
    while (now := time.monotonic()) < stop_at:
        if now >= due and stop_at == float("inf"):
            with suppress(OSError):
                sock.send(b"%d" % sent)
            sent += 1
            due = max(due + 0.005, now)
        for fd, _ in poll.poll(max(1, round((due - time.monotonic()) * 1000))):
            if fd == 0 and stop_at == float("inf"):
                os.read(0, 100)
                poll.unregister(0)
                stop_at = due = time.monotonic() + 0.3
                longest = max(longest, time.monotonic() - last)
                continue
            with suppress(OSError):
                while True:
                    seen.add(int(sock.recv(256).rpartition(b" ")[2]))
                    if stop_at == float("inf"):
                        longest = max(longest, time.monotonic() - last)
                        last = time.monotonic()
    lost = [number for number in range(sent) if number not in seen]
    print(
        json.dumps({"sent": sent, "lost": lost, "longest_silence_ms": round(longest * 1000, 1)}), flush=True
    )


@contextmanager
def running_pair(folder: Path, *edits: Callable[[str], str], **settings: Any) -> Iterator[Rig]:
    """Both directors run; ``edits`` change the configuration that they start with.

    ``settings``: as ``lab.settings.RunSettings`` has them.
    """
    wanted = RunSettings(scenario="test", advert_s=ADVERT_S, capture=False, **settings)
    with Stage(wanted, folder, Story(StringIO())) as stage:
        peer = EditedLvsha(stage.topology, wanted, folder / "directors")
        peer.edits = list(edits)
        stage.peer = peer
        stage.build()
        stage.start_pair()
        rig = Rig(stage, folder)
        rig.until(
            lambda: all(rig.status(node)["vrrp"]["connected"] for node in ("lb1", "lb2")),
            "both directors to be whole",
            within=10,
        )
        yield rig


__all__ = ["ADVERT_S", "DOWN_S", "Beats", "EditedLvsha", "Process", "Rig", "running_pair"]
