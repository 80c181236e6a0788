"""A netlink socket that asks, batches and dumps, and never waits for ever.

The kernel executes requests inside ``send()``: when that returns, every request
of the batch was carried out, in order, whatever became of the ones before it,
and the answers wait in the receive buffer. So a batch costs one ``send`` and,
when all went well, one ``recv``: only its last request asks for an
acknowledgement, errors are answered anyway. Answers are matched by sequence
number, never counted, because an answer may be missing (the kernel stops a sync
daemon that was just started without one).

Lost answers mean *the kernel's state is unknown*, not that a request failed:
``AnswersLost`` says so, and the caller dumps and compares.

Nothing here takes long to import: the command line starts with this module. For
that reason it uses ``_socket``, and errors of its own; ``lvsha.io.ipvs_genl`` and
``lvsha.io.rtnl`` raise ``KernelError``.
"""

import errno
import os
from _collections_abc import Iterator, Sequence
from _socket import AF_NETLINK, SO_RCVBUF, SO_SNDBUF, SOCK_RAW, SOL_SOCKET, socket
from struct import pack

from lvsha.wire.netlink import (
    ACK,
    DONE,
    DUMP,
    DUMP_INTR,
    ERROR,
    HEADER,
    HEADER_SIZE,
    NOOP,
    REQUEST,
    acknowledgement,
    messages,
)

ROUTE = 0
GENERIC = 16

DEADLINE_S = 2.0
"""How long the kernel may keep silent. It answers within microseconds, unless somebody holds a lock."""

CHUNK = 64 * 1024
"""Bytes sent at once: larger is no faster, and answers of a larger one may overflow the buffer."""

_BUFFER = 4 * 1024 * 1024
_ANSWER_COST = 1024
"""What one error answer takes out of the receive buffer, accounting included (measured: under 800 bytes)."""
_DUMP_TRIES = 3

_SOCK_CLOEXEC = 0o2000000
_MSG_DONTWAIT = 0x40
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_RCVTIMEO = 32, 33, 20
_SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _STRICT = 270, 1, 10, 11, 12

Request = tuple[int, int, bytes]
"""Message type, flags (REQUEST is added), payload."""

Answer = tuple[bytes, int, int]
"""A buffer, and where in it the payload of one message starts and ends."""


class NetlinkError(Exception):
    """The kernel said no; ``text`` is what it added in words."""

    def __init__(self, errno: int, text: str = "") -> None:
        super().__init__(f"{os.strerror(errno)} ({text})" if text else os.strerror(errno))
        self.errno = errno
        self.text = text


class AnswersLost(NetlinkError):
    """Nobody knows what the kernel did: dump, and compare."""


