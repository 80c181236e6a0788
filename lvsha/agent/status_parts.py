"""The status of a director while it is made."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lvsha.api.port import Json
from lvsha.config.settings import ServiceSettings
from lvsha.core.instant import to_seconds
from lvsha.director.status import (
    destination_problem,
    destinations_status,
    foreign_services,
    other_config_text,
    override_status,
    peers_status,
    refused_text,
    service_problems,
    service_status,
    sync_problems,
    vrrp_problems,
)
from lvsha.io.reactor import monotonic

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord


class Parts:
    """A status while it is made; see ``api.port.StatusParts``. A reload may come meanwhile: the settings
    and the views are those of its beginning."""

    def __init__(self, directord: "Directord") -> None:
        self._directord = directord
        self._now = monotonic()
        self._views = directord.director.views()
        self._table = directord.kernel.table
        self._found: list[str] = []
        """Problems of the services; their rows are not kept: see ``api.snapshot``."""
        self._vrrp = directord.vrrp.status(self._now, expected=bool(directord.settings.routers))
        self._sync = directord.sync.status()
        if directord.relay is not None:
            names = {service.service.key: service.name for service in directord.settings.services}
            self._sync["relay"] = directord.relay.status(names)
        if directord.multicast is not None:
            self._sync["multicast"] = directord.multicast.status()
        self._overrides = [override_status(each) for each in directord.director.overrides]
        self._peers = {row["name"]: row for row in directord.peers.status()}
        self._events = list(directord.journal.recent)[-20:]

    def service(self, settings: ServiceSettings) -> Json:
        service = service_status(settings, self._views[settings.name], self._table)
        self._found += service_problems(service)
        return service

    def destinations(self, settings: ServiceSettings) -> Iterator[Json]:
        director, view = self._directord.director, self._views[settings.name]
        for row in destinations_status(settings, director, view, self._table, self._now):
            problem = destination_problem(settings.name, row)
            if problem is not None:
                self._found.append(problem)
            yield row

    def head(self) -> Json:
        directord, settings = self._directord, self._directord.settings
        found = vrrp_problems(self._vrrp) + self._found + sync_problems(self._sync)
        operations = directord.operations
        refused = directord.refused
        if refused is not None:
            found.append(refused_text(refused, settings.generation))
        found += [
            other_config_text(name, row["generation"], settings.shared)
            for name, row in self._peers.items()
            if row["differs"]
        ]
        return {
            "node": settings.node,
            "ok": not found,
            "problems": found,
            "directord": True,
            "at": round(time.time(), 3),
            "uptime_s": round(to_seconds(monotonic() - directord.started), 3),
            "table_age_s": round(to_seconds(self._now - directord.kernel.read_at), 3),
            "peers": [row | self._peers.get(row["name"], {}) for row in peers_status(settings.peers)],
            "config": {
                "generation": settings.generation,
                "shared": settings.shared,
                "trial": operations.trial,
                "refused": None if refused is None else refused.get("problem"),
            },
            "vrrp": self._vrrp,
            "sync": self._sync,
            "overrides": self._overrides,
            "switchover_at": operations.planned_at,
            "foreign_services": foreign_services(self._table, directord.director),
            "checks": directord.director.check_count,
            "kernel_writes": directord.kernel.writes,
            "events": self._events,
        }
