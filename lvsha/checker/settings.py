"""What a health check is: one target, one question, and how often to ask it.

Durations are integer nanoseconds like everywhere. The machines take settings
without ``problems`` (see there) for granted.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from enum import StrEnum

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND


class CheckKind(StrEnum):
    """What is asked. The value is the word of the configuration."""

    TCP = "tcp"
    """Connect; with ``TcpOptions`` also send and expect."""
    HTTP = "http"
    HTTPS = "https"
    PING = "ping"
    """ICMP or ICMPv6 echo."""
    SMTP = "smtp"
    DNS = "dns"
    UDP = "udp"
    """A datagram; a reply is required or only the absence of an ICMP error."""
    EXEC = "exec"
    """A program; exit status 0 is up."""
    FILE = "file"
    """A file whose presence or number says it."""
    AGENT = "agent"
    """HAProxy's agent-check: the realserver says its weight or state itself."""
    REDIS = "redis"
    FTP = "ftp"
    IMAP = "imap"
    IMAPS = "imaps"
    """As ``imap`` with TLS from the first byte; so ``pops`` and ``ldaps``."""
    POP = "pop"
    POPS = "pops"
    SIP = "sip"
    MYSQL = "mysql"
    POSTGRESQL = "postgresql"
    LDAP = "ldap"
    LDAPS = "ldaps"
    NNTP = "nntp"
    RADIUS = "radius"
    HTTP_PROXY = "http-proxy"
    """A forward proxy: a page asked for by its whole address, or CONNECT."""
    GRPC = "grpc"
    """gRPC's own health protocol."""
    ON = "on"
    """Not checked: always up."""
    OFF = "off"
    """Not checked: always down."""


