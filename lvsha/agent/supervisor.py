"""The supervisor: reads the configuration, forks the workers, keeps them alive.

It does nothing else, so that nothing can bring it down. Workers are forked,
not executed: the modules of vrrpd are already loaded here. For vrrpd a spare is
kept besides, forked and warm, so that a killed vrrpd is back within
milliseconds, before its peer misses the third advert.

SIGTERM and SIGINT stop in the order of a planned release: vrrpd hands its
addresses over (directord flushes the sync buffer on its request), then directord
leaves. SIGHUP loads the configuration anew: a bad one is refused whole and the
old one runs on. A worker that dies is forked again at once; one that dies
again and again waits up to ``_BACKOFF_MAX``; one that stops answering is
killed, and adopted by its successor. SIGHUP also begins what is in ``agent.renewal``
where another version of the program lies on the disk by then.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lvsha import __version__
from lvsha.agent.control import ControlEnd, await_go, code_stamp
from lvsha.agent.journal import Journal, level_of
from lvsha.agent.notify import Notifier, watchdog_interval_s
from lvsha.agent.renewal import Handed, Rehearsal, hand_over
from lvsha.config.diff import Effect, diff
from lvsha.config.settings import LogLevel, Settings
from lvsha.core.errors import ConfigErrors, ConfigProblem, LvshaError

Worker = Callable[[Settings, ControlEnd], int]
"""A worker's whole life, in its own process; returns its exit status."""

_BACKOFF_MAX = 5.0
_QUICK_DEATH_S = 5.0
"""A worker that lived shorter than this counts as dying again."""
_STOP_DEADLINE_S = 15.0
_TURN_S = 0.5
"""The longest that the supervisor waits for something to happen."""
_SPARE_AFTER_S = 1.0
"""A spare is forked so long after its worker was started or a spare died: a start has more urgent things."""
_SOCKET_PATH_MAX = 107
"""Bytes of a Unix socket's path: ``sun_path`` of unix(7) less its final zero."""
_UNSAID_MAX = 20
_TELLER = "directord"
_REFUSALS = ("agent.reload_refused", "agent.last_good_used")
_LONGEST_SOCKET = "directord.sock"


