"""nftables through its own tool: text in, an error or nothing out."""

import asyncio
import shutil

_TIMEOUT_S = 10.0


class NftUnavailable(Exception):
    """There is no ``nft`` on this machine."""


async def run_nft(text: str, *arguments: str) -> str:
    """Feed ``text`` to ``nft -f -`` (or run ``nft ARGUMENTS``); the error's first line, empty when it worked.

    Raises:
        NftUnavailable: the program is not installed.
    """
    program = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise NftUnavailable("nft is not installed: apt-get install nftables")
    process = await asyncio.create_subprocess_exec(
        program,
        *(arguments or ("-f", "-")),
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
        return f"nft gave no answer within {_TIMEOUT_S:g} s"
    if process.returncode == 0:
        return ""
    lines = error.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"nft ended with status {process.returncode}"
