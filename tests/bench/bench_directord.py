"""How long directord's loop is held up, and by what, and what memory it takes, at 10 to 10,000 realservers.

A whole agent (``--only directord``) with a TCP check for each realserver runs in a network namespace of
its own against nginx; only the kernel's IPVS is pretended, at the bytes of netlink. Measured is each turn of
the loop, from where it got up until it may listen again: so long would a check's answer, an advert's event
or a request have waited. By the clock that includes what other programs took of the processor; by processor
time it is what directord did itself. What ran in the longest is told by name.
"""

import argparse
import asyncio
import contextlib
import gc
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

PAGE = Path("docs/reference/benchmarks-api.md")
BEGIN, END = "<!-- directord: begin -->", "<!-- directord: end -->"
PORT, API_PORT = 8080, 9443
TOKEN = "t" * 43
CHROMIUM = "/usr/bin/chromium"
_LONG_S = 0.004
"""Calls that are told by name."""


def config(realservers: int, services: int, folder: Path, *, weight: int = 1, interval: str = "5s") -> str:
    """``weight``: of the first realserver."""
    parts = [
        f'[api]\nlisten = ["127.0.0.1:{API_PORT}"]\ncertificate = "{folder}/api.crt"\n',
        f'key = "{folder}/api.key"\n',
        f'token_file = "{folder}/tokens.toml"\nrate = 1000\n',
        f'[agent]\nrun_dir = "{folder}"\nstate_dir = "{folder}/state"\n[sync]\nenabled = false\n',
    ]
    share = realservers // services
    for number in range(services):
        parts.append(f'[[service]]\nname = "web{number}"\naddress = "10.9.{number >> 8}.{number & 255}:80"\n')
        parts.append(f'method = "nat"\ncheck = {{ type = "tcp", interval = "{interval}" }}\n')
        for member in range(share):
            address = ip_address(0x7F010000 + number * share + member)
            own = weight if number == member == 0 else 1
            parts.append(f'[[service.realservers]]\naddress = "{address}:{PORT}"\nweight = {own}\n')
    return "".join(parts)


# --- in directord -----------------------------------------------------------------------------------


