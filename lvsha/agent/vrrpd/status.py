"""What vrrpd says of itself: the ``status`` message of ``agent.ipc``."""

import os
from collections.abc import Iterable
from typing import Any

from lvsha.agent.ipc import Message
from lvsha.agent.journal import plain
from lvsha.agent.vrrpd.fitness import Fitness
from lvsha.config.settings import Settings
from lvsha.core.instant import Instant, to_seconds
from lvsha.director.status import peers_status
from lvsha.vrrp.router import VirtualRouter


def status_message(
    settings: Settings,
    routers: Iterable[VirtualRouter],
    fitness: Fitness,
    *,
    drops: dict[str, int],
    worst_lateness: int,
    started: Instant,
    now: Instant,
) -> Message:
    """The whole message; ``drops`` are adverts by reason, ``worst_lateness`` is in nanoseconds."""
    process = {
        "pid": os.getpid(),
        "uptime_s": round(to_seconds(now - started), 3),
        "worst_lateness_ms": round(worst_lateness / 1e6, 3),
        "drops": drops,
    }
    return {
        "type": "status",
        "node": settings.node,
        "peers": peers_status(settings.peers),
        "routers": plain([_router(router, fitness, now) for router in routers]),
        "process": process,
    }


def _router(router: VirtualRouter, fitness: Fitness, now: Instant) -> dict[str, Any]:
    settings = router.settings
    return {
        "name": settings.name,
        "interface": settings.interface,
        "vrid": settings.vrid,
        "family": settings.family,
        "version": settings.version,
        "state": router.state,
        "since_s": round(to_seconds(now - router.since), 3),
        "since_monotonic_s": round(to_seconds(router.since), 3),
        "priority": router.priority,
        "advert_interval_s": to_seconds(settings.advert_interval),
        "master": str(router.master_address) if router.master_address else None,
        "master_priority": router.master_priority,
        "holds_addresses": router.holds_addresses,
        "addresses": [str(prefix) for prefix in settings.bound_addresses],
        "fault": fitness.faults.get(settings.name) or None,
        "group": settings.group,
        "promised_interval_s": to_seconds(router.promised_interval),
        "tracked": fitness.tracked(settings),
    }
