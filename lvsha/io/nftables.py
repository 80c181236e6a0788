"""The firewall's own tools: text in, an error or nothing out."""

import asyncio
import shutil
from collections.abc import Sequence

_TIMEOUT_S = 10.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


async def run_nft(text: str, *arguments: str) -> str:
    """Feed ``text`` to ``nft -f -``, or run ``nft ARGUMENTS``.

    Returns:
        The error's first line; empty when it worked.
    """
    return await _run("nft", "nftables", arguments or ("-f", "-"), text)


async def run_iptables(version: int, *arguments: str) -> str:
    """Run ``iptables-legacy`` or, for IPv6, ``ip6tables-legacy``; as above."""
    return await _run(_legacy(version), "iptables", ("-w", *arguments), "")


async def restore_iptables(version: int, text: str) -> str:
    """Feed ``text`` to ``iptables-legacy-restore``, which leaves alone what it does not name. As above."""
    return await _run(f"{_legacy(version)}-restore", "iptables", ("--noflush", "-w"), text)


def _legacy(version: int) -> str:
    return "iptables-legacy" if version == 4 else "ip6tables-legacy"


async def _run(name: str, package: str, arguments: Sequence[str], text: str) -> str:
    program = shutil.which(name, path=_PATH)
    if program is None:
        return f"{name} is not installed: apt-get install {package}"
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, error = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{name} gave no answer within {_TIMEOUT_S:g} s"
    if process.returncode == 0:
        return ""
    lines = error.decode(errors="replace").strip().splitlines()
    return f"{name}: {lines[0]}" if lines else f"{name} ended with status {process.returncode}"
