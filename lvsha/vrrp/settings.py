"""What an operator may say about a virtual router. Defaults carry their reason.

Durations are nanoseconds (``core.instant``); the wire's centiseconds and seconds
appear only in ``wire.vrrp``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.vrrp.routes import RouteSettings, RuleSettings
from lvsha.vrrp.track import TrackSettings
from lvsha.wire.arp import ArpForm
from lvsha.wire.vrrp import CENTISECOND, ChecksumForm

Prefix = IPv4Interface | IPv6Interface
"""An address with the length of its network, as it is bound to an interface."""

OWNER_PRIORITY = 255
"""RFC 9568 section 5.2.4: the router whose own address the virtual one is."""


INTERFACE_NAME_MAX = 15
LEASE_MAX = 3600 * SECOND
PRE_HOOK_MAX = 10 * SECOND


class Authentication(StrEnum):
    """Whether adverts carry a trailer that only holders of a key can make: ``proto/lvsha_vrrp_auth.md``."""

    NONE = "none"
    PERMISSIVE = "permissive"
    """We send it, and accept adverts without: while directors are changed one by one."""
    HMAC = "hmac"


@dataclass(frozen=True, slots=True, kw_only=True)
class GarpSettings:
    """How a new MASTER tells the neighbours: gratuitous ARP, or unsolicited NA for IPv6."""

    repeat: int = 5
    """Rounds after a takeover; switches lose frames just while they relearn."""
    interval: int = 500 * MILLISECOND
    """Between two rounds."""
    refresh: int = 60 * SECOND
    """Between two later rounds, for caches that missed the first ones; 0: never."""
    packets_per_millisecond: int = 32
    """Pace. 500 addresses in both forms take 32 ms, and no advert waits for more than one burst."""
    forms: tuple[ArpForm, ...] = (ArpForm.REQUEST, ArpForm.REPLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPath:
    """Another network on which the directors hear each other: so a cut network is told from a dead peer."""

    interface: str
    peers: tuple[Address, ...]
    """Theirs and perhaps our own, which is left out; of the router's family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """One virtual router: a VRID on an interface, for one address family."""

    name: str
    interface: str
    vrid: int
    """1-255, unique per interface and family."""
    family: int = 4
    """4 or 6."""
    version: int = 3
    """2 (IPv4 only, whole seconds) or 3."""
    priority: int = 100
    """1-254; 255 for the owner of the address."""
    advert_interval: int = 100 * MILLISECOND
    """v3: 10 ms to 40.95 s in steps of 10 ms; v2: 1 to 255 s in whole seconds. Takeover after a crash
    takes three of them and the skew: 361 ms at the default."""

    addresses: tuple[Prefix, ...]
    """Advertised to the other routers, and bound by the MASTER."""
    excluded_addresses: tuple[Prefix, ...] = ()
    """Bound by the MASTER but not advertised: for what does not fit into an advert, or another family."""

    preempts: bool = True
    """Whether a higher priority takes over from a working MASTER of lower priority."""
    preempt_delay: int = 0
    """How long a lower MASTER must have been heard before it is preempted."""

    unicast_peers: tuple[Address, ...] = ()
    """Empty: multicast to 224.0.0.18 or ff02::12."""
    min_ttl: int = 255
    """Of what a unicast peer sends; less than 255 only for peers behind a router. Multicast: always 255."""
    source_address: Address | None = None
    """None: the interface's primary address (link-local for IPv6)."""

    password: str | None = field(default=None, repr=False)
    """v2 only, up to 8 bytes in clear text: for interoperation, not for security."""
    authentication: Authentication = Authentication.NONE
    key_file: str | None = None
    """Whose keys; needed unless ``authentication`` is NONE."""
    checksum: ChecksumForm = ChecksumForm.PSEUDO_HEADER
    strict_addresses: bool = False
    """Drop adverts whose address list differs from ours. Off, because during a rolling change of the
    list it makes two MASTERs; a difference is reported either way."""
    no_address_detection: bool = True
    """IPv6: bind without duplicate address detection, which would hold the address back for a second."""

    release_deadline: int = 1 * SECOND
    """How long a planned hand-over keeps the addresses while nobody else has taken them."""
    lease: int = 3 * SECOND
    """How long the kernel keeps the addresses of a MASTER that has stopped renewing them; whole seconds.
    0: for ever."""
    prove_to: tuple[Address, ...] | None = None
    """Neighbours that a new MASTER asks whether they have followed; None: the default gateway."""
    garp: GarpSettings = field(default_factory=GarpSettings)
    track: tuple[TrackSettings, ...] = ()
    """What changes the priority, or makes the router unfit, when it is down."""
    paths: tuple[HeartbeatPath, ...] = ()
    """Adverts go there as well, by unicast, and count as if they had come on ``interface``."""
    routes: tuple[RouteSettings, ...] = ()
    """Added with the addresses and removed with them."""
    rules: tuple[RuleSettings, ...] = ()
    link_up_delay: int = 0
    """How long an interface that came back must stay before it counts: one that flaps must not take the
    role with it each time."""
    link_down_delay: int = 0
    """How long an interface must be gone before it counts."""
    group: str | None = None
    """Routers of one name lead or follow together."""
    hook: tuple[str, ...] = ()
    """A program and its first arguments, run with name and state on each change of state."""
    hook_timeout: int = 10 * SECOND
    """Then it is killed, and run again."""
    hook_repeat: int = 60 * SECOND
    """And while the state lasts, so that what it moves gets there even if it was lost once; 0: never."""
    pre_hook: tuple[str, ...] = ()
    """A program and its first arguments, run before a takeover and before a planned hand-over."""
    pre_hook_timeout: int = 1 * SECOND
    """So long both may wait for it; then they go on."""
    startup_delay: int = 0
    """How long a router that finds nothing to adopt listens to nobody and says nothing: links and bridges
    of a machine that has just booted may not pass anything yet."""
    boot_delay: int = 0
    """The same, counted from when the machine was booted: nothing where vrrpd starts again later."""
    vmac_interface: str | None = None
    """A macvlan on ``interface`` with the virtual router's own hardware address, which then has the
    addresses and sends the adverts; None: they are on ``interface`` itself."""
    accept: bool = True
    """Accept_Mode of RFC 9568 section 6.1: whether a MASTER that does not own the addresses takes packets
    to them that no service of IPVS wants. directord keeps the rules."""

    @property
    def is_owner(self) -> bool:
        return self.priority == OWNER_PRIORITY

    @property
    def bound_addresses(self) -> tuple[Prefix, ...]:
        """Everything that a MASTER binds, in order."""
        return self.addresses + self.excluded_addresses

    @property
    def bound_interface(self) -> str:
        """What a MASTER binds them to."""
        return self.vmac_interface or self.interface


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """One field of a ``RouterSettings`` that cannot work."""

    field: str
    message: str


