"""Ping: one socket per family for all targets."""

import os
import select
import socket
import struct

from lvsha.checker.probes.dialogue import GOOD, Verdict
from lvsha.checker.probes.ping import (
    COOKIE_SIZE,
    ECHO_REPLY_4,
    ECHO_REPLY_6,
    TIME_EXCEEDED_4,
    TIME_EXCEEDED_6,
    UNREACHABLE_4,
    UNREACHABLE_6,
    Echo,
    decode_echo_4,
    decode_echo_6,
    encode_echo_request,
)
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckSettings, PingOptions
from lvsha.io.probes.engine import Done, Engine
from lvsha.io.probes.prepare import Prepared, Source
from lvsha.io.probes.probe import Probe
from lvsha.io.probes.sockets import CannotProbe, open_socket, our_failure

_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMPV6_FILTER = 1
_RECEIVE_BUFFER = 4 * 1024 * 1024
_READ_SIZE = 2048
_READS_PER_EVENT = 1024
_SOCKET_LIMIT = 64
"""Different sources (address, interface, mark) that pings may have at a time."""


class Pinger:
    """The ping sockets of an engine, by source."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sockets: dict[Source, _PingSocket] = {}

    def socket_for(self, prepared: Prepared) -> "_PingSocket":
        """The socket that pings as its settings say.

        Raises:
            CannotProbe: with a result that is ours.
        """
        source = prepared.source
        found = self._sockets.get(source)
        if found is None:
            if len(self._sockets) >= _SOCKET_LIMIT:
                self._close_idle()
            found = self._sockets[source] = _PingSocket(self._engine, prepared.settings)
        return found

    def close(self) -> None:
        for ping_socket in self._sockets.values():
            ping_socket.close()
        self._sockets.clear()

    def _close_idle(self) -> None:
        for source, ping_socket in tuple(self._sockets.items()):
            if not ping_socket.waiting:
                ping_socket.close()
                del self._sockets[source]


class _PingSocket:
    """A raw socket, or a ping socket where we may not have a raw one."""

    def __init__(self, engine: Engine, settings: CheckSettings) -> None:
        self._family = settings.address.version
        protocol = socket.IPPROTO_ICMP if self._family == 4 else socket.IPPROTO_ICMPV6
        self.is_raw = True
        try:
            self.socket = open_socket(settings, socket.SOCK_RAW, protocol)
        except CannotProbe as cannot:
            if cannot.result.reason is not Reason.NOT_PERMITTED:
                raise
            self.is_raw = False
            try:
                self.socket = open_socket(settings, socket.SOCK_DGRAM, protocol)
            except CannotProbe as second:
                words = "ping needs CAP_NET_RAW, or our group in net.ipv4.ping_group_range"
                result = ProbeResult(ok=False, reason=second.result.reason, detail=words, ours=True)
                raise CannotProbe(result) from None
        self.identifier = int.from_bytes(os.urandom(2), "big")
        self.waiting: dict[int, PingProbe] = {}
        self._next = 0
        self._cookie = int.from_bytes(os.urandom(COOKIE_SIZE), "big")
        self._filter()
        self._engine = engine
        engine.watch(self.socket.fileno(), self, select.EPOLLIN)

    def close(self) -> None:
        self._engine.unwatch(self.socket.fileno())
        self.socket.close()

    def enter(self, probe: "PingProbe") -> tuple[int, bytes] | None:
        """A free sequence number and a cookie for a probe; None: all are in flight."""
        if len(self.waiting) > 0xFFFF:
            return None
        while self._next in self.waiting:
            self._next = (self._next + 1) & 0xFFFF
        sequence = self._next
        self._next = (sequence + 1) & 0xFFFF
        self.waiting[sequence] = probe
        self._cookie = (self._cookie + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        return sequence, self._cookie.to_bytes(COOKIE_SIZE, "big")

    def leave(self, sequence: int) -> None:
        self.waiting.pop(sequence, None)

    def on_event(self, mask: int) -> None:
        receive = self.socket.recvfrom
        is_ipv4, is_raw = self._family == 4, self.is_raw
        for _ in range(_READS_PER_EVENT):
            try:
                packet, (source, *_) = receive(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error that a ping socket keeps for somebody; the probe's deadline tells
            echo = decode_echo_4(packet, with_header=is_raw) if is_ipv4 else decode_echo_6(packet)
            if echo is not None and (echo.identifier == self.identifier or not is_raw):
                probe = self.waiting.get(echo.sequence)
                if probe is not None:
                    probe.on_echo(echo, source)

    def _filter(self) -> None:
        """Let in what answers us; on a busy host a raw socket hears much else."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if not self.is_raw:
                return
            if self._family == 4:
                wanted = (1 << ECHO_REPLY_4) | (1 << UNREACHABLE_4) | (1 << TIME_EXCEEDED_4)
                self.socket.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~wanted & 0xFFFFFFFF))
            else:
                blocked = (1 << 256) - 1
                for kind in (ECHO_REPLY_6, UNREACHABLE_6, TIME_EXCEEDED_6):
                    blocked &= ~(1 << kind)
                words = [(blocked >> (32 * i)) & 0xFFFFFFFF for i in range(8)]
                self.socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *words))
        except OSError:
            pass  # both only spare us work


class PingProbe(Probe):
    """One echo request and its answer."""

    __slots__ = ("_cookie", "_pinger", "_sequence", "_socket")

    def __init__(self, engine: Engine, pinger: Pinger, check_id: str, prepared: Prepared, done: Done) -> None:
        super().__init__(engine, check_id, prepared, done)
        self._pinger = pinger
        self._socket: _PingSocket | None = None
        self._sequence = 0
        self._cookie = b""

    def start(self) -> None:
        settings = self.prepared.settings
        size = settings.options.payload_size if isinstance(settings.options, PingOptions) else 56
        try:
            ping_socket = self._pinger.socket_for(self.prepared)
        except CannotProbe as cannot:
            self.fail(cannot.result)
            return
        entered = ping_socket.enter(self)
        if entered is None:
            self.conclude(Verdict(Reason.NO_PORTS, "65,536 pings are in flight"), ours=True)
            return
        self._socket = ping_socket
        self._sequence, cookie = entered
        self._cookie = cookie[:size]
        packet = encode_echo_request(
            family=settings.address.version,
            identifier=ping_socket.identifier,
            sequence=self._sequence,
            cookie=cookie,
            size=size,
        )
        self.engine.put(self, self.started + settings.timeout)
        try:
            ping_socket.socket.sendto(packet, self.prepared.destination)
        except OSError as error:
            self.fail(our_failure("ping", error))

    def release(self) -> None:
        if self._socket is not None:
            self._socket.leave(self._sequence)
            self._socket = None

    def timed_out(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, "no echo reply")

    def on_echo(self, echo: Echo, source: str) -> None:
        """A reply or an error with our number."""
        if echo.error:
            quoted = echo.cookie[: len(self._cookie)]
            is_ours = echo.destination == self.prepared.settings.address.packed
            if is_ours and self._cookie.startswith(quoted):
                self.conclude(Verdict(Reason.UNREACHABLE, f"{echo.error}, says {source}"))
        elif echo.cookie == self._cookie and (
            source == self.prepared.destination[0] or _packed(source) == self.prepared.settings.address.packed
        ):
            self.conclude(GOOD)


def _packed(source: str) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(family, source.partition("%")[0])
