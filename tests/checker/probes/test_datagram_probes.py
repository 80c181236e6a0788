"""DNS, UDP and SIP, files and exit statuses: by tables."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.probes import file, program
from lvsha.checker.probes.dns import DnsQuestion, encode_name
from lvsha.checker.probes.sip import SipQuestion
from lvsha.checker.probes.udp import UdpQuestion
from lvsha.checker.result import Reason
from lvsha.checker.settings import DnsOptions, ExecOptions, FileOptions, SipOptions, UdpOptions

TOKEN = 0x1234


def dns(options: DnsOptions, *, flags: int = 0x8180, answers: bytes = b"", count: int = 0) -> bytes:
    """An answer to the question that ``options`` ask."""
    question = DnsQuestion(options).body
    return struct.pack("!6H", TOKEN, flags, 1, count, 0, 0) + question + answers


def record(kind: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


A = DnsOptions(name="www.example.com", type="A", expect="192.0.2.1")


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (DnsOptions(), dns(DnsOptions()), Reason.OK),
        (A, dns(A, answers=record(1, bytes([192, 0, 2, 1])), count=1), Reason.OK),
        (A, dns(A, answers=record(1, bytes([192, 0, 2, 9])), count=1), Reason.BODY_MISMATCH),
        (A, dns(A), Reason.BODY_MISMATCH),
        (A, dns(A, flags=0x8182), Reason.BAD_STATUS),
        (A, dns(A, flags=0x8380), Reason.TOO_LONG),
        (A, dns(A, answers=b"\xc0", count=1), Reason.BAD_RESPONSE),
        (A, dns(A, answers=record(1, b"x")[:-1] + b"", count=1), Reason.BAD_RESPONSE),
        (A, dns(A, answers=b"\xc0\x1e" * 40, count=1), Reason.BAD_RESPONSE),
    ],
)
def test_dns_verdicts(options: DnsOptions, answer: bytes, reason: Reason) -> None:
    verdict = DnsQuestion(options).begin(TOKEN).received(answer)

    assert verdict is not None
    assert verdict.reason is reason


@pytest.mark.parametrize(
    ("kind", "data", "expect"),
    [
        ("AAAA", bytes(15) + b"\1", "::1"),
        ("CNAME", b"\3cdn\xc0\x10", "cdn.example.com."),
        ("MX", b"\0\5\2mx\xc0\x10", "mx.example.com"),
        ("TXT", b"\2v=\4spf1", "v=spf1"),
        ("TYPE99", b"\1\2", "0102"),
    ],
)
def test_dns_reads_records(kind: str, data: bytes, expect: str) -> None:
    options = DnsOptions(name="www.example.com", type=kind, expect=expect)
    number = DnsQuestion(options).type

    verdict = DnsQuestion(options).begin(TOKEN).received(dns(options, answers=record(number, data), count=1))

    assert verdict is not None
    assert verdict.ok, verdict.detail


@pytest.mark.parametrize(
    "change", [lambda d: b"\0\0" + d[2:], lambda d: d[:2] + b"\1" + d[3:], lambda d: d[:11]]
)
def test_dns_waits_on_for_its_own_answer(change: object) -> None:
    assert callable(change)
    assert DnsQuestion(A).begin(TOKEN).received(change(dns(A))) is None


def test_dns_asks_as_rfc_1035_says() -> None:
    payload = DnsQuestion(DnsOptions(name="a.bc", type="MX")).begin(TOKEN).payload

    assert payload == b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + b"\1a\2bc\0" + b"\0\x0f\0\1"
    assert encode_name(".") == b"\0"


@pytest.mark.parametrize(
    "options", [DnsOptions(type="WHAT"), DnsOptions(name="a..b"), DnsOptions(name="x" * 64)]
)
def test_dns_refuses_what_cannot_be_asked(options: DnsOptions) -> None:
    with pytest.raises(ValueError, match=r"no record type|domain name"):
        DnsQuestion(options)


@given(st.binary(max_size=80))
def test_dns_any_answer_has_a_verdict(data: bytes) -> None:
    exchange = DnsQuestion(A).begin(TOKEN)
    exchange.received(data)
    exchange.received(dns(A, answers=data, count=3))


@pytest.mark.parametrize(
    ("options", "reply", "reason"),
    [
        (UdpOptions(), b"", Reason.OK),
        (UdpOptions(require_reply=True, minimum_reply=2), b"x", Reason.BAD_RESPONSE),
        (UdpOptions(require_reply=True, maximum_reply=2), b"xxx", Reason.BAD_RESPONSE),
        (UdpOptions(expect=b"ab"), b"abc", Reason.OK),
        (UdpOptions(expect=b"ab"), b"a", Reason.BODY_MISMATCH),
        (UdpOptions(expect=b"\x12\x34", expect_mask=b"\xff\x0f"), b"\x12\xf4", Reason.OK),
        (UdpOptions(expect=b"\x12\x34", expect_mask=b"\xff\x0f"), b"\x12\xf5", Reason.BODY_MISMATCH),
    ],
)
def test_udp_verdicts(options: UdpOptions, reply: bytes, reason: Reason) -> None:
    verdict = UdpQuestion(options).begin(0).received(reply)

    assert verdict is not None
    assert verdict.reason is reason


def test_silence_over_udp_is_good_unless_a_reply_is_asked_for() -> None:
    assert UdpQuestion(UdpOptions()).begin(0).silence().ok
    assert UdpQuestion(UdpOptions(require_reply=True)).begin(0).silence().reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (b"200 OK", Reason.OK),
        (b"503 Busy", Reason.BAD_STATUS),
        (b"xxx", Reason.BAD_RESPONSE),
        (b"100 T", None),
    ],
)
def test_sip_verdicts(status: bytes, reason: Reason | None) -> None:
    exchange = SipQuestion(SipOptions(), host="10.0.0.1:5060").begin(TOKEN)
    branch = exchange.payload.split(b"branch=")[1].split(b"\r")[0]

    verdict = exchange.received(
        b"SIP/2.0 " + status + b"\r\nVia: SIP/2.0/UDP x;branch=" + branch + b"\r\n\r\n"
    )

    assert (verdict.reason if verdict else None) is reason
    assert exchange.received(b"SIP/2.0 200 OK\r\nVia: x;branch=z9hG4bKother\r\n\r\n") is None


@pytest.mark.parametrize(
    ("options", "content", "reason", "percent"),
    [
        (FileOptions(path="f"), None, Reason.OK, None),
        (FileOptions(path="f"), b"", Reason.TOLD_DOWN, None),
        (FileOptions(path="f", present_is_up=True), b"", Reason.OK, None),
        (FileOptions(path="f", present_is_up=True), None, Reason.TOLD_DOWN, None),
        (FileOptions(path="f", weight_from_content=True), b" 30% \n", Reason.OK, 30),
        (FileOptions(path="f", weight_from_content=True), b"0", Reason.OK, 0),
        (FileOptions(path="f", weight_from_content=True), b"many", Reason.OK, None),
        (FileOptions(path="f", weight_from_content=True), None, Reason.OK, None),
    ],
)
def test_files(options: FileOptions, content: bytes | None, reason: Reason, percent: int | None) -> None:
    verdict = file.judge(options, content)

    assert (verdict.reason, verdict.percent) == (reason, percent)


@pytest.mark.parametrize(
    ("status", "dynamic", "reason", "weight"),
    [
        (0, False, Reason.OK, None),
        (0, True, Reason.OK, None),
        (1, True, Reason.NONZERO_EXIT, None),
        (2, True, Reason.OK, 0),
        (255, True, Reason.OK, 253),
        (2, False, Reason.NONZERO_EXIT, None),
        (-9, True, Reason.NONZERO_EXIT, None),
    ],
)
def test_exit_statuses(status: int, dynamic: bool, reason: Reason, weight: int | None) -> None:
    verdict = program.judge(ExecOptions(argv=("x",), weight_from_exit=dynamic), status, b"words\n")

    assert (verdict.reason, verdict.weight) == (reason, weight)
    assert reason is Reason.OK or "words" in verdict.detail
