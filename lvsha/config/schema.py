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

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lvsha.core.addr import Address
from lvsha.core.addr import parse_endpoint as parse_address_and_port
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND

T = TypeVar("T")

# --- values ---------------------------------------------------------------------------------------

_UNITS = {
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(us|ms|s|m|h|d)")
_LONGEST_S = 10 * 365 * 86400


def parse_duration(value: object) -> int:
    """Nanoseconds of ``"100ms"``, ``"1.5s"``, ``"5m"`` or of a plain number of seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError(f'{value!r} is not a duration; write "100ms", "1.5s", "5m", "2h" or "1d"')
        duration = round(Decimal(match[1]) * _UNITS[match[2]])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= _LONGEST_S:  # also refuses nan
            raise ValueError("a duration is a number of seconds from 0 to ten years")
        duration = round(value * SECOND)
    else:
        raise ValueError('a duration is text like "100ms" or a number of seconds')
    if duration > _LONGEST_S * SECOND:
        raise ValueError("a duration is at most ten years")
    return duration


def duration_text(duration: int) -> str:
    """The shortest text that ``parse_duration`` reads back as ``duration``."""
    if duration == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if duration % _UNITS[unit] == 0:
            return f"{duration // _UNITS[unit]}{unit}"
    return f"{Decimal(duration) / MICROSECOND}us"


Duration = Annotated[
    int,
    PlainValidator(parse_duration),
    WithJsonSchema(
        {
            "title": "duration",
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(us|ms|s|m|h|d)$"},
                {"type": "number", "minimum": 0},
            ],
        }
    ),
]


def parse_address(value: object) -> Address:
    """An IP address; names are not resolved."""
    if not isinstance(value, str):
        raise ValueError('an IP address is text in quotes, like "10.0.0.1" or "fd00::1"')
    try:
        address = ip_address(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not an IP address"
            + ("; names are not resolved, write the address" if re.search("[g-zG-Z]", value) else "")
        ) from None
    if address.version == 6 and address.scope_id is not None:
        raise ValueError(f"{value!r} names an interface; give it with its own key")
    return address


def _unicast(address: Address, text: str) -> Address:
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        raise ValueError(f"{text!r} is not the address of one machine")
    return address


def parse_host(value: object) -> Address:
    """An IP address that one machine can have."""
    return _unicast(parse_address(value), str(value))


def parse_prefix(value: object) -> IPv4Interface | IPv6Interface:
    """An address with its prefix length; without one, the address alone (/32, /128)."""
    if not isinstance(value, str):
        raise ValueError('an address is text in quotes, like "10.0.0.10/24"')
    host, slash, _ = value.partition("/")
    address = parse_host(host)
    if not slash:
        return ip_interface(address)
    try:
        return ip_interface(value)
    except ValueError:
        bits = 32 if address.version == 4 else 128
        raise ValueError(
            f"{value!r} has no prefix length from 0 to {bits} after the slash; write {address}/{bits}"
        ) from None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, and a port where one was written."""

    address: Address
    port: int | None = None


_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")


def parse_endpoint(value: object) -> Endpoint:
    """``"10.0.0.1:80"``, ``"[fd00::1]:80"``, or an address without a port."""
    if not isinstance(value, str):
        raise ValueError('an address is text in quotes, like "10.0.0.1:80" or "[fd00::1]:80"')
    if match := _BRACKETED.fullmatch(value):
        host, port_text = match[1], match[2]
    elif value.count(":") == 1:
        host, port_text = value.split(":")
    else:
        host, port_text = value, None
    address = parse_host(host)
    if port_text is None:
        return Endpoint(address)
    if not re.fullmatch("[0-9]{1,5}", port_text) or int(port_text) > 65535:
        raise ValueError(f"{value!r} has a port that is not a number from 0 to 65535")
    return Endpoint(address, int(port_text))


def parse_bytes(value: object) -> bytes:
    """Text as UTF-8, or ``"hex:00ff"``."""
    if not isinstance(value, str):
        raise ValueError('is text, or bytes written as "hex:00ff"')
    if value.startswith("hex:"):
        try:
            return bytes.fromhex(value[4:])
        except ValueError:
            raise ValueError('after "hex:" come pairs of hexadecimal digits') from None
    return value.encode(errors="replace")


def parse_netmask(value: object) -> int:
    """A prefix length from ``24``, ``"/24"`` or ``"255.255.255.0"``."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 128:
        return value
    if isinstance(value, str):
        if re.fullmatch("/?[0-9]{1,3}", value) and 1 <= int(value.lstrip("/")) <= 128:
            return int(value.lstrip("/"))
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", value):
            try:
                bits = f"{int(ip_address(value)):032b}"
            except ValueError:
                bits = "01"
            if "01" not in bits and "1" in bits:
                return bits.count("1")
    raise ValueError(f'{value!r} is not a netmask; write a prefix length like 24, or "255.255.255.0"')


_STATUS = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")


def parse_status(value: object) -> tuple[int, int]:
    """``200`` or ``"200-299"`` as an inclusive range."""
    match = _STATUS.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None:
        raise ValueError(f'{value!r} is not a status code; write 200 or "200-299"')
    low, high = int(match[1]), int(match[2] or match[1])
    if not 100 <= low <= high:
        raise ValueError(f"{value!r} is not a range of status codes within 100-999")
    return low, high


def parse_sysctl(value: object) -> str:
    """A kernel setting's value as it is written to /proc."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("is a number, or text in quotes")
    return str(value)


def _text_schema(title: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "title": title, "examples": list(examples)})


