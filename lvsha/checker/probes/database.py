"""MySQL and PostgreSQL: does the server take part in its login dialogue.

No password is sent and no statement is run: a refusal of our login is an answer of a
server that works. MySQL's greeting alone would do, but a client that leaves after it
counts as broken, and after ``max_connect_errors`` of those MySQL locks its host out.

Source: MySQL's client/server protocol (handshake v10, HandshakeResponse41),
PostgreSQL's message formats (StartupMessage, ErrorResponse, appendix A).
"""

import struct

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.result import Reason
from lvsha.checker.settings import DatabaseOptions

_PACKET_LIMIT = 16 * 1024

# MySQL
_CLIENT_PROTOCOL_41 = 0x0000_0200
_CLIENT_SECURE_CONNECTION = 0x0000_8000
_CLIENT_PLUGIN_AUTH = 0x0008_0000
_CAPABILITIES = _CLIENT_PROTOCOL_41 | _CLIENT_SECURE_CONNECTION | _CLIENT_PLUGIN_AUTH
_UTF8MB4 = 45
_OVERLOADED = frozenset({1040, 1203, 1226, 1129})
"""Too many connections (altogether, of a user), a resource of ours used up, our host locked out."""

# PostgreSQL
_PROTOCOL_3_0 = 196608
_NOT_SERVING = ("57P", "53")
"""Starting up, shutting down, in recovery; too many connections, out of memory."""


class MysqlQuestion:
    def __init__(self, options: DatabaseOptions) -> None:
        user = options.user.encode()
        self.login = (
            struct.pack("<IIB23x", _CAPABILITIES, 1 << 24, _UTF8MB4)
            + user
            + b"\0\0"  # a password of no bytes
            + b"mysql_native_password\0"
        )

    def begin(self) -> Dialogue:
        return _Mysql(self.login)


class _Mysql:
    __slots__ = ("_data", "_login", "phase")

    def __init__(self, login: bytes) -> None:
        self.phase = "the greeting"
        self._login = login
        self._data = b""

    def connected(self) -> Step:
        return WAIT

    def received(self, data: bytes) -> Step:
        self._data += data
        if len(self._data) < 4:
            return WAIT
        length = int.from_bytes(self._data[:3], "little")
        sequence = self._data[3]
        if not 0 < length <= _PACKET_LIMIT:
            return bad(Reason.BAD_RESPONSE, f"{self.phase}: a packet of {length} bytes")
        if len(self._data) < 4 + length:
            return WAIT
        packet = self._data[4 : 4 + length]
        if packet[0] == 0xFF:
            return self._error(packet)
        if self.phase == "the greeting":
            if packet[0] != 10:
                return bad(Reason.BAD_RESPONSE, f"a greeting of protocol {packet[0]}, not 10")
            self._data = b""
            self.phase = "the answer to our login"
            header = len(self._login).to_bytes(3, "little") + bytes([(sequence + 1) & 0xFF])
            return Step(send=header + self._login)
        if packet[0] == 0:  # logged in: leave as is proper
            return Step(send=b"\x01\x00\x00\x00\x01", verdict=GOOD)
        return Step(verdict=GOOD)  # it asks for more: it works

    def _error(self, packet: bytes) -> Step:
        number = int.from_bytes(packet[1:3], "little")
        words = f"{self.phase}: error {number} {quoted(packet[3:])}"
        if self.phase == "the greeting" or number in _OVERLOADED:
            return bad(Reason.TOLD_DOWN, words)
        return Step(verdict=GOOD)

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")


class PostgresqlQuestion:
    def __init__(self, options: DatabaseOptions) -> None:
        pairs = ("user", options.user, "database", options.database)
        body = struct.pack("!I", _PROTOCOL_3_0) + b"".join(word.encode() + b"\0" for word in pairs) + b"\0"
        self.startup = struct.pack("!I", len(body) + 4) + body

    def begin(self) -> Dialogue:
        return _Postgresql(self.startup)


class _Postgresql:
    __slots__ = ("_data", "_startup")

    phase = "the answer to the start-up packet"

    def __init__(self, startup: bytes) -> None:
        self._startup = startup
        self._data = b""

    def connected(self) -> Step:
        return Step(send=self._startup)

    def received(self, data: bytes) -> Step:
        self._data += data
        kind = self._data[:1]
        if kind not in (b"R", b"E"):
            return bad(Reason.BAD_RESPONSE, f"{self.phase}: got {quoted(self._data)}")
        if len(self._data) < 5:
            return WAIT
        length = int.from_bytes(self._data[1:5], "big")
        if not 4 <= length <= _PACKET_LIMIT:
            return bad(Reason.BAD_RESPONSE, f"{self.phase}: a message of {length} bytes")
        if len(self._data) < 1 + length:
            return WAIT
        if kind == b"R":
            return Step(send=b"X\0\0\0\4", verdict=GOOD)
        fields = {part[:1]: part[1:] for part in self._data[5 : 1 + length].split(b"\0") if part}
        code = fields.get(b"C", b"").decode("ascii", "replace")
        if code.startswith(_NOT_SERVING):
            return bad(Reason.TOLD_DOWN, f"{code} {quoted(fields.get(b'M', b''))}")
        return Step(verdict=GOOD)  # it does not know us: it works

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")
