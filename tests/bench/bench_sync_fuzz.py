"""Only typed errors: feeds the sync and VRRP decoders bytes that are nearly right, as fast as it can.

    .venv/bin/python tests/bench/bench_sync_fuzz.py --inputs 10000000
    .venv/bin/python tests/bench/bench_sync_fuzz.py --atheris 600        guided by coverage, for 600 s

Each input must decode or raise DecodeError. Of every sixteenth, the bulk path must give the same entries, a
receiver that knows less must not install more, and what a v1 message installs must encode and decode to
itself. The first input that breaks a rule is printed in hexadecimal and ends the run, status 1. The second
form needs ``pip install atheris`` (not among the locked packages) and starts from the vectors.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
NEIGHBOURS = 15


def check(data: bytes) -> str:
    """What became of one input, in a word; raises what must not be."""
    from lvsha.core.errors import DecodeError
    from lvsha.wire.ipvs_sync.message import decode_message, decode_rows, encode_message
    from lvsha.wire.ipvs_sync.receiver import Receiver
    from lvsha.wire.vrrp import decode_advertisement

    for family in (4, 6):
        with suppress(DecodeError):
            decode_advertisement(data, family=family)
    narrow = Receiver(syncid=7, maxlen=1472, engines=frozenset({b"sip"}))
    try:
        message = decode_message(data)
    except DecodeError:
        return "refused"
    entries = message.entries
    assert decode_rows(data) == list(entries), "the bulk path differs"
    few = decode_message(data, narrow).entries
    assert len(few) <= len(entries), "a receiver that knows less installs more"
    for problem in message.problems:
        str(problem)
    if message.version == 1 and entries and len(data) < 60_000:
        again = decode_message(encode_message(message.syncid, entries))
        assert again.entries == entries, "encoding changes entries"
    if message.problems:
        return "partly" if entries else "nothing"
    return "whole"


def mutate_and_check(inputs: int, seed: int) -> Counter[str]:
    """The loop without coverage."""
    from lvsha.core.errors import DecodeError
    from lvsha.wire.ipvs_sync.message import decode_message
    from tests.conformance.ipvs_sync_vectors import load_vectors
    from tests.conformance.sync_mutations import mutated

    dice = random.Random(seed)
    bases = [vector.data for vector in load_vectors() if len(vector.data) < 400]
    outcomes: Counter[str] = Counter()
    number = 0
    data = b""
    try:
        while number < inputs:
            data = mutated(dice, dice.choice(bases), number & 0xFFFFFF)
            outcomes[check(data)] += 1
            number += 1
            # Neighbours of it are cheap to make, and only decoded.
            near = bytearray(data)
            for _ in range(min(NEIGHBOURS, inputs - number) if near else 0):
                near[int(dice.random() * len(near))] = int(dice.random() * 256)
                data = bytes(near)
                with suppress(DecodeError):
                    decode_message(data)
                number += 1
    except Exception as error:
        print(f"seed {seed}, input {number}: {type(error).__name__}: {error}\n{data.hex()}")
        raise
    outcomes["neighbours"] = number - outcomes.total()
    return outcomes


def guided(seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    import atheris  # type: ignore[import-untyped]  # installed by hand

    with atheris.instrument_imports(include=["lvsha"]):
        import lvsha.wire.ipvs_sync.message
        import lvsha.wire.vrrp  # noqa: F401
    from tests.conformance.ipvs_sync_vectors import load_vectors

    corpus = ROOT / "build" / "fuzz" / "sync"
    corpus.mkdir(parents=True, exist_ok=True)
    for vector in load_vectors():
        (corpus / vector.name).write_bytes(vector.data)

    def one_input(data: bytes) -> None:
        check(data)
        if len(data) >= 4:
            check(data[:2] + len(data).to_bytes(2, "big") + data[4:])

    words = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=600", "-print_final_stats=1", str(corpus)]
    atheris.Setup(words, one_input)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", type=int, metavar="SECONDS")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.atheris:
        guided(options.atheris)
    begun = time.monotonic()
    outcomes = mutate_and_check(options.inputs, options.seed)
    seconds = time.monotonic() - begun
    report = {"inputs": options.inputs, "seed": options.seed, "seconds": round(seconds, 1), **outcomes}
    print(f"{options.inputs:,} inputs in {seconds:.0f} s, seed {options.seed}: {dict(outcomes)}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
