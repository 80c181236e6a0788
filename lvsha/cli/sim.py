"""``lvsha sim``: virtual directors on a virtual network."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lvsha.cli.parser import Parser
from lvsha.cli.sim_swarm import add_swarms, run_swarm

SUMMARY = "run virtual directors on a virtual network"

_EPILOG = """\
examples:
  lvsha sim run takeover.txt          play a scenario and print what happens
  lvsha sim run --config lvsha.toml --fault "freeze lb1" --fault "3s: thaw lb1"
                                      what would happen to your own directors
  lvsha sim replay vrrpd.record --config lvsha.toml --node lb1
                                      an incident as it was, from [agent] record_file
  lvsha sim swarm --seeds 1000        a thousand random lives, invariants watched
  lvsha sim swarm --seed 4711         one of them again, with its transcript
  lvsha sim relay --seeds 1000        the same for the relay between directors
"""


_FAULTS = """\
faults, each with an optional time before it ("3s: thaw lb1"):
  power_off N, start N         the machine; everything is lost
  kill N, start N              the process; its kernel keeps the addresses
  freeze N, thaw N             it stands still (SIGSTOP, a host without time for it)
  lag N 50ms                   it is always so late
  queue N 500ms                what it receives lies in its kernel for so long
  link N down, link N up       its interface
  trap N 2 kill                its next transition ends after two steps: kill, power_off or freeze
  drift N 20000                its clock is fast by so many parts in a million; below 0: slow
  cut A B, partition A B, isolate N, heal     the network, one way, both ways, whole again
  loss 0.3, delay 1ms 20ms, calm              what the network does to what it carries
  release N, resume N, shutdown N, priority N 50
example: lvsha sim run --config lvsha.toml --fault "power_off lb1" --for 5s
"""


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="lvsha sim",
        description="Virtual directors, network and time: takeover without waiting for it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser(
        "run",
        help="play scenarios, or a configuration with faults; 1 when one does not say what happens",
        epilog=_FAULTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a scenario")
    run.add_argument("--rewrite", action="store_true", help="write what happens into the files")
    run.add_argument("--config", metavar="FILE", help="play the virtual routers of this file")
    run.add_argument(
        "--fault", action="append", default=[], metavar="TEXT", help="what befalls them; may be repeated"
    )
    run.add_argument(
        "--for", dest="lasting", default="10s", metavar="TIME", help="after the first fault (10s)"
    )
    run.add_argument("--json", action="store_true", help="with --config: as JSON")
    again = verbs.add_parser(
        "replay", help="put recorded inputs in again; 1 when something else comes out than was recorded"
    )
    again.add_argument("journal", type=Path, metavar="JOURNAL", help="what [agent] record_file wrote")
    again.add_argument("--config", required=True, metavar="FILE", help="as it was then")
    again.add_argument("--node", help="which of [directors] recorded it")
    add_swarms(verbs)
    arguments = parser.parse_args(argv)
    if arguments.verb == "replay":
        return _replay(arguments)
    if arguments.verb == "run" and arguments.config is not None and not arguments.files:
        return _what_if(arguments)
    if arguments.verb == "run":
        if arguments.config is not None or not arguments.files:
            parser.error("run: give scenarios, or --config FILE with --fault")
        return _run(arguments.files, rewrite=arguments.rewrite)
    return run_swarm(arguments)


def _run(files: Sequence[Path], *, rewrite: bool) -> int:
    from lvsha.sim.transcript import Transcript, TranscriptError

    status = 0
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            played = Transcript().run(text)
        except OSError as error:
            print(f"lvsha sim: {path}: {error.strerror}", file=sys.stderr)
            return 2
        except UnicodeDecodeError:
            print(f"lvsha sim: {path}: this is no text, so no scenario", file=sys.stderr)
            return 2
        except TranscriptError as error:
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


def _what_if(arguments: argparse.Namespace) -> int:
    """0: one MASTER in the end, everywhere."""
    import json
    from dataclasses import asdict

    from lvsha.cli.config_file import first_director, native, read
    from lvsha.config.load import loads
    from lvsha.core.errors import LvshaError
    from lvsha.sim.transcript import TranscriptError, duration
    from lvsha.sim.what_if import Fault, routers_of, what_if

    path = arguments.config
    try:
        text, _ = native(path, read(path))
        first = loads(text, path, first_director(text))
        settings = {
            director.name: first if director.name == first.node else loads(text, path, director.name)
            for director in first.directors
        }
        faults = [Fault(fault) for fault in arguments.fault]
        lasting = duration(arguments.lasting)
        answers = [
            what_if(name, routers, faults, lasting=lasting) for name, routers in routers_of(settings).items()
        ]
    except (ValueError, LvshaError, TranscriptError) as error:
        for line in str(error).splitlines():
            print(f"lvsha sim: {line}", file=sys.stderr)
        return 2
    if not answers:
        print(f"lvsha sim: {path} has no virtual router: nothing can happen to it", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([asdict(answer) for answer in answers], indent=2))
    else:
        for answer in answers:
            print(f"# {answer.router}", *answer.transcript, sep="\n")
            print(
                f"= {answer.router}: MASTER {' and '.join(answer.before) or 'nobody'} before, "
                f"{' and '.join(answer.after) or 'nobody'} in the end; {answer.without_master:.3f} s without "
                f"one, {answer.two_holders:.3f} s with two holders"
            )
    return 0 if all(len(answer.after) == 1 for answer in answers) else 1


def _replay(arguments: argparse.Namespace) -> int:
    from lvsha.cli.config_file import first_director, native, read
    from lvsha.config.load import loads
    from lvsha.core.errors import LvshaError
    from lvsha.sim.lines import line
    from lvsha.vrrp.outputs import RenewAddresses, SendAdvertisement
    from lvsha.vrrp.record import replay

    path = arguments.config
    count = 0
    try:
        text, _ = native(path, read(path))
        settings = loads(text, path, arguments.node or first_director(text))
        with arguments.journal.open(encoding="utf-8") as journal:
            for step in replay(settings.routers, journal):
                count += 1
                for output in step.outputs:
                    regular = isinstance(output, RenewAddresses) or (
                        isinstance(output, SendAdvertisement) and output.priority
                    )
                    if not regular:
                        print(line(step.now, step.router, output))
                if not step.is_same:
                    print(
                        f"lvsha sim: {arguments.journal}: line {step.number}: recorded was "
                        f"{', '.join(step.expected) or 'nothing'}, this lvsha does "
                        f"{', '.join(map(repr, step.outputs)) or 'nothing'}: another version or file",
                        file=sys.stderr,
                    )
                    return 1
    except OSError as error:
        print(f"lvsha sim: {arguments.journal}: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print(f"lvsha sim: {arguments.journal}: this is no text, so no record of inputs", file=sys.stderr)
        return 2
    except (ValueError, LvshaError) as error:
        for problem in str(error).splitlines():
            print(f"lvsha sim: {problem}", file=sys.stderr)
        return 2
    print(f"{count} inputs, the same outputs")
    return 0
