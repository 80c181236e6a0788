"""``[[service]]``: virtual services and their realservers."""

from typing import Annotated, Literal

from pydantic import Field

from lvsha.config.tables.check import Check
from lvsha.config.tables.forms import Several, Shorthand, Table
from lvsha.config.tables.values import Duration, HostPort, Name, Netmask, Port, Weight


class Tunnel(Table):
    """How packets are wrapped on their way to a realserver (`method = "tun"`)."""

    type: Literal["ipip", "gue", "gre"] = Field(
        default="ipip",
        description="ipip costs least; gue and gre pass routers and firewalls that ipip does not.",
    )
    port: Port = Field(default=0, description="UDP port of gue, which needs one.")
    checksum: Literal["none", "csum", "remcsum"] = Field(
        default="none", description="Of the outer packet; `remcsum` with gue only."
    )


class RealServer(Table):
    """A machine that does the work. `"10.0.0.11:80"` is short for `{ address = "10.0.0.11:80" }`."""

    address: HostPort = Field(description="Address, with a port where it differs from the service's.")
    port: Port | None = Field(
        default=None,
        description=(
            "The port, written apart. Default: the service's. Only `nat` can have another than the service's."
        ),
    )
    name: Name | None = Field(
        default=None,
        description=(
            "In logs, status and commands; the same name in several services is the same machine."
            " Default: address and port."
        ),
    )
    weight: Weight = Field(
        default=1, description="Share of new connections. 0: none, established ones go on."
    )
    method: Literal["dr", "nat", "tun"] | None = Field(default=None, description="Default: the service's.")
    tunnel: Tunnel | None = Field(default=None, description="Default: the service's.")
    upper_threshold: int = Field(
        default=0, ge=0, le=0x7FFFFFFF, description="Connections at which no new one comes. 0: no limit."
    )
    lower_threshold: int = Field(
        default=0, ge=0, le=0x7FFFFFFF, description="Connections at which they come again."
    )
    on_failure: Literal["weight-zero", "remove"] | None = Field(
        default=None, description="Default: the service's."
    )
    check: Annotated[Check, Shorthand("type")] | None = Field(
        default=None, description="Keys that differ from the service's check."
    )
    checks: list[Annotated[Check, Shorthand("type")]] = Field(
        default=[], max_length=16, description="Several checks of its own, in place of the service's."
    )
    checks_needed: Literal["all", "any"] | None = Field(default=None, description="Default: the service's.")


class Sorry(Table):
    """Takes all connections when the quorum is lost. `"10.0.0.99:80"` is short for
    `{ address = "10.0.0.99:80" }`."""

    address: HostPort = Field(description="Address, with a port where it differs from the service's.")
    port: Port | None = Field(default=None, description="The port, written apart. Default: the service's.")
    weight: Annotated[int, Field(ge=1, le=65535)] = Field(default=1, description="Weight while it stands in.")
    method: Literal["dr", "nat", "tun"] | None = Field(default=None, description="Default: the service's.")
    tunnel: Tunnel | None = Field(default=None, description="Default: the service's.")


SCHEDULERS = Literal[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"
]


class ServiceDefaults(Table):
    """Keys of `[[service]]` for all of them at once."""

    method: Literal["dr", "nat", "tun"] = Field(
        default="dr",
        description=(
            "How packets reach realservers. `dr`: by their MAC address, answers go straight to "
            "the client, so the director carries a fraction of the traffic; realservers hold the "
            "address on `lo` and are on the same network. `tun`: the same through a tunnel, any "
            "network. `nat`: addresses rewritten both ways, realservers route through the "
            "director, ports may differ."
        ),
    )
    tunnel: Tunnel = Field(default=Tunnel(), description="For `tun`.")
    scheduler: SCHEDULERS = Field(
        default="wlc", description="Who gets the next connection. `wlc`: the least loaded for its weight."
    )
    scheduler_flags: list[Literal["sh-fallback", "sh-port", "mh-fallback", "mh-port"]] = Field(
        default=[],
        description=(
            "Of the schedulers `sh` and `mh`. Their `-fallback` is always on: without it the "
            "clients hashed to a realserver of weight 0 (down, or drained) get no answer."
        ),
    )
    on_failure: Literal["weight-zero", "remove"] = Field(
        default="weight-zero",
        description=(
            "What happens to a realserver that is down. `weight-zero`: established connections go"
            " on as far as it still serves them. `remove`: their packets are dropped."
        ),
    )
    quorum_unit: Literal["weight", "servers"] = Field(
        default="weight", description="What `quorum` and `hysteresis` count."
    )
    minimum_pooled_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description=(
            "This share of the realservers is never taken out, however many checks fail: a broken"
            " check must not empty a pool. 0: no such brake."
        ),
    )
    slow_start: Duration = Field(
        default=0,
        description="A realserver that comes back reaches its full weight over this time. 0: at once.",
    )


class Service(ServiceDefaults):
    """A virtual service: an address and port (or a firewall mark) and the realservers behind it."""

    name: Name | None = Field(
        default=None, description='In logs, status and commands. Default: like `"tcp/10.0.0.10:80"`.'
    )
    address: Annotated[list[HostPort], Several] | None = Field(
        default=None, description="Virtual address and port, or a list of them with the same realservers."
    )
    protocol: Annotated[list[Literal["tcp", "udp", "sctp"]], Several] = Field(
        default=["tcp"], description='"tcp", "udp" or "sctp", or a list of them.'
    )
    fwmark: int | None = Field(
        default=None,
        ge=1,
        le=0xFFFFFFFF,
        description="Instead of an address: packets with this firewall mark.",
    )
    family: Literal[4, 6] = Field(default=4, description="IP version of a `fwmark` service.")
    one_packet: bool = Field(
        default=False,
        description="Each datagram is scheduled alone (udp); such a service has no connections to keep.",
    )
    persistence_timeout: Duration | None = Field(
        default=None,
        description=(
            "A client comes back to the same realserver within this time, in whole seconds. "
            "Default: no persistence."
        ),
    )
    persistence_netmask: Netmask | None = Field(
        default=None,
        description="Clients of one network of this size stick together. Default: each client alone.",
    )
    persistence_engine: Literal["sip"] | None = Field(
        default=None, description="What makes a client the same, besides its address: `sip`, the call."
    )
    quorum: int = Field(
        default=1,
        ge=1,
        le=0x7FFFFFFF,
        description="Alive weight that suffices for the service to count as up.",
    )
    hysteresis: int = Field(
        default=0,
        ge=0,
        le=0x7FFFFFFF,
        description=(
            "Up again at quorum + hysteresis, down below quorum - hysteresis: no flapping in between."
        ),
    )
    realservers: list[Annotated[RealServer, Shorthand("address")]] = Field(
        default=[], description="Who does the work."
    )
    sorry: Annotated[Sorry, Shorthand("address")] | None = Field(
        default=None, description="Who stands in when the quorum is lost."
    )
    check: Annotated[Check, Shorthand("type")] | None = Field(
        default=None, description="Keys that differ from `[defaults.check]`."
    )
    checks: list[Annotated[Check, Shorthand("type")]] = Field(
        default=[],
        max_length=16,
        description=(
            "Several checks of each realserver, in place of `check`; each takes what it does not say "
            "from `[defaults.check]`."
        ),
    )
    checks_needed: Literal["all", "any"] | None = Field(
        default=None, description="How many of several checks have to pass. Default: all."
    )
