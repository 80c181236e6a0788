"""A reload of a configuration with 10,000 realservers: how long it takes, and what it writes.

Run where the kernel has IPVS, or in a guest::

    lvsha lab exec --bare -- .venv/bin/python tests/bench/bench_ipvs_reload.py --json FILE

Timed from the text to the last acknowledgement: read and check the file, compare, dump the kernel's
table, plan, write. Without the health checks, whose own benchmark is ``bench_checker``.
"""

import argparse
import json
import os
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.config.load import loads
from lvsha.core.instant import Instant
from lvsha.director.director import Director
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.plan import plan
from lvsha.lab.netns import Namespace, ip_batch


def config(services: int, realservers: int, weight: int) -> str:
    """So many services with as many realservers each; ``weight``: of the very first."""
    parts = ["[sync]\nenabled = false\n"]
    for number in range(services):
        address = ip_address("10.0.0.1") + number
        parts.append(f'[[service]]\nname = "s{number}"\naddress = "{address}:80"\nmethod = "nat"\n')
        parts.append('check = { type = "on" }\n')
        for n in range(realservers):
            own = weight if number == n == 0 else 1
            server = ip_address("10.128.0.1") + n
            parts.append(f'[[service.realservers]]\naddress = "{server}:80"\nweight = {own}\n')
    return "".join(parts)


def reload(director: Director, ipvs: IpvsSocket, text: str) -> dict[str, Any]:
    """What each part costs, in milliseconds, and how many operations were written."""
    costs: dict[str, Any] = {}
    begun = last = time.perf_counter()

    def mark(name: str) -> None:
        nonlocal last
        costs[name], last = round((time.perf_counter() - last) * 1e3, 1), time.perf_counter()

    settings = loads(text, hostname="lb1")
    mark("read and check")
    director.reconfigure(settings, Instant(time.monotonic_ns()))
    desired = director.desired()
    mark("compare")
    table = ipvs.table()
    mark("dump")
    operations = plan(desired, table, exclusive=True, owned=frozenset())
    mark("plan")
    failures = ipvs.apply(operations)
    assert not failures, failures[:3]
    mark("write")
    costs["all"] = round((time.perf_counter() - begun) * 1e3, 1)
    costs["writes"] = len(operations)
    return costs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--realservers", type=int, default=10, help="of each service")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    first, other = (config(options.services, options.realservers, weight) for weight in (1, 7))
    report: dict[str, Any] = {"kernel": os.uname().release}
    ip_batch(["netns add reload"])
    try:
        with Namespace("reload").entered(), IpvsSocket() as ipvs:
            ip_batch(["link set lo up"])
            director = Director(loads(first, hostname="lb1"), random=lambda: 0.5, actual={})
            director.start(Instant(time.monotonic_ns()))
            for name, text in (("first", first), ("no change", first), ("one weight", other)):
                report[name] = reload(director, ipvs, text)
                print(f"{name:<12} {report[name]}")
            ipvs.flush()
    finally:
        ip_batch(["netns del reload"])
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
