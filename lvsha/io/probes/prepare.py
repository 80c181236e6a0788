"""What stays the same from probe to probe of a check, worked out once."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from lvsha.checker.probes.agent import AgentQuestion
from lvsha.checker.probes.database import MysqlQuestion, PostgresqlQuestion
from lvsha.checker.probes.dialogue import DatagramQuestion, Question
from lvsha.checker.probes.dns import DnsQuestion
from lvsha.checker.probes.http import HttpQuestion
from lvsha.checker.probes.login import FtpQuestion, ImapQuestion, PopQuestion
from lvsha.checker.probes.redis import RedisQuestion
from lvsha.checker.probes.sip import SipQuestion
from lvsha.checker.probes.smtp import SmtpQuestion
from lvsha.checker.probes.tcp import TcpQuestion
from lvsha.checker.probes.udp import UdpQuestion
from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    CheckKind,
    CheckOptions,
    CheckSettings,
    HttpOptions,
    LoginOptions,
    RedisOptions,
    SipOptions,
    SmtpOptions,
    TcpOptions,
    TlsOptions,
)
from lvsha.core.addr import endpoint_text


class Transport(Enum):
    """How a probe travels."""

    STREAM = auto()
    DATAGRAM = auto()
    PING = auto()
    PROGRAM = auto()
    FILE = auto()


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A check, ready to be asked again and again."""

    settings: CheckSettings
    transport: Transport
    destination: tuple[str, int] | tuple[str, int, int, int]
    question: Question | None = None
    datagrams: DatagramQuestion | None = None
    tls: TlsOptions | None = None
    """TLS from the first byte."""
    starttls: TlsOptions | None = None
    """TLS where the dialogue asks for it."""
    server_name: str = ""


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
    kind, options = settings.kind, settings.options
    prepared = Prepared(settings=settings, transport=Transport.STREAM, destination=destination_of(settings))
    if kind is CheckKind.TCP:
        tcp = options if isinstance(options, TcpOptions) else TcpOptions()
        prepared.question = TcpQuestion(tcp)
        prepared.tls = tcp.tls
        prepared.server_name = _name(tcp.tls, settings, None)
    elif kind in (CheckKind.HTTP, CheckKind.HTTPS):
        http = options if isinstance(options, HttpOptions) else HttpOptions()
        tls = kind is CheckKind.HTTPS
        prepared.question = HttpQuestion(http, address=settings.address, port=settings.port, tls=tls)
        prepared.tls = http.tls if tls else None
        prepared.server_name = _name(prepared.tls, settings, http.host)
    elif kind is CheckKind.PING:
        prepared.transport = Transport.PING
    elif kind in _STREAMS:
        prepared.question = _STREAMS[kind](options or _defaults(kind))
        if isinstance(options, SmtpOptions):
            prepared.starttls = options.tls
        elif isinstance(options, RedisOptions | LoginOptions):
            prepared.tls = options.tls
        prepared.server_name = _name(prepared.tls or prepared.starttls, settings, None)
    elif kind in _DATAGRAMS:
        prepared.transport = Transport.DATAGRAM
        prepared.datagrams = _DATAGRAMS[kind](options or _defaults(kind))
    elif kind is CheckKind.SIP:
        prepared.transport = Transport.DATAGRAM
        sip = options if isinstance(options, SipOptions) else SipOptions()
        prepared.datagrams = SipQuestion(sip, host=endpoint_text(settings.address, settings.port))
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
    CheckKind.IMAP: ImapQuestion,
    CheckKind.REDIS: RedisQuestion,
    CheckKind.AGENT: AgentQuestion,
    CheckKind.MYSQL: MysqlQuestion,
    CheckKind.POSTGRESQL: PostgresqlQuestion,
}
_DATAGRAMS: dict[CheckKind, Callable[[Any], DatagramQuestion]] = {
    CheckKind.DNS: DnsQuestion,
    CheckKind.UDP: UdpQuestion,
}


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
