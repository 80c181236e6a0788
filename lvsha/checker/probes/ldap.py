"""LDAP: a bind, and where asked for a look at one entry. Source: RFC 4511.

::

    LDAPMessage ::= SEQUENCE { messageID INTEGER, protocolOp CHOICE { ... } }

Before the bind, where asked for, StartTLS (section 4.14). A bind without a name is
anonymous; servers that allow none of those answer so, and the check then needs a name.
Only the lengths of BER that a server may send are read (definite, up to four bytes).
"""

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.probes.line_dialogue import STARTTLS_PHASE
from lvsha.checker.result import Reason
from lvsha.checker.settings import LdapOptions

MESSAGE_LIMIT = 64 * 1024
"""Bytes of one message; an entry of a directory may be large, the base object is not."""
MESSAGES_LIMIT = 100
"""Messages of a whole probe: entries, references, notices."""

_BIND_RESPONSE, _SEARCH_ENTRY, _SEARCH_DONE, _EXTENDED_RESPONSE = 0x61, 0x64, 0x65, 0x78
_STARTTLS = bytes.fromhex("301d02010377188016") + b"1.3.6.1.4.1.1466.20037"
"""An ExtendedRequest with the message identifier 3."""
_UNBIND = bytes.fromhex("30050201034200")
_RESULTS = {
    1: "operationsError",
    2: "protocolError",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    13: "confidentialityRequired",
    32: "noSuchObject",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
}
_NOT_SERVING = (51, 52)


def _ber(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int, tag: int = 2) -> bytes:
    return _ber(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _octets(data: bytes, tag: int = 4) -> bytes:
    return _ber(tag, data)


def take_ber(data: bytes, at: int = 0) -> tuple[int, bytes, int] | None:
    """Tag, content and end of the element at ``at``; None: more has to come.

    Raises:
        ValueError: the length is not definite, or passes ``MESSAGE_LIMIT``.
    """
    if len(data) < at + 2:
        return None
    tag, size = data[at], data[at + 1]
    begin = at + 2
    if size >= 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError("not a definite length")
        if len(data) < begin + octets:
            return None
        size = int.from_bytes(data[begin : begin + octets], "big")
        begin += octets
    if size > MESSAGE_LIMIT:
        raise ValueError(f"an element of {size} bytes")
    return (tag, data[begin : begin + size], begin + size) if len(data) >= begin + size else None


class LdapQuestion:
    def __init__(self, options: LdapOptions) -> None:
        name, password = (options.username or "").encode(), (options.password or "").encode()
        # An empty password with a name is an anonymous bind in disguise: RFC 4513 section 5.1.2.
        bind = _integer(3) + _octets(name) + _octets(password, 0x80)
        self.bind = _ber(0x30, _integer(1) + _ber(0x60, bind))
        self.starttls = options.starttls
        self.search = b""
        if options.search_base is not None:
            search = (
                _octets(options.search_base.encode())
                + _integer(0, 0x0A)  # baseObject
                + _integer(0, 0x0A)  # neverDerefAliases
                + _integer(1)  # one entry
                + _integer(0)
                + b"\x01\x01\x00"
                + _octets(b"objectClass", 0x87)  # is present
                + _ber(0x30, _octets(b"1.1"))  # no attributes
            )
            self.search = _ber(0x30, _integer(2) + _ber(0x63, search))

    def begin(self) -> Dialogue:
        return _Ldap(self)


class _Ldap:
    __slots__ = ("_count", "_data", "_found", "_is_secure", "_question", "phase")

    def __init__(self, question: LdapQuestion) -> None:
        self._question = question
        self._data = b""
        self._count = 0
        self._found = False
        self.phase = STARTTLS_PHASE if question.starttls else "the answer to our bind"
        self._is_secure = not question.starttls

    def connected(self) -> Step:
        return Step(send=self._question.bind if self._is_secure else _STARTTLS)

    def received(self, data: bytes) -> Step:
        self._data += data
        while True:
            try:
                message = take_ber(self._data)
                if message is None:
                    return WAIT
                tag, content, end = message
                identifier = take_ber(content)
                operation = take_ber(content, identifier[2]) if identifier is not None else None
                if tag != 0x30 or identifier is None or operation is None:
                    raise ValueError("not an LDAP message")
                step = self._take(operation[0], operation[1])
            except ValueError as error:
                return bad(Reason.BAD_RESPONSE, f"{self.phase}: {error}: {quoted(self._data)}")
            # Before TLS stands anybody on the way may have put more behind the answer.
            self._data = b"" if step.start_tls else self._data[end:]
            self._count += 1
            if step is not WAIT:
                return step
            if self._count > MESSAGES_LIMIT:
                return bad(
                    Reason.TOO_LONG, f"more than {MESSAGES_LIMIT} messages while waiting for {self.phase}"
                )

    def _take(self, operation: int, content: bytes) -> Step:
        if operation == _SEARCH_ENTRY:
            self._found = True
            return WAIT
        if operation == _BIND_RESPONSE and self.phase.endswith("bind"):
            if (step := self._judge(content)) is not None:
                return step
            if not self._question.search:
                return Step(send=_UNBIND, verdict=GOOD)
            self.phase = "the answer to our search"
            return Step(send=self._question.search)
        if operation == _SEARCH_DONE and self.phase.endswith("search"):
            if (step := self._judge(content)) is not None:
                return step
            if not self._found:
                return bad(Reason.BODY_MISMATCH, "the search found no entry")
            return Step(send=_UNBIND, verdict=GOOD)
        if operation == _EXTENDED_RESPONSE and self.phase == STARTTLS_PHASE:
            if (step := self._judge(content)) is not None:
                assert step.verdict is not None, "who does not succeed has a verdict"
                is_busy = step.verdict.reason is Reason.TOLD_DOWN
                return step if is_busy else bad(Reason.TLS_FAILED, step.verdict.detail)
            self._is_secure, self.phase = True, "the answer to our bind"
            return Step(start_tls=True)
        if operation == _EXTENDED_RESPONSE:  # a notice of disconnection
            return self._judge(content) or bad(Reason.BAD_RESPONSE, "an answer to what nobody asked")
        return WAIT  # references, intermediate answers

    def _judge(self, content: bytes) -> Step | None:
        """None: success."""
        code = take_ber(content)
        if code is None or code[0] != 0x0A or not code[1]:
            raise ValueError("an answer without a result")
        number = int.from_bytes(code[1], "big")
        if number == 0:
            return None
        matched = take_ber(content, code[2])
        said = take_ber(content, matched[2]) if matched is not None else None
        words = f" {quoted(said[1])}" if said is not None and said[1] else ""
        reason = Reason.TOLD_DOWN if number in _NOT_SERVING else Reason.BAD_STATUS
        return bad(reason, f"{self.phase}: {_RESULTS.get(number, number)}{words}")

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")
