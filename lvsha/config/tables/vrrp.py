"""``[[vrrp]]``: virtual routers, what they track, announce and move."""

from typing import Annotated, Literal

from pydantic import Field

from lvsha.config.tables.forms import PerDirector, Table
from lvsha.config.tables.values import Directory, Duration, Host, Interface, Name, Prefix, Priority
from lvsha.core.instant import MILLISECOND, SECOND


class Garp(Table):
    """How neighbours are told where an address is now: gratuitous ARP, unsolicited NA for IPv6."""

    repeat: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Times each address is announced after a takeover; any one may be lost.",
    )
    interval: Duration = Field(
        default=500 * MILLISECOND,
        description="Between two of those; switches lose frames just while they relearn.",
    )
    refresh: Duration = Field(
        default=60 * SECOND,
        description=(
            "A MASTER announces its addresses again this often, so that a neighbour that was "
            "away, or was told wrong by the other director, finds the way back. `0` switches it "
            "off."
        ),
    )
    packets_per_millisecond: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="Pace of announcements, so that hundreds of addresses never delay an advert.",
    )
    forms: Annotated[list[Literal["request", "reply"]], Field(min_length=1)] = Field(
        default=["request", "reply"],
        description="Of a gratuitous ARP; there are hosts that believe only one.",
    )


class Track(Table):
    """Something that decides with whether this director is fit to lead: exactly one of `interface`,
    `script`, `file`, `process`, `service`, `route` and `gateway`, and what follows when it is down."""

    interface: Interface | None = Field(
        default=None, description="Another network interface: up when it is set up and has a carrier."
    )
    script: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="A program and its arguments: up when it ends with status 0 in time."
    )
    file: Directory | None = Field(
        default=None, description="A file: up when it is there and does not hold the number 0."
    )
    process: Name | None = Field(default=None, description="Up when a process of that name runs.")
    service: Name | None = Field(
        default=None, description="A `[[service]]` of this file: up when it has its quorum here."
    )
    route: str | None = Field(
        default=None,
        description=(
            'Up when the kernel has a route to exactly this network; `"0.0.0.0/0"` and `"::/0"` are the'
            " default routes."
        ),
    )
    gateway: Host | None = Field(default=None, description="Up when it answers an echo request.")
    weight: int | None = Field(
        default=None,
        description=(
            "-253 to 253. Negative: added to the priority while it is down; positive: while it is up."
            " Left out: down is a fault, and the director gives the role up."
        ),
    )
    interval: Duration = Field(default=SECOND, description="Between two looks (not of `interface`).")
    timeout: Duration = Field(default=SECOND, description="Of a `script` or a `gateway`.")
    rise: int = Field(default=2, ge=1, le=100, description="Good looks in a row until it is up again.")
    fall: int = Field(default=2, ge=1, le=100, description="Bad ones in a row until it is down.")


