"""``check``: how a realserver's health is asked for."""

from typing import Annotated, Any, Literal

from pydantic import Field

from lvsha.config.tables.forms import PerDirector, Several, Table, TruthOrTable
from lvsha.config.tables.values import Bytes, Directory, Duration, Host, Interface, Port, Status
from lvsha.core.instant import MILLISECOND, SECOND


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
    "imaps",
    "pop",
    "pops",
    "sip",
    "mysql",
    "postgresql",
    "ldap",
    "ldaps",
    "nntp",
    "radius",
    "http-proxy",
    "grpc",
    "on",
    "off",
]

HTTP_TYPES = ("http", "https", "http-proxy")

STARTTLS_TYPES = ("smtp", "ftp", "imap", "pop", "nntp", "ldap")

LOGIN_TYPES = (
    *HTTP_TYPES,
    *("redis", "ftp", "imap", "imaps", "pop", "pops", "nntp", "ldap", "ldaps", "radius"),
)


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
    through: Literal["address", "path"] | None = Field(
        default=None,
        description=(
            "`path`: ask the virtual address, through the same forwarding as clients, steered to this "
            "realserver: one without the address on `lo`, or with a broken tunnel, is down. Default "
            "`address`: ask the realserver's own address."
        ),
    )
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
        json_schema_extra=_of(
            *("https", "tcp", "redis", "imaps", "pops", "ldaps", "grpc", "sip"),
            *STARTTLS_TYPES,
        ),
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
    starttls: bool | None = Field(
        default=None,
        description="Ask for TLS before anything else is said; `tls` says how it is checked.",
        json_schema_extra=_of(*STARTTLS_TYPES, "imaps", "pops", "ldaps"),
    )
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
    transport: Literal["udp", "tcp"] | None = Field(
        default=None,
        description="Default `udp`. `tcp` takes `tls` as well.",
        json_schema_extra=_of("sip"),
    )
    database: str | None = Field(
        default=None, description='Default "postgres".', json_schema_extra=_of("mysql", "postgresql")
    )
    search_base: str | None = Field(
        default=None,
        description='An entry that has to be there (`""`: the root of every server). Default: only bind.',
        json_schema_extra=_of("ldap", "ldaps"),
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


def check_types_of(key: str) -> tuple[str, ...]:
    """The check types that a key of ``Check`` belongs to; empty: all."""
    extra = Check.model_fields[key].json_schema_extra
    types = extra.get("types", []) if isinstance(extra, dict) else []
    return tuple(str(kind) for kind in types) if isinstance(types, list) else ()
