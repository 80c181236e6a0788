"""The dashboard's files: three, read once, with nothing from anywhere else.

What a page may load is said to the browser (Content-Security-Policy), so that a name that
somebody gave a realserver can never become a script.
"""

import functools
from pathlib import Path

from aiohttp import web

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@functools.cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _file(name: str) -> web.Response:
    return web.Response(
        text=_text(name),
        content_type=_TYPES[Path(name).suffix],
        charset="utf-8",
        headers=_HEADERS,
    )


async def page(_request: web.Request) -> web.Response:
    return _file("index.html")


async def script(_request: web.Request) -> web.Response:
    return _file("dashboard.js")


async def style(_request: web.Request) -> web.Response:
    return _file("dashboard.css")