AnyAddress = Annotated[Address, PlainValidator(parse_address), _text_schema("IP address", "224.0.0.81")]
Host = Annotated[Address, PlainValidator(parse_host), _text_schema("IP address", "10.0.0.1", "fd00::1")]
Prefix = Annotated[
    IPv4Interface | IPv6Interface,
    PlainValidator(parse_prefix),
    _text_schema("address/prefix", "10.0.0.10/24", "fd00::10/64"),
]
HostPort = Annotated[
    Endpoint,
    PlainValidator(parse_endpoint),
    _text_schema("address:port", "10.0.0.10:80", "[fd00::10]:80"),
]
Bytes = Annotated[bytes, PlainValidator(parse_bytes), _text_schema("text or hex:…", "PING\r\n", "hex:00ff")]
Netmask = Annotated[
    int,
    PlainValidator(parse_netmask),
    WithJsonSchema(
        {
            "title": "prefix length or netmask",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": 128}, {"type": "string"}],
        }
    ),
]
Status = Annotated[
    tuple[int, int],
    PlainValidator(parse_status),
    WithJsonSchema(
        {
            "title": "status or range",
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 999},
                {"type": "string", "pattern": "^[0-9]{3}(-[0-9]{3})?$"},
            ],
        }
    ),
]
SysctlValue = Annotated[
    str,
    PlainValidator(parse_sysctl),
    WithJsonSchema({"title": "number or text", "anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Port = Annotated[int, Field(ge=0, le=65535)]
Weight = Annotated[int, Field(ge=0, le=65535)]
Priority = Annotated[int, Field(ge=1, le=255)]


def _interface(value: str) -> str:
    if not re.fullmatch(r"[^\s/\x00-\x1f]{1,15}", value) or value in (".", ".."):
        raise ValueError(f"{value!r} is not an interface's name: 1 to 15 characters, no blank, no slash")
    return value


def _directory(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,64}", value):
        raise ValueError("a name has 1 to 64 characters and no blanks")
    return value


def _checked(validate: Callable[[str], str], title: str) -> Any:
    class _Checked:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
            return core_schema.no_info_after_validator_function(validate, handler(source))

        @classmethod
        def __get_pydantic_json_schema__(
            cls, schema: CoreSchema, handler: GetJsonSchemaHandler
        ) -> JsonSchemaValue:
            return {**handler(schema), "title": title}

    return _Checked


Interface = Annotated[str, _checked(_interface, "interface")]
Directory = Annotated[str, _checked(_directory, "absolute path")]
Name = Annotated[str, _checked(_name, "name")]

# --- values in more than one form -----------------------------------------------------------------

EACH = "<each>"
ONE = "<one>"
"""Tags of ``PerDirector``'s two forms; they turn up in pydantic's paths and are taken out again."""


def _form(value: object) -> str:
    return EACH if isinstance(value, dict) else ONE


PerDirector = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[dict[str, T], Tag(EACH)],
    Discriminator(_form),
]
"""One value for all directors, or a table of values by director."""


class Shorthand:
    """A table that may be written as the text of one of its keys: ``check = "tcp"``."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def expand(value: object) -> object:
            return {self.key: value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "title": self.key}, handler(schema)]}


class Several:
    """A list that may be written as its only element: ``protocol = "tcp"``."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def expand(value: object) -> object:
            return value if isinstance(value, list) else [value]

        return core_schema.no_info_before_validator_function(expand, handler(source))

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        return {"anyOf": [inner["items"], inner]}


def _truth_or_table(value: object) -> object:
    return {} if value is True else None if value is False else value


class TruthOrTable:
    """A table whose defaults may be written as ``true``, and its absence as ``false``."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_truth_or_table, handler(source))

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        tables = [form for form in inner.get("anyOf", [inner]) if form.get("type") != "null"]
        return {"anyOf": [{"type": "boolean"}, *tables]}


# --- tables ---------------------------------------------------------------------------------------


class Table(BaseModel):
    """Unknown keys are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class Tls(Table):
    """How TLS is spoken to a realserver."""

    verify: bool = Field(
        default=True,
        description=(
            "The certificate has to be valid. A check that accepts any certificate finds an "
            "expired one only after the clients do."
        ),
    )
    server_name: str | None = Field(
        default=None,
        description=(
            "SNI, and the name that the certificate has to carry. Default: the host of the "
            "request, else the address."
        ),
    )
    ca_file: Directory | None = Field(
        default=None, description="PEM file of trusted authorities. Default: the system's."
    )
    certificate_file: Directory | None = Field(
        default=None, description="PEM file of our own certificate, if asked for one."
    )
    key_file: Directory | None = Field(default=None, description="Its key.")
    alpn: list[str] = Field(default=[], description="Protocols to offer.")
    expiry_warning: Duration = Field(
        default=0, description="A certificate that ends within this time is reported. `0`: never."
    )


CHECK_TYPES = Literal[
    "tcp",
    "http",
    "https",
    "ping",
    "smtp",
    "dns",
    "udp",
    "exec",
    "file",
    "agent",
    "redis",
    "ftp",
    "imap",
    "pop",
    "sip",
    "mysql",
    "postgresql",
    "ldap",
    "nntp",
    "radius",
    "http-proxy",
    "grpc",
    "on",
    "off",
]


HTTP_TYPES = ("http", "https", "http-proxy")
LOGIN_TYPES = (*HTTP_TYPES, "redis", "ftp", "imap", "pop", "nntp", "ldap", "radius")


def _of(*kinds: str) -> dict[str, Any]:
    """Which check types a key belongs to; the loader refuses it with any other."""
    return {"types": list(kinds)}


class Check(Table):
    """How a realserver's health is asked for. Each key is looked for in the realserver's `check`, then
    the service's, then `[defaults.check]`. `check = "tcp"` is short for `check = { type = "tcp" }`."""

    type: CHECK_TYPES | None = Field(
        default=None,
        description=(
            'What is asked. Default: "tcp" where there is a TCP port, else "ping". "on": never '
            'asked, always up. "off": always down.'
        ),
    )
    address: Host | None = Field(default=None, description="Where to ask. Default: the realserver.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Default: the realserver's, else the service's."
    )
    interval: Duration = Field(default=SECOND, description="From start to start while nothing changes.")
    fast_interval: Duration = Field(
        default=500 * MILLISECOND,
        description=(
            "From start to start while the last answers contradict the state: a suspicion is "
            "settled quickly without asking a healthy pool more often."
        ),
    )
    timeout: Duration = Field(default=SECOND, description="For the whole check, from connect to verdict.")
    down_interval: Duration | None = Field(
        default=None, description="From start to start while it is down. Default: as `interval`."
    )
    rise: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Good answers in a row that bring a realserver back; one could be luck.",
    )
    fall: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Bad answers in a row that take it out; one may be a lost packet.",
    )
    initial: Literal["down", "up"] = Field(
        default="down",
        description=(
            "Before the first answer. `down`: no client meets a realserver that was never seen alive."
        ),
    )
    jitter_percent: int = Field(
        default=5,
        ge=0,
        le=50,
        description="Intervals vary by this share, so that checks that coincide drift apart.",
    )
    bind_address: PerDirector[Host] | None = Field(
        default=None, description="Source address. Default: the kernel chooses."
    )
    bind_port: Port = Field(default=0, description="Source port. `0`: any.")
    bind_interface: PerDirector[Interface] | None = Field(
        default=None, description="Out of this interface only (SO_BINDTODEVICE)."
    )
    fwmark: int = Field(
        default=0,
        ge=0,
        le=0xFFFFFFFF,
        description="Mark of the check's packets, to steer them by a policy route.",
    )

    plain_connects: int = Field(
        default=0,
        ge=0,
        le=1000,
        description=(
            "While it is up, so many probes in a row only connect before one holds the whole dialogue "
            "(ldirectord's `checktype = N`). For the types over TCP."
        ),
    )
    close_with_reset: bool = Field(
        default=False,
        description=(
            "End TCP connections with RST instead of FIN: no TIME_WAIT here, a line in some "
            "servers' logs there."
        ),
    )

    path: str | None = Field(
        default=None,
        description=(
            'http, https: the page, default "/". http-proxy: a whole address to ask the proxy for '
            '("http://www.example.com/"), or host and port with `method = "CONNECT"`. file: the file '
            "that is a switch."
        ),
        json_schema_extra=_of(*HTTP_TYPES, "file"),
    )
    method: str | None = Field(
        default=None, description='Request method, default "GET".', json_schema_extra=_of(*HTTP_TYPES)
    )
    host: str | None = Field(
        default=None,
        description="Host header, gRPC's authority. Default: the realserver's address.",
        json_schema_extra=_of(*HTTP_TYPES, "grpc"),
    )
    version: Literal["1.0", "1.1", "2"] | None = Field(
        default=None,
        description=(
            'HTTP version, default "1.1". "2": by ALPN with https, at once (prior knowledge) with http.'
        ),
        json_schema_extra=_of(*HTTP_TYPES),
    )
    headers: dict[str, str] = Field(
        default={},
        repr=False,
        description="Further request headers.",
        json_schema_extra={**_of(*HTTP_TYPES), "secret": True},
    )
    body: Bytes | None = Field(
        default=None,
        repr=False,
        description="Request body.",
        json_schema_extra={**_of(*HTTP_TYPES), "secret": True},
    )
    authorization: str | None = Field(
        default=None,
        repr=False,
        description=(
            'Authorization header, `"Bearer …"`; for a name and a password use `username` and `password`.'
        ),
        json_schema_extra={**_of(*HTTP_TYPES), "secret": True},
    )
    status: Annotated[list[Status], Several] | None = Field(
        default=None,
        description=(
            'Good status codes, `200`, `"200-299"` or a list. Default: 200-299; a redirect is no '
            "proof that the page works."
        ),
        json_schema_extra=_of(*HTTP_TYPES, "sip"),
    )
    redirects: int | None = Field(
        default=None,
        ge=0,
        le=10,
        description=(
            "So many redirects are followed, at the same realserver and port. Default 0: a redirect is "
            "a bad status."
        ),
        json_schema_extra=_of("http", "https"),
    )
    body_regex: str | None = Field(
        default=None,
        description="Has to be found in the body (Python syntax).",
        json_schema_extra=_of(*HTTP_TYPES),
    )
    body_regex_absent: str | None = Field(
        default=None, description="Must not be found in the body.", json_schema_extra=_of(*HTTP_TYPES)
    )
    digest: str | None = Field(
        default=None,
        description="MD5 or SHA-256 of the body, hexadecimal.",
        json_schema_extra=_of(*HTTP_TYPES),
    )
    body_limit: int | None = Field(
        default=None,
        ge=0,
        description="Bytes of body that are read, default 262144.",
        json_schema_extra=_of(*HTTP_TYPES),
    )
    tls: Annotated[Tls | None, TruthOrTable] = Field(
        default=None,
        description="`true` or a table: speak TLS. https always does; the table says how.",
        json_schema_extra=_of("https", "tcp", "smtp", "redis", "ftp", "imap", "pop", "nntp", "ldap", "grpc"),
    )
    username: str | None = Field(
        default=None,
        description="Log in as. ldap: the DN to bind as. http-proxy: for the proxy itself.",
        json_schema_extra=_of(*LOGIN_TYPES),
    )
    password: str | None = Field(
        default=None,
        repr=False,
        description="With this password.",
        json_schema_extra={**_of(*LOGIN_TYPES), "secret": True},
    )
    payload_size: int | None = Field(
        default=None,
        ge=0,
        le=1400,
        description="Bytes in an echo request, default 56.",
        json_schema_extra=_of("ping"),
    )
    send: Bytes | None = Field(
        default=None,
        repr=False,
        description="Sent after the connection stands.",
        json_schema_extra={**_of("tcp", "agent"), "secret": True},
    )
    expect: str | None = Field(
        default=None,
        description=(
            'The answer has to begin with this (text or `"hex:…"`). dns: an answer that has to be there.'
        ),
        json_schema_extra=_of("tcp", "udp", "dns"),
    )
    expect_regex: str | None = Field(
        default=None, description="Has to be found in the answer.", json_schema_extra=_of("tcp")
    )
    response_limit: int | None = Field(
        default=None,
        ge=1,
        le=1 << 20,
        description="Bytes of the answer that are looked at, default 4096.",
        json_schema_extra=_of("tcp"),
    )
    helo_name: str | None = Field(
        default=None, description='Our name in EHLO, default "localhost".', json_schema_extra=_of("smtp")
    )
    starttls: bool | None = Field(default=None, description="Ask for TLS.", json_schema_extra=_of("smtp"))
    query_name: str | None = Field(
        default=None, description='Name to ask for, default ".".', json_schema_extra=_of("dns")
    )
    query_type: str | None = Field(
        default=None,
        description='Record type, default "SOA"; "TYPE65" for others.',
        json_schema_extra=_of("dns"),
    )
    recursion_desired: bool | None = Field(
        default=None, description="Default true.", json_schema_extra=_of("dns")
    )
    payload: Bytes | None = Field(
        default=None,
        repr=False,
        description="The datagram.",
        json_schema_extra={**_of("udp"), "secret": True},
    )
    require_reply: bool | None = Field(
        default=None,
        description="Default false: up unless an ICMP error comes back.",
        json_schema_extra=_of("udp"),
    )
    expect_mask: Bytes | None = Field(
        default=None, description="Bits of `expect` that count.", json_schema_extra=_of("udp")
    )
    minimum_reply: Port | None = Field(
        default=None, description="Bytes, default 0.", json_schema_extra=_of("udp")
    )
    maximum_reply: Port | None = Field(
        default=None, description="Bytes, default 65535.", json_schema_extra=_of("udp")
    )
    command: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "Program and arguments; exit status 0 is up. It finds its target in "
            "LVSHA_CHECK_ADDRESS and LVSHA_CHECK_PORT."
        ),
        json_schema_extra=_of("exec"),
    )
    user: str | None = Field(
        default=None,
        description="exec: whose rights it gets. sip: who is asked for. mysql, postgresql: who asks.",
        json_schema_extra=_of("exec", "sip", "mysql", "postgresql"),
    )
    weight_from_exit: bool | None = Field(
        default=None,
        description="Exit status 2-255 is up with a weight of status - 2.",
        json_schema_extra=_of("exec"),
    )
    present_is_up: bool | None = Field(
        default=None,
        description="Default false: the file takes the realserver out. true: it puts it in.",
        json_schema_extra=_of("file"),
    )
    weight_from_content: bool | None = Field(
        default=None, description="The file holds a percentage of the weight.", json_schema_extra=_of("file")
    )
    from_uri: str | None = Field(
        default=None, description='Default "sip:lvsha@localhost".', json_schema_extra=_of("sip")
    )
    database: str | None = Field(
        default=None, description='Default "postgres".', json_schema_extra=_of("mysql", "postgresql")
    )
    search_base: str | None = Field(
        default=None,
        description='An entry that has to be there (`""`: the root of every server). Default: only bind.',
        json_schema_extra=_of("ldap"),
    )
    secret: str | None = Field(
        default=None,
        repr=False,
        description="What the server and we share; it knows us as a client.",
        json_schema_extra={**_of("radius"), "secret": True},
    )
    grpc_service: str | None = Field(
        default=None,
        description="Whose health is asked for. Default: the whole server's.",
        json_schema_extra=_of("grpc"),
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


def _word_or_number(value: object) -> str:
    return "<word>" if isinstance(value, str) else "<number>"


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
            'keepalived. `"relay"`: the agents carry them, see `[sync.relay]`. Default: `"relay"` where '
            "there is another director and a `relay.key_file`."
        ),
    )
    relay: Relay = Field(default=Relay(), description="See `[sync.relay]`.")


