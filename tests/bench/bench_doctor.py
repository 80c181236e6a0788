"""Which faults ``lvsha doctor`` finds, of those that are injected into a real set-up; and false alarms.

Run: ``.venv/bin/python tests/bench/bench_doctor.py [--json FILE] [--only TEXT] [--table]``. One guest with
network namespaces: DR, NAT in two networks, NAT in one, tunnels. Each fault is made, everything is looked at,
and it is taken back; the same set-ups, sound, must yield nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

MARK = "doctor-result "
LIMIT_S = 900


def inside(only: str) -> None:
    """In the guest: one line for each outcome."""
    from tests.kernel.doctor_faults import FAULTS, run_faults, without_ip_vs

    chosen = [each for each in FAULTS if only in each.finds or only in each.name or only == each.rig]
    outcomes = run_faults(chosen)
    for outcome in outcomes:
        _tell(outcome)
    if only in "no-ip-vs-module":
        _tell(without_ip_vs())


def _tell(outcome: Any) -> None:
    fault = outcome.fault
    row = {
        "rig": outcome.rig,
        "name": outcome.name,
        "injected": fault.finds if fault else None,
        "is_found": outcome.is_found,
        "false_alarms": sorted(outcome.false_alarms),
        "evidence": list(outcome.evidence),
        "took_s": round(outcome.took_s, 2),
    }
    print(MARK + json.dumps(row), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="part of a finding's id, of a fault's name, or a set-up")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.only)
        return 0
    rows = in_guest(arguments.only)
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(row["is_found"] and not row["false_alarms"] for row in rows) and rows else 1


def in_guest(only: str) -> list[dict[str, Any]]:
    lvsha = Path(sys.executable).with_name("lvsha")
    command = [
        str(lvsha),
        "lab",
        "exec",
        "--bare",
        f"--limit={LIMIT_S}",
        "--",
        "env",
        "PYTHONPATH=.",
        sys.executable,
    ]
    command += [__file__, "--inside", f"--only={only}"]
    rows = []
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            if line.startswith(MARK):
                rows.append(json.loads(line.removeprefix(MARK)))
                row = rows[-1]
                verdict = "ok" if row["is_found"] and not row["false_alarms"] else "WRONG"
                what = f"{row['injected'] or '-':<26}{row['name']} ({row['took_s']} s)"
                print(f"{verdict:<6}{row['rig']:<9}{what}")
                if verdict == "WRONG":
                    print("      ", *row["evidence"], sep="\n      ")
            else:
                print(line, end="")
            sys.stdout.flush()
    print(f"the guest took {time.monotonic() - began:.0f} s, and ended with {guest.returncode}")
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Found of injected, by finding; and what sound set-ups yielded."""
    injected = Counter(row["injected"] for row in rows if row["injected"])
    found = Counter(row["injected"] for row in rows if row["injected"] and row["is_found"])
    print("\n| finding | found / injected |\n|---|---|")
    for finding, count in injected.items():
        print(f"| `{finding}` | {found[finding]} / {count} |")
    sound = [row for row in rows if not row["injected"]]
    alarms = sum(len(row["false_alarms"]) for row in sound)
    strays = sum(len(row["false_alarms"]) for row in rows) - alarms
    print(
        f"\nfaults found: {sum(found.values())} of {sum(injected.values())} ({len(injected)} findings);"
        f" other findings beside a fault: {strays};"
        f" false alarms on {len(sound)} looks at sound set-ups: {alarms}"
    )


if __name__ == "__main__":
    sys.exit(main())
