"""What stays the same from probe to probe of a check, worked out once."""

import socket
from dataclasses import dataclass
from enum import Enum, auto

from lvsha.checker.probes.dialogue import DatagramQuestion, Question
from lvsha.checker.probes.http import HttpQuestion
from lvsha.checker.probes.tcp import TcpQuestion
from lvsha.checker.settings import (
    CheckKind,
    CheckSettings,
    HttpOptions,
    TcpOptions,
    TlsOptions,
)


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
    else:
        raise NotImplementedError(f"no probe for {kind} yet")
    return prepared


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
