"""Where the tests marked ``kernel`` run, and how their outcomes come home.

They need root, namespaces of their own and a kernel with IPVS. The first of
them starts the guests (``lvsha lab exec``: the host's kernel where it has
``ip_vs``, else user-mode Linux, which has one processor, so there are two of
them), a second pytest runs in each, and each report it makes is replayed here
as the report of the item that stands for it: one closing line counts
everything, with real outcomes.

The guests share the work by the module: who makes its directory first runs it.
One begins at the first module and the other at the last.

The rule: nothing is green that did not run. A guest that cannot start, dies,
hangs or forgets a test owes an outcome. A few that failed or are owed get one
more chance, alone in a fresh guest when the others are over (decision 0124):
the first failure is shown all the same, and the closing line counts it as
``rerun``. Whatever fails or is owed again fails, and says what the console
said last.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

BOOT_S = 60
"""A guest boots and collects in under 10 s; a busy machine needs more."""

GRACE_S = 30
"""How much longer than its own limit a test may take before the whole guest is ended."""

DEFAULT_LIMIT_S = 120

CONSOLE_TAIL_LINES = 40

RERUN = "rerun"
"""The outcome of a first failure, by the name that pytest-rerunfailures gave it."""

MOST_AGAIN = 3
"""More failures than this are no accident of a busy machine: none is played again."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kernel tier")
    group.addoption(
        "--kernel",
        choices=["guest", "here"],
        default="guest",
        help="where tests marked kernel run: in a fresh guest, or right here",
    )
    group.addoption(
        "--kernel-guest",
        default=f"{shlex.quote(str(Path(sys.executable).with_name('lvsha')))} lab exec --bare --",
        metavar="COMMAND",
        help="what runs a command inside a fresh guest",
    )
    group.addoption(
        "--kernel-guests",
        type=int,
        default=min(2, len(os.sched_getaffinity(0))),
        metavar="N",
        help="how many guests share the tests; each keeps one processor busy (default: %(default)s)",
    )
    group.addoption(
        "--kernel-reports", metavar="FILE", help="write each report to FILE, for the host's pytest"
    )
    group.addoption(
        "--kernel-claims", metavar="FOLDER", help="run only modules whose folder in FOLDER is ours to make"
    )


def pytest_configure(config: pytest.Config) -> None:
    reports, claims = config.getoption("--kernel-reports"), config.getoption("--kernel-claims")
    if reports is not None:
        writer = ReportWriter(config, Path(reports), Path(claims) if claims is not None else None)
        config.pluginmanager.register(writer, "lvsha-report-writer")
    if config.getoption("--kernel") == "guest":
        command = shlex.split(config.getoption("--kernel-guest"))
        config.pluginmanager.register(KernelTier(config, command), "lvsha-kernel-tier")


