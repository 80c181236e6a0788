"""A probe over TCP, and TLS where it is asked for."""

import errno
import select
import socket
import ssl

from lvsha.checker.probes.dialogue import Dialogue, Step, Verdict
from lvsha.checker.result import Reason, Timings
from lvsha.checker.settings import TlsOptions
from lvsha.io.probes.engine import Done, Engine
from lvsha.io.probes.prepare import Prepared
from lvsha.io.probes.probe import Probe
from lvsha.io.probes.sockets import TCP_QUICKACK, CannotProbe, open_socket, our_failure, their_failure
from lvsha.io.probes.tls import TlsFailure, TlsStream

_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK

_FIRST_READ = 4 * 1024
"""Nearly every answer fits; a buffer of 64 KiB for each costs more than the answer."""
_READ_SIZE = 64 * 1024
_READS_PER_EVENT = 4
"""One probe's share before the others get theirs."""

_ERROR = select.EPOLLERR | select.EPOLLHUP
_HANGUP = select.EPOLLRDHUP | _ERROR
_READABLE = select.EPOLLIN | _HANGUP


def _open(prepared: Prepared) -> socket.SocketType:
    if prepared.needs_options:
        return open_socket(prepared.settings, socket.SOCK_STREAM, turn=prepared.next_turn())
    try:
        return socket.SocketType(prepared.family, _STREAM)
    except OSError as error:
        raise CannotProbe(our_failure("socket", error)) from None