class AlreadyRunning(LvshaError):
    """Another agent holds the run directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that is not refused."""

    settings: Settings
    warnings: tuple[ConfigProblem, ...] = ()
    refused: ConfigErrors | None = None
    """The file is refused, and these are the last good settings; what is wrong with it."""
    kept_at: float | None = None
    """Of such settings: since when they were in force, seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """One kind of worker."""

    name: str
    main: Worker
    silence_s: float
    """Killed when it has not said ``alive`` for so long."""
    program: str | None = None
    """A module to execute instead of forking, so that it holds nothing of what is loaded here; only where
    there is time for it: at the start, and for a spare."""
    warm: Callable[[], None] | None = None
    """What a worker does first, and a spare before it waits; None: no spare is kept."""


@dataclass(slots=True)
class _Child:
    spec: WorkerSpec
    pid: int
    control: ControlEnd
    started: float
    heard: float
    ready: bool = False
    is_warm: bool = False
    """A spare that waits for ``go``."""


@dataclass(slots=True)
class _Retry:
    at: float = 0.0
    deaths: int = 0


def lock_run_dir(run_dir: Path, name: str) -> int:
    """Hold ``run_dir/name.lock`` for as long as this process lives; returns the descriptor.

    Raises:
        AlreadyRunning: somebody else holds it.
        LvshaError: its name leaves no room for a socket's.
    """
    room = _SOCKET_PATH_MAX - len(_LONGEST_SOCKET) - 1
    if len(os.fsencode(run_dir)) > room:
        raise LvshaError(
            f"{run_dir} has more than {room} characters, too many for a Unix socket in it: "
            "choose a shorter [agent] run_dir"
        )
    fd = os.open(run_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(fd, 32).decode().strip() or "unknown"
        os.close(fd)
        raise AlreadyRunning(
            f"another lvsha agent (pid {holder}) runs in {run_dir}: "
            "stop it first, or give this one its own [agent] run_dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def first_life(spec: WorkerSpec, settings: Settings, control: ControlEnd) -> int:
    """Of a worker that was no spare."""
    if spec.warm is not None:
        spec.warm()
    return spec.main(settings, control)


def stand_by(spec: WorkerSpec, _settings: Settings, control: ControlEnd) -> int:
    """A spare's life: get warm, wait for ``go``, then be the worker. Without a supervisor it just ends."""
    assert spec.warm is not None, "who has no spare forks none"
    spec.warm()
    control.send("warm")
    settings = await_go(control)
    return spec.main(settings, control) if settings is not None else 0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Keeps one process of each spec running until told to stop."""

    specs: tuple[WorkerSpec, ...]
    """In the order of starting; stopped in the reverse order."""
    loaded: Loaded
    load: Callable[[], Loaded]
    journal: Journal
    notifier: Notifier
    locks: tuple[int, ...] = ()
    """Descriptors that hold the run directory; whoever we hand over to goes on holding it."""
    command: tuple[str, ...] | None = None
    """What to execute to be another version; None: we stay the one that we are."""
    handed: Handed | None = None
    """What another version of this program has left to us."""
    _outdated: list[str] = field(default_factory=list)
    """Workers of that version, in the order of their replacement."""
    _rehearsal: Rehearsal | None = None
    """Of the version that is on the disk by now."""
    _children: dict[str, _Child] = field(default_factory=dict)
    _spares: dict[str, _Child] = field(default_factory=dict)
    """By worker: who will be its successor."""
    _retries: dict[str, _Retry] = field(default_factory=dict)
    _signals: list[int] = field(default_factory=list)
    _spare_died: float = 0.0
    _listened: float = 0.0
    """When the workers were last listened to."""
    _stamp: str = field(default_factory=code_stamp)
    _executes: bool = True
    """False: a program ended by itself while it stood by; the next ones are forked."""
    _announced: bool = False
    _unsaid: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_UNSAID_MAX))
    """Lines of our journal for directord, while it is not there."""
    _refusal: dict[str, Any] | None = None
    """Why the file is not in force; every directord is told."""
    _refused: bool = False
    """A worker could not start at all; the others are stopped and we leave."""

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status of the agent."""
        self.journal.listeners.append(self._tell)
        self._warn(self.loaded)
        wakeup, trigger = socket.socketpair()
        wakeup.setblocking(False)
        trigger.setblocking(False)
        signal.set_wakeup_fd(trigger.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda signum, _frame: self._signals.append(signum))
        if self.handed is not None:
            self._adopt(self.handed)
        for spec in self.specs:
            if spec.name not in self._children:
                self._start(spec)
        while True:
            self._wait(wakeup)
            signals, self._signals = self._signals, []
            if signal.SIGTERM in signals or signal.SIGINT in signals:
                return self._stop_all()
            if signal.SIGHUP in signals:
                self._reload()
                self._rehearse()
            self._hear()
            self._bury()
            if self._refused:
                self._stop_all()
                return 1
            self._watch()
            self._renew()

    # Another version

    def _rehearse(self) -> None:
        if self.command is None or self._rehearsal is not None:
            return
        if code_stamp() != self._stamp:
            self._rehearsal = Rehearsal(self.command)
            self.journal.write("agent.renewing")

    def _renew(self) -> None:
        """Hand over to a version that would start; replace the workers that one has left to us."""
        if self._rehearsal is not None and (problem := self._rehearsal.problem()) is not None:
            self._rehearsal = None
            if problem:
                self.journal.write("agent.renewal_refused", problem=problem)
            else:
                self._hand_over()
        if not self._outdated:
            return
        name = self._outdated[0]
        child, spare = self._children.get(name), self._spares.get(name)
        if any(not other.ready for other in self._children.values()) or child is None:
            return  # one after another
        if child.spec.warm is None:
            child.control.send("stop")
        elif spare is None or not spare.is_warm:
            return
        else:
            os.kill(child.pid, signal.SIGKILL)
        child.ready = False

    def _hand_over(self) -> None:
        assert self.command is not None, "what was rehearsed can be executed"
        self._end_spares()
        children = tuple((name, child.pid, child.control.fileno()) for name, child in self._children.items())
        try:
            hand_over(
                self.command,
                Handed(children=children, locks=self.locks, notify_socket=self.notifier.address),
            )
        except OSError as error:
            self.journal.write("agent.renewal_refused", problem=str(error))

    def _adopt(self, handed: Handed) -> None:
        now = time.monotonic()
        specs = {spec.name: spec for spec in self.specs}
        for name, pid, fd in handed.children:
            control = ControlEnd(socket.socket(fileno=fd))
            self._children[name] = _Child(specs[name], pid, control, started=now, heard=now, ready=True)
        self._outdated = [spec.name for spec in self.specs if spec.name in self._children]
        self._say_ready("agent.renewed")

    # Life

    def _start(self, spec: WorkerSpec) -> None:
        child = self._spares.pop(spec.name, None)
        if child is not None:
            child.control.send("go", self.settings)
            child.started = child.heard = time.monotonic()
        elif spec.program and self._executes and spec.name not in self._retries:
            child = self._fork(spec, None)
            child.control.send("go", self.settings)
        else:
            child = self._fork(spec, partial(first_life, spec))
        self._children[spec.name] = child
        self.journal.write("agent.worker_started", worker=spec.name, pid=child.pid)

    def _fork(self, spec: WorkerSpec, main: Worker | None) -> _Child:
        """``main`` None: its program is executed, and waits for ``go``."""
        ours, theirs = ControlEnd.pair(self.settings if main is not None else None)
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's ^C is the supervisor's
                if main is None:
                    assert spec.program is not None, "who has none is forked"
                    fd = theirs.fileno()
                    os.set_inheritable(fd, True)
                    words = [sys.executable, "-m", spec.program, str(fd), self._stamp]
                    os.execv(sys.executable, words)
                ours.close()
                for child in (*self._children.values(), *self._spares.values()):
                    child.control.close()
                status = main(self.settings, theirs)
            except LvshaError as error:
                print(f"lvsha {spec.name}: {error}", file=sys.stderr)
                status = 1
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(status)
        theirs.close()
        now = time.monotonic()
        return _Child(spec, pid, ours, started=now, heard=now)

    def _keep_spares(self, now: float) -> None:
        for spec in self.specs:
            child = self._children.get(spec.name)
            if spec.warm is None or spec.name in self._spares or child is None or not child.ready:
                continue
            if now - max(child.started, self._spare_died) >= _SPARE_AFTER_S:
                fresh = spec.program is not None and self._executes
                self._spares[spec.name] = self._fork(spec, None if fresh else partial(stand_by, spec))

    def _wait(self, wakeup: socket.socket) -> None:
        poller = select.poll()
        poller.register(wakeup, select.POLLIN)
        for child in self._children.values():
            if not child.control.closed:
                poller.register(child.control, select.POLLIN)
        timeout = _TURN_S
        for retry in self._retries.values():
            if retry.at:
                timeout = min(timeout, max(0.0, retry.at - time.monotonic()))
        if not self._signals:
            poller.poll(timeout * 1000)
        with contextlib.suppress(BlockingIOError):
            wakeup.recv(4096)

    def _hear(self) -> None:
        now = time.monotonic()
        # A machine that does not run us may not run them either: that is no silence of theirs.
        missed = max(0.0, now - (self._listened or now) - _TURN_S)
        self._listened = now
        for child in self._children.values():
            child.heard = min(now, child.heard + missed)
        for spare in self._spares.values():
            if any(message.kind == "warm" for message in spare.control.receive()):
                spare.is_warm = True
        for child in self._children.values():
            for message in child.control.receive():
                child.heard = now
                if message.kind == "ready" and not child.ready:
                    child.ready = True
                    self._tell_all(child)
        everybody = len(self._children) == len(self.specs)
        if not self._announced and everybody and all(child.ready for child in self._children.values()):
            self._say_ready("agent.ready")

    def _say_ready(self, event: str) -> None:
        self._announced = True
        node = self.settings.node
        self.notifier.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS=director {node}")
        self.journal.write(event, node=node, version=__version__)

    def _tell(self, entry: dict[str, Any]) -> None:
        """A line of our journal that is a warning or worse: directord has the alerts and the listeners."""
        if level_of(entry["event"]) not in (LogLevel.WARNING, LogLevel.ERROR):
            return
        if entry["event"] in _REFUSALS:
            self._refusal = entry
        child = self._children.get(_TELLER)
        if child is not None and child.ready:
            child.control.send("said", entry)
        elif any(spec.name == _TELLER for spec in self.specs):
            self._unsaid.append(entry)

    def _tell_all(self, child: _Child) -> None:
        if child.spec.name != _TELLER:
            return
        if self._refusal is not None and self._refusal not in self._unsaid:
            child.control.send("said", self._refusal)
        while self._unsaid:
            child.control.send("said", self._unsaid.popleft())

    def _bury(self) -> None:
        """Collect the dead and start their successors."""
        for name, spare in list(self._spares.items()):
            pid, status = os.waitpid(spare.pid, os.WNOHANG)
            if pid:
                self._executes = self._executes and os.WIFSIGNALED(status)
                spare.control.close()
                del self._spares[name]
                self._spare_died = time.monotonic()
        for name, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            child.control.close()
            del self._children[name]
            if name in self._outdated:
                self._outdated.remove(name)
                self._retries[name] = _Retry(at=time.monotonic())
                self.journal.write("agent.worker_replaced", worker=name, pid=child.pid)
                continue
            signalled = os.WIFSIGNALED(status)
            how = f"signal {os.WTERMSIG(status)}" if signalled else f"status {os.WEXITSTATUS(status)}"
            if not self._announced and not signalled and os.WEXITSTATUS(status) == 1:
                self._refused = True  # it has said why on stderr; trying again would only say it again
                return
            retry = self._retries.setdefault(name, _Retry())
            now = time.monotonic()
            retry.deaths = retry.deaths + 1 if now - child.started < _QUICK_DEATH_S else 0
            # The first successor is there at once; only one that keeps dying young has to wait.
            delay = 0.0 if retry.deaths <= 1 else min(_BACKOFF_MAX, 0.1 * 2 ** (retry.deaths - 2))
            if child.ready:
                delay = min(delay, 0.5)
            retry.at = now + delay
            self.journal.write("agent.worker_died", worker=name, pid=child.pid, how=how, restart_in_s=delay)
        # A spare needs a word, and a fork takes long: one must not wait for the other.
        for spec in sorted(self.specs, key=lambda spec: spec.name not in self._spares):
            pending = self._retries.get(spec.name)
            if spec.name not in self._children and pending and time.monotonic() >= pending.at:
                pending.at = 0.0
                self._start(spec)

    def _watch(self) -> None:
        """Kill who does not answer; tell systemd that everybody does."""
        # As of when they were listened to, and not by the clock: they may have spoken since.
        now = self._listened
        for child in self._children.values():
            awaited = child.ready or child.spec.name in self._outdated
            if awaited and now - child.heard > child.spec.silence_s:
                self.journal.write(
                    "agent.worker_silent", worker=child.spec.name, silent_s=round(now - child.heard, 1)
                )
                child.heard = now
                os.kill(child.pid, signal.SIGKILL)
        self._keep_spares(now)
        if watchdog_interval_s() is not None and len(self._children) == len(self.specs):
            self.notifier.send("WATCHDOG=1")

    # Orders

    def _reload(self) -> None:
        self.notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            loaded = self.load()
        except ConfigErrors as refusal:
            for problem in refusal.problems:
                self.journal.write("agent.reload_refused", problem=str(problem))
        except LvshaError as error:
            self.journal.write("agent.reload_refused", problem=str(error))
        else:
            self._take(loaded)
        self.notifier.send("READY=1")

    def _take(self, loaded: Loaded) -> None:
        """Another configuration, for us and for the workers."""
        changes = diff(self.settings, loaded.settings)
        self.loaded = loaded
        self._refusal = None
        self.journal.configure(loaded.settings.agent)
        self._warn(loaded)
        for change in changes:
            if change.effect is Effect.RESTART:
                self.journal.write("agent.restart_needed", change=str(change))
        for child in self._children.values():
            child.control.send("reload", loaded.settings)
        self.journal.write("agent.reloaded", node=loaded.settings.node, changes=len(changes))

    def _warn(self, loaded: Loaded) -> None:
        if loaded.refused is not None:
            self.journal.write(
                "agent.last_good_used",
                file=loaded.refused.source,
                generation=loaded.settings.generation,
                since=loaded.kept_at,
                problem=str(loaded.refused.problems[0]),
                problems=len(loaded.refused.problems),
            )
        for warning in loaded.warnings:
            self.journal.write("agent.config_warning", problem=str(warning))

    def _stop_all(self) -> int:
        self.notifier.send("STOPPING=1")
        self.journal.write("agent.stopping")
        deadline = time.monotonic() + _STOP_DEADLINE_S
        worst = 0
        if self._rehearsal is not None:
            self._rehearsal.close()
        self._end_spares()
        for spec in reversed(self.specs):
            child = self._children.get(spec.name)
            if child is None:
                continue
            child.control.send("stop")
            worst = max(worst, self._await_exit(child, deadline))
        self.journal.write("agent.stopped")
        return worst

    def _end_spares(self) -> None:
        for spare in self._spares.values():
            spare.control.close()
            os.kill(spare.pid, signal.SIGKILL)
            os.waitpid(spare.pid, 0)
        self._spares.clear()

    def _await_exit(self, child: _Child, deadline: float) -> int:
        """The worker's exit status; it is killed at the deadline."""
        while True:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1
            if time.monotonic() >= deadline:
                self.journal.write(
                    "agent.worker_killed", worker=child.spec.name, reason="did not stop in time"
                )
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                return 1
            poller = select.poll()
            poller.register(child.control, select.POLLIN)
            poller.poll(20)
            child.control.receive()
            if child.control.closed:
                time.sleep(0.005)
