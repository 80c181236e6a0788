"""A file's meaning for one director, and everything that only two values together get wrong.

Defaults and per-director values are worked in here (``context``), the engines'
records are made (``routers``, ``services``, ``checks``, ``daemons``), and each
engine's own ``problems`` is asked. What no engine can know, because it sees only
its part, is checked as well: an address that two virtual routers hold, a
realserver that is the virtual address, a service that no director answers for.

A part of the file that the schema refused is left out before this module sees
the rest (``Parts`` says what, so that its absence is not called a mistake).
"""

from lvsha.config import schema
from lvsha.config.alert_tables import Alerts
from lvsha.config.context import Context, Parts
from lvsha.config.daemons import Daemons
from lvsha.config.findings import Findings
from lvsha.config.lines import Path
from lvsha.config.path_slots import with_slots
from lvsha.config.routers import Routers
from lvsha.config.services import ServiceMemory, Services
from lvsha.config.settings import Director, Settings
from lvsha.core.addr import Address


def resolve(
    document: schema.Document,
    parts: Parts,
    node: str,
    findings: Findings,
    memory: ServiceMemory | None = None,
) -> Settings:
    """What ``document`` means for ``node``; of no use when ``findings`` has errors afterwards.

    ``memory``: the services of the version before.
    """
    context = Context(document, parts, findings)
    _check_directors(context)
    nodes = [director.name for director in context.directors] or [node]
    routers = Routers(context)
    by_node = {each: routers.of(each) for each in nodes}
    routers.compare(by_node)
    services = Services(context, node, memory or ServiceMemory())
    resolved = services.all()
    services.check_carried(resolved)
    resolved = with_slots(resolved, findings)
    daemons = Daemons(context)
    return Settings(
        node=node,
        directors=context.directors or (Director(name=node),),
        routers=tuple(router for _, router in by_node.get(node, ())),
        services=tuple(service for _, service in resolved),
        sync=daemons.sync(node, nodes, has_services=bool(resolved)),
        timeouts=daemons.timeouts(),
        sysctls=daemons.sysctls(),
        agent=daemons.agent(),
        api=daemons.api(),
        alerts=Alerts(context).of(node),
    )


def _check_directors(context: Context) -> None:
    seen: dict[Address, str] = {}
    for director in context.directors:
        path: Path = ("directors", director.name, "address")
        if director.address is not None and seen.setdefault(director.address, director.name) != director.name:
            context.findings.error(path, f"{director.address} is already {seen[director.address]}'s address")