class Probe:
    """Times each turn of the loop; ``SIGUSR1`` writes what was found and begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns: list[float] = []
        self._busy: list[float] = []
        self._calls: dict[str, tuple[float, int]] = {}
        self._worst: list[tuple[float, list[str]]] = []
        self._running: list[str] = []
        self._woke = time.perf_counter()
        self._woke_cpu = time.thread_time()
        self._collecting = 0.0

    def install(self) -> None:
        import selectors

        probe, run, select = self, asyncio.Handle._run, selectors.EpollSelector.select

        def timed_run(handle: asyncio.Handle) -> None:
            begun = time.thread_time()
            run(handle)
            took = time.thread_time() - begun
            if took >= _LONG_S:
                probe.note(_name(handle), took)

        def timed_select(selector: selectors.EpollSelector, timeout: float | None = None) -> Any:
            probe.turned()
            found = select(selector, timeout)
            probe._woke, probe._woke_cpu = time.perf_counter(), time.thread_time()
            return found

        setattr(asyncio.Handle, "_run", timed_run)  # noqa: B010 - mypy knows another type
        setattr(selectors.EpollSelector, "select", timed_select)  # noqa: B010
        gc.callbacks.append(self._on_garbage)
        signal.signal(signal.SIGUSR1, lambda *_: self.tell())

    def note(self, name: str, took: float) -> None:
        most, count = self._calls.get(name, (0.0, 0))
        self._calls[name] = (max(most, took), count + 1)
        self._running.append(f"{name} {took * 1000:.1f}")

    def turned(self) -> None:
        self._turns.append(time.perf_counter() - self._woke)
        took = time.thread_time() - self._woke_cpu
        self._busy.append(took)
        if took > _LONG_S:
            self._worst.append((took, self._running))
            self._worst = sorted(self._worst, key=lambda each: -each[0])[:8]
        self._running = []

    def _on_garbage(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        elif (took := time.thread_time() - self._collecting) >= _LONG_S:
            self.note(f"garbage of generation {info['generation']}", took)

    def tell(self) -> None:
        turns, busy = sorted(self._turns) or [0.0], sorted(self._busy) or [0.0]
        found = {
            "turns": len(turns),
            "longest_ms": round(turns[-1] * 1000, 1),
            "p999_ms": round(turns[len(turns) * 999 // 1000] * 1000, 1),
            "longest_busy_ms": round(busy[-1] * 1000, 1),
            "p999_busy_ms": round(busy[len(busy) * 999 // 1000] * 1000, 1),
            "long_calls": {
                name: [round(most * 1000, 1), count]
                for name, (most, count) in sorted(self._calls.items(), key=lambda item: -item[1][0])[:12]
            },
            "worst": [[round(took * 1000, 1), names] for took, names in self._worst[:4]],
        }
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(found))
        temporary.replace(self._path)
        self._turns, self._busy, self._calls, self._worst = [], [], {}, []


def _name(handle: asyncio.Handle) -> str:
    call: Any = handle._callback  # type: ignore[attr-defined]
    while hasattr(call, "func"):
        call = call.func
    task = getattr(call, "__self__", None)
    if isinstance(task, asyncio.Task):
        coroutine: Any = task.get_coro()
        names = []
        while coroutine is not None and hasattr(coroutine, "cr_code"):
            names.append(coroutine.__qualname__)
            coroutine = coroutine.cr_await
        return " > ".join(names[:4])
    return str(getattr(call, "__qualname__", call))


def run_agent(file: str, found: str) -> int:
    """The agent, its kernel pretended and its loop watched."""
    from functools import partial

    from lvsha.agent import directord
    from lvsha.cli import agent
    from lvsha.io.ipvs_genl import IpvsSocket
    from tests.bench.pretended_kernel import PretendedKernel

    kernel = PretendedKernel()
    directord_main = directord.main

    def watched(*arguments: Any) -> int:
        Probe(Path(found)).install()
        return directord_main(*arguments)

    vars(directord).update(IpvsSocket=partial(IpvsSocket, connect=kernel.connect), main=watched)
    return agent.main(["-f", file, "--only", "directord"])


# --- outside ------------------------------------------------------------------------------------------


class Watched:
    """One agent under measurement."""

    def __init__(self, folder: Path, realservers: int, services: int) -> None:
        self.folder = folder
        self.socket = folder / "directord.sock"
        self._found = folder / "found.json"
        self._shape = (realservers, services)
        self._file = folder / "lvsha.toml"
        self._file.write_text(config(realservers, services, folder))
        _access(folder)
        self.results: dict[str, Any] = {"realservers": realservers, "services": services}
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--agent", str(self._file), str(self._found)],
            stderr=self._log,
            stdout=self._log,
        )

    def pid(self) -> int:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(text.split()[0])

    def ask(self, path: str, body: Any = None) -> tuple[float, bytes]:
        """Seconds, and the answer's body."""
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(self.socket))
            text = b"" if body is None else json.dumps(body).encode()
            head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: lvsha\r\n"
            head += f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n"
            sock.sendall(head.encode() + text)
            parts = []
            while data := sock.recv(1 << 20):
                parts.append(data)
        whole = b"".join(parts)
        assert b" 200 " in whole[:20], whole[:300]
        return time.perf_counter() - begun, whole.partition(b"\r\n\r\n")[2]

    def status(self) -> Any:
        return json.loads(self.ask("/v1/status")[1])

    def wait(self, what: Callable[[], bool], limit_s: float = 120) -> None:
        end = time.monotonic() + limit_s
        while True:
            with contextlib.suppress(OSError, AssertionError, IndexError):
                if what():
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.5)

    def take(self) -> dict[str, Any]:
        """What the loop did since the last time."""
        self._found.unlink(missing_ok=True)
        os.kill(self.pid(), signal.SIGUSR1)
        self.wait(self._found.exists, 20)
        return dict(json.loads(self._found.read_text()))

    def memory_mb(self, name: str = "VmRSS") -> float:
        for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def phase(self, name: str, work: Callable[[], dict[str, Any] | None]) -> None:
        self.take()
        found = work() or {}
        self.results[name] = {**found, "loop": self.take(), "rss_mb": self.memory_mb()}
        print(self._shape[0], name, json.dumps(self.results[name]), flush=True)

    def gets(self, path: str, count: int, pause_s: float) -> dict[str, Any]:
        times, size = [], 0
        for _ in range(count):
            took, body = self.ask(path)
            times.append(took * 1000)
            size = len(body)
            time.sleep(pause_s)
        times.sort()
        return {"p50_ms": round(times[len(times) // 2], 1), "worst_ms": round(times[-1], 1), "bytes": size}

    def reload(self, weight: int) -> None:
        self._file.write_text(config(*self._shape, self.folder, weight=weight))
        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.weight() == weight, 30)

    def weight(self) -> int:
        body = json.loads(self.ask("/v1/services/web0")[1])
        return int(body["destinations"][0]["kernel_weight"])

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._log.close()


def _access(folder: Path) -> None:
    """A certificate, and a token that may everything."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lb1"
    words += " -keyout api.key -out api.crt"
    subprocess.run(words.split(), cwd=folder, check=True, stderr=subprocess.DEVNULL)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    path = folder / "tokens.toml"
    path.write_text(f'[[token]]\nname = "bench"\nrole = "admin"\nsha256 = "{digest}"\n')
    path.chmod(0o600)


_WATCH = """
sessionStorage.setItem("lvsha-token", "TOKEN");
window.seen = {};
window.wanted = "";
new MutationObserver(() => {
  const seen = window.seen;
  if (!seen.services && document.querySelector("#services details")) seen.services = performance.now();
  if (window.wanted && !seen.change && document.querySelector("#timeline").innerText.includes(window.wanted))
    seen.change = Date.now();
  const cell = document.querySelector("[data-realserver] td.number");
  if (window.weight && !seen.weight && cell && cell.firstChild.textContent === window.weight)
    seen.weight = Date.now();
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def _dashboard(watched: Watched, runs: int = 3) -> dict[str, Any]:
    """First paint, when the services stand there, and how long after it an event is seen, in a browser."""
    from playwright.sync_api import sync_playwright

    paints, services, timeline, rows = [], [], [], []
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        for number in range(runs):
            time.sleep(5)  # nobody has asked for a while
            page = browser.new_context(ignore_https_errors=True, bypass_csp=True).new_page()
            page.add_init_script(_WATCH.replace("TOKEN", TOKEN))
            page.goto(f"https://127.0.0.1:{API_PORT}/")
            page.wait_for_function("window.seen.services", timeout=60_000)
            page.wait_for_function("document.querySelector('#link').textContent === 'live'", timeout=60_000)
            paints.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            services.append(page.evaluate("window.seen.services"))
            if not page.query_selector("[data-realserver]"):
                page.click("#services summary")
            page.wait_for_selector("[data-realserver]", timeout=60_000)
            time.sleep(2)
            weight = 20 + number
            page.evaluate(
                f"window.wanted = '→ {weight}'; window.weight = '{weight} '.trim(); window.seen.change = 0"
            )
            target = str(page.get_attribute("[data-realserver]", "data-realserver"))
            watched.ask("/v1/weight", {"target": target, "weight": weight})
            page.wait_for_function("window.seen.change && window.seen.weight", timeout=30_000)
            change = json.loads(watched.ask("/v1/history?limit=1")[1])["changes"][-1]
            assert change["after"] == weight, change
            timeline.append(page.evaluate("window.seen.change") - change["at"] * 1000)
            rows.append(page.evaluate("window.seen.weight") - change["at"] * 1000)
            page.context.close()
        browser.close()
    found = {"first_paint_ms": paints, "services_ms": services, "timeline_ms": timeline, "row_ms": rows}
    return {name: [round(value) for value in values] for name, values in found.items()}


def measure(realservers: int, services: int, only: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lvsha-bench-") as name:
        folder = Path(name)
        watched = Watched(folder, realservers, services)
        try:
            begun = time.monotonic()
            watched.wait(lambda: watched.ask("/livez")[0] > 0)
            watched.wait(lambda: b'"state":"unproven"' not in watched.ask("/v1/status")[1], 60)
            watched.results["proven_s"] = round(time.monotonic() - begun, 1)
            watched.results["start"] = {"loop": watched.take(), "rss_mb": watched.memory_mb()}
            print(realservers, "start", json.dumps(watched.results["start"]), flush=True)
            time.sleep(15)  # then nobody asks any more, and what stays is frozen
            phases: dict[str, Callable[[], dict[str, Any] | None]] = {
                "idle": lambda: time.sleep(10),
                "scrapes": lambda: watched.gets("/metrics", 10, 1.0),
                "status": lambda: watched.gets("/v1/status", 50, 0.1),
                "orders": lambda: _orders(watched),
                "dashboard": lambda: _dashboard(watched),
                "reload": lambda: watched.reload(7),
                "history": lambda: watched.gets("/v1/history?limit=10000", 5, 0.2),
                "after": lambda: time.sleep(10),
            }
            for phase, work in phases.items():
                if not only or phase in only.split(","):
                    watched.phase(phase, work)
            watched.results["load"] = round(os.getloadavg()[0], 1)
            watched.results["peak_rss_mb"] = watched.memory_mb("VmHWM")
        finally:
            watched.close()
    return watched.results


def _orders(watched: Watched) -> dict[str, Any]:
    """A drain of one, then all weights of a service."""
    name = watched.status()["services"][0]["destinations"][0]["name"]
    took = []
    for path, body in (
        ("/v1/drain", {"target": f"web0/{name}"}),
        ("/v1/undrain", {"target": f"web0/{name}"}),
        ("/v1/disable", {"target": "web0"}),
        ("/v1/enable", {"target": "web0"}),
    ):
        took.append(watched.ask(path, body)[0] * 1000)
        time.sleep(1)
    return {"worst_ms": round(max(took), 1)}


def section(results: list[dict[str, Any]]) -> str:
    """The page's part, between its marks."""
    lines = [
        BEGIN,
        "",
        "## directord's loop and memory",
        "",
        "Made by `.venv/bin/python tests/bench/bench_directord.py --page`: a whole directord with a TCP",
        "check every 5 s for each realserver, in ten services; only the kernel's IPVS is pretended, at the",
        "bytes of netlink. The longest turn of its loop, by the clock and, in brackets, of its own processor",
        "time, which other work on the machine does not lengthen; wanted: 20 ms. Memory is resident, after",
        "each phase; wanted: 70, 90 and 250 MB. The browser is Debian's Chromium, over TLS; wanted: 1 s to",
        "the first paint, 300 ms from an event to the page. The load of the machine, which has two",
        f"processors, was {max(each['load'] for each in results)}.",
        "",
        "| what | " + " | ".join(f"{each['realservers']:,} realservers" for each in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    doing = {
        "idle": "checks alone",
        "scrapes": "10 scrapes, one a second",
        "status": "50 times the status",
        "orders": "a realserver and a whole service ordered out and back",
        "dashboard": "the dashboard in a browser, with an order",
        "reload": "a reload of one weight",
        "history": "5 times the whole history",
    }
    for phase, text in doing.items():
        if phase in results[0]:
            loops = [each[phase]["loop"] for each in results]
            turns = [f"{loop['longest_ms']} ({loop['longest_busy_ms']}) ms" for loop in loops]
            lines.append(f"| longest turn: {text} | " + " | ".join(turns) + " |")
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("memory, checks alone", lambda each: f"{each['idle']['rss_mb']} MB"),
        ("memory after all of it, and its peak", lambda each: f"{_last_rss(each)}, {each['peak_rss_mb']} MB"),
        (
            "a scrape, median and worst",
            lambda each: f"{each['scrapes']['p50_ms']}, {each['scrapes']['worst_ms']} ms",
        ),
    ]
    names = {
        "first_paint_ms": "dashboard: first paint",
        "services_ms": "dashboard: the services stand there",
        "timeline_ms": "dashboard: from the change to the timeline",
        "row_ms": "dashboard: from the change to its row",
    }
    for key, text in names.items():
        rows.append((text, lambda each, key=key: f"{', '.join(map(str, each['dashboard'][key]))} ms"))  # type: ignore[misc]
    for text, value in rows:
        lines.append(f"| {text} | " + " | ".join(value(each) for each in results) + " |")
    return "\n".join([*lines, "", END, ""])


def _last_rss(result: dict[str, Any]) -> float:
    return float([phase["rss_mb"] for phase in result.values() if isinstance(phase, dict)][-1])


@contextlib.contextmanager
def server(folder: Path) -> Iterator[None]:
    from tests.bench.bench_checker import web_server

    folder.chmod(0o755)
    with web_server(folder, pinned=False):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--realservers", default="10,1000,10000", help="how many; several with commas")
    parser.add_argument("--services", type=int, default=10)
    parser.add_argument("--only", default="", help="phases, with commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help=f"write its part of {PAGE}")
    parser.add_argument("--agent", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if arguments.agent:
        return run_agent(*arguments.agent)
    from tests.bench.bench_checker import enter_namespace

    enter_namespace()
    results = []
    with tempfile.TemporaryDirectory(prefix="lvsha-bench-") as name, server(Path(name)):
        for realservers in arguments.realservers.split(","):
            results.append(measure(int(realservers), arguments.services, arguments.only))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.page:
        text = PAGE.read_text()
        if BEGIN in text:
            text = text.partition(BEGIN)[0] + text.partition(END)[2].lstrip("\n")
        first, mark, rest = text.partition("<!-- beset: begin -->")
        PAGE.write_text(f"{first.rstrip()}\n\n{section(results)}" + (f"\n{mark}{rest}" if mark else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
