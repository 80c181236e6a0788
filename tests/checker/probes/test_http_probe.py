"""HTTP/1: the request, and verdicts over answers in any pieces."""

import hashlib
import zlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.probes.dialogue import Dialogue, Step, Verdict
from lvsha.checker.probes.http import HEAD_LIMIT, HttpQuestion, request_bytes
from lvsha.checker.result import DETAIL_LIMIT, Reason
from lvsha.checker.settings import HttpOptions, basic_authorization

ADDRESS = IPv4Address("10.0.0.11")


def question(options: HttpOptions) -> HttpQuestion:
    return HttpQuestion(options, address=ADDRESS, port=80, tls=False)


def feed(dialogue: Dialogue, *pieces: bytes, close: bool = True) -> Verdict | None:
    """The verdict, by the pieces or by the end of the stream; None: still waiting."""
    for piece in pieces:
        if piece:
            step = dialogue.received(piece)
            assert isinstance(step, Step)
            if step.verdict is not None:
                return step.verdict
    return dialogue.closed() if close else None


def ask(options: HttpOptions, answer: bytes, *, close: bool = True) -> Verdict | None:
    return feed(question(options).begin(), answer, close=close)


def answer(body: bytes = b"hello", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def _altered(text: bytes) -> st.SearchStrategy[bytes]:
    """``text`` with a piece of it replaced by something that means something to a parser."""
    pieces = [b"", b"\n", b"\r\n", b"\r\n\r\n", b"\nContent-Length: 3\r\n", b" ", b"0", b"chunked", b"X" * 9]
    return st.tuples(
        st.integers(0, len(text)), st.integers(0, 12), st.sampled_from(pieces), st.booleans()
    ).map(lambda cut: text if cut[3] else text[: cut[0]] + cut[2] + text[cut[0] + cut[1] :])


# The request


def test_request_names_its_host_and_closes() -> None:
    text = request_bytes(HttpOptions(path="/up?x=1"), address=ADDRESS, port=8080, tls=False)

    assert text == (
        b"GET /up?x=1 HTTP/1.1\r\nHost: 10.0.0.11:8080\r\nUser-Agent: lvsha\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("options", "port", "tls", "line"),
    [
        (HttpOptions(), 80, False, b"Host: [fd00::1]\r\n"),
        (HttpOptions(), 443, True, b"Host: [fd00::1]\r\n"),
        (HttpOptions(), 443, False, b"Host: [fd00::1]:443\r\n"),
        (HttpOptions(host="www.example.org"), 8443, True, b"Host: www.example.org\r\n"),
        (HttpOptions(headers=(("host", "other"),)), 80, False, b"\r\nhost: other\r\n"),
        (HttpOptions(headers=(("X-A", "1"), ("X-A", "2"))), 80, False, b"X-A: 1\r\nX-A: 2\r\n"),
        (HttpOptions(method="POST"), 80, False, b"Content-Length: 0\r\n"),
        (HttpOptions(method="POST", body=b"a=b"), 80, False, b"Content-Length: 3\r\n"),
        (
            HttpOptions(authorization=basic_authorization("a", "b")),
            80,
            False,
            b"Authorization: Basic YTpi\r\n",
        ),
    ],
)
def test_request_carries(options: HttpOptions, port: int, tls: bool, line: bytes) -> None:
    text = request_bytes(options, address=IPv6Address("fd00::1"), port=port, tls=tls)

    assert line in text
    assert text.lower().count(b"\r\nhost:") == 1
    assert text.endswith(b"\r\n\r\n" + options.body)


def test_request_of_http_1_0_does_not_speak_of_the_connection() -> None:
    text = request_bytes(HttpOptions(version="1.0"), address=ADDRESS, port=80, tls=False)

    assert text.startswith(b"GET / HTTP/1.0\r\n")
    assert b"Connection" not in text


# The answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MD5 = hashlib.md5(b"hello", usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(b"hello").hexdigest()

VERDICTS: list[tuple[str, HttpOptions, bytes, Reason]] = [
    ("length", HttpOptions(), answer(), Reason.OK),
    ("empty body", HttpOptions(), answer(b""), Reason.OK),
    ("HTTP/1.0 until the end", HttpOptions(), b"HTTP/1.0 200 OK\r\n\r\nhello", Reason.OK),
    ("bare line feeds", HttpOptions(), b"HTTP/1.0 200 OK\nContent-Length: 2\n\nok\r\n\r\n", Reason.OK),
    ("no reason phrase", HttpOptions(), b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Reason.OK),
    ("more than the length", HttpOptions(), answer() + b"trailing", Reason.OK),
    ("same length twice", HttpOptions(), answer(headers="content-length: 5\r\n"), Reason.OK),
    (
        "a list of the same length",
        HttpOptions(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        Reason.OK,
    ),
    (
        "interim answers",
        HttpOptions(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n" + answer(),
        Reason.OK,
    ),
    ("204 has no body", HttpOptions(), b"HTTP/1.1 204 No Content\r\n\r\n", Reason.OK),
    (
        "HEAD has no body",
        HttpOptions(method="HEAD"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        Reason.OK,
    ),
    ("chunks", HttpOptions(), CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", Reason.OK),
    ("chunks with trailers", HttpOptions(), CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", Reason.OK),
    (
        "chunks win over a length",
        HttpOptions(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Reason.OK,
    ),
    ("404", HttpOptions(), answer(status="404 Not Found"), Reason.BAD_STATUS),
    ("404 that is wanted", HttpOptions(statuses=((404, 404),)), answer(status="404 x"), Reason.OK),
    ("redirect is no proof", HttpOptions(), answer(status="301 x"), Reason.BAD_STATUS),
    ("101 where it is wanted", HttpOptions(statuses=((101, 101),)), b"HTTP/1.1 101 x\r\n\r\n", Reason.OK),
    ("nothing", HttpOptions(), b"", Reason.CLOSED),
    ("half a head", HttpOptions(), b"HTTP/1.1 200 OK\r\nServ", Reason.CLOSED),
    ("half a body", HttpOptions(), answer()[:-1], Reason.CLOSED),
    ("chunks without the last", HttpOptions(), CHUNKED + b"5\r\nhello\r\n", Reason.CLOSED),
    ("not HTTP", HttpOptions(), b"SSH-2.0-OpenSSH_9.2\r\n", Reason.BAD_RESPONSE),
    ("HTTP/2", HttpOptions(), b"HTTP/2 200\r\n\r\n", Reason.BAD_RESPONSE),
    ("status of letters", HttpOptions(), b"HTTP/1.1 abc OK\r\n\r\n", Reason.BAD_RESPONSE),
    ("status of four digits", HttpOptions(), b"HTTP/1.1 2000 OK\r\n\r\n", Reason.BAD_RESPONSE),
    ("two lengths", HttpOptions(), answer(headers="Content-Length: 6\r\n"), Reason.BAD_RESPONSE),
    (
        "length of letters",
        HttpOptions(),
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        Reason.BAD_RESPONSE,
    ),
    ("negative length", HttpOptions(), b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Reason.BAD_RESPONSE),
    (
        "astronomic length",
        HttpOptions(),
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        Reason.BAD_RESPONSE,
    ),
    ("chunk size of letters", HttpOptions(), CHUNKED + b"xyz\r\n", Reason.BAD_RESPONSE),
    ("negative chunk", HttpOptions(), CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", Reason.BAD_RESPONSE),
    ("chunk longer than its size", HttpOptions(), CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", Reason.BAD_RESPONSE),
    ("chunk line without end", HttpOptions(), CHUNKED + b"1;" + b"x" * 5000, Reason.TOO_LONG),
    ("headers without end", HttpOptions(), b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000, Reason.TOO_LONG),
    ("interim answers without end", HttpOptions(), b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000, Reason.TOO_LONG),
    ("regex", HttpOptions(body_regex="h.llo"), answer(), Reason.OK),
    (
        "regex over chunks",
        HttpOptions(body_regex="hello"),
        CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        Reason.OK,
    ),
    ("regex of UTF-8", HttpOptions(body_regex="^gr.ß$"), answer("grüß".encode()), Reason.OK),
    ("regex not found", HttpOptions(body_regex="bye"), answer(), Reason.BODY_MISMATCH),
    ("absent", HttpOptions(body_regex_absent="error"), answer(), Reason.OK),
    ("absent found", HttpOptions(body_regex_absent="hell"), answer(), Reason.BODY_MISMATCH),
    (
        "regex beyond body_limit",
        HttpOptions(body_regex="end", body_limit=100),
        answer(b"x" * 200 + b"end"),
        Reason.BODY_MISMATCH,
    ),
    ("md5 as genhash", HttpOptions(digest=MD5), answer(), Reason.OK),
    ("digest in capitals", HttpOptions(digest=MD5.upper()), answer(), Reason.OK),
    ("sha256", HttpOptions(digest=SHA256), answer(), Reason.OK),
    ("digest over chunks", HttpOptions(digest=MD5), CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", Reason.OK),
    ("digest until the end", HttpOptions(digest=MD5), b"HTTP/1.0 200 OK\r\n\r\nhello", Reason.OK),
    ("digest of something else", HttpOptions(digest=MD5), answer(b"other"), Reason.DIGEST_MISMATCH),
    ("digest of too much", HttpOptions(digest=MD5, body_limit=4), answer(), Reason.TOO_LONG),
    (
        "digest of too many chunks",
        HttpOptions(digest=MD5, body_limit=4),
        CHUNKED + b"5\r\nhello\r\n",
        Reason.TOO_LONG,
    ),
]


@pytest.mark.parametrize(("name", "options", "text", "reason"), VERDICTS, ids=[v[0] for v in VERDICTS])
def test_verdict(name: str, options: HttpOptions, text: bytes, reason: Reason) -> None:
    verdict = ask(options, text)

    assert verdict is not None
    assert verdict.reason is reason, verdict
    assert len(verdict.detail) <= DETAIL_LIMIT
    assert verdict.detail.isprintable()


@pytest.mark.parametrize(("name", "options", "text", "reason"), VERDICTS, ids=[v[0] for v in VERDICTS])
def test_verdict_does_not_depend_on_the_pieces(
    name: str, options: HttpOptions, text: bytes, reason: Reason
) -> None:
    for size in (1, 2, 3, 7):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        verdict = feed(question(options).begin(), *pieces)
        assert verdict is not None
        assert verdict.reason is reason, (size, verdict)


def test_a_usual_answer_is_judged_without_a_dialogue() -> None:
    asked = question(HttpOptions())

    assert asked.judge_whole(answer()) == ask(HttpOptions(), answer()) == Verdict(Reason.OK, "status 200")
    assert asked.judge_whole(answer()[:-1]) is None, "the body has not come yet"
    assert asked.judge_whole(answer(status="503 No")) is None


@given(
    st.sampled_from([v for v in VERDICTS if len(v[2]) < 500])
    .map(lambda case: (case[1], case[2]))
    .flatmap(lambda case: st.tuples(st.just(case[0]), _altered(case[1])))
)
def test_whoever_is_judged_at_once_is_judged_as_by_a_dialogue(case: tuple[HttpOptions, bytes]) -> None:
    options, text = case

    verdict = question(options).judge_whole(text)

    assert verdict is None or verdict == ask(options, text)


@given(st.data())
def test_any_pieces_of_an_answer_give_the_same_verdict(data: st.DataObject) -> None:
    _, options, text, reason = data.draw(st.sampled_from([v for v in VERDICTS if len(v[2]) < 500]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    verdict = feed(question(options).begin(), *pieces)

    assert verdict is not None
    assert verdict.reason is reason


@given(st.lists(st.binary(max_size=60), max_size=10), st.booleans())
def test_any_bytes_give_a_verdict(pieces: list[bytes], with_head: bool) -> None:
    head = [CHUNKED] if with_head else []
    assert feed(question(HttpOptions(body_regex="x")).begin(), *head, *pieces) is not None


def test_good_answer_does_not_wait_for_the_end_of_the_stream() -> None:
    for options, text in (
        (HttpOptions(), answer()),
        (HttpOptions(body_regex="hello"), answer()),
        (HttpOptions(), CHUNKED + b"0\r\n\r\n"),
    ):
        verdict = ask(options, text, close=False)
        assert verdict is not None
        assert verdict.ok
        assert verdict.detail == "status 200"


def test_bad_status_is_told_before_the_body_comes() -> None:
    verdict = ask(HttpOptions(), b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n", close=False)

    assert verdict is not None
    assert verdict.reason is Reason.BAD_STATUS
    assert "503" in verdict.detail
    assert "200-299" in verdict.detail


def test_huge_body_is_read_to_the_limit_only() -> None:
    dialogue = question(HttpOptions(body_regex="^x", body_limit=1000)).begin()
    assert feed(dialogue, b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", close=False) is None

    verdict = feed(dialogue, *[b"x" * 100] * 11, close=False)

    assert verdict is not None
    assert verdict.ok


def test_chunks_of_one_byte_with_long_extensions_are_too_long() -> None:
    """Neither the body nor any line passes its own bound."""
    dialogue = question(HttpOptions(body_limit=1000)).begin()
    piece = b"1;" + b"x" * 4000 + b"\r\na\r\n"

    verdict = feed(dialogue, CHUNKED, *[piece] * 100, close=False)

    assert verdict is not None
    assert verdict.reason is Reason.TOO_LONG


def test_half_a_head_is_bounded() -> None:
    dialogue = question(HttpOptions()).begin()
    dialogue.received(b"HTTP/1.1 200 OK\r\n")
    sent = 17
    while dialogue.received(b"A: b\r\n").verdict is None:
        sent += 6
    assert sent <= HEAD_LIMIT


def test_phase_says_what_is_waited_for() -> None:
    dialogue = question(HttpOptions()).begin()
    assert dialogue.phase == "a status line"
    dialogue.received(b"HTTP/1.1 200 OK\r\n")
    assert dialogue.phase == "the rest of the headers"
    dialogue.received(b"Content-Length: 10\r\n\r\nabc")
    assert dialogue.phase == "the rest of the body, 3 bytes of 10 came"


def followed(options: HttpOptions, *locations: str, status: int = 302) -> tuple[list[bytes], Verdict | None]:
    """What is asked, one redirect after the other, and the verdict."""
    dialogue = HttpQuestion(options, address=IPv4Address("10.0.0.11"), port=8080, tls=False).begin()
    asked = []
    for location in (*locations, ""):
        asked.append(dialogue.connected().send)
        answer = (
            f"HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            if location
            else GOOD_ANSWER
        )
        step = dialogue.received(answer.encode())
        if not step.reconnect:
            return asked, step.verdict
    return asked, None


GOOD_ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_redirects_are_followed_where_they_are_asked_for() -> None:
    options = HttpOptions(redirects=3, path="/a/b")

    asked, verdict = followed(options, "/c?d", "e", "http://www.example:8080/f")

    assert verdict is not None
    assert verdict.ok
    assert [data.split(b"\r\n")[0] for data in asked] == [
        b"GET /a/b HTTP/1.1",
        b"GET /c?d HTTP/1.1",
        b"GET /e HTTP/1.1",
        b"GET /f HTTP/1.1",
    ]
    assert b"\r\nHost: www.example:8080\r\n" in asked[3]


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("https://10.0.0.11:8080/", "away"),
        ("http://10.0.0.11:9090/", "away"),
        ("ftp://x/", "away"),
        ("http://a:b@10.0.0.11:8080/", "away"),
        ("http://[::1/", "away"),
        ("/a\x01b", "away"),
    ],
)
def test_a_redirect_to_another_service_is_no_answer(location: str, word: str) -> None:
    _, verdict = followed(HttpOptions(redirects=3), location)

    assert verdict is not None
    assert verdict.reason is Reason.BAD_STATUS
    assert word in verdict.detail


def test_endless_redirects_end() -> None:
    asked, verdict = followed(HttpOptions(redirects=2), *["/again"] * 5)

    assert verdict is not None
    assert (len(asked), verdict.reason) == (3, Reason.BAD_STATUS)
    assert "more than 2 redirects" in verdict.detail


@pytest.mark.parametrize(("status", "method"), [(302, b"GET"), (303, b"GET"), (307, b"POST"), (308, b"POST")])
def test_a_post_becomes_a_get_as_in_a_browser(status: int, method: bytes) -> None:
    asked, _ = followed(HttpOptions(redirects=1, method="POST", body=b"x"), "/b", status=status)

    assert asked[1].split(b" ")[0] == method
    assert asked[1].endswith(b"x") == (method == b"POST")


def test_a_redirect_that_is_a_good_status_is_good() -> None:
    asked, verdict = followed(HttpOptions(redirects=1, statuses=((302, 302),)), "/b")

    assert verdict is not None
    assert (len(asked), verdict.ok) == (1, True)


def test_a_body_that_claims_to_be_compressed_is_never_unpacked() -> None:
    """A bomb is as long as it is on the wire."""
    bomb = zlib.compress(bytes(10_000_000), 9)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(bomb)}\r\n\r\n"
    options = HttpOptions(body_limit=1000, body_regex="never there")
    dialogue = HttpQuestion(options, address=IPv4Address("10.0.0.11"), port=80, tls=False).begin()

    verdict = dialogue.received(head.encode() + bomb).verdict

    assert verdict is not None
    assert verdict.reason is Reason.BODY_MISMATCH