class NetlinkSocket:
    """One netlink socket of the network namespace in which it is made."""

    def __init__(
        self,
        protocol: int,
        *,
        deadline_s: float = DEADLINE_S,
        buffer: int = _BUFFER,
        endpoint: socket | None = None,
    ) -> None:
        """Open and bind; ``endpoint`` takes the kernel's place in tests."""
        self._socket = endpoint or socket(AF_NETLINK, SOCK_RAW | _SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self.interrupted = False
        for forced, plain in ((_SO_SNDBUFFORCE, SO_SNDBUF), (_SO_RCVBUFFORCE, SO_RCVBUF)):
            try:
                self._socket.setsockopt(SOL_SOCKET, forced, buffer)
            except OSError:  # needs CAP_NET_ADMIN; the plain one is cut to the system's limit
                self._socket.setsockopt(SOL_SOCKET, plain, buffer)
        for option in (_CAP_ACK, _EXT_ACK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:  # older than Linux 4.12: errors without words
                    raise
        self._chunk_answers = max(1, self._socket.getsockopt(SOL_SOCKET, SO_RCVBUF) // _ANSWER_COST)
        self._chunk_bytes = min(CHUNK, self._socket.getsockopt(SOL_SOCKET, SO_SNDBUF) - 256)
        # The kernel's own time limit costs nothing, a Python one a poll() for each recv().
        seconds = int(deadline_s)
        microseconds = int((deadline_s - seconds) * 1e6)
        self._socket.setsockopt(SOL_SOCKET, _SO_RCVTIMEO, pack("@ll", seconds, microseconds))
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def check_strictly(self) -> None:
        """Let the kernel honour the filters of route dumps, and refuse what it does not know (Linux 4.20)."""
        try:
            self._socket.setsockopt(_SOL_NETLINK, _STRICT, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise

    def join(self, group: int) -> None:
        """Hear the notifications of a multicast group."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def set_blocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def receive(self) -> bytes:
        """One datagram.

        Raises:
            AnswersLost: the buffer overflowed (ENOBUFS), or nothing came in time (ETIMEDOUT).
        """
        try:
            return self._socket.recv(CHUNK)
        except BlockingIOError:
            raise AnswersLost(errno.ETIMEDOUT, "no answer from the kernel in time") from None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise AnswersLost(errno.ENOBUFS, "answers of the kernel were lost") from None
            raise

    def _send(self, kind: int, flags: int, payload: bytes) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        header = HEADER.pack(HEADER_SIZE + len(payload), kind, REQUEST | flags, self._sequence, 0)
        self._socket.send(header + payload)
        return self._sequence

    def ask(self, kind: int, payload: bytes) -> Answer:
        """A request with one answer.

        Raises:
            NetlinkError: the kernel refused.
        """
        sequence = self._send(kind, 0, payload)
        while True:
            buffer = self.receive()
            for answer, flags, number, start, end in messages(buffer):
                if number != sequence:
                    continue  # of a request whose answer came too late
                if answer == ERROR:
                    raise NetlinkError(*acknowledgement(buffer, flags, start, end))
                return buffer, start, end

    def do(self, kind: int, payload: bytes, *, flags: int = 0) -> None:
        """A request that is only acknowledged.

        Raises:
            NetlinkError: the kernel refused.
        """
        failures = self.batch([(kind, flags, payload)])
        if failures:
            raise NetlinkError(*failures[0][1:])

    def do_if_answered(self, kind: int, payload: bytes) -> bool:
        """A request that the kernel may carry out without a word; False when it did.

        Whatever answer there is waits in the buffer when ``send()`` returns, so
        nothing is waited for.

        Raises:
            NetlinkError: the kernel refused.
        """
        sequence = self._send(kind, ACK, payload)
        while True:
            try:
                buffer = self._socket.recv(CHUNK, _MSG_DONTWAIT)
            except BlockingIOError:
                return False
            for answer, flags, number, start, end in messages(buffer):
                if number == sequence and answer == ERROR:
                    code, text = acknowledgement(buffer, flags, start, end)
                    if code:
                        raise NetlinkError(code, text)
                    return True

    def batch(self, requests: Sequence[Request]) -> list[tuple[int, int, str]]:
        """Carry out all requests, in order; an error does not stop the following ones.

        Returns:
            Index, errno and the kernel's words of each request that failed.

        Raises:
            AnswersLost: some answers are missing: the state is unknown.
        """
        failures: list[tuple[int, int, str]] = []
        total, index = len(requests), 0
        while index < total:
            first, base = index, self._sequence + 1 - index
            parts: list[bytes] = []
            size = 0
            last_at = 0
            while index < total and index - first < self._chunk_answers:
                kind, flags, payload = requests[index]
                length = HEADER_SIZE + len(payload)
                padding = -length & 3
                if parts and size + length + padding > self._chunk_bytes:
                    break
                last_at = len(parts)
                parts.append(HEADER.pack(length, kind, REQUEST | flags, (base + index) & 0xFFFFFFFF, 0))
                parts.append(payload)
                if padding:
                    parts.append(bytes(padding))
                size += length + padding
                index += 1
            last = base + index - 1
            kind, flags, payload = requests[index - 1]
            parts[last_at] = HEADER.pack(
                HEADER_SIZE + len(payload), kind, REQUEST | ACK | flags, last & 0xFFFFFFFF, 0
            )
            self._sequence = last & 0xFFFFFFFF
            self._socket.send(b"".join(parts))
            failures += self._collect(base, first, index)
        return failures

    def _collect(self, base: int, first: int, beyond: int) -> Iterator[tuple[int, int, str]]:
        """The failures among requests ``first`` to ``beyond - 1``, numbered from ``base`` on."""
        while True:
            buffer = self.receive()
            for answer, flags, number, start, end in messages(buffer):
                index = (number - base) & 0xFFFFFFFF
                if answer != ERROR or not first <= index < beyond:
                    continue
                code, text = acknowledgement(buffer, flags, start, end)
                if code:
                    yield index, code, text
                if index == beyond - 1:
                    return

    def dump(self, kind: int, payload: bytes) -> list[Answer]:
        """All objects of a table.

        Where the kernel says that the table changed meanwhile, the dump is made
        again, up to three times in all. (IPVS never says so.)

        Raises:
            NetlinkError: the kernel refused, or AnswersLost.
        """
        for _ in range(_DUMP_TRIES):
            answers = list(self.each(kind, payload))
            if not self.interrupted:
                break
        return answers

    def each(self, kind: int, payload: bytes) -> Iterator[Answer]:
        """All objects of a table as they come, so that memory need not hold them all.

        Take the last one before the next request; ``interrupted`` says then whether the
        table changed meanwhile.

        Raises:
            NetlinkError: the kernel refused, or AnswersLost.
        """
        sequence = self._send(kind, DUMP, payload)
        self.interrupted = False
        while True:
            buffer = self.receive()
            for answer, flags, number, start, end in messages(buffer):
                if number != sequence:
                    continue
                if flags & DUMP_INTR:
                    self.interrupted = True
                if answer in (DONE, ERROR):
                    code, text = acknowledgement(buffer, flags, start, end)
                    if code:
                        raise NetlinkError(code, text)
                    return
                if answer != NOOP:
                    yield buffer, start, end
