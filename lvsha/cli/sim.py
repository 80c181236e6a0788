"""``lvsha sim``: virtual directors on a virtual network."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "run virtual directors on a virtual network"

_EPILOG = """\
examples:
  lvsha sim run takeover.txt          play a scenario and print what happens
  lvsha sim swarm --seeds 1000        a thousand random lives, invariants watched
  lvsha sim swarm --seed 4711         one of them again, with its transcript
"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="lvsha sim",
        description="Virtual directors, network and time: takeover without waiting for it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="play scenarios; 1 when one does not say what happens")
    run.add_argument("files", nargs="+", type=Path, metavar="FILE")
    run.add_argument("--rewrite", action="store_true", help="write what happens into the files")
    swarm = verbs.add_parser("swarm", help="random lives; 1 when an invariant breaks")
    which = swarm.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=100, metavar="N", help="how many (100)")
    which.add_argument("--seed", type=int, metavar="S", help="only this one, with the end of its transcript")
    swarm.add_argument("--first", type=int, default=0, metavar="S", help="the first seed (0)")
    swarm.add_argument("--misfortunes", type=int, default=40, metavar="N", help="per life (40)")
    arguments = parser.parse_args(argv)
    if arguments.verb == "run":
        return _run(arguments.files, rewrite=arguments.rewrite)
    return _swarm(arguments)


def _run(files: Sequence[Path], *, rewrite: bool) -> int:
    from lvsha.sim.transcript import Transcript, TranscriptError

    status = 0
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            played = Transcript().run(text)
        except (OSError, TranscriptError) as error:
            print(f"lvsha sim: {path}: {error}", file=sys.stderr)
            return 2
        if rewrite:
            path.write_text(played, encoding="utf-8")
        else:
            print(played, end="")
            if played != text:
                print(
                    f"lvsha sim: {path}: this is not what the file says; --rewrite writes it there",
                    file=sys.stderr,
                )
                status = 1
    return status


def _swarm(arguments: argparse.Namespace) -> int:
    from lvsha.core.instant import to_seconds
    from lvsha.sim.swarm import live

    only = arguments.seed is not None
    seeds = [arguments.seed] if only else range(arguments.first, arguments.first + arguments.seeds)
    began = time.monotonic()
    simulated = adverts = takeovers = 0
    for seed in seeds:
        life = live(seed, misfortunes=arguments.misfortunes)
        simulated += life.simulated
        adverts += life.adverts
        takeovers += life.takeovers
        if life.broken:
            print(*life.end, sep="\n")
            print(f"seed {seed}: {life.broken}")
            if not only:
                print(f"again: lvsha sim swarm --seed {seed} --misfortunes {arguments.misfortunes}")
            return 1
    took = time.monotonic() - began
    hours = to_seconds(simulated) / 3600
    print(
        f"{len(seeds)} lives, {hours:.1f} simulated hours, {takeovers} takeovers, {adverts} adverts: "
        f"all held ({took:.1f} s, {hours / (took / 60):.0f} hours a minute)"
    )
    return 0
