"""``[agent]`` and ``[api]``: the daemons themselves, and how they are asked."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from lvsha.config.tables.forms import Table
from lvsha.config.tables.values import Directory, Duration, text_schema
from lvsha.core.addr import parse_endpoint as parse_address_and_port
from lvsha.core.instant import MILLISECOND, SECOND


def parse_listen(value: object) -> tuple[str, int]:
    """``"0.0.0.0:9443"``, ``"[::]:9443"``, ``"10.0.0.1:9443"``: an address of ours and a port."""
    try:
        if not isinstance(value, str):
            raise ValueError
        address, port = parse_address_and_port(value)
    except ValueError:
        raise ValueError(f'{value!r} is not "address:port", like "0.0.0.0:9443" or "[::]:9443"') from None
    if not port:
        raise ValueError(f'{value!r} has no port; write "{value}:9443"')
    return str(address), port


Listen = Annotated[
    tuple[str, int], PlainValidator(parse_listen), text_schema("address:port", "0.0.0.0:9443", "[::]:9443")
]


class Agent(Table):
    """The daemons themselves."""

    log_format: Literal["text", "json"] = Field(
        default="text", description="One line an event, as `name key=value …` or as a JSON object."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important event that gets a line."
    )
    run_dir: Directory = Field(default="/run/lvsha", description="Sockets; gone after a reboot.")
    state_dir: Directory = Field(
        default="/var/lib/lvsha", description="What outlives a restart: roles, owned services, drains."
    )
    on_stop: Literal["remove", "keep"] = Field(
        default="remove",
        description=(
            "What a planned stop does to our IPVS services. `remove` leaves the kernel as it was "
            "found; `keep` lets a director without the agent go on forwarding."
        ),
    )
    record_file: Directory | None = Field(
        default=None,
        description=(
            "vrrpd writes every input of its virtual routers here, at most 64 MiB a life, for"
            " `lvsha sim replay`. Its former life is kept with `.1` behind the name."
        ),
    )
    watchdog: Directory | None = Field(
        default=None,
        description=(
            "A watchdog device, like `/dev/watchdog`: vrrpd writes to it while its own checks pass, and the"
            " machine restarts when it does not. Off by default: a lease is enough for a process that hangs."
        ),
    )
    watchdog_timeout: Duration = Field(
        default=15 * SECOND,
        description="After how long without vrrpd the machine restarts, in whole seconds; 5 s at least.",
    )
    maintenance_dir: Directory | None = Field(
        default=None,
        description=(
            "A directory: while a file in it has the name, address or address:port of a realserver (or a"
            " service's name), that one is in maintenance, as in ldirectord. Looked at every second."
        ),
    )
    exclusive: bool = Field(
        default=False,
        description=(
            "Remove IPVS services that this file does not name. Off: those made by others are left alone."
        ),
    )
    check_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description=(
            "Processes that make the probes. `0`: directord itself, which is enough for some 10,000 TCP "
            "checks a second; see the benchmarks."
        ),
    )
    drift_interval: Duration = Field(
        default=500 * MILLISECOND,
        description=(
            "How often the kernel's table is compared with the desired one: a deleted service is "
            "back within a second."
        ),
    )


class Api(Table):
    """How a running director is asked and ordered: on a Unix socket in `run_dir`, and over TCP on request."""

    group: str = Field(
        default="lvsha",
        max_length=32,
        description=(
            "Who besides root may open the Unix socket, and may then do everything. A group that is not"
            " there: root alone."
        ),
    )
    listen: list[Listen] = Field(
        default=[], max_length=8, description="Addresses for TLS over TCP. None: the Unix socket alone."
    )
    certificate: Directory | None = Field(
        default=None, description="Ours, in PEM, with what leads to its root. Needed by `listen`."
    )
    key: Directory | None = Field(default=None, description="Of `certificate`, in PEM.")
    token_file: Directory | None = Field(
        default=None,
        description=(
            "Who may do what over TCP: tokens by their SHA-256, client certificates by their common name."
            " `lvsha token` makes entries. Read again at a reload."
        ),
    )
    client_ca: Directory | None = Field(
        default=None, description="Certificates, in PEM, that a client's certificate must lead to."
    )
    rate: int = Field(
        default=50, ge=1, le=100_000, description="Requests a second that one client over TCP may make."
    )
    peer_role: Literal["nobody", "read", "operate", "admin"] = Field(
        default="admin",
        description=(
            "The most that may be asked here through another director (`--peer`, `lvsha config push`)."
            " Whoever has the relay's key has this role."
        ),
    )
