"""Opening the sockets of probes, and whose fault an error is.

An error that the kernel gives before a packet has left is ours: no descriptor,
no address to bind, no route, not permitted. The same number that arrives later,
with an ICMP message behind it, is news of the network or the realserver.
"""

import errno
import os
import socket

from lvsha.checker.result import ProbeResult, Reason, bounded_detail
from lvsha.checker.settings import CheckSettings

SO_BINDTODEVICE = 25
SO_MARK = 36
TCP_QUICKACK = 12
IP_BIND_ADDRESS_NO_PORT = 24
"""Leaves the choice of the port to connect(): 28,000 of them per target instead of altogether."""

_LINGER_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"

_OURS = {
    errno.EMFILE: (Reason.NO_DESCRIPTORS, "no file descriptor is left: raise LimitNOFILE"),
    errno.ENFILE: (Reason.NO_DESCRIPTORS, "the system has no file descriptor left: raise fs.file-max"),
    errno.ENETUNREACH: (Reason.NO_ROUTE, "no route to it from here"),
    errno.EHOSTUNREACH: (Reason.NO_ROUTE, "no route to it from here"),
    errno.ENETDOWN: (Reason.NO_ROUTE, "the interface towards it is down"),
    errno.EAFNOSUPPORT: (Reason.NO_ROUTE, "this host does not speak its address family"),
    errno.EACCES: (Reason.NOT_PERMITTED, "a route or rule of this host prohibits it"),
    errno.EPERM: (Reason.NOT_PERMITTED, "a firewall rule or a missing capability of this host prohibits it"),
    errno.EADDRNOTAVAIL: (Reason.NO_PORTS, "no local port is left towards it"),
    errno.EADDRINUSE: (Reason.NO_PORTS, "the local port is in use"),
    errno.EAGAIN: (Reason.NO_PORTS, "no local port is left towards it"),
}

_THEIRS = {
    errno.ECONNREFUSED: (Reason.REFUSED, "refused"),
    errno.ECONNRESET: (Reason.RESET, "reset"),
    errno.EPIPE: (Reason.RESET, "reset"),
    errno.ECONNABORTED: (Reason.RESET, "reset"),
    errno.ETIMEDOUT: (Reason.TIMEOUT, "no answer"),
    errno.EHOSTUNREACH: (Reason.UNREACHABLE, "host unreachable"),
    errno.ENETUNREACH: (Reason.UNREACHABLE, "network unreachable"),
    errno.EACCES: (Reason.UNREACHABLE, "administratively prohibited"),
    errno.EPROTO: (Reason.UNREACHABLE, "protocol error"),
    errno.ENOPROTOOPT: (Reason.UNREACHABLE, "protocol unreachable"),
    errno.EHOSTDOWN: (Reason.UNREACHABLE, "host down"),
}


class CannotProbe(Exception):
    """The probe cannot be made; ``result`` says why."""

    def __init__(self, result: ProbeResult) -> None:
        super().__init__(result.detail)
        self.result = result


def our_failure(doing: str, error: OSError) -> ProbeResult:
    """A result for an error that the kernel gave before anything was sent."""
    number = error.errno or 0
    if number in (errno.ECONNREFUSED, errno.ECONNRESET):
        return their_failure(doing, number)
    reason, words = _OURS.get(number, (Reason.INTERNAL, os.strerror(number)))
    return ProbeResult(ok=False, reason=reason, detail=bounded_detail(f"{doing}: {words}"), ours=True)


def their_failure(doing: str, number: int) -> ProbeResult:
    """A result for an error that came from the network."""
    reason, words = _THEIRS.get(number, (Reason.INTERNAL, os.strerror(number)))
    return ProbeResult(ok=False, reason=reason, detail=f"{doing}: {words}", ours=number not in _THEIRS)


def is_plain(settings: CheckSettings) -> bool:
    """Whether the socket needs no options."""
    return not (
        settings.bind_address is not None
        or settings.bind_port
        or settings.bind_interface is not None
        or settings.fwmark
        or settings.close_with_reset
    )


def open_socket(settings: CheckSettings, kind: int, protocol: int = 0, *, turn: int = 0) -> socket.SocketType:
    """A non-blocking socket of the target's family with the options that the settings ask for.

    ``SocketType`` is C all through; ``socket.socket`` would add 2 us of Python to each probe.

    Args:
        turn: counts the probes, where several ports are used by turns.

    Raises:
        CannotProbe: with a result that is ours.
    """
    family = socket.AF_INET if settings.address.version == 4 else socket.AF_INET6
    try:
        opened = socket.SocketType(family, kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise CannotProbe(our_failure("socket", error)) from None
    try:
        if not is_plain(settings):
            _bind(opened, settings, kind, turn)
    except CannotProbe:
        opened.close()
        raise
    return opened


def _bind(opened: socket.SocketType, settings: CheckSettings, kind: int, turn: int) -> None:
    try:
        if settings.fwmark:
            opened.setsockopt(socket.SOL_SOCKET, SO_MARK, settings.fwmark)
        if settings.close_with_reset and kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    except OSError as error:
        raise CannotProbe(our_failure(f"firewall mark {settings.fwmark}", error)) from None
    if settings.bind_interface is not None:
        try:
            opened.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, settings.bind_interface.encode())
        except OSError as error:
            raise CannotProbe(_bind_failure(settings.bind_interface, error)) from None
    if settings.bind_address is not None or settings.bind_port:
        any_address = "0.0.0.0" if settings.address.version == 4 else "::"
        host = str(settings.bind_address) if settings.bind_address is not None else any_address
        try:
            if settings.bind_port:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            elif kind == socket.SOCK_STREAM:
                opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            _bind_by_turns(opened, host, settings, turn)
        except OSError as error:
            place = f"{host} port {settings.bind_port}" if settings.bind_port else host
            raise CannotProbe(_bind_failure(place, error)) from None


def _bind_by_turns(opened: socket.SocketType, host: str, settings: CheckSettings, turn: int) -> None:
    """To the next of its ports that is free.

    Raises:
        OSError: none is, or the address is not here.
    """
    first, count = settings.bind_port, settings.bind_port_count
    for attempt in range(count):
        try:
            opened.bind((host, first + (turn + attempt) % count))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == count - 1:
                raise
        else:
            return


def _bind_failure(place: str, error: OSError) -> ProbeResult:
    words = {
        errno.EADDRNOTAVAIL: "the address is not on this host",
        errno.EADDRINUSE: "in use",
        errno.ENODEV: "there is no such interface",
        errno.EPERM: "needs CAP_NET_RAW or CAP_NET_ADMIN",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return ProbeResult(
        ok=False, reason=Reason.BIND_FAILED, detail=bounded_detail(f"bind to {place}: {words}"), ours=True
    )