class ReportWriter:
    """The guest's half: what begins and every report is a line of JSON on the host's disk at once."""

    def __init__(self, config: pytest.Config, path: Path, claims: Path | None) -> None:
        self._config = config
        self._file = path.open("a", encoding="utf-8")
        self._claims = claims
        self._is_mine: dict[str, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        module = module_of(item.nodeid)
        if module not in self._is_mine:
            self._is_mine[module] = self._claim(module)
        if not self._is_mine[module]:
            return True  # another guest runs it
        self._write({"begins": item.nodeid})
        return None

    def _claim(self, module: str) -> bool:
        if self._claims is None:
            return True
        try:
            # The host's mkdir decides; opening a file is not exclusive across guests.
            os.mkdir(self._claims / module.replace("/", "."))
        except FileExistsError:
            return False
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write({"report": data})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        # The guest's kernel keeps dirty pages to itself until it is asked.
        os.fsync(self._file.fileno())

    def pytest_unconfigure(self) -> None:
        self._file.close()


class Guest:
    """One running guest and the reports it has sent so far."""

    def __init__(
        self,
        config: pytest.Config,
        command: Sequence[str],
        nodeids: Sequence[str],
        *,
        stem: Path,
        claims: Path | None,
    ) -> None:
        self._config = config
        self._arguments = stem.with_suffix(".args")
        self._arguments.write_text("\n".join(nodeids) + "\n", encoding="utf-8")
        self._report_path = stem.with_suffix(".reports")
        self._report_path.write_text("", encoding="utf-8")
        self._console_path = stem.with_suffix(".console")
        self._stream: IO[str] = self._report_path.open(encoding="utf-8")
        self._partial = ""
        self.reports: dict[str, list[pytest.TestReport]] = {}
        self.modules: set[str] = set()
        """Those it has begun."""
        self.running: str | None = None
        self.since = time.monotonic()
        """Of ``running``, or of its end."""
        self.is_over = False
        pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kernel=here"]
        pytest_command += [f"--kernel-reports={self._report_path}"]
        pytest_command += [f"--kernel-claims={claims}"] if claims is not None else []
        with self._console_path.open("wb") as console:
            self._process = subprocess.Popen(
                [*command, *pytest_command, f"@{self._arguments}"],
                cwd=config.rootpath,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def read(self) -> None:
        """Take what it has written up to now."""
        is_over = self._process.poll() is not None
        self._partial += self._stream.read()
        *lines, self._partial = self._partial.split("\n")
        for line in map(json.loads, lines):
            if "begins" in line:
                self.running = line["begins"]
                self.modules.add(module_of(line["begins"]))
            else:
                report = self._config.hook.pytest_report_from_serializable(
                    config=self._config, data=line["report"]
                )
                if isinstance(report.longrepr, list):
                    report.longrepr = tuple(report.longrepr)  # why it was skipped, which JSON made a list
                self.reports.setdefault(report.nodeid, []).append(report)
                if report.when != "teardown":
                    continue
                self.running = None
            self.since = time.monotonic()
        self.is_over = is_over

    def has_finished(self, nodeid: str) -> bool:
        reports = self.reports.get(nodeid, [])
        return bool(reports) and reports[-1].when == "teardown"

    def how_it_ended(self) -> str:
        """What a reader needs who finds tests without an outcome."""
        text = self._console_path.read_text(encoding="utf-8", errors="replace")
        tail = "\n".join(text.splitlines()[-CONSOLE_TAIL_LINES:])
        status = self._process.poll()
        return f"the guest's exit status: {status}; the end of its console ({self._console_path}):\n{tail}"

    def stop(self) -> None:
        """End the guest and everything it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def close(self, *, keep: bool) -> None:
        """Give up the files; ``keep`` leaves them for whoever looks into a failure."""
        self._stream.close()
        if not keep:
            for path in (self._arguments, self._report_path, self._console_path):
                path.unlink(missing_ok=True)


class KernelTier:
    """The host's half: stands in for the tests that run in the guests."""

    def __init__(self, config: pytest.Config, command: Sequence[str]) -> None:
        self._config = config
        self._command = command
        self._guests: list[Guest] = []
        self._alone: Guest | None = None
        """The one that plays again what failed, when the others are over."""
        self._firsts: list[pytest.TestReport] = []
        """The first failures of what was played again."""
        # One set of files per process: two runs in one checkout do not mix.
        self._folder = config.rootpath / "build" / "kernel-tier" / str(os.getpid())
        self._limits: dict[str, float] = {}
        self._broken: dict[Guest, str] = {}
        """Guests that owe an outcome, and the first test that they owe."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Last: the fast tiers speak first.
        items.sort(key=is_kernel_test)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not is_kernel_test(item):
            return None
        if not self._guests:
            self._start([each for each in item.session.items if is_kernel_test(each)])
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = self._outcome(item, self._guests)
        if any(report.failed for report in reports):
            reports = self._again(item, reports)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, tuple[str, Any]] | None:
        if report.outcome == RERUN:
            return RERUN, "R", ("RERUN", {"yellow": True})
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._firsts:
            terminalreporter.section("failed beside other work, then played again alone", yellow=True)
        for report in self._firsts:
            terminalreporter.line(f"{report.nodeid}, the first time:")
            terminalreporter.line(report.longreprtext)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        # The guest's pytest holds the test to its time limit; this one waits longer, and ends the guest.
        return True if is_kernel_test(item) else None

    def _start(self, items: Sequence[pytest.Item]) -> None:
        self._limits = {item.nodeid: time_limit_s(item) for item in items}
        modules: dict[str, list[str]] = {}
        for item in items:
            modules.setdefault(module_of(item.nodeid), []).append(item.nodeid)
        claims = self._folder / "claims"
        claims.mkdir(parents=True)
        orders = [list(modules.values()), list(reversed(modules.values()))]
        for number in range(min(self._config.getoption("--kernel-guests"), len(modules))):
            nodeids = [nodeid for module in orders[number % 2] for nodeid in module]
            stem = self._folder / f"guest-{number}"
            self._guests.append(Guest(self._config, self._command, nodeids, stem=stem, claims=claims))

    def _outcome(self, item: pytest.Item, guests: Sequence[Guest]) -> list[pytest.TestReport]:
        module = module_of(item.nodeid)
        while True:
            for guest in guests:
                guest.read()
                self._end_if_overdue(guest, guests, time_limit_s(item))
                if guest.has_finished(item.nodeid):
                    return guest.reports[item.nodeid]
                if guest.is_over and module in guest.modules:
                    return [self._owed(guest, item)]
            if all(guest.is_over for guest in guests):
                return [self._owed(guests[-1], item)]
            time.sleep(0.05)

    def _again(self, item: pytest.Item, reports: list[pytest.TestReport]) -> list[pytest.TestReport]:
        """What the item says alone in a fresh guest, behind its first failure; else what it said."""
        if self._alone is None:
            nodeids = self._unwell()
            if not nodeids:
                return reports
            stem = self._folder / "guest-alone"
            self._alone = Guest(self._config, self._command, nodeids, stem=stem, claims=None)
        for report in reports:
            if report.failed:
                report.outcome = RERUN  # type: ignore[assignment]  # the name that reporters know
                self._firsts.append(report)
        return [report for report in reports if report.outcome == RERUN] + self._outcome(item, [self._alone])

    def _unwell(self) -> list[str]:
        """All that failed or is owed when the guests are over; none of it where playing again is no use."""
        if self._config.getoption("maxfail") == 1:
            return []
        while not all(guest.is_over for guest in self._guests):
            for guest in self._guests:
                guest.read()
                self._end_if_overdue(guest, self._guests, DEFAULT_LIMIT_S)
            time.sleep(0.05)
        ended = {nodeid for guest in self._guests for nodeid in guest.reports if guest.has_finished(nodeid)}
        failed = {
            report.nodeid
            for guest in self._guests
            for reports in guest.reports.values()
            for report in reports
            if report.failed
        }
        if not ended or len(failed) > MOST_AGAIN:
            return []
        return [nodeid for nodeid in self._limits if nodeid in failed or nodeid not in ended]

    def _end_if_overdue(self, guest: Guest, guests: Sequence[Guest], usual_s: float) -> None:
        if guest.is_over:
            return
        limit_s = BOOT_S + usual_s if guest.running is None else self._limits[guest.running]
        if guest.running is None and any(other.running for other in guests):
            return  # nothing is left for it
        if time.monotonic() - guest.since > limit_s + GRACE_S:
            guest.stop()

    def _owed(self, guest: Guest, item: pytest.Item) -> pytest.TestReport:
        if guest in self._broken:
            return failed(item, f"not run: the guest ended at {self._broken[guest]}")
        self._broken[guest] = item.nodeid
        return failed(item, f"no outcome came out of the guest; {guest.how_it_ended()}")

    def pytest_sessionfinish(self) -> None:
        for guest in (*self._guests, *([self._alone] if self._alone else ())):
            guest.stop()
            guest.close(keep=bool(self._broken))
        if self._guests and not self._broken:
            shutil.rmtree(self._folder)


def module_of(nodeid: str) -> str:
    """``tests/kernel/test_x.py`` of ``tests/kernel/test_x.py::test_y[1]``."""
    return nodeid.partition("::")[0]


def is_kernel_test(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None


def time_limit_s(item: pytest.Item) -> float:
    """How long pytest-timeout allows this test inside the guest."""
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return float(item.config.getini("timeout") or DEFAULT_LIMIT_S)
    return float(marker.args[0] if marker.args else marker.kwargs["timeout"])


def failed(item: pytest.Item, message: str) -> pytest.TestReport:
    """The report of a test that has no outcome of its own."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=message,
        when="call",
    )
