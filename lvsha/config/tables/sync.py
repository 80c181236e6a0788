"""``[sync]`` and ``[sync.relay]``: connection synchronisation."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from lvsha.config.tables.forms import PerDirector, Table, _word_or_number
from lvsha.config.tables.values import AnyAddress, Duration, Host, Interface
from lvsha.core.instant import MILLISECOND, SECOND

Maxlen = Annotated[
    Annotated[int, Field(ge=1, le=65507), Tag("<number>")] | Annotated[Literal["kernel"], Tag("<word>")],
    Discriminator(_word_or_number),
]


class Relay(Table):
    """How connection entries travel between the directors with `transport = "relay"`: unicast UDP, sealed
    with a key that all directors share, acknowledged."""

    key_file: str | None = Field(
        default=None,
        description=(
            "32 bytes as base64 a line, readable by its owner only; the first is sent with, all are "
            "accepted, so keys can be changed without a gap. Make one with "
            "`head -c 32 /dev/urandom | base64`."
        ),
    )
    address: PerDirector[Host] | None = Field(
        default=None, description="What the socket is bound to. Default: the director's own address."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=8849, description="UDP port, the same on all directors."
    )
    datagram: int = Field(
        default=1232,
        ge=576,
        le=65507,
        description=(
            "Largest UDP payload, bytes, never fragmented. 1232 passes every IPv6 path; 1472 fills an "
            "Ethernet frame over IPv4."
        ),
    )
    linger: Duration = Field(
        default=5 * MILLISECOND, description="How long a change waits for others to share its frame."
    )
    limit: int = Field(
        default=1_000_000, ge=1, le=100_000_000, description="Connections that the agent keeps."
    )
    coverage_target: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description=(
            "Share of the connections that a director must hold before it may take an address back, and "
            "that a switchover wants to see at the other."
        ),
    )
    gate_deadline: Duration = Field(
        default=30 * SECOND,
        description="How long a director that starts waits for that, and then takes part anyway.",
    )
    switchover_deadline: Duration = Field(
        default=10 * SECOND,
        description="How long `lvsha switchover` tries to bring everything over before it refuses.",
    )


class Sync(Table):
    """Connection synchronisation: the kernel's sync daemons, both roles on every director."""

    enabled: bool = Field(
        default=True,
        description="Without it a takeover resets every connection. Off for a director that stands alone.",
    )
    interface: PerDirector[Interface] | None = Field(
        default=None,
        description="Default: that of the first `[[vrrp]]`. A dedicated link keeps connections private.",
    )
    syncid: Annotated[int, Field(ge=1, le=255)] | None = Field(
        default=None,
        description=(
            "The same on all directors of one cluster, and unlike any neighbour cluster's. "
            "Default: the first `vrid`. 0 does not exist here: the kernel would take every "
            "cluster's connections for ours."
        ),
    )
    group: AnyAddress | None = Field(
        default=None, description="Multicast group. Default: the kernel's, 224.0.0.81."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=8848, description="UDP port; the kernel's default."
    )
    ttl: int = Field(
        default=1,
        ge=1,
        le=255,
        description="1 keeps connections on the local network; more for a routed group.",
    )
    maxlen: Maxlen = Field(
        default=44,
        description=(
            "Bytes of a sync message. 44 is one IPv4 entry: the next entry pushes the previous "
            "one out at once, where the kernel's 1472 holds up to 40 young connections back for 2"
            " to 3 s, and a crash loses them. Above 9223 the kernel's count overflows and entries"
            ' are lost. `"kernel"`: its default.'
        ),
    )
    nudge_interval: Duration = Field(
        default=50 * MILLISECOND,
        description="How often a MASTER pushes out the kernel's last part-filled message. 0: never.",
    )
    reset_grace: Duration = Field(
        default=2 * SECOND,
        description=(
            "How long after a takeover a connection that IPVS does not know yet is left "
            "unanswered instead of reset: its entry may still be on its way. 0: not at all."
        ),
    )
    transport: Literal["relay", "multicast"] | None = Field(
        default=None,
        description=(
            '`"multicast"`: the kernel\'s own datagrams; interoperates with plain kernels and '
            "keepalived; whoever holds an address says its connections again. "
            '`"relay"`: the agents carry them, see `[sync.relay]`. Default: `"relay"` where '
            "there is another director and a `relay.key_file`."
        ),
    )
    relay: Relay = Field(default=Relay(), description="See `[sync.relay]`.")
