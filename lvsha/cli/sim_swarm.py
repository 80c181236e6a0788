"""``lvsha sim swarm`` and ``lvsha sim relay``: random lives, their figures, and how to live one again."""

import argparse
import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvsha.sim.relay_swarm import RelayLife
    from lvsha.sim.swarm import Life

_EPILOG = """\
A quiet spell is leapt over where it is a proven repetition (decision 0123): the
figures say how many hours were leapt and how many were played, event by event.
example: lvsha sim swarm --seeds 1000 --first 5000
         lvsha sim swarm --seed 4711 --prove     every leap played as well, and compared
"""


def add_swarms(verbs: Any) -> None:
    """``verbs``: what ``add_subparsers`` returned."""
    for verb, of in (("swarm", "of routers"), ("relay", "of the relay of connections")):
        parser = verbs.add_parser(
            verb,
            help=f"random lives {of}; 1 when an invariant breaks",
            epilog=_EPILOG if verb == "swarm" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--seeds", type=int, default=100, metavar="N", help="how many (100)")
        which.add_argument(
            "--seed", type=int, metavar="S", help="only this one, with the end of its transcript"
        )
        parser.add_argument("--first", type=int, default=0, metavar="S", help="the first seed (0)")
        parser.add_argument("--misfortunes", type=int, default=40, metavar="N", help="per life (40)")
        parser.add_argument("--json", action="store_true", help="the figures as JSON")
        if verb == "swarm":
            parser.add_argument(
                "--quiet", default="1h", metavar="TIME", help="a quiet spell on average; 0s: none (1h)"
            )
            how = parser.add_mutually_exclusive_group()
            how.add_argument("--play", action="store_true", help="leap over nothing")
            how.add_argument(
                "--prove", action="store_true", help="play what could be leapt over, and compare"
            )


def run_swarm(arguments: argparse.Namespace) -> int:
    only = arguments.seed is not None
    seeds = [arguments.seed] if only else range(arguments.first, arguments.first + arguments.seeds)
    again = f"lvsha sim {arguments.verb} --seed {{}} --misfortunes {arguments.misfortunes}"
    if arguments.verb == "swarm":
        again += f" --quiet {arguments.quiet}"
    began = time.process_time()
    simulated = leapt = 0
    totals: Counter[str] = Counter()
    for seed in seeds:
        try:
            life = _live(arguments, seed)
        except ValueError as error:
            print(f"lvsha sim: --quiet: {error}", file=sys.stderr)
            return 2
        simulated += life.simulated
        leapt += getattr(life, "leapt", 0)
        totals.update(life.figures)
        if life.broken:
            print(*life.end, sep="\n")
            print(f"seed {seed}: {life.broken}")
            if not only:
                print(f"again: {again.format(seed)}")
            return 1
    _tell(arguments, len(seeds), simulated, leapt, totals, time.process_time() - began)
    return 0


def _live(arguments: argparse.Namespace, seed: int) -> "Life | RelayLife":
    """
    Raises:
        ValueError: ``--quiet`` is no duration.
    """
    if arguments.verb == "relay":
        from lvsha.sim import relay_swarm

        return relay_swarm.live(seed, misfortunes=arguments.misfortunes)
    from lvsha.sim.leap import Leaping
    from lvsha.sim.swarm import live
    from lvsha.sim.transcript import duration

    leaping = Leaping.PLAY if arguments.play else Leaping.PROVE if arguments.prove else Leaping.LEAP
    quiet = duration(arguments.quiet)
    return live(seed, misfortunes=arguments.misfortunes, quiet=quiet, leaping=leaping)


def _tell(
    arguments: argparse.Namespace,
    lives: int,
    simulated: int,
    leapt: int,
    totals: Counter[str],
    took: float,
) -> None:
    hours, hours_leapt = simulated / 3.6e12, leapt / 3.6e12
    minutes = took / 60
    if arguments.json:
        told = {
            "lives": lives,
            "hours": hours,
            "hours_leapt": hours_leapt,
            "hours_played": hours - hours_leapt,
            "core_seconds": took,
            "hours_per_core_minute": hours / minutes,
            **{name.replace(" ", "_"): count for name, count in totals.items()},
        }
        print(json.dumps(told, indent=2))
        return
    counts = ", ".join(f"{count:,} {what}" for what, count in totals.items())
    played = f" ({hours - hours_leapt:,.1f} played, {hours_leapt:,.1f} leapt over)" if leapt else ""
    print(
        f"{lives:,} lives, {hours:,.1f} simulated hours{played}, {counts}: all held "
        f"({took:.1f} s of a core, {hours / minutes:,.0f} hours a core-minute)"
    )
