"""``lvsha VERB``: finds the verb's module and leaves the rest to it.

Each verb is a module of this package with ``SUMMARY`` and ``main(argv) -> int``.
Only the verb that is called is imported: start-up time is felt on every call.
Exit status: 0 good, 1 a finding or a refusal, 2 wrong usage.
"""

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

from lvsha import __version__

VERBS: dict[str, str] = {
    "agent": "run a director",
    "status": "show what a director does and whether all is well",
    "drain": "give a realserver no new connections, and take it out when the old ones have ended",
    "undrain": "take a drain back",
    "weight": "another weight than the configured one",
    "disable": "give a realserver no new connections until enable",
    "enable": "take a disable back",
    "maintenance": "a realserver or this director is being worked at, or no longer",
    "switchover": "hand the addresses to the other director",
    "pause": "hand over and take no part in VRRP, also after a restart",
    "resume": "take part in VRRP again",
    "explain": "why a weight or a role is what it is",
    "history": "what changed, when, and why",
    "events": "what happens, as it happens",
    "alert": "show who is told when something happens, and send a test",
    "reload": "load the configuration anew, after showing what that does",
    "token": "make a token for the API over TCP",
    "config": "check, show, compare, convert and try configurations",
    "check": "ask a realserver by hand as a director would, and see what checks cost",
    "ipvs": "list and change the kernel's IPVS tables, as ipvsadm does, and more",
    "sync": "inspect the IPVS connection-sync protocol",
    "realserver": "prepare a realserver for DR, tunnels or NAT, and prove that it is ready",
    "trace": "tell from captures what happened to a connection, hop by hop",
    "doctor": "find the faults that LVS set-ups have; it only looks",
    "sim": "run virtual directors on a virtual network",
    "lab": "real directors on a real IPVS kernel, on this machine",
    "completion": "print the completion of bash, zsh or fish",
}
"""In the order of ``lvsha --help``."""

_MODULES = {"switchover": "role", "resume": "role"} | dict.fromkeys(
    ("drain", "undrain", "weight", "disable", "enable", "maintenance", "pause"), "operate"
)
"""The module where it has another name than the verb; it is then told the verb."""


def usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items()]
    return "\n".join(
        [
            "usage: lvsha VERB ...",
            "",
            "Highly available Linux Virtual Server directors.",
            "",
            *lines,
            "",
            "example: lvsha config check /etc/lvsha/lvsha.toml && lvsha agent -f /etc/lvsha/lvsha.toml",
            "`lvsha VERB --help` tells more; `lvsha --version` says which this is.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The ``lvsha`` command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # here, where what goes wrong with it can be said
    except BrokenPipeError:
        _drop_output()  # the reader of our output has gone: nothing to say, and nobody to hear
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in _OUTPUT_FULL:
            raise
        _drop_output()
        print(f"lvsha: {error.strerror}: what was to be written is not complete", file=sys.stderr)
        return 1


_OUTPUT_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _open_closed_streams() -> None:
    """Have streams to write to, whatever we were started with, and no text that they cannot take."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 # as long as we live
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What is still in its buffer goes nowhere, so that the interpreter's own flush at the end succeeds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # it is none of the system's files
    finally:
        os.close(nowhere)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    verb, *rest = arguments
    if verb in ("-V", "--version"):
        print(f"lvsha {__version__}")
        return 0
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean `lvsha {near[0]}`?" if near else "; `lvsha --help` lists the verbs"
        print(f"lvsha: there is no verb {verb!r}{hint}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"lvsha.cli.{_MODULES.get(verb, verb)}")
    if verb in _MODULES:
        return int(module.main(verb, rest))
    return int(module.main(rest))


if __name__ == "__main__":
    sys.exit(main())