class Timeouts(Table):
    """How long IPVS keeps an idle connection. Left out: as the kernel has it."""

    tcp: Duration | None = Field(
        default=None,
        description="Established TCP; the kernel's is 15 m. Longer than your longest idle connection.",
    )
    tcp_fin: Duration | None = Field(default=None, description="TCP after a FIN; the kernel's is 2 m.")
    udp: Duration | None = Field(default=None, description="UDP; the kernel's is 5 m.")


class Ipvs(Table):
    """Settings of the kernel's IPVS, for all services."""

    timeouts: Timeouts = Field(default=Timeouts(), description="Idle time-outs of connections.")
    sysctl: dict[str, SysctlValue] = Field(
        default={},
        description=(
            "`net.ipv4.vs.*` by short name, set while the agent runs and put back when it stops, "
            'over the agent\'s own choices. `""` leaves one alone.'
        ),
    )


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
    tuple[str, int], PlainValidator(parse_listen), _text_schema("address:port", "0.0.0.0:9443", "[::]:9443")
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


def _webhook(value: str) -> str:
    """The address is a secret: it is not said again."""
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not re.fullmatch(r"[!-~]+", value):
        raise ValueError("is not a URL like https://chat.example/hooks/NAME")
    return value


def parse_mail_server(value: object) -> tuple[str, int | None]:
    """``mail.example.net``, ``mail.example.net:587``, ``[fd00::25]:25``; without a port: None."""
    match = (
        re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", value)
        if isinstance(value, str)
        else None
    )
    port = int(match[3]) if match is not None and match[3] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise ValueError(f'{value!r} is not "host" or "host:port"')
    return match[1] or match[2], port


