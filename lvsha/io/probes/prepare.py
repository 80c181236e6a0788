"""What stays the same from probe to probe of a check, worked out once."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from lvsha.checker.probes.agent import AgentQuestion
from lvsha.checker.probes.database import MysqlQuestion, PostgresqlQuestion
from lvsha.checker.probes.dialogue import DatagramQuestion, Question, QuickQuestion
from lvsha.checker.probes.dns import DnsQuestion
from lvsha.checker.probes.http import HttpQuestion
from lvsha.checker.probes.ldap import LdapQuestion
from lvsha.checker.probes.login import FtpQuestion, ImapQuestion, NntpQuestion, PopQuestion
from lvsha.checker.probes.radius import RadiusQuestion
from lvsha.checker.probes.redis import RedisQuestion
from lvsha.checker.probes.sip import SipQuestion
from lvsha.checker.probes.smtp import SmtpQuestion
from lvsha.checker.probes.tcp import TcpQuestion
from lvsha.checker.probes.udp import UdpQuestion
from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    TLS_KINDS,
    CheckKind,
    CheckOptions,
    CheckSettings,
    GrpcOptions,
    HttpOptions,
    LdapOptions,
    LoginOptions,
    RedisOptions,
    SipOptions,
    SmtpOptions,
    TcpOptions,
    TlsOptions,
)
from lvsha.core.addr import Address, endpoint_text
from lvsha.io.probes.sockets import is_plain


class Transport(Enum):
    """How a probe travels."""

    STREAM = auto()
    DATAGRAM = auto()
    PING = auto()
    PROGRAM = auto()
    FILE = auto()


Source = tuple[int, Address | None, str | None, int]
"""Version, address, interface, firewall mark."""


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A check, ready to be asked again and again."""

    settings: CheckSettings
    transport: Transport
    destination: tuple[str, int] | tuple[str, int, int, int]
    question: Question | None = None
    quick: QuickQuestion | None = None
    """The question, where its usual answer needs no dialogue."""
    datagrams: DatagramQuestion | None = None
    tls: TlsOptions | None = None
    """TLS from the first byte."""
    starttls: TlsOptions | None = None
    """TLS where the dialogue asks for it."""
    server_name: str = ""
    plain: "Prepared | None" = None
    """The same target, only connected to; see ``plain_connects``."""
    family: int = socket.AF_INET
    speaks_first: bool = False
    """Once connected we speak or close at once; nobody greets us."""
    needs_options: bool = False
    """Its sockets are bound, marked, or otherwise not as they come."""
    source: Source = (4, None, None, 0)
    """From where it is asked; targets of one source share a ping socket."""
    turns: int = 0

    def next_turn(self) -> int:
        """Counts its probes."""
        self.turns += 1
        return self.turns


