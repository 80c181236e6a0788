"""RADIUS: is the server there, or does it let somebody in.

Without a user a Status-Server is sent (RFC 5997), which servers answer without asking
their directory. With one an Access-Request: then the whole chain behind it has to work.
Both carry a Message-Authenticator (RFC 3579 section 3.2), without which current servers
do not answer, and an answer counts only when it was made with our secret (RFC 2865
section 3).

The request's authenticator is worked out from secret and token, because the pure half
has no dice; it repeats after 65,536 probes. What that gives away is that the same
password was hidden again.
"""

import hashlib
import hmac
import struct

from lvsha.checker.probes.dialogue import GOOD, Datagram, Verdict, quoted
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import RadiusOptions

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE, STATUS_SERVER = 1, 2, 3, 11, 12
_USER_NAME, _USER_PASSWORD, _REPLY_MESSAGE, _NAS_IDENTIFIER, _MESSAGE_AUTHENTICATOR = 1, 2, 18, 32, 80


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, 2 + len(value))) + value


def hidden(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """A password as User-Password has it: RFC 2865 section 5.2."""
    padded = password.ljust(max(-(-len(password) // 16), 1) * 16, b"\0")
    before, out = authenticator, b""
    for at in range(0, len(padded), 16):
        key = _md5(secret + before)
        before = bytes(a ^ b for a, b in zip(padded[at : at + 16], key, strict=True))
        out += before
    return out


class RadiusQuestion:
    """Raises ValueError for a user or a password that does not fit."""

    def __init__(self, options: RadiusOptions) -> None:
        self.secret = options.secret.encode()
        self.user = options.username.encode() if options.username is not None else None
        self.password = (options.password or "").encode()
        if not self.secret:
            raise ValueError("secret: a radius check needs one")
        if self.user is not None and not 1 <= len(self.user) <= 253:
            raise ValueError("username: 1 to 253 bytes")
        if len(self.password) > 128:
            raise ValueError("password: at most 128 bytes")

    def begin(self, token: int) -> Datagram:
        return _Radius(self, token)


class _Radius:
    __slots__ = ("_authenticator", "_identifier", "_secret", "payload")

    def __init__(self, question: RadiusQuestion, token: int) -> None:
        secret = self._secret = question.secret
        identifier = self._identifier = token & 0xFF
        authenticator = self._authenticator = hmac.digest(secret, b"lvsha%d" % token, "md5")
        attributes = _attribute(_NAS_IDENTIFIER, b"lvsha")
        if question.user is not None:
            attributes += _attribute(_USER_NAME, question.user)
            attributes += _attribute(_USER_PASSWORD, hidden(question.password, secret, authenticator))
        code = STATUS_SERVER if question.user is None else ACCESS_REQUEST
        size = 20 + len(attributes) + 18
        head = struct.pack("!BBH", code, identifier, size) + authenticator
        signature = hmac.digest(
            secret, head + attributes + _attribute(_MESSAGE_AUTHENTICATOR, bytes(16)), "md5"
        )
        self.payload = head + attributes + _attribute(_MESSAGE_AUTHENTICATOR, signature)

    def received(self, data: bytes) -> Verdict | None:
        if len(data) < 20:
            return None
        code, identifier, size = struct.unpack_from("!BBH", data)
        if identifier != self._identifier or not 20 <= size <= len(data):
            return None
        data = data[:size]
        signature = _md5(data[:4] + self._authenticator + data[20:] + self._secret)
        if not hmac.compare_digest(signature, data[4:20]):
            return None  # somebody else's, or made with another secret
        if code == ACCESS_ACCEPT:
            return GOOD
        said = _reply_message(data[20:])
        words = f", says {quoted(said)}" if said else ""
        if code == ACCESS_REJECT:
            return Verdict(Reason.BAD_STATUS, bounded_detail(f"Access-Reject{words}"))
        if code == ACCESS_CHALLENGE:
            return Verdict(Reason.BAD_STATUS, bounded_detail(f"Access-Challenge{words}"))
        return Verdict(Reason.BAD_RESPONSE, f"an answer of code {code}")

    def silence(self) -> Verdict:
        return Verdict(
            Reason.TIMEOUT, "no answer: is our address a client of the server, with the same secret?"
        )


def _reply_message(attributes: bytes) -> bytes:
    at = 0
    while at + 2 <= len(attributes):
        kind, size = attributes[at], attributes[at + 1]
        if size < 2:
            break
        if kind == _REPLY_MESSAGE:
            return attributes[at + 2 : at + size]
        at += size
    return b""