def _mailbox(value: str) -> str:
    if not re.fullmatch(r"[!#-';-=?A-Z^-~.*+/0-9-]{1,64}@[A-Za-z0-9.\[\]:_-]{1,255}", value):
        raise ValueError(f"{value!r} is not a mail address like ops@example.net")
    return value


Webhook = Annotated[str, _checked(_webhook, "URL")]
Mailbox = Annotated[str, _checked(_mailbox, "mail address")]
MailServer = Annotated[
    tuple[str, int | None],
    PlainValidator(parse_mail_server),
    _text_schema("host[:port]", "mail.example.net", "mail.example.net:587", "[fd00::25]:25"),
]


class Mail(Table):
    """Whom an alert is mailed to, and by which server."""

    server: MailServer = Field(description="Port by default 25, 587 with `starttls`, 465 with `tls`.")
    to: list[Mailbox] = Field(min_length=1, max_length=20, description="Who gets it.")
    sender: Mailbox | None = Field(default=None, description="Default: `lvsha@` and the director's name.")
    security: Literal["none", "starttls", "tls"] = Field(
        default="none", description="`starttls` and `tls` check the server's certificate."
    )
    user: str | None = Field(default=None, max_length=200, description="Where the server wants a login.")
    password: str | None = Field(
        default=None,
        max_length=200,
        description="Of `user`; never sent without `starttls` or `tls`.",
        json_schema_extra={"secret": True},
    )


