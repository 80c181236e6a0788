"""The firewall's own tools: text in, an error or nothing out."""

import shutil
from collections.abc import Sequence

from lvsha.io.launcher import Program, Run, run_program

_TIMEOUT_S = 10.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


async def run_nft(text: str, *arguments: str, run: Run = run_program) -> str:
    """Feed ``text`` to ``nft -f -``, or run ``nft ARGUMENTS``.

    Returns:
        The error's first line; empty when it worked.
    """
    return await _run("nft", "nftables", arguments or ("-f", "-"), text, run)


async def run_iptables(version: int, *arguments: str, run: Run = run_program) -> str:
    """Run ``iptables-legacy`` or, for IPv6, ``ip6tables-legacy``; as above."""
    return await _run(_legacy(version), "iptables", ("-w", *arguments), "", run)


async def restore_iptables(version: int, text: str, *, run: Run = run_program) -> str:
    """Feed ``text`` to ``iptables-legacy-restore``, which leaves alone what it does not name. As above."""
    return await _run(f"{_legacy(version)}-restore", "iptables", ("--noflush", "-w"), text, run)


def _legacy(version: int) -> str:
    return "iptables-legacy" if version == 4 else "ip6tables-legacy"


async def _run(name: str, package: str, arguments: Sequence[str], text: str, run: Run) -> str:
    program = shutil.which(name, path=_PATH)
    if program is None:
        return f"{name} is not installed: apt-get install {package}"
    command = Program(words=(program, *arguments), text=text.encode(), limit_s=_TIMEOUT_S, says="errors")
    try:
        status, error = await run(command)
    except OSError as problem:
        return f"{name}: {problem.strerror or problem}"
    if status is None:
        return f"{name} gave no answer within {_TIMEOUT_S:g} s"
    if status == 0:
        return ""
    lines = error.decode(errors="replace").strip().splitlines()
    return f"{name}: {lines[0]}" if lines else f"{name} ended with status {status}"
