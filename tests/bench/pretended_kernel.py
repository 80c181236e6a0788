"""A kernel's IPVS, pretended: answers generic netlink as ``ip_vs`` does, byte for byte, from memory.

Where the kernel has no IPVS, a whole directord can be run against it: what it sends is encoded and what
it gets is decoded as ever.
"""

from _socket import socket
from collections import deque
from typing import Any, cast

from lvsha.io.netlink import GENERIC, NetlinkSocket
from lvsha.wire import genl_ipvs
from lvsha.wire.netlink import (
    ACK,
    DONE,
    DUMP,
    ERROR,
    HEADER,
    HEADER_SIZE,
    attribute,
    attribute_map,
    message,
    messages,
    nest,
)

_FAMILY = 0x1C
_CHUNK = 32 * 1024
"""Bytes of a dump in one datagram, as the kernel packs them."""

Identity = tuple[bytes, ...]


def _inner(payload: bytes, kind: int) -> bytes:
    return attribute_map(payload, 4, len(payload)).get(kind, b"")


def _identity(service: bytes) -> Identity:
    found = attribute_map(service, 0, len(service))
    return tuple(found.get(kind, b"") for kind in (1, 2, 3, 4, 5))


def _counters(kind: int, number: int) -> bytes:
    return nest(kind, *(attribute(index, (number % 1000).to_bytes(8, "little")) for index in range(1, 11)))


class PretendedKernel:
    """One table; ``connect`` is for ``IpvsSocket``."""

    def __init__(self) -> None:
        self.services: dict[Identity, tuple[bytes, dict[bytes, bytes]]] = {}
        self._reads = 0

    def connect(self, deadline_s: float) -> NetlinkSocket:
        return NetlinkSocket(GENERIC, deadline_s=deadline_s, endpoint=cast(socket, _Endpoint(self)))

    def dump(self, payload: bytes) -> list[bytes]:
        """The payloads of the answers."""
        self._reads += 1
        if payload[0] == genl_ipvs.GET_SERVICE:
            rows = [service + _counters(12, self._reads) for service, _ in self.services.values()]
            return [genl_ipvs.command(genl_ipvs.NEW_SERVICE, nest(1, row)) for row in rows]
        if payload[0] != genl_ipvs.GET_DEST:
            return []
        _, destinations = self.services.get(_identity(_inner(payload, 1)), (b"", {}))
        more = b"".join(attribute(kind, bytes(4)) for kind in (7, 8, 9)) + _counters(12, self._reads)
        return [genl_ipvs.command(genl_ipvs.NEW_DEST, nest(2, row + more)) for row in destinations.values()]

    def do(self, payload: bytes) -> None:
        number = payload[0]
        service = _inner(payload, 1)
        if number in (genl_ipvs.NEW_SERVICE, genl_ipvs.SET_SERVICE):
            key = _identity(service)
            self.services[key] = (service, self.services.get(key, (b"", {}))[1])
        elif number == genl_ipvs.DEL_SERVICE:
            self.services.pop(_identity(service), None)
        elif number in (genl_ipvs.NEW_DEST, genl_ipvs.SET_DEST, genl_ipvs.DEL_DEST):
            row = _inner(payload, 2)
            found = attribute_map(row, 0, len(row))
            destinations = self.services[_identity(service)][1]
            if number == genl_ipvs.DEL_DEST:
                destinations.pop(found[1] + found[2], None)
            else:
                destinations[found[1] + found[2]] = row


class _Endpoint:
    """Stands in for a netlink socket."""

    def __init__(self, kernel: PretendedKernel) -> None:
        self._kernel = kernel
        self._waiting: deque[bytes] = deque()

    def send(self, data: bytes) -> int:
        for kind, flags, sequence, start, end in messages(data):
            payload = data[start:end]
            if kind == genl_ipvs.CONTROLLER:
                number = genl_ipvs.command(1, attribute(1, _FAMILY.to_bytes(2, "little")))
                self._waiting.append(message(kind, 0, sequence, number))
            elif flags & DUMP == DUMP:
                self._dump(sequence, self._kernel.dump(payload))
            elif payload[0] == genl_ipvs.GET_INFO:
                info = attribute(1, (0x010201).to_bytes(4, "little")) + attribute(2, bytes((0, 16, 0, 0)))
                answer = genl_ipvs.command(genl_ipvs.SET_INFO, info)
                self._waiting.append(message(_FAMILY, 0, sequence, answer))
            else:
                self._kernel.do(payload)
                if flags & ACK:
                    request = HEADER.pack(HEADER_SIZE + len(payload), kind, flags, sequence, 0)
                    self._waiting.append(message(ERROR, 0, sequence, bytes(4) + request))
        return len(data)

    def _dump(self, sequence: int, answers: list[bytes]) -> None:
        portion = bytearray()
        for answer in answers:
            portion += message(_FAMILY, 2, sequence, answer)
            if len(portion) > _CHUNK - 400:
                self._waiting.append(bytes(portion))
                portion.clear()
        portion += message(DONE, 2, sequence, bytes(4))
        self._waiting.append(bytes(portion))

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._waiting:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return self._waiting.popleft()

    def getsockopt(self, level: int, option: int) -> int:
        return 4 * 1024 * 1024

    def setsockopt(self, *arguments: Any) -> None:
        pass

    def bind(self, address: object) -> None:
        pass

    def close(self) -> None:
        pass