class Initial(StrEnum):
    """What a realserver is before its first verdict."""

    DOWN = "down"
    """Down until proven: gets nothing until one check passed."""
    UP = "up"
    """Up until proven: gets connections until ``fall`` checks failed in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How TLS is spoken to a realserver."""

    verify: bool = True
    """Whether the certificate has to be valid. A check that accepts any certificate
    finds an expired one only after the clients do."""

    server_name: str | None = None
    """SNI, and the name that the certificate has to carry; None: the host of the request,
    and where there is none, the realserver's address."""

    ca_file: str | None = None
    """PEM file of trusted authorities; None: the system's."""

    certificate_file: str | None = None
    """PEM file of our own certificate, when the realserver asks for one."""

    key_file: str | None = None

    alpn: tuple[str, ...] = ()
    """Protocols offered; empty: no ALPN extension."""

    expiry_warning: int = 0
    """A valid certificate that ends within this duration is reported (not failed); 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The request, and which answers are good ones."""

    path: str = "/"
    method: str = "GET"
    host: str | None = None
    """The Host header, with a port where it is needed; None: the realserver's address."""
    version: str = "1.1"
    """``1.0``, ``1.1`` or ``2``. The connection is always closed after one answer. ``2`` is
    offered by ALPN where TLS is spoken, and simply spoken where it is not."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Further headers; they may hold a password and are not shown."""
    body: bytes = field(default=b"", repr=False)
    authorization: str | None = field(default=None, repr=False)
    """The Authorization header: ``basic_authorization(user, password)`` or ``"Bearer ..."``."""

    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    """Good status codes as inclusive ranges. A redirect is not a proof that the page works."""
    redirects: int = 0
    """So many redirects are followed, at the same realserver; 0: none, and one is a bad status."""
    body_regex: str | None = None
    """Has to be found in the body (Python syntax, on bytes decoded as UTF-8)."""
    body_regex_absent: str | None = None
    """Must not be found in the body."""
    digest: str | None = None
    """Hexadecimal MD5 (32 digits, what genhash prints) or SHA-256 (64 digits) of the whole body."""
    body_limit: int = 256 * 1024
    """Bytes of body read. A longer one fails a digest; other conditions look at its beginning."""

    tls: TlsOptions = TlsOptions()
    """Used by ``https``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingOptions:
    """One ICMP echo request."""

    payload_size: int = 56
    """Bytes after the ICMP header; 56 is what ping(8) sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpOptions:
    """What to say after the connection stands."""

    send: bytes = field(default=b"", repr=False)
    expect: bytes | None = None
    """The answer has to begin with these bytes."""
    expect_regex: str | None = None
    """Has to be found in the answer."""
    response_limit: int = 4096
    """Bytes of the answer that are looked at."""
    tls: TlsOptions | None = None
    """None: plain TCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """Greeting, EHLO, optional STARTTLS, QUIT."""

    helo_name: str = "localhost"
    starttls: bool = False
    tls: TlsOptions = TlsOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsOptions:
    """One question over UDP."""

    name: str = "."
    type: str = "SOA"
    """A word (``A``, ``SOA`` ...) or ``TYPE65``."""
    expect: str | None = None
    """An answer that has to be among those that came, as text (``192.0.2.1``, ``mail.example.``)."""
    recursion_desired: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpOptions:
    """One datagram, and what counts as an answer."""

    payload: bytes = field(default=b"", repr=False)
    require_reply: bool = False
    """False: up unless an ICMP error comes back within the time-out."""
    expect: bytes | None = None
    """The reply has to begin with these bytes; implies ``require_reply``."""
    expect_mask: bytes | None = None
    """Bits of ``expect`` that count; None: all."""
    minimum_reply: int = 0
    maximum_reply: int = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """A program of the operator's. It is told its target in LVSHA_CHECK_ADDRESS and LVSHA_CHECK_PORT."""

    argv: tuple[str, ...] = ()
    user: str | None = None
    """Whose rights it gets; None: ours."""
    weight_from_exit: bool = False
    """Exit status 2-255 is up with a weight of status - 2 (keepalived's misc_dynamic)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """A file as a switch."""

    path: str = ""
    present_is_up: bool = False
    """False: the file takes the realserver out (a maintenance file). True: it puts it in."""
    weight_from_content: bool = False
    """The file holds a percentage of the weight: 0 is drained; missing or unreadable is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """HAProxy's agent-check."""

    send: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """PING, after AUTH where a password is given."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOptions:
    """FTP, IMAP, POP3 and NNTP: the greeting, and a login where a user is given."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions | None = None
    """Given: TLS from the first byte, or after the greeting with ``starttls``."""
    starttls: bool = False
    """Ask for TLS after the greeting, before any name or password is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapOptions:
    """A bind, anonymous where no name is given; and a look at one entry where asked for."""

    username: str | None = None
    """The DN to bind as."""
    password: str | None = field(default=None, repr=False)
    search_base: str | None = None
    """An entry that has to be there; ``""`` is the root of every server."""
    tls: TlsOptions | None = None
    """Given: TLS from the first byte, or before the bind with ``starttls``."""
    starttls: bool = False
    """Ask for TLS before the bind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusOptions:
    """Status-Server; with a user, Access-Request."""

    secret: str = field(default="", repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """grpc.health.v1.Health/Check."""

    service: str = ""
    """Whose health; empty: the whole server's."""
    host: str | None = None
    """The request's authority; None: the realserver's address."""
    tls: TlsOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipOptions:
    """OPTIONS, and good answers to it."""

    user: str = "ping"
    from_uri: str = "sip:lvsha@localhost"
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    transport: str = "udp"
    """``udp`` or ``tcp``."""
    tls: TlsOptions | None = None
    """Over TCP: TLS from the first byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """MySQL's greeting or PostgreSQL's answer to a start-up packet."""

    user: str = "lvsha"
    database: str = "postgres"


CheckOptions = (
    TcpOptions
    | HttpOptions
    | PingOptions
    | SmtpOptions
    | DnsOptions
    | UdpOptions
    | ExecOptions
    | FileOptions
    | AgentOptions
    | RedisOptions
    | LoginOptions
    | SipOptions
    | DatabaseOptions
    | LdapOptions
    | RadiusOptions
    | GrpcOptions
)

OPTIONS_OF_KIND: dict[CheckKind, type[CheckOptions] | None] = {
    CheckKind.TCP: TcpOptions,
    CheckKind.HTTP: HttpOptions,
    CheckKind.HTTPS: HttpOptions,
    CheckKind.HTTP_PROXY: HttpOptions,
    CheckKind.LDAP: LdapOptions,
    CheckKind.LDAPS: LdapOptions,
    CheckKind.NNTP: LoginOptions,
    CheckKind.RADIUS: RadiusOptions,
    CheckKind.GRPC: GrpcOptions,
    CheckKind.PING: PingOptions,
    CheckKind.SMTP: SmtpOptions,
    CheckKind.DNS: DnsOptions,
    CheckKind.UDP: UdpOptions,
    CheckKind.EXEC: ExecOptions,
    CheckKind.FILE: FileOptions,
    CheckKind.AGENT: AgentOptions,
    CheckKind.REDIS: RedisOptions,
    CheckKind.FTP: LoginOptions,
    CheckKind.IMAP: LoginOptions,
    CheckKind.IMAPS: LoginOptions,
    CheckKind.POP: LoginOptions,
    CheckKind.POPS: LoginOptions,
    CheckKind.SIP: SipOptions,
    CheckKind.MYSQL: DatabaseOptions,
    CheckKind.POSTGRESQL: DatabaseOptions,
    CheckKind.ON: None,
    CheckKind.OFF: None,
}
"""Which options a kind takes; None of them has a required field but ``ExecOptions.argv`` and
``FileOptions.path``."""

PORTLESS_KINDS = frozenset({CheckKind.PING, CheckKind.EXEC, CheckKind.FILE, CheckKind.ON, CheckKind.OFF})
"""Kinds that need no port."""

TLS_KINDS = frozenset({CheckKind.HTTPS, CheckKind.IMAPS, CheckKind.POPS, CheckKind.LDAPS})
"""Kinds that speak TLS from the first byte."""

STREAM_KINDS = (
    frozenset(CheckKind)
    - PORTLESS_KINDS
    - {
        CheckKind.DNS,
        CheckKind.UDP,
        CheckKind.SIP,
        CheckKind.RADIUS,
    }
)
"""Kinds over TCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """One check of one target.

    The time from a death to the verdict is at most
    ``interval + (fall - 1) * max(fast_interval, timeout) + timeout``: 4.0 s as
    below, 2.0 s when the dead one refuses instead of keeping silent.
    """

    kind: CheckKind
    address: Address
    """Where the probe goes (the realserver, or whatever the operator names)."""
    port: int = 0

    interval: int = 1 * SECOND
    """From start to start while nothing changes."""
    fast_interval: int = 500 * MILLISECOND
    """From start to start while the last results contradict the state: a suspicion is
    settled quickly without asking a healthy pool more often."""
    timeout: int = 1 * SECOND
    """For the whole check, from connect to verdict."""
    down_interval: int | None = None
    """From start to start while it is down and nothing changes; None: as ``interval``."""
    rise: int = 2
    """Good results in a row that bring a realserver back."""
    fall: int = 3
    """Bad results in a row that take it out."""
    initial: Initial = Initial.DOWN
    """What it is before its first verdict. One good result is that verdict: ``rise`` guards
    against flapping, and there is nothing yet to flap from. One bad result is it for a
    realserver that begins down; one that begins up has ``fall`` of them, like any that serves."""
    jitter_percent: int = 5
    """Each interval is shortened or lengthened by up to this share, so that checks that
    happen to coincide drift apart."""

    bind_address: Address | None = None
    """Source address; None: the kernel chooses."""
    bind_port: int = 0
    bind_port_count: int = 1
    """So many ports from ``bind_port`` on are used by turns."""
    bind_interface: str | None = None
    """SO_BINDTODEVICE."""
    fwmark: int = 0
    """SO_MARK on the probe's packets: steers a check through a policy route or a forwarding path."""
    through_path: bool = False
    """``address`` is a virtual one, and ``fwmark`` steers the probe through IPVS to this realserver."""
    plain_connects: int = 0
    """While it is up, so many probes in a row only connect before one holds the whole dialogue
    (ldirectord's ``checktype = N``). A connection costs the realserver next to nothing."""
    close_with_reset: bool = False
    """End TCP connections with RST instead of FIN: no TIME_WAIT here, a line in some servers' logs there."""

    options: CheckOptions | None = None
    """Those of the kind; None: its defaults."""

    def target(self) -> str:
        """``http 10.0.0.11:80``, for messages."""
        if self.kind in PORTLESS_KINDS:
            return f"{self.kind} {self.address}"
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.kind} {host}:{self.port}"


def basic_authorization(username: str, password: str) -> str:
    """The value of an Authorization header, RFC 7617."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")