class VrrpDefaults(Table):
    """Keys of `[[vrrp]]` for all of them at once."""

    version: Literal[2, 3] = Field(
        default=3,
        description=(
            "VRRP version. 3 has adverts below a second and IPv6; 2 is for peers that know no other."
        ),
    )
    priority: PerDirector[Priority] | None = Field(
        default=None,
        description=(
            "1-255; 255 is the owner of the address. Left out: the director's own, else 100. Give"
            " the directors different ones: a tie is decided by the higher primary address."
        ),
    )
    advert_interval: Duration | None = Field(
        default=None,
        description=(
            "How often a MASTER is heard; a dead one is missed after three of them. Default "
            '"100ms" with version 3: a takeover in a third of a second; "1s" with version 2, '
            "which knows whole seconds only. Version 3: 10 ms to 40.95 s in steps of 10 ms."
        ),
    )
    preempt: PerDirector[bool] = Field(
        default=False,
        description=(
            "Whether a director with a higher priority takes the role back when it returns. Off: "
            "a returning director does not hold the connections that were made while it was away,"
            " and taking the address would reset them; `lvsha switchover` moves the role after "
            "they have been copied."
        ),
    )
    preempt_delay: PerDirector[Duration] = Field(
        default=0, description="How long it waits before it does. Has no effect without `preempt`."
    )
    unicast: bool = Field(
        default=False,
        description=(
            "Adverts go to the other directors' addresses instead of the multicast group, for "
            "networks that carry no multicast (clouds). All directors need the same value."
        ),
    )
    password: Annotated[str, Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        repr=False,
        description=(
            "Version 2's plain-text password, for peers that insist. It travels in clear and "
            "keeps nobody out; version 3 has none."
        ),
        json_schema_extra={"secret": True},
    )
    authentication: Literal["none", "permissive", "hmac"] | None = Field(
        default=None,
        description=(
            "Adverts end with a code that only holders of a key can make, and are taken once"
            " (`proto/lvsha_vrrp_auth.md`). `permissive` takes adverts without one, too: for the time in"
            ' which directors are changed one by one. Default: `"hmac"` where there is a `key_file`, here or'
            ' in `[sync.relay]`, else `"none"`. With keepalived as a peer only `"none"` works.'
        ),
    )
    key_file: Directory | None = Field(
        default=None,
        description=(
            "Keys of `authentication`, as in `[sync.relay]`: one a line, the first is sent with, all are"
            " accepted. Default: the relay's."
        ),
    )
    min_ttl: int = Field(
        default=255,
        ge=1,
        le=255,
        description=(
            "Least TTL of a unicast peer's adverts. Less than 255 only for peers behind a router:"
            " it is what keeps strangers' adverts out."
        ),
    )
    checksum: Literal["pseudo-header", "message"] = Field(
        default="pseudo-header",
        description=(
            "What version 3's checksum over IPv4 covers in our adverts: with the pseudo-header as"
            " deployed, or the message alone as RFC 9568 says. Both are accepted."
        ),
    )
    strict_addresses: bool = Field(
        default=False,
        description=(
            "Drop adverts that name other addresses than ours. Off: while the list is being "
            "changed it would make two MASTERs."
        ),
    )
    no_address_detection: bool = Field(
        default=True,
        description=(
            "IPv6: addresses come without duplicate address detection, which would hold them back"
            " for a second."
        ),
    )
    release_deadline: Duration = Field(
        default=SECOND,
        description="How long a planned hand-over keeps the addresses while nobody else has taken them.",
    )
    lease: Duration = Field(
        default=3 * SECOND,
        description=(
            "How long the kernel keeps the addresses of a MASTER whose process is frozen or dead; it"
            " is renewed four times in that while, and a restart within it goes unnoticed. Whole"
            " seconds, as the kernel counts; `0`: until somebody removes them."
        ),
    )
    startup_delay: Duration = Field(
        default=0,
        description=(
            "How long a director that has just started stays out of it, unless it finds its addresses"
            " still bound: a bridge or a bond of a machine that has just booted may not pass anything yet."
        ),
    )
    boot_delay: Duration = Field(
        default=0,
        description=(
            "The same, counted from when the machine was booted: an agent that is started again later does"
            " not wait. The longer of the two counts."
        ),
    )
    vmac: bool = Field(
        default=False,
        description=(
            "The addresses have a hardware address of their own, 00:00:5e:00:01:VRID (IPv6: …:02:VRID), on"
            " an interface of kind macvlan that vrrpd makes and removes: no neighbour's cache changes in a"
            " takeover. arp_ignore and arp_announce of `interface` are set, and put back at the end."
            " Multicast adverts leave from there; unicast ones from `interface`."
        ),
    )
    accept: bool = Field(
        default=True,
        description=(
            "Accept_Mode: whether the MASTER takes packets to the virtual addresses that no `[[service]]`"
            " wants: a ping, ssh. `false`: they are dropped (nftables), but for neighbour discovery; then no"
            " program on this director can serve them. An owner (priority 255) always takes them."
        ),
    )
    hook: list[str] = Field(
        default=[],
        description=(
            "A program and its first arguments, run by directord with the router's name and state on"
            " each change, one at a time and in order. More is in its environment: `LVSHA_BEFORE`,"
            " `LVSHA_INTERFACE`, `LVSHA_VRID`, `LVSHA_ADDRESSES`."
        ),
    )
    hook_timeout: Duration = Field(
        default=10 * SECOND, description="Then it is killed. One that fails is run again after 5 s."
    )
    hook_repeat: Duration = Field(
        default=60 * SECOND,
        description='It is also told "still MASTER" (or BACKUP) this often; `0`: only changes.',
    )
    pre_hook: list[str] = Field(
        default=[],
        description=(
            "A program and its first arguments, run by directord with the router's name and `promote` before"
            " a takeover, `demote` before a planned hand-over. The role waits for it, for"
            " `pre_hook_timeout` at most, and moves whatever it ends with."
        ),
    )
    pre_hook_timeout: Duration = Field(
        default=SECOND, description="Then it is killed. At most 10 s: every takeover may take so much longer."
    )
    link_up_delay: Duration = Field(
        default=0,
        description="An interface, the router's own or a tracked one, that came back counts after this time.",
    )
    link_down_delay: Duration = Field(
        default=0, description="And one that went, after this time; a takeover takes so much longer."
    )
    track: list[Track] = Field(
        default=[], description="What else has to be up here; without `weight`, for this director to lead."
    )
    garp: Garp = Field(default=Garp(), description="Announcements to neighbours.")