def destination_of(settings: CheckSettings) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address; the zone of a link-local IPv6 address becomes its number.

    Raises:
        OSError: there is no such zone.
    """
    address = settings.address
    if address.version == 4:
        return str(address), settings.port
    zone = address.scope_id
    if zone is None:
        return str(address), settings.port, 0, 0
    number = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return str(address).partition("%")[0], settings.port, 0, number


def prepare(settings: CheckSettings) -> Prepared:
    """Work out what does not change.

    Raises:
        OSError: the zone of a link-local address does not exist.
        ValueError: an option cannot be asked with.
    """
    prepared = _prepare(settings)
    if prepared.tls is None:
        prepared.quick = _quick(prepared.question)
    # Where a reset follows at once, the realserver would not hear of the connection.
    prepared.speaks_first = (
        prepared.tls is not None or prepared.quick is not None
    ) and not settings.close_with_reset
    if settings.plain_connects and prepared.transport is Transport.STREAM:
        connect = TcpQuestion(TcpOptions())
        speaks_first = not settings.close_with_reset
        prepared.plain = replace(
            prepared, question=connect, quick=connect, tls=None, starttls=None, speaks_first=speaks_first
        )
    return prepared


def _quick(question: Question | None) -> QuickQuestion | None:
    if isinstance(question, HttpQuestion):
        return question
    # Who waits for a greeting does not speak first.
    return question if isinstance(question, TcpQuestion) and (question.send or not question.expects) else None


def _prepare(settings: CheckSettings) -> Prepared:
    kind, options = settings.kind, settings.options
    prepared = Prepared(
        settings=settings,
        transport=Transport.STREAM,
        destination=destination_of(settings),
        family=socket.AF_INET if settings.address.version == 4 else socket.AF_INET6,
        needs_options=not is_plain(settings),
        source=(
            settings.address.version,
            settings.bind_address,
            settings.bind_interface,
            settings.fwmark,
        ),
    )
    if kind is CheckKind.TCP:
        tcp = options if isinstance(options, TcpOptions) else TcpOptions()
        prepared.question = TcpQuestion(tcp)
        prepared.tls = tcp.tls
        prepared.server_name = _name(tcp.tls, settings, None)
    elif kind in (CheckKind.HTTP, CheckKind.HTTPS, CheckKind.HTTP_PROXY):
        http = options if isinstance(options, HttpOptions) else HttpOptions()
        tls = kind is CheckKind.HTTPS
        if kind is CheckKind.HTTP_PROXY:
            http = _to_a_proxy(http)
        make = _http2()[0] if http.version == "2" else HttpQuestion
        prepared.question = make(http, address=settings.address, port=settings.port, tls=tls)
        prepared.tls = _offering_h2(http.tls, http.version == "2") if tls else None
        prepared.server_name = _name(prepared.tls, settings, http.host)
    elif kind is CheckKind.GRPC:
        grpc = options if isinstance(options, GrpcOptions) else GrpcOptions()
        prepared.question = _http2()[1](grpc, address=settings.address, port=settings.port)
        prepared.tls = _offering_h2(grpc.tls, True) if grpc.tls is not None else None
        prepared.server_name = _name(prepared.tls, settings, grpc.host)
    elif kind is CheckKind.PING:
        prepared.transport = Transport.PING
        host, _, *zone = prepared.destination
        prepared.destination = (host, 0, *zone)  # type: ignore[assignment]  # still two or four
    elif kind in _STREAMS:
        prepared.question = _STREAMS[kind](options or _defaults(kind))
        if isinstance(options, SmtpOptions):
            prepared.starttls = options.tls
        elif isinstance(options, LoginOptions | LdapOptions) and options.starttls:
            prepared.starttls = options.tls or TlsOptions()
        elif isinstance(options, RedisOptions | LoginOptions | LdapOptions):
            prepared.tls = options.tls
        if prepared.tls is None and kind in TLS_KINDS:
            prepared.tls = TlsOptions()
        prepared.server_name = _name(prepared.tls or prepared.starttls, settings, None)
    elif kind in _DATAGRAMS:
        prepared.transport = Transport.DATAGRAM
        prepared.datagrams = _DATAGRAMS[kind](options or _defaults(kind))
    elif kind is CheckKind.SIP:
        sip = options if isinstance(options, SipOptions) else SipOptions()
        first = int.from_bytes(os.urandom(4), "big")
        question = SipQuestion(sip, host=endpoint_text(settings.address, settings.port), first=first)
        if sip.transport == "tcp":
            prepared.question = question.over_stream()
            prepared.tls = sip.tls
            prepared.server_name = _name(sip.tls, settings, None)
        else:
            prepared.transport = Transport.DATAGRAM
            prepared.datagrams = question
    elif kind is CheckKind.EXEC:
        prepared.transport = Transport.PROGRAM
    elif kind is CheckKind.FILE:
        prepared.transport = Transport.FILE
    else:
        raise ValueError(f"{kind} is never asked")
    return prepared


def _defaults(kind: CheckKind) -> CheckOptions:
    made = OPTIONS_OF_KIND[kind]
    assert made is not None, "whoever is asked has options"
    return made()


_STREAMS: dict[CheckKind, Callable[[Any], Question]] = {
    CheckKind.SMTP: SmtpQuestion,
    CheckKind.FTP: FtpQuestion,
    CheckKind.POP: PopQuestion,
    CheckKind.POPS: PopQuestion,
    CheckKind.IMAP: ImapQuestion,
    CheckKind.IMAPS: ImapQuestion,
    CheckKind.NNTP: NntpQuestion,
    CheckKind.LDAP: LdapQuestion,
    CheckKind.LDAPS: LdapQuestion,
    CheckKind.REDIS: RedisQuestion,
    CheckKind.AGENT: AgentQuestion,
    CheckKind.MYSQL: MysqlQuestion,
    CheckKind.POSTGRESQL: PostgresqlQuestion,
}
_DATAGRAMS: dict[CheckKind, Callable[[Any], DatagramQuestion]] = {
    CheckKind.DNS: DnsQuestion,
    CheckKind.UDP: UdpQuestion,
    CheckKind.RADIUS: RadiusQuestion,
}


def _http2() -> tuple[Any, Any]:
    """The questions over HTTP/2. Their library is an extra, and 50 ms of import that few need.

    Raises:
        ValueError: it is not installed.
    """
    try:
        from lvsha.checker.probes.grpc import GrpcQuestion
        from lvsha.checker.probes.http2 import Http2Question
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "lvsha":
            raise
        raise ValueError(
            f"HTTP/2 needs the Python package {error.name}: pip install 'lvsha[http2]'"
        ) from None
    return Http2Question, GrpcQuestion


def _offering_h2(tls: TlsOptions, wanted: bool) -> TlsOptions:
    return replace(tls, alpn=("h2",)) if wanted and not tls.alpn else tls


def _to_a_proxy(options: HttpOptions) -> HttpOptions:
    """The request names who is asked for; the login is the proxy's."""
    if options.host is None:
        url = options.path
        options = replace(options, host=url.partition("://")[2].partition("/")[0] if "://" in url else url)
    if options.authorization is not None:
        headers = (*options.headers, ("Proxy-Authorization", options.authorization))
        options = replace(options, headers=headers, authorization=None)
    return options


def _name(tls: TlsOptions | None, settings: CheckSettings, host: str | None) -> str:
    """The name for SNI and for the certificate; an address where nothing names the realserver."""
    if tls is None:
        return ""
    if tls.server_name is not None:
        return tls.server_name
    if host is not None:
        if host.startswith("["):
            return host[1:].partition("]")[0]
        return host.partition(":")[0] if host.count(":") == 1 else host
    return str(settings.address).partition("%")[0] if tls.verify else ""