class StreamProbe(Probe):
    """See above."""

    __slots__ = (
        "_connected_at",
        "_dialogue",
        "_first_byte_at",
        "_is_connected",
        "_is_handshaking",
        "_queue",
        "_socket",
        "_tls",
        "_tls_at",
    )

    def __init__(self, engine: Engine, check_id: str, prepared: Prepared, done: Done) -> None:
        super().__init__(engine, check_id, prepared, done)
        self._dialogue: Dialogue | None = None
        """None: the answer may still be one that needs none."""
        self._socket: socket.SocketType | None = None
        self._tls: TlsStream | None = None
        self._queue = b""
        self._is_connected = False
        self._is_handshaking = False
        self._connected_at: int | None = None
        self._tls_at: int | None = None
        self._first_byte_at: int | None = None

    def start(self) -> None:
        prepared = self.prepared
        try:
            opened = _open(prepared)
        except CannotProbe as cannot:
            self.fail(cannot.result)
            return
        self._socket = opened
        if prepared.speaks_first:
            # The acknowledgement of the handshake travels with what we say: a packet less here and there.
            opened.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 0)
        number = opened.connect_ex(prepared.destination)
        if number not in (errno.EINPROGRESS, 0):
            self.fail(our_failure("connect", OSError(number, "")))
            return
        self.engine.put(self, self.started + prepared.settings.timeout)
        self.engine.watch(opened.fileno(), self)

    def _reconnect(self) -> None:
        """Another connection within the same probe: one deadline for all of it."""
        self.engine.drop(self)
        self.release()
        self._is_connected = self._is_handshaking = False
        self.engine.start_later(self)

    def release(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            self.engine.unwatch(opened.fileno())
            opened.close()
        self._tls = None
        self._queue = b""

    @property
    def missed(self) -> int:
        # Nobody waits for us before the connection is there, and its answer waits in the kernel.
        return super().missed if self._is_connected else 0

    def timings(self, total: int) -> Timings:
        return Timings(total, self._connected_at, self._tls_at, self._first_byte_at)

    def timed_out(self) -> Verdict:
        if not self._is_connected:
            return Verdict(Reason.TIMEOUT, "no answer to connect")
        if self._is_handshaking:
            return Verdict(Reason.TIMEOUT, "connected, waiting for the TLS handshake")
        if self._queue:
            return Verdict(Reason.TIMEOUT, f"connected, {len(self._queue)} bytes could not be sent")
        return Verdict(Reason.TIMEOUT, f"connected, waiting for {self._talk().phase}")

    def on_event(self, mask: int) -> None:
        opened = self._socket
        if opened is None:
            return
        if not self._is_connected:
            if mask & _ERROR:
                number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self.fail(their_failure("connect", number))
                    return
            if not mask & select.EPOLLOUT:
                return
            self._is_connected = True
            self._connected_at = self.engine.now - self.started
            prepared = self.prepared
            if prepared.tls is not None:
                self._begin_tls(prepared.tls)
            elif prepared.quick is not None and self._dialogue is None:
                opening = prepared.quick.opening
                self._queue = opening.send
                if self._queue:
                    self._flush()
                if opening.verdict is not None:
                    self.conclude(opening.verdict)
            else:
                self._act(self._talk().connected())
        elif self._queue and mask & select.EPOLLOUT:
            self._flush()
        if mask & _READABLE and self._socket is not None:
            self._read(mask)

    def _talk(self) -> Dialogue:
        """The dialogue; it begins when it is needed."""
        dialogue = self._dialogue
        if dialogue is None:
            prepared = self.prepared
            assert prepared.question is not None, "a stream has a question"
            dialogue = self._dialogue = prepared.question.begin()
            if prepared.quick is not None and self._is_connected:
                dialogue.connected()  # its opening has been said
        return dialogue

    # Reading

    def _read(self, mask: int) -> None:
        size = _FIRST_READ
        for _ in range(_READS_PER_EVENT):
            opened = self._socket
            if opened is None:
                return
            try:
                data = opened.recv(size)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(their_failure(f"waiting for {self._waiting_for()}", error.errno or 0))
                return
            if not data:
                self._closed()
                return
            if self._dialogue is None and self.prepared.quick is not None:
                self._first_byte_at = self.engine.now - self.started
                verdict = self.prepared.quick.judge_whole(data)
                if verdict is not None:
                    self.conclude(verdict)
                    return
            elif self._first_byte_at is None and not self._is_handshaking:
                self._first_byte_at = self.engine.now - self.started
            self._take(data)
            if len(data) < size and not mask & _HANGUP:
                # Drained: whatever comes now is a new edge. With a hang-up there may be an
                # end behind these bytes that belongs to the edge that we have used up.
                return
            size = _READ_SIZE
        if self._socket is not None:
            self.engine.read_again(self)

    def _take(self, data: bytes) -> None:
        tls = self._tls
        if tls is None:
            self._act(self._talk().received(data))
            return
        try:
            if self._is_handshaking:
                done = tls.handshake(data)
                self._send_raw(tls.pending())
                if not done:
                    return
                self._is_handshaking = False
                # Handshakes take long: not all of a batch end when it began.
                self.engine.now = self.engine.clock()
                self._tls_at = self.engine.now - self.started
                self._act(self._talk().connected())
                data = b""
            for piece in tls.decrypt(data):
                if self._socket is None or self._tls is not tls:
                    return
                if not piece:
                    self._closed()
                    return
                if self._first_byte_at is None:
                    self._first_byte_at = self.engine.now - self.started
                self._act(self._talk().received(piece))
            if self._socket is not None:
                self._send_raw(tls.pending())
        except TlsFailure as failure:
            if self._socket is not None:
                self._send_raw(tls.pending())  # the alert tells the realserver's log why
            self.conclude(failure.verdict)

    def _closed(self) -> None:
        if self._is_handshaking:
            self.conclude(Verdict(Reason.TLS_FAILED, "closed during the TLS handshake"))
        else:
            self.conclude(self._talk().closed())

    def _waiting_for(self) -> str:
        return "the TLS handshake" if self._is_handshaking else self._talk().phase

    # Acting

    def _act(self, step: Step) -> None:
        if step.send:
            try:
                self._send(step.send)
            except TlsFailure as failure:
                self.conclude(failure.verdict)
                return
        if step.verdict is not None:
            warning = self._tls.warning if self._tls is not None else ""
            self.conclude(step.verdict._replace(warning=warning) if warning else step.verdict)
        elif step.reconnect and self._socket is not None:
            self._reconnect()
        elif step.start_tls and self._socket is not None:
            assert self.prepared.starttls is not None, "who starts TLS has options for it"
            self._begin_tls(self.prepared.starttls)

    def _send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.encrypt(data)
            data = self._tls.pending()
        self._send_raw(data)

    def _send_raw(self, data: bytes) -> None:
        if not data:
            return
        if self._queue:
            self._queue += data
            return
        self._queue = data
        self._flush()

    def _flush(self) -> None:
        opened = self._socket
        if opened is None:
            return
        try:
            sent = opened.send(self._queue)
        except BlockingIOError:
            return
        except OSError as error:
            self._send_failed(error)
            return
        # A short count means a full buffer: the next edge comes when there is room.
        self._queue = self._queue[sent:]

    def _send_failed(self, error: OSError) -> None:
        """The other side does not read any more. What it said before that may still be the answer."""
        self._queue = b""
        opened = self._socket
        try:
            data = opened.recv(_READ_SIZE) if opened is not None else b""
        except OSError:
            data = b""
        if data:
            self._take(data)
        if self._socket is not None:
            self.fail(their_failure("send", error.errno or 0))

    def _begin_tls(self, options: TlsOptions) -> None:
        try:
            context = self.engine.contexts.get(options)
            self._tls = TlsStream(options, context, self.prepared.server_name)
            self._is_handshaking = True
            self._tls.handshake()
        except TlsFailure as failure:
            self.conclude(failure.verdict, ours=failure.verdict.reason is Reason.MISCONFIGURED)
            return
        except (ssl.SSLError, ValueError) as error:
            self.conclude(
                Verdict(Reason.MISCONFIGURED, f"TLS name {self.prepared.server_name!r}: {error}"), ours=True
            )
            return
        self._send_raw(self._tls.pending())