def problems(settings: RouterSettings) -> Iterator[SettingsProblem]:
    """What makes these settings unusable; config adds the path and the line."""
    if not 1 <= settings.vrid <= 255:
        yield SettingsProblem("vrid", f"{settings.vrid} is outside 1-255")
    if not 1 <= settings.priority <= 255:
        yield SettingsProblem("priority", f"{settings.priority} is outside 1-255 (255: owner of the address)")
    if settings.version not in (2, 3):
        yield SettingsProblem("version", f"{settings.version} is not 2 or 3")
    if settings.version == 2 and settings.family == 6:
        yield SettingsProblem("version", "VRRPv2 has no IPv6; use version 3")
    if settings.version == 2 and not (
        settings.advert_interval % SECOND == 0 and SECOND <= settings.advert_interval <= 255 * SECOND
    ):
        yield SettingsProblem(
            "advert_interval", "VRRPv2 counts whole seconds, 1 to 255; use version 3 for less"
        )
    if settings.version == 3 and not (
        settings.advert_interval % CENTISECOND == 0
        and CENTISECOND <= settings.advert_interval <= 4095 * CENTISECOND
    ):
        yield SettingsProblem("advert_interval", "VRRPv3 counts centiseconds, 10 ms to 40.95 s")
    if not settings.addresses:
        yield SettingsProblem("addresses", "a virtual router needs at least one address")
    if len(settings.addresses) > 255:
        yield SettingsProblem(
            "addresses", "an advert holds at most 255 addresses; put the rest in excluded_addresses"
        )
    for address in settings.addresses:
        if address.version != settings.family:
            yield SettingsProblem(
                "addresses", f"{address} is not IPv{settings.family}; put it in excluded_addresses"
            )
    seen: set[Prefix] = set()
    for address in settings.bound_addresses:
        if address in seen:
            yield SettingsProblem("addresses", f"{address} is listed twice")
        seen.add(address)
    for peer in settings.unicast_peers:
        if peer.version != settings.family:
            yield SettingsProblem("unicast_peers", f"{peer} is not IPv{settings.family}")
    if settings.source_address is not None and settings.source_address.version != settings.family:
        yield SettingsProblem("source_address", f"{settings.source_address} is not IPv{settings.family}")
    if settings.password is not None and settings.version != 2:
        yield SettingsProblem("password", "VRRPv3 has no password; remove it or use version 2")
    if settings.password is not None and len(settings.password.encode()) > 8:
        yield SettingsProblem("password", "a VRRPv2 password has at most 8 bytes")
    if settings.authentication is not Authentication.NONE and settings.key_file is None:
        yield SettingsProblem("authentication", f'"{settings.authentication}" needs a key_file')
    if not 1 <= settings.min_ttl <= 255:
        yield SettingsProblem("min_ttl", f"{settings.min_ttl} is outside 1-255")
    for track in settings.track:
        if track.weight is not None and not (track.weight and -253 <= track.weight <= 253):
            yield SettingsProblem("track", "a weight is -253 to 253 and not 0; without one, down is a fault")
        if track.weight is not None and settings.is_owner:
            yield SettingsProblem("track", "the owner's priority is 255 and no weight changes it")
    for path in settings.paths:
        if not path.peers or any(peer.version != settings.family for peer in path.peers):
            yield SettingsProblem("paths", f"{path.interface} needs peers of IPv{settings.family}")
    if settings.pre_hook and not 0 < settings.pre_hook_timeout <= PRE_HOOK_MAX:
        yield SettingsProblem("pre_hook_timeout", "a takeover can wait 10 s at most, and more than 0")
    for route in settings.routes:
        if any(a is not None and a.version != route.to.version for a in (route.via, route.source)):
            yield SettingsProblem("routes", f"{route.to} and its gateway or source are of two families")
    for rule in settings.rules:
        if any(n is not None and n.version != rule.family for n in (rule.source, rule.to)):
            yield SettingsProblem("rules", f"rule {rule.priority} is from one family to another")
    if settings.lease % SECOND or not 0 <= settings.lease <= LEASE_MAX:
        yield SettingsProblem("lease", "the kernel counts whole seconds, 1 to 3600; 0 is for ever")
    if settings.vmac_interface is not None and not 0 < len(settings.vmac_interface) <= INTERFACE_NAME_MAX:
        yield SettingsProblem(
            "vmac_interface", f'"{settings.vmac_interface}" is no name for an interface: 1 to 15 characters'
        )
    if settings.vmac_interface == settings.interface:
        yield SettingsProblem("vmac_interface", f"{settings.interface} is the one that it stands on")
    if settings.is_owner and not settings.preempts:
        yield SettingsProblem("preempts", "the owner of an address always preempts (priority 255)")
