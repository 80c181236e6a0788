"""A reload of a configuration with 10,000 realservers: how long it takes, and what it writes.

Run where the kernel has IPVS, or in a guest::

    lvsha lab exec --bare -- .venv/bin/python tests/bench/bench_ipvs_reload.py --json FILE

Timed from the text to the last acknowledgement, as an agent reloads: the supervisor reads and checks
the text and tells what is different, directord is handed the settings, compares, dumps the kernel's
table, plans, writes. Without the probes of the health checks, whose own benchmark is ``bench_checker``.
"""

import argparse
import json
import os
import select
import statistics
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.agent.control import ControlEnd
from lvsha.config.diff import diff
from lvsha.config.load import Loader
from lvsha.config.settings import Settings
from lvsha.core.instant import Instant
from lvsha.director.director import Director
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.plan import plan
from lvsha.lab.netns import Namespace, ip_batch


def config(services: int, realservers: int, weight: int, *, checked: bool = False) -> str:
    """So many services with as many realservers each; ``weight``: of the very first."""
    parts = ["[sync]\nenabled = false\n"]
    for number in range(services):
        address = ip_address("10.0.0.1") + number
        parts.append(f'[[service]]\nname = "s{number}"\naddress = "{address}:80"\nmethod = "nat"\n')
        if not checked:
            parts.append('check = "on"\n')
        for n in range(realservers):
            own = weight if number == n == 0 else 1
            server = ip_address("10.128.0.1") + n
            parts.append(f'[[service.realservers]]\naddress = "{server}:80"\nweight = {own}\n')
    return "".join(parts)


class Agent:
    """The parts of one that a reload goes through."""

    def __init__(self, text: str, ipvs: IpvsSocket) -> None:
        self.ipvs = ipvs
        self.loader = Loader()
        self.settings, _ = self.loader.load(text, hostname="lb1")
        self.supervisor, self.worker = ControlEnd.pair(self.settings)
        self.director = Director(self.settings, random=lambda: 0.5, actual={})
        self.director.start(Instant(time.monotonic_ns()))

    def hand_over(self, settings: Settings) -> Settings:
        sending = threading.Thread(target=self.supervisor.send, args=("reload", settings))
        sending.start()
        while not (messages := self.worker.receive()):
            select.select([self.worker], [], [])
        sending.join()
        received = messages[0].payload
        assert isinstance(received, Settings)
        return received

    def reload(self, text: str) -> dict[str, Any]:
        """What each part costs, in milliseconds, and how many operations were written."""
        costs: dict[str, Any] = {}
        begun = last = time.perf_counter()

        def mark(name: str) -> None:
            nonlocal last
            costs[name], last = round((time.perf_counter() - last) * 1e3, 1), time.perf_counter()

        settings, _ = self.loader.load(text, hostname="lb1")
        mark("read and check")
        changes = diff(self.settings, settings)
        self.settings = settings
        mark("tell")
        received = self.hand_over(settings)
        mark("hand over")
        self.director.reconfigure(received, Instant(time.monotonic_ns()))
        desired = self.director.desired()
        mark("compare")
        table = self.ipvs.table()
        mark("dump")
        operations = plan(desired, table, exclusive=True, owned=frozenset())
        mark("plan")
        failures = self.ipvs.apply(operations)
        assert not failures, failures[:3]
        mark("write")
        costs["all"] = round((time.perf_counter() - begun) * 1e3, 1)
        costs["changes"] = len(changes)
        costs["writes"] = len(operations)
        return costs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--realservers", type=int, default=10, help="of each service")
    parser.add_argument("--checked", action="store_true", help="each realserver has a TCP check")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    first, other = (
        config(options.services, options.realservers, weight, checked=options.checked) for weight in (1, 7)
    )
    report: dict[str, Any] = {"kernel": os.uname().release}
    ip_batch(["netns add reload"])
    try:
        with Namespace("reload").entered(), IpvsSocket() as ipvs:
            ip_batch(["link set lo up"])
            begun = time.perf_counter()
            agent = Agent(first, ipvs)
            report["start_ms"] = round((time.perf_counter() - begun) * 1e3, 1)
            agent.reload(first)  # fills the kernel's table
            for name, texts in (("no change", [first] * 5), ("one weight", [other, first] * 3)):
                runs = [agent.reload(text) for text in texts]
                report[name] = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
                print(f"{name:<12} {report[name]}")
            ipvs.flush()
    finally:
        ip_batch(["netns del reload"])
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
