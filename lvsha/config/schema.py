"""The shape of a configuration file, ``/etc/lvsha/lvsha.toml``.

These models are the one place where a key, its type, its default and the
reason for that default are written: the JSON Schema for editors
(``lvsha config schema``), the reference page (``config.reference``) and the
messages of a refusal are all made from them. What one value alone can get
wrong is refused here; what two values together can get wrong is refused in
``config.resolve``.

One file serves all directors. Where their machines differ, a value may be
given by director: ``interface = { lb1 = "eth0", lb2 = "ens3" }``.
"""

from typing import Annotated, Any

from pydantic import Field

from lvsha.config.tables.alert import Alert, Mail
from lvsha.config.tables.check import HTTP_TYPES, Check, Tls, check_types_of
from lvsha.config.tables.daemons import Agent, Api
from lvsha.config.tables.forms import Shorthand, Table
from lvsha.config.tables.ipvs import SYSCTLS, Ipvs, Timeouts
from lvsha.config.tables.service import RealServer, Service, ServiceDefaults, Sorry, Tunnel
from lvsha.config.tables.sync import Relay, Sync
from lvsha.config.tables.values import Host, Priority
from lvsha.config.tables.vrrp import Garp, HeartbeatPath, Route, Rule, Track, Vrrp, VrrpDefaults

__all__ = [
    "HTTP_TYPES",
    "SECRET_KEYS",
    "SYSCTLS",
    "Agent",
    "Alert",
    "Api",
    "Check",
    "Defaults",
    "Director",
    "Document",
    "Garp",
    "HeartbeatPath",
    "Ipvs",
    "Mail",
    "RealServer",
    "Relay",
    "Route",
    "Rule",
    "Service",
    "ServiceDefaults",
    "Sorry",
    "Sync",
    "Timeouts",
    "Tls",
    "Track",
    "Tunnel",
    "Vrrp",
    "VrrpDefaults",
    "check_types_of",
    "json_schema",
]


class Director(Table):
    """One of the machines that share this file. The table's name is its host name, or what
    `--node` says."""

    address: Host | None = Field(
        default=None,
        description=(
            "Where the other directors reach it. Tells a machine who it is when its host name is "
            "not in the table, and is the peer's address when `vrrp.unicast` is set."
        ),
    )
    priority: Priority | None = Field(
        default=None,
        description=(
            "VRRP priority wherever a `[[vrrp]]` gives none. The highest one becomes MASTER when "
            "both start together. 255: the owner of the address."
        ),
    )


class Defaults(Table):
    """Values for every check, virtual router and service that has none of its own."""

    check: Annotated[Check, Shorthand("type")] = Field(default=Check(), description="For every check.")
    vrrp: VrrpDefaults = Field(default=VrrpDefaults(), description="For every `[[vrrp]]`.")
    service: ServiceDefaults = Field(default=ServiceDefaults(), description="For every `[[service]]`.")


class Document(Table):
    """A whole file."""

    directors: dict[str, Director] = Field(
        default={},
        description=(
            "The machines that share this file, by host name. Left out: a director that stands alone."
        ),
    )
    defaults: Defaults = Field(default=Defaults(), description="Values for what follows.")
    vrrp: list[Vrrp] = Field(default=[], description="Virtual routers.")
    service: list[Service] = Field(default=[], description="Virtual services.")
    sync: Sync = Field(default=Sync(), description="Connection synchronisation.")
    ipvs: Ipvs = Field(default=Ipvs(), description="Settings of the kernel's IPVS.")
    agent: Agent = Field(default=Agent(), description="The daemons themselves.")
    api: Api = Field(default=Api(), description="How a running director is asked and ordered.")
    alert: list[Alert] = Field(default=[], max_length=20, description="Who is told when something happens.")


SECRET_KEYS = frozenset(
    name
    for model in (Vrrp, Check, Alert, Mail)
    for name, field in model.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
)
"""Keys whose values never appear in a message, a log line or ``config show``."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a file, for editors."""
    schema = Document.model_json_schema()
    return {
        **schema,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lvsha configuration",
    }