class HeartbeatPath(Table):
    """Another network on which the directors hear each other's adverts, by unicast: so a cut network is told
    from a dead peer. Track the gateway as well, so that the director that is cut off gives the role up."""

    interface: PerDirector[Interface] = Field(description="Through which the others are reached.")
    peers: Annotated[list[Host], Field(min_length=1)] = Field(
        description="The directors' addresses there, of the virtual router's family; one list serves all."
    )


class Route(Table):
    """A route that the MASTER has and nobody else: `ip route add TO via VIA dev INTERFACE src SOURCE`."""

    to: str = Field(description='A network, such as `"192.168.7.0/24"`; `"0.0.0.0/0"` is the default route.')
    via: Host | None = Field(default=None, description="The gateway. Without one the network is on the link.")
    interface: PerDirector[Interface] | None = Field(
        default=None, description="Default: the virtual router's."
    )
    source: Host | None = Field(default=None, description="Preferred source; a virtual address, mostly.")
    table: int = Field(default=254, ge=1, le=0xFFFFFFFF, description="Routing table; 254 is `main`.")
    metric: int | None = Field(default=None, ge=0, le=0xFFFFFFFF, description="Of several routes, less wins.")


class Rule(Table):
    """A policy rule that the MASTER has: `ip rule add from SOURCE to TO fwmark FWMARK table TABLE`."""

    source: str | None = Field(default=None, description="Packets from this network.")
    to: str | None = Field(default=None, description="Packets to this network.")
    fwmark: int | None = Field(default=None, ge=1, le=0xFFFFFFFF, description="Packets with this mark.")
    table: int = Field(ge=1, le=0xFFFFFFFF, description="They are routed by this table.")
    priority: int = Field(ge=1, le=32765, description="Rules of lower numbers are asked first.")


class Vrrp(VrrpDefaults):
    """A virtual router: addresses that exactly one director holds."""

    name: Name | None = Field(
        default=None, description='In logs, status and commands. Default: `"<interface>-<vrid>"`.'
    )
    interface: PerDirector[Interface] = Field(description="Carries the adverts and the addresses.")
    vrid: int = Field(
        ge=1,
        le=255,
        description=(
            "Virtual router ID: the same on all directors, and used by nobody else on that network."
        ),
    )
    vmac_interface: PerDirector[Interface] | None = Field(
        default=None,
        description='Of `vmac`, its name. Default: `"vrrp.<vrid>"`, for IPv6 `"vrrp6.<vrid>"`.',
    )
    addresses: list[Prefix] = Field(
        min_length=1,
        description=(
            "The virtual addresses, all of one family. Without `/prefix`: the address alone (/32, /128)."
        ),
    )
    excluded_addresses: list[Prefix] = Field(
        default=[],
        description="Move with the others but are not named in the adverts; may be of the other family.",
    )
    paths: list[HeartbeatPath] = Field(
        default=[], description="Other networks over which its adverts go as well."
    )
    routes: list[Route] = Field(default=[], description="Added after the addresses, removed before them.")
    rules: list[Rule] = Field(default=[], description="Policy rules that move along.")
    group: Name | None = Field(
        default=None,
        description=(
            "Virtual routers of one group lead or follow together: a fault of one is a fault of all, what one"
            " tracks counts for all, and none takes over while another still hears a MASTER."
        ),
    )
    prove_to: PerDirector[list[Host]] | None = Field(
        default=None,
        description=(
            "Neighbours that a new MASTER asks, from each virtual address, until they answer: then they"
            " have followed. Default: the default gateway of the interface; `[]`: nobody."
        ),
    )
    unicast_peers: PerDirector[list[Host]] | None = Field(
        default=None,
        description=(
            "Unicast to these instead of the addresses in `[directors]`. A director leaves out "
            "its own, so one list serves all."
        ),
    )
    source_address: PerDirector[Host] | None = Field(
        default=None,
        description=(
            "Source of the adverts. Default: the director's address with unicast, else the interface's."
        ),
    )
