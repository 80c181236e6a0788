"""HTTP/1: one request, one answer, and whether it is a good one.

Where the check follows redirects, it does so at the same realserver only: another
connection, the page and the host that the redirect names. A redirect to another
scheme or port is another service's, and no answer about this one.

The parser takes the answer in any pieces and keeps only what the verdict needs.
Everything that the other side can grow is bounded: the headers (all interim
answers together), a chunk's size line, the trailers, the body, and the sum of
it all. What it accepts is what clients accept (RFC 9112, with the bare line
feeds that section 2.2 allows), because a realserver that browsers can read is up.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from lvsha.checker.probes.dialogue import WAIT, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.result import Reason
from lvsha.checker.settings import HttpOptions
from lvsha.core.addr import Address

HEAD_LIMIT = 32 * 1024
"""Bytes of status lines and headers, interim answers included."""

LINE_LIMIT = 4 * 1024
"""Bytes of a chunk's size line, and of all trailers."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: |\r?\n)")
_FRAMING = re.compile(
    rb"\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?(?=\n)", re.IGNORECASE
)
_LOCATION = re.compile(rb"\nlocation[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LENGTH = b"\ncontent-length:"
_ENCODING = b"\ntransfer-encoding:"
_BEGINNING_SIZE = len("HTTP/1.1 200 ")
_BEGINNINGS_LIMIT = 16
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_BEGINNING = b"HTTP/1."


class HttpQuestion:
    """A request's bytes and its conditions."""

    def __init__(self, options: HttpOptions, *, address: Address, port: int, tls: bool) -> None:
        self.options = options
        self.request = request_bytes(options, address=address, port=port, tls=tls)
        self.place = Place.of(options, address=address, port=port, tls=tls)
        self.regex = re.compile(options.body_regex) if options.body_regex is not None else None
        self.absent = re.compile(options.body_regex_absent) if options.body_regex_absent is not None else None
        self.digest = options.digest.lower() if options.digest is not None else None
        self.keeps_body = self.regex is not None or self.absent is not None or self.digest is not None
        self.has_no_body = options.method in ("HEAD", "CONNECT")
        self.raw_limit = 2 * HEAD_LIMIT + 8 * max(options.body_limit, 1)
        """Bytes of the whole answer: one-byte chunks cost six each, and nothing honest costs more."""
        self.opening = Step(send=self.request)
        self._good: dict[int, Step] = {}
        self._usual: dict[bytes, Verdict | None] = {}
        """What a good answer that begins so is worth."""

    def begin(self) -> Dialogue:
        return HttpDialogue(self)

    def judge_whole(self, answer: bytes) -> Verdict | None:
        """See ``QuickQuestion``. Usual is a good status, one Content-Length, and a body nobody looks at."""
        beginning = answer[:_BEGINNING_SIZE]
        verdict = self._usual.get(beginning) or self._learn(beginning)
        end = answer.find(b"\n\r\n")
        if verdict is None or not 0 < end < HEAD_LIMIT - 3:
            return None
        head = answer[: end + 1].lower()
        at = head.find(_LENGTH)
        value = at + len(_LENGTH)
        if at < 0 or head.find(_LENGTH, value) >= 0 or head.find(_ENCODING) >= 0 or head.find(b"\n\n") >= 0:
            return None
        length = head[value : head.index(b"\n", value)].strip()
        if not length.isdigit() or len(length) > 18 or len(answer) - end - 3 < int(length):
            return None
        return verdict

    def _learn(self, beginning: bytes) -> Verdict | None:
        line = _STATUS_LINE.fullmatch(beginning)
        if line is None or self.keeps_body or self.has_no_body or len(self._usual) >= _BEGINNINGS_LIMIT:
            return None
        status = int(line[1])
        if status < 200 or status in (204, 304) or not self.accepts(status):
            return None
        verdict = self._usual[beginning] = self.good(status).verdict
        return verdict

    def redirected(self, place: "Place") -> bytes:
        """The request for what a redirect named."""
        headers = tuple(header for header in self.options.headers if header[0].lower() != "host")
        options = replace(self.options, path=place.path, host=place.authority, headers=headers)
        if not place.keeps_method and options.method not in ("GET", "HEAD"):
            options = replace(options, method="GET", body=b"")
        return request_bytes(
            options, address=self.place.address, port=self.place.port, tls=self.place.scheme == "https"
        )

    def good(self, status: int) -> Step:
        """The step that ends a good answer; the same few statuses come again and again."""
        step = self._good.get(status)
        if step is None:
            step = self._good[status] = Step(verdict=Verdict(Reason.OK, f"status {status}"))
        return step

    def judge(self, status: int, body: bytes | bytearray, seen: int) -> Step:
        """The end of an answer of a good status: the conditions on its body, ``seen`` bytes long."""
        if not self.keeps_body:
            return self.good(status)
        if self.digest is not None:
            kind = hashlib.md5 if len(self.digest) == 32 else hashlib.sha256
            digest = kind(body, usedforsecurity=False).hexdigest()
            if digest != self.digest:
                return bad(
                    Reason.DIGEST_MISMATCH, f"digest of {seen} bytes is {digest}, expected {self.digest}"
                )
        if self.regex is not None or self.absent is not None:
            text = body.decode("utf-8", "replace")
            if self.regex is not None and self.regex.search(text) is None:
                return bad(
                    Reason.BODY_MISMATCH,
                    f"{self.regex.pattern!r} is not in the body: {quoted(bytes(body[:200]))}",
                )
            if self.absent is not None and (found := self.absent.search(text)):
                return bad(Reason.BODY_MISMATCH, f"{found[0][:80]!r} is in the body and must not be")
        return self.good(status)

    def accepts(self, status: int) -> bool:
        for low, high in self.options.statuses:  # noqa: SIM110  (any() would make a generator per answer)
            if low <= status <= high:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request goes: what a redirect is relative to."""

    scheme: str
    authority: str
    path: str
    address: Address
    port: int
    keeps_method: bool = True
    """307 and 308 do; after the others a POST becomes a GET, as in a browser."""

    @classmethod
    def of(cls, options: HttpOptions, *, address: Address, port: int, tls: bool) -> "Place":
        host = options.host if options.host is not None else host_header(address, port, tls=tls)
        scheme = "https" if tls else "http"
        return cls(scheme=scheme, authority=host, path=options.path, address=address, port=port)

    def after(self, status: int, location: str) -> "Place | None":
        """Where ``location`` leads; None: away from this realserver's service."""
        try:
            split = urlsplit(urljoin(f"{self.scheme}://{self.authority}{self.path}", location))
            port = split.port
        except ValueError:
            return None
        if split.scheme != self.scheme or not split.netloc or "@" in split.netloc:
            return None
        own = urlsplit(f"//{self.authority}").port
        standard = 443 if self.scheme == "https" else 80
        if (port or standard) not in {self.port, own or standard}:
            return None
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
        if any(character <= " " or character >= "\x7f" for character in split.netloc + path):
            return None
        keeps_method = self.keeps_method and status in (307, 308)
        return replace(self, authority=split.netloc, path=path, keeps_method=keeps_method)


def host_header(address: Address, port: int, *, tls: bool) -> str:
    """The Host of a realserver that nothing names."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return host if port == (443 if tls else 80) else f"{host}:{port}"


def request_bytes(options: HttpOptions, *, address: Address, port: int, tls: bool) -> bytes:
    """The request as it goes out. The operator's headers replace those of the same name."""
    host = options.host if options.host is not None else host_header(address, port, tls=tls)
    headers = {"host": ("Host", host), "user-agent": ("User-Agent", "lvsha"), "accept": ("Accept", "*/*")}
    if options.version != "1.0":
        headers["connection"] = ("Connection", "close")
    if options.authorization is not None:
        headers["authorization"] = ("Authorization", options.authorization)
    if options.body or options.method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = ("Content-Length", str(len(options.body)))
    repeated: list[tuple[str, str]] = []
    for name, value in options.headers:
        if name.lower() in headers:
            headers[name.lower()] = (name, value)
        else:
            repeated.append((name, value))
    lines = [f"{options.method} {options.path} HTTP/{options.version}"]
    lines += [f"{name}: {value}" for name, value in (*headers.values(), *repeated)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + options.body


class HttpDialogue:
    """One answer, as it comes."""

    __slots__ = (
        "_body",
        "_buffer",
        "_chunk_left",
        "_chunked",
        "_head_bytes",
        "_in_body",
        "_in_trailers",
        "_length",
        "_place",
        "_question",
        "_raw",
        "_redirects",
        "_seen",
        "_status",
    )

    def __init__(self, question: HttpQuestion) -> None:
        self._question = question
        self._redirects = 0
        self._place = question.place
        self._raw = 0
        self._clear()

    def _clear(self) -> None:
        """Before an answer."""
        self._buffer = bytearray()
        self._head_bytes = 0
        """Bytes of heads that are done with."""
        self._in_body = False
        self._length: int | None = None
        self._chunked = self._in_trailers = False
        self._chunk_left = self._seen = 0

    @property
    def phase(self) -> str:
        if self._in_body:
            length = f" of {self._length}" if self._length is not None else ""
            return f"the rest of the body, {self._seen} bytes{length} came"
        return "the rest of the headers" if self._raw else "a status line"

    def connected(self) -> Step:
        if self._redirects:
            return Step(send=self._question.redirected(self._place))
        return self._question.opening

    def received(self, data: bytes) -> Step:
        self._raw += len(data)
        if self._raw > self._question.raw_limit:
            return bad(Reason.TOO_LONG, f"the answer is longer than {self._question.raw_limit} bytes")
        return self._take_body(data) if self._in_body else self._take_head(data)

    def closed(self) -> Verdict:
        if not self._raw:
            return Verdict(Reason.CLOSED, "closed without an answer")
        if not self._in_body:
            return Verdict(Reason.CLOSED, "closed in the middle of the headers")
        if self._chunked or self._length is not None:
            expected = (
                f"of {self._length} bytes" if self._length is not None else "bytes, before the last chunk"
            )
            return Verdict(Reason.CLOSED, f"closed after {self._seen} {expected} of the body")
        verdict = self._finish().verdict
        assert verdict is not None, "a finished answer has a verdict"
        return verdict

    # The head

    def _take_head(self, data: bytes) -> Step:
        scan_from = max(len(self._buffer) - 3, 0)
        if self._buffer:
            self._buffer += data
            head: bytes | bytearray = self._buffer
        else:
            head = data
        while True:
            if not head.startswith(_BEGINNING[: len(head)]):
                return bad(Reason.BAD_RESPONSE, f"not HTTP: {quoted(bytes(head[:100]))}")
            length = head.find(b"\n\r\n", scan_from) + 3
            bare = head.find(b"\n\n", scan_from, length if length > 2 else None) + 2
            if bare > 1:
                length = bare
            if length < 3:
                if self._head_bytes + len(head) > HEAD_LIMIT:
                    return bad(Reason.TOO_LONG, f"more than {HEAD_LIMIT} bytes of headers")
                if head is not self._buffer:
                    self._buffer = bytearray(head)
                return WAIT
            self._head_bytes += length
            if self._head_bytes > HEAD_LIMIT:
                return bad(Reason.TOO_LONG, f"more than {HEAD_LIMIT} bytes of headers")
            line = _STATUS_LINE.match(head)
            if line is None:
                return bad(Reason.BAD_RESPONSE, f"not a status line: {quoted(bytes(head[:100]))}")
            status = int(line[1])
            rest = bytes(head[length:])
            if status >= 200 or status == 101:
                return self._begin_body(status, bytes(head[:length]), rest)
            # An interim answer (100, 103): the real one follows.
            self._buffer.clear()
            head, scan_from = rest, 0
            if not rest:
                return WAIT

    def _begin_body(self, status: int, head: bytes, rest: bytes) -> Step:
        question = self._question
        if not question.accepts(status):
            if question.options.redirects and status in _REDIRECTS:
                return self._redirect(status, head)
            wanted = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in question.options.statuses)
            reason = quoted(head[: _line_end(head)])
            return bad(Reason.BAD_STATUS, f"status {status}, good is {wanted}: {reason}")
        self._status = status
        self._in_body = True
        self._buffer.clear()
        self._body = bytearray()
        if question.has_no_body or status in (101, 204, 304):
            return self._finish()
        lowered = head.lower()
        if lowered.count(_LENGTH) == 1 and lowered.find(_ENCODING) < 0:
            # Nearly every answer: one length, nothing else.
            at = lowered.index(_LENGTH) + len(_LENGTH)
            lengths = set(head[at : head.index(b"\n", at)].split(b","))
        else:
            lengths = self._framing(head)
        problem = self._take_lengths({length.strip() for length in lengths}) if lengths else None
        if problem is not None:
            return problem
        if not question.keeps_body and self._length is not None and len(rest) >= self._length:
            return question.good(status)
        if self._length == 0:
            return self._finish()
        return self._take_body(rest) if rest else WAIT

    def _redirect(self, status: int, head: bytes) -> Step:
        location = _LOCATION.search(head)
        if location is None:
            return bad(Reason.BAD_STATUS, f"status {status} without a Location")
        if self._redirects >= self._question.options.redirects:
            words = f"more than {self._redirects} redirects, the last one to {quoted(location[1])}"
            return bad(Reason.BAD_STATUS, words)
        place = self._place.after(status, location[1].decode("utf-8", "replace"))
        if place is None:
            words = f"status {status} leads away from this realserver, to {quoted(location[1])}"
            return bad(Reason.BAD_STATUS, words)
        self._redirects += 1
        self._place = place
        self._clear()
        return Step(reconnect=True)

    def _framing(self, head: bytes) -> set[bytes]:
        """The lengths that the headers claim, none for a body in chunks: RFC 9112 section 6.3."""
        lengths: set[bytes] = set()
        for name, value in _FRAMING.findall(head):
            if len(name) == len("content-length"):
                lengths.update(value.split(b","))
            elif value.lower().endswith(b"chunked"):
                self._chunked = True
        return set() if self._chunked else lengths

    def _take_lengths(self, lengths: set[bytes]) -> Step | None:
        # Several equal values are one; anything else is an error.
        length = lengths.pop()
        if lengths or not length.isdigit() or len(length) > 18:
            return bad(Reason.BAD_RESPONSE, f"Content-Length is {quoted(length)}")
        self._length = int(length)
        if self._question.digest is not None and self._length > self._question.options.body_limit:
            return self._over_limit()
        return None

    # The body

    def _take_body(self, data: bytes) -> Step:
        if self._chunked:
            return self._take_chunks(data)
        if self._length is not None:
            data = data[: self._length - self._seen]
        self._keep(data)
        if self._seen == self._length:
            return self._finish()
        return self._over_limit() if self._seen > self._question.options.body_limit else WAIT

    def _take_chunks(self, data: bytes) -> Step:
        at = 0
        while True:
            if self._chunk_left > 2:
                # Two more than the chunk has: its line end is counted with it.
                piece = data[at : at + self._chunk_left - 2]
                if not piece:
                    return WAIT
                self._keep(piece)
                at += len(piece)
                self._chunk_left -= len(piece)
                if self._seen > self._question.options.body_limit:
                    return self._over_limit()
                continue
            # A line: the end of a chunk's data, a size, or a trailer.
            end = data.find(b"\n", at)
            line = bytes(self._buffer) + data[at : end if end >= 0 else len(data)]
            if len(line) > LINE_LIMIT:
                return bad(
                    Reason.TOO_LONG, f"a chunk's size line or trailers of more than {LINE_LIMIT} bytes"
                )
            if end < 0:
                self._buffer = bytearray(line)
                return WAIT
            self._buffer = bytearray()
            at = end + 1
            line = line.removesuffix(b"\r")
            if self._in_trailers:
                if not line:
                    return self._finish()
            elif self._chunk_left:
                if line:
                    return bad(Reason.BAD_RESPONSE, f"a chunk is longer than its size: {quoted(line)}")
                self._chunk_left = 0
            else:
                size = _CHUNK_SIZE.fullmatch(line)
                if size is None:
                    return bad(Reason.BAD_RESPONSE, f"not a chunk's size: {quoted(line)}")
                length = int(size[1], 16)
                if length == 0:
                    self._in_trailers = True
                else:
                    self._chunk_left = length + 2

    def _keep(self, data: bytes) -> None:
        if self._question.keeps_body:
            room = self._question.options.body_limit - len(self._body)
            if room > 0:
                self._body += data[:room]
        self._seen += len(data)

    def _over_limit(self) -> Step:
        limit = self._question.options.body_limit
        if self._question.digest is not None:
            return bad(Reason.TOO_LONG, f"the body is longer than body_limit ({limit} bytes): no digest")
        return self._finish()

    def _finish(self) -> Step:
        question = self._question
        return question.judge(self._status, self._body, self._seen)


def _line_end(head: bytes) -> int:
    end = head.find(b"\n")
    return end - 1 if end > 0 and head[end - 1 : end] == b"\r" else end
