"""A takeover of a real pair on a real kernel, watched from the page in a real browser.

The pair is in a guest (``watched_pair.py``); the browser is outside and shows what lb2 says.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from tests.api.test_dashboard import CHROMIUM

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
GENEROUS_MS = 60_000


class Guest:
    """The guest with the pair, and a port of this machine that leads to lb2's API."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._ready = asyncio.Event()
        self.crashed = asyncio.Event()
        self._opened = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """The port."""
        command = [str(Path(sys.executable).with_name("lvsha")), "lab", "exec", "--bare", "--limit", "240"]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--",
            sys.executable,
            "-m",
            "tests.api.watched_pair",
            str(self._folder),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdout is not None
        listening = asyncio.create_task(self._listen(process.stdout))
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            await self._ready.wait()
            yield server.sockets[0].getsockname()[1]
        finally:
            self.tell("quit")
            server.close()
            for writer in self._writers.values():
                writer.close()
            await process.wait()
            await listening

    def tell(self, name: str, data: bytes = b"") -> None:
        """A file that the guest finds whole."""
        hidden = self._folder / f".{name}"
        hidden.write_bytes(data)
        os.rename(hidden, self._folder / name)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened += 1
        number = f"{self._opened:06}"
        self._writers[number] = writer
        part = 0
        while data := await reader.read(1 << 16):
            self.tell(f"{number}.{part:06}", data)
            part += 1
        self.tell(f"{number}.{part:06}")

    async def _listen(self, said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            words = json.loads(line)
            if "ready" in words:
                self._ready.set()
            if "crashed" in words:
                self.crashed.set()
            if "connection" in words and (writer := self._writers.get(words["connection"])):
                if data := base64.b64decode(words["data"]):
                    writer.write(data)
                else:
                    writer.close()
        self._ready.set()  # or nobody would learn that it is over


async def test_takeover_of_a_real_pair_is_seen_from_the_page(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    async with guest.running() as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            page = await (await browser.new_context()).new_page()
            await page.goto(f"http://127.0.0.1:{port}/", timeout=GENEROUS_MS)
            this, other = (
                page.get_by_role("article", name=name) for name in ("this director, lb2", "director lb1")
            )
            await expect(page.locator("#link")).to_have_text("live", timeout=GENEROUS_MS)
            await expect(this).to_contain_text("BACKUP of 10.0.0.10", timeout=GENEROUS_MS)
            await expect(other).to_contain_text("MASTER of", timeout=GENEROUS_MS)

            guest.tell("crash")

            await expect(this).to_contain_text("MASTER of 10.0.0.10", timeout=GENEROUS_MS)
            await expect(page.locator("#timeline")).to_contain_text("MASTER", timeout=GENEROUS_MS)
            await expect(other).not_to_contain_text("MASTER of", timeout=GENEROUS_MS)
            assert guest.crashed.is_set()
        finally:
            await browser.close()