class Alert(Table):
    """Somebody who is told when something happens. See [alerts](alerts.md)."""

    name: Name = Field(description="Unique in the file; `lvsha alert test NAME`.")
    on: list[str] = Field(
        min_length=1,
        max_length=50,
        description=(
            "What to tell: topics like `role`, severities (`warning` is also `error`), events like"
            " `vrrp.became_master` or `vrrp.*`."
        ),
    )
    webhook: Webhook | None = Field(
        default=None,
        description="A URL that JSON is POSTed to. All but its host is a secret.",
        json_schema_extra={"secret": True},
    )
    token: str | None = Field(
        default=None,
        max_length=4096,
        pattern="^[!-~]+$",
        description="Sent to the webhook as `Authorization: Bearer`.",
        json_schema_extra={"secret": True},
    )
    mail: Mail | None = Field(default=None, description="Whom to mail it to.")
    exec: list[str] = Field(
        default=[],
        max_length=50,
        description=(
            "A program and its arguments, run with the JSON on its standard input and `LVSHA_ALERT`,"
            " `LVSHA_EVENT`, `LVSHA_SEVERITY`, `LVSHA_SUBJECT`, `LVSHA_TEXT`, `LVSHA_NODE`. 0: it was told."
        ),
    )
    ca_file: Directory | None = Field(
        default=None, description="Certificates, in PEM, to trust instead of the system's."
    )
    timeout: Duration = Field(default=10 * SECOND, description="Of one attempt; then it is ended. 100ms-60s.")
    retry_for: Duration = Field(
        default=900 * SECOND,
        description="An attempt that failed is made again after 1 s, 2 s, 4 s to a minute, for so long.",
    )
    repeat: Duration = Field(
        default=300 * SECOND,
        description=(
            "For so long the same event of the same thing is only counted; then the last one is told, with"
            " the number. `0`: each is told."
        ),
    )
    rate: int = Field(
        default=10,
        ge=1,
        le=600,
        description="Messages a minute; what is more comes as one message that counts them.",
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


SYSCTLS: dict[str, tuple[int, int] | None] = {
    "am_droprate": (1, 1 << 20),
    "amemthresh": (0, 1 << 30),
    "backup_only": (0, 1),
    "cache_bypass": (0, 1),
    "conn_reuse_mode": (0, 3),
    "conntrack": (0, 1),
    "drop_entry": (0, 3),
    "drop_packet": (0, 3),
    "est_nice": (-20, 19),
    "expire_nodest_conn": (0, 1),
    "expire_quiescent_template": (0, 1),
    "ignore_tunneled": (0, 1),
    "nat_icmp_send": (0, 1),
    "pmtu_disc": (0, 1),
    "run_estimation": (0, 1),
    "schedule_icmp": (0, 1),
    "secure_tcp": (0, 3),
    "sloppy_sctp": (0, 1),
    "sloppy_tcp": (0, 1),
    "snat_reroute": (0, 1),
    "sync_persist_mode": (0, 1),
    "sync_ports": (1, 64),
    "sync_qlen_max": (1, 1 << 31),
    "sync_refresh_period": (0, 1 << 20),
    "sync_retries": (0, 3),
    "sync_sock_size": (0, 1 << 30),
    "sync_threshold": None,
    "sync_version": (0, 1),
}
"""What may stand in ``[ipvs.sysctl]``, with its range; ``sync_threshold`` is two numbers."""

SECRET_KEYS = frozenset(
    name
    for model in (Vrrp, Check, Alert, Mail)
    for name, field in model.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
)
"""Keys whose values never appear in a message, a log line or ``config show``."""


def check_types_of(key: str) -> tuple[str, ...]:
    """The check types that a key of ``Check`` belongs to; empty: all."""
    extra = Check.model_fields[key].json_schema_extra
    types = extra.get("types", []) if isinstance(extra, dict) else []
    return tuple(str(kind) for kind in types) if isinstance(types, list) else ()


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a file, for editors."""
    schema = Document.model_json_schema()
    return {
        **schema,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lvsha configuration",
    }
