"""The dashboard in a real browser (Debian's Chromium), over TLS to a real server.

The director behind it is a bench in virtual time: what it holds is what the test says.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright, expect

from lvsha.api.events import EventStream
from lvsha.api.port import Json, Refused
from lvsha.api.server import ApiServer
from lvsha.config.settings import ApiSettings
from tests.api.pretended import ROUTER, Parts, Pretended
from tests.api.test_access import TOKENS, folder
from tests.director.operated import realserver, service, settings

__all__ = ["folder"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CHROMIUM = "/usr/bin/chromium"
EVIL = '<img src=x onerror="document.title=1">'


class Pair(Parts):
    """The picture of a director of two."""

    def __init__(self, port: "Watched") -> None:
        super().__init__(port.bench)
        self._port = port

    def head(self) -> Json:
        port = self._port
        peer = {"name": "lb2", "connected": True, "connections": 100, "lag_ms": 0.4}
        relay = {
            "would_lose": port.would_lose,
            "connections": 100,
            "coverage": 1 - port.would_lose / 100,
            "gate": {"open": True, "reason": ""},
            "peers": [peer],
        }
        master = "10.0.0.1" if port.state == "MASTER" else "10.0.0.2"
        return super().head() | {
            "ok": not port.problems,
            "problems": port.problems,
            "peers": [{"name": "lb2", "address": "10.0.0.2"}],
            "vrrp": {"connected": True, "routers": [{**ROUTER, "state": port.state, "master": master}]},
            "sync": {"expected": True, "daemons": [], "relay": relay},
        }


class Watched(Pretended):
    """A director of two, with a realserver whose name is an attack."""

    def __init__(self) -> None:
        super().__init__(
            settings(service("web", realserver(11), realserver(12)), service("api", realserver(13)))
        )
        self.problems: list[str] = [EVIL]
        self.would_lose = 3

    async def status_parts(self) -> Parts:
        return Pair(self)

    def history(self, query: Mapping[str, str]) -> list[Json]:
        return []


class View:
    """A page, the director that it shows, and what the page did that it should not."""

    def __init__(self, page: Page, port: Watched, events: EventStream) -> None:
        self.page, self.port, self.events = page, port, events
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._on_request)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("https://127.0.0.1:", "data:")):
            self.elsewhere.append(request.url)

    def card(self, name: str) -> Any:
        return self.page.get_by_role("article", name=name)

    async def say_who(self, token: str) -> None:
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Go on").click()
        await expect(self.page.locator("#link")).to_have_text("live")


@asynccontextmanager
async def shown(folder: Path, token: str, **how: Any) -> AsyncIterator[View]:
    """The dashboard, after its reader has shown a token."""
    port, events = Watched(), EventStream("life", keep=100)
    server = ApiServer(port, events=events)
    access = ApiSettings(
        listen=(("127.0.0.1", 0),),
        certificate=str(folder / "director.pem"),
        key=str(folder / "director.pem"),
        token_file=str(folder / "tokens.toml"),
        rate=1000,
    )
    await server.start(folder / "directord.sock")
    await server.listen(access)
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            context = await browser.new_context(ignore_https_errors=True, **how)
            view = View(await context.new_page(), port, events)
            await view.page.goto(f"https://127.0.0.1:{server.addresses[-1][1]}/")
            await view.say_who(token)
            view.complaints.clear()  # that the first question was answered with 401
            yield view
        finally:
            await browser.close()
            await server.stop()


async def test_takeover_is_seen_as_it_happens(folder: Path) -> None:
    async with shown(folder, TOKENS["admin"]) as view:
        await expect(view.card("this director, lb1")).to_contain_text("MASTER of 10.0.0.100/24")
        await expect(view.page.locator("#would-lose")).to_have_text("3")

        view.port.state, view.port.would_lose = "BACKUP", 0
        cause = {"kind": "peer", "text": "a director of higher priority is MASTER", "evidence": {}}
        change = {"id": 9, "at": 1.8e9, "what": "role", "subject": "eth0-51", "service": None}
        change |= {"realserver": None, "before": "MASTER", "after": "BACKUP", "causes": [cause]}
        view.events.publish("change", change)

        await expect(view.card("this director, lb1")).to_contain_text("BACKUP of 10.0.0.100/24")
        await expect(view.card("director lb2")).to_contain_text("MASTER of eth0-51")
        await expect(view.page.locator("#would-lose")).to_have_text("0")
        await expect(view.page.locator("#timeline")).to_contain_text("because a director of higher priority")


async def test_nothing_comes_from_elsewhere_and_names_are_text(folder: Path) -> None:
    async with shown(folder, TOKENS["admin"]) as view:
        await expect(view.page.locator("#problems li")).to_have_text(EVIL)
        await expect(view.page).to_have_title("! lvsha lb1")
        await view.page.get_by_role("searchbox").fill("rs13")
        await expect(view.page.locator("#services details")).to_have_count(1)

        assert view.elsewhere == []
        assert view.complaints == []


async def test_drain_is_ordered_after_a_question_and_a_refusal_is_said(folder: Path) -> None:
    async with shown(folder, TOKENS["admin"]) as view:
        drain = view.page.get_by_role("button", name="Drain… rs11 of web")
        await drain.focus()
        await view.page.keyboard.press("Enter")
        view.port.trouble = Refused("refused: it is the last one")
        await view.page.get_by_label("Reason").fill("new disk")
        await view.page.get_by_role("button", name="Drain", exact=True).click()
        await expect(view.page.get_by_role("alert")).to_have_text("refused: it is the last one")

        view.port.trouble = None
        await view.page.get_by_role("button", name="Drain", exact=True).click()
        await expect(view.page.locator("dialog")).to_be_hidden()

        (ordered,) = [fields for name, fields in view.port.orders if name == "order"]
        assert (ordered["kind"], ordered["target"], ordered["reason"]) == ("drain", "web/rs11", "new disk")


async def test_who_may_only_read_or_only_some_services_has_no_other_buttons(folder: Path) -> None:
    async with shown(folder, TOKENS["reader"]) as view:
        for button in await view.page.locator("button[data-role]").all():
            await expect(button).to_be_disabled()
    async with shown(folder, TOKENS["operator"]) as view:
        await expect(view.page.get_by_role("button", name="Drain… rs11 of web")).to_be_enabled()
        await expect(view.page.get_by_role("button", name="Drain… rs13 of api")).to_be_disabled()
        await expect(view.page.get_by_role("button", name="Switch over…")).to_be_disabled()


async def test_phone_dark_and_for_ears(folder: Path) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
    async with shown(folder, TOKENS["admin"], **phone) as view:
        page = view.page
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.get_by_role("button", name="Light or dark").click()
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark, light) == ("rgb(20, 23, 26)", "rgb(255, 255, 255)")
        unnamed = "[...document.querySelectorAll('button, input, svg')].filter(e => !e.closest('dialog') && "
        unnamed += "!(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label'))).length"
        assert await page.evaluate(unnamed) == 0
