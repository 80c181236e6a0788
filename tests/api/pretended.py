"""A director behind the API that is none: a bench in virtual time, and orders that are written down."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from lvsha.api.events import EventStream
from lvsha.api.port import Json, Refused, Unavailable, Vital
from lvsha.api.server import ApiServer
from lvsha.config.settings import ServiceSettings, Settings
from lvsha.core.instant import SECOND
from lvsha.director.status import destinations_status, service_status
from tests.director.operated import Bench, realserver, service, settings

SETTINGS = settings(service("web", realserver(11), realserver(12)), service("api", realserver(11), port=81))

ROUTER = {
    "name": "eth0-51",
    "state": "MASTER",
    "since_s": 1.0,
    "priority": 200,
    "holds_addresses": True,
    "addresses": ["10.0.0.100/24"],
}


class Parts:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._views = bench.director.views()
        self._table = bench.table()

    def head(self) -> Json:
        return {
            "node": "lb1",
            "ok": True,
            "problems": [],
            "uptime_s": 5.0,
            "table_age_s": 0.1,
            "config": {"generation": "abc"},
            "vrrp": {"connected": True, "routers": [ROUTER], "drops": {"bad_ttl": 2}},
            "sync": {"expected": False, "daemons": []},
            "overrides": [],
            "checks": 2,
            "kernel_writes": 7,
        }

    def service(self, settings: ServiceSettings) -> Json:
        return service_status(settings, self._views[settings.name], self._table)

    def destinations(self, settings: ServiceSettings) -> Iterator[Json]:
        view = self._views[settings.name]
        return destinations_status(settings, self._bench.director, view, self._table, self._bench.now)


class Pretended:
    """``DirectorPort``. ``orders`` holds what was ordered; ``trouble`` is raised at the next order."""

    def __init__(self, wanted: Settings = SETTINGS) -> None:
        self.settings = wanted
        self.bench = Bench(wanted)
        self.bench.advance(3 * SECOND)
        self.orders: list[tuple[str, Json]] = []
        self.trouble: Refused | Unavailable | Exception | None = None
        self.state = "MASTER"
        self.is_well = True
        self.table_age_s: float | None = 0.1

    async def status_parts(self) -> Parts:
        return Parts(self.bench)

    def vital(self) -> Vital:
        return Vital(
            master=("eth0-51",) if self.state == "MASTER" else (),
            backup=("eth0-51",) if self.state == "BACKUP" else (),
            routers_expected=True,
            vrrpd=self.is_well,
            services=self.is_well,
            in_sync=self.is_well,
            table_age_s=self.table_age_s,
            table_limit_s=30.0,
        )

    def history(self, query: Mapping[str, str]) -> list[Json]:
        return [self._note("history", query=dict(query))]

    def explain(self, target: str, at: float | None) -> Json:
        return self._note("explain", target=target, at=at)

    async def order(self, kind: str, target: str | None, **fields: Any) -> Json:
        return self._note("order", kind=kind, target=target, **fields)

    async def take_back(self, kinds: Sequence[str], target: str | None, **fields: Any) -> Json:
        return self._note("take_back", kinds=list(kinds), target=target, **fields)

    async def switchover(self, *, force: bool, owner: str, at: float | None = None) -> Json:
        return self._note("switchover", force=force, owner=owner, at=at)

    async def cancel_switchover(self, *, owner: str) -> Json:
        return self._note("cancel_switchover", owner=owner)

    async def resume(self, *, owner: str) -> Json:
        return self._note("resume", owner=owner)

    def resync(self) -> Json:
        return self._note("resync")

    async def ask_peer(self, name: str | None, question: Json, body: bytes) -> tuple[str, int, bytes]:
        self._note("ask_peer", peer=name, question=question, body=body.decode())
        return name or "lb2", 200, b'{"node":"lb2"}'

    def alerts(self) -> list[Json]:
        return [self._note("alerts")]

    async def test_alert(self, name: str, *, owner: str) -> Json:
        self._note("test_alert", alert=name, owner=owner)
        row = {"channel": "webhook", "ok": name != "deaf", "answer": "204 No Content", "took_ms": 3}
        return {"alert": name, "results": [row]}

    def config(self) -> Json:
        return self._note("config")

    async def check_config(self, text: str | None) -> Json:
        self._note("check_config", text=text)
        return {"ok": True, "problems": [], "changes": []}

    async def apply_config(self, text: str, **fields: Any) -> Json:
        return self._note("apply_config", text=text, **fields)

    async def confirm_config(self, **fields: Any) -> Json:
        return self._note("confirm_config", **fields)

    async def roll_back_config(self, **fields: Any) -> Json:
        return self._note("roll_back_config", **fields)

    async def reload(self, *, owner: str) -> Json:
        return self._note("reload", owner=owner)

    def _note(self, name: str, **fields: Any) -> Json:
        if self.trouble is not None:
            raise self.trouble
        self.orders.append((name, fields))
        return {"noted": name}


@asynccontextmanager
async def serving(folder: Path, port: Pretended) -> AsyncIterator[tuple[ClientSession, EventStream]]:
    """A session on the Unix socket: paths are asked of ``http://lvsha``."""
    events = EventStream("life", keep=100)
    server = ApiServer(port, events=events)
    path = folder / "directord.sock"
    await server.start(path)
    try:
        async with ClientSession("http://lvsha", connector=UnixConnector(str(path))) as session:
            yield session, events
    finally:
        await server.stop()
