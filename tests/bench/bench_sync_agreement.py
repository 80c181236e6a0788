"""Does a real kernel install what strict decoding says, of messages that are nearly right?

    .venv/bin/python tests/bench/bench_sync_agreement.py --messages 100000 --seed 1

goes into a guest by itself. Vectors are mutated (bits, bytes, cuts, additions, entries twice, mostly with a
right size field), sent to the kernel's backup daemon in batches, and each batch's table is compared with what
the codec and the ledger make of the same messages: every row, its state, server, timer and engine's data. A
message that differs is printed in hexadecimal, exit status 1.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from lvsha.core.errors import DecodeError
from lvsha.lab.guest import IN_GUEST
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses

ROOT = Path(__file__).resolve().parents[2]
BATCH = 500


def verdicts(messages: list[bytes], receiver: Receiver) -> Counter[str]:
    """What the codec says: entries installed, and what was lost by reason."""
    found: Counter[str] = Counter()
    for data in messages:
        try:
            message = decode_message(data, receiver)
        except DecodeError as error:
            found[f"message: {error.reason}"] += 1
            continue
        found["entries installed"] += len(message.entries)
        for problem in message.problems:
            if problem.loses is not Loses.NOTHING:
                found[f"{problem.loses}: {problem.reason}"] += 1
    return found


def compare(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Inside the guest."""
    from tests.conformance.ipvs_sync_vectors import load_vectors
    from tests.conformance.sync_mutations import mutated
    from tests.kernel.kernel_sync_rig import GUEST_ENGINES, backup_kernel, differences, expected_rows

    receiver = Receiver(engines=GUEST_ENGINES)
    dice = random.Random(seed)
    bases = [vector.data for vector in load_vectors() if 8 <= len(vector.data) < 1_500]
    total: Counter[str] = Counter()
    different: list[str] = []
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        messages = [mutated(dice, dice.choice(bases), start + number) for number in range(size)]
        with backup_kernel() as backup:
            backup.install(messages)
            rows = backup.rows()
        found = differences(expected_rows(messages, receiver), rows)
        if found:
            different += [f"batch at {start}: {each}" for each in found]
            different += [f"batch at {start}: {data.hex()}" for data in messages]
        total += verdicts(messages, receiver)
        total["rows in the kernel's table"] += len(rows)
        total["messages"] += size
        total["batches that differ"] += bool(found)
    return total, different


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if IN_GUEST not in os.environ:
        lvsha = str(Path(sys.executable).with_name("lvsha"))
        again = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        words = [lvsha, "lab", "exec", "--bare", "--limit", "3600", "--", *again]
        return subprocess.run(words, cwd=ROOT, check=False).returncode
    sys.path.insert(0, str(ROOT))
    begun = time.monotonic()
    total, different = compare(options.messages, options.seed)
    report = {
        "kernel": os.uname().release,
        "seed": options.seed,
        "seconds": round(time.monotonic() - begun, 1),
        "differences": different,
        "counts": dict(sorted(total.items())),
    }
    print(f"Linux {report['kernel']}, seed {options.seed}, {report['seconds']} s")
    for what, number in sorted(total.items()):
        print(f"{number:10}  {what}")
    print(*different[:2000], sep="\n")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
