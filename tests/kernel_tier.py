"""Where the tests marked ``kernel`` run, and how their outcomes come home.

They need root, namespaces of their own and a kernel with IPVS. The first of
them starts ONE guest (``lvsha lab exec``: the host's kernel where it has
``ip_vs``, else user-mode Linux), a second pytest runs all of the selected ones
in there, and each report it makes is replayed here as the report of the item
that stands for it: one closing line counts everything, with real outcomes.

The rule: nothing is green that did not run. A guest that cannot start, dies,
hangs or forgets a test fails every test it owes, and says what its console
said last.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[1]

BOOT_S = 60
"""A guest boots and collects in under 10 s; a busy machine needs more."""

GRACE_S = 30
"""How much longer than its own limit a test may take before the whole guest is ended."""

DEFAULT_LIMIT_S = 120

CONSOLE_TAIL_LINES = 40


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
        "--kernel-reports", metavar="FILE", help="write each report to FILE, for the host's pytest"
    )


def pytest_configure(config: pytest.Config) -> None:
    reports = config.getoption("--kernel-reports")
    if reports is not None:
        config.pluginmanager.register(ReportWriter(config, Path(reports)), "lvsha-report-writer")
    if config.getoption("--kernel") == "guest":
        command = shlex.split(config.getoption("--kernel-guest"))
        config.pluginmanager.register(KernelTier(config, command), "lvsha-kernel-tier")


class ReportWriter:
    """The guest's half: every report is a line of JSON on the host's disk before the next test starts."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._file = path.open("a", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()
        # The guest's kernel keeps dirty pages to itself until it is asked.
        os.fsync(self._file.fileno())

    def pytest_unconfigure(self) -> None:
        self._file.close()


class Guest:
    """One running guest and the reports it has sent so far."""

    def __init__(self, config: pytest.Config, command: Sequence[str], nodeids: Sequence[str]) -> None:
        self._config = config
        directory = config.rootpath / "build" / "kernel-tier"
        directory.mkdir(parents=True, exist_ok=True)
        # One set of files per process: two runs in one checkout do not mix.
        stem = directory / str(os.getpid())
        self._arguments = stem.with_suffix(".args")
        self._arguments.write_text("\n".join(nodeids) + "\n", encoding="utf-8")
        self._report_path = stem.with_suffix(".reports")
        self._report_path.write_text("", encoding="utf-8")
        self._console_path = stem.with_suffix(".console")
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._stream: IO[str] = self._report_path.open(encoding="utf-8")
        self._partial = ""
        pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kernel=here"]
        pytest_command += [f"--kernel-reports={self._report_path}", f"@{self._arguments}"]
        with self._console_path.open("wb") as console:
            self._process = subprocess.Popen(
                [*command, *pytest_command],
                cwd=config.rootpath,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def reports_of(self, nodeid: str, limit_s: float) -> list[pytest.TestReport]:
        """Wait for all reports of one test; fewer than all when the guest ended or took too long."""
        give_up = time.monotonic() + limit_s
        while True:
            ended = self._process.poll() is not None
            self._read()
            reports = self._reports.get(nodeid, [])
            if reports and reports[-1].when == "teardown":
                return reports
            if ended:
                return reports
            if time.monotonic() > give_up:
                self.stop()
                return reports
            time.sleep(0.05)

    def _read(self) -> None:
        self._partial += self._stream.read()
        *lines, self._partial = self._partial.split("\n")
        for line in lines:
            report = self._config.hook.pytest_report_from_serializable(
                config=self._config, data=json.loads(line)
            )
            self._reports.setdefault(report.nodeid, []).append(report)

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
    """The host's half: stands in for the tests that run in the guest."""

    def __init__(self, config: pytest.Config, command: Sequence[str]) -> None:
        self._config = config
        self._command = command
        self._guest: Guest | None = None
        self._broken_since: str | None = None
        """The first test that the guest owed and did not report."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Last: the fast tiers speak first.
        items.sort(key=is_kernel_test)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not is_kernel_test(item):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._outcome(item):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        # The guest's pytest holds the test to its time limit; this one waits longer, and ends the guest.
        return True if is_kernel_test(item) else None

    def _outcome(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self._broken_since is not None:
            return [failed(item, f"not run: the guest ended at {self._broken_since}")]
        if self._guest is None:
            owed = [each.nodeid for each in item.session.items if is_kernel_test(each)]
            self._guest = Guest(self._config, self._command, owed)
            limit_s = BOOT_S + time_limit_s(item)
        else:
            limit_s = time_limit_s(item)
        reports = self._guest.reports_of(item.nodeid, limit_s=limit_s + GRACE_S)
        if reports and reports[-1].when == "teardown":
            return reports
        self._broken_since = item.nodeid
        return [failed(item, f"no outcome came out of the guest; {self._guest.how_it_ended()}")]

    def pytest_sessionfinish(self) -> None:
        if self._guest is not None:
            self._guest.stop()
            self._guest.close(keep=self._broken_since is not None)


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
