"""Every probe that talks over a stream, by tables: what comes, what is said, the verdict."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.probes.agent import AgentQuestion
from lvsha.checker.probes.database import MysqlQuestion, PostgresqlQuestion
from lvsha.checker.probes.dialogue import Question, Step, Verdict
from lvsha.checker.probes.ldap import LdapQuestion
from lvsha.checker.probes.login import FtpQuestion, ImapQuestion, NntpQuestion, PopQuestion
from lvsha.checker.probes.redis import RedisQuestion
from lvsha.checker.probes.smtp import SmtpQuestion
from lvsha.checker.result import Reason
from lvsha.checker.settings import (
    AgentOptions,
    DatabaseOptions,
    LdapOptions,
    LoginOptions,
    RedisOptions,
    SmtpOptions,
)

LOGIN = LoginOptions(username="joe", password='p"w\\')
NOBODY = LoginOptions()
MYSQL_GREETING = b"\x0a" + b"8.0.1\0" + bytes(20)
MYSQL_DENIED = b"\xff" + (1045).to_bytes(2, "little") + b"#28000Access denied"
MYSQL_FULL = b"\xff" + (1040).to_bytes(2, "little") + b"Too many connections"


LDAP_BIND = bytes.fromhex("300c020101600702010304008000")
LDAP_BOUND = bytes.fromhex("300c02010161070a010004000400")
LDAP_DENIED = bytes.fromhex("300f020101610a0a013104000403626164")
LDAP_STARTTLS = bytes.fromhex("301d02010377188016") + b"1.3.6.1.4.1.1466.20037"
LDAP_TLS = bytes.fromhex("300c02010378070a010004000400")
LDAP_TLS_UNKNOWN = bytes.fromhex("300c02010378070a010204000400")
LDAP_BUSY = bytes.fromhex("300c02010161070a013304000400")
LDAP_UNBIND = bytes.fromhex("30050201034200")
LDAP_SEARCH = bytes.fromhex(
    "302a020102632504000a01000a0100020101020100010100870b6f626a656374436c61737330050403312e31"
)
LDAP_ENTRY = bytes.fromhex("3009020102640404003000")
LDAP_DONE = bytes.fromhex("300c02010265070a010004000400")


def mysql(sequence: int, packet: bytes) -> bytes:
    return len(packet).to_bytes(3, "little") + bytes([sequence]) + packet


def postgres(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


class Exchange:
    """A dialogue and what it has said."""

    def __init__(self, question: Question) -> None:
        self._dialogue = question.begin()
        self.said = b""
        self.verdict: Verdict | None = None
        self.tls = 0
        self._take(self._dialogue.connected())

    def _take(self, step: Step) -> None:
        self.said += step.send
        self.verdict = step.verdict
        if step.start_tls:
            self.tls += 1
            self._take(self._dialogue.connected())

    def hear(self, data: bytes) -> None:
        if self.verdict is None:
            self._take(self._dialogue.received(data))

    def close(self) -> Verdict:
        return self.verdict or self._dialogue.closed()


Case = tuple[Callable[[], Question], list[bytes], Reason, bytes]
CASES: dict[str, Case] = {
    "smtp": (
        lambda: SmtpQuestion(SmtpOptions(helo_name="me")),
        [b"220-hi\r\n220 mx ESMTP\r\n", b"250-mx\r\n250-PIPELINING\r\n250 OK\r\n"],
        Reason.OK,
        b"EHLO me\r\nQUIT\r\n",
    ),
    "smtp-busy": (lambda: SmtpQuestion(SmtpOptions()), [b"421 too busy\r\n"], Reason.BAD_STATUS, b""),
    "smtp-refuses": (
        lambda: SmtpQuestion(SmtpOptions()),
        [b"220 x\r\n", b"550 go away\r\n"],
        Reason.BAD_STATUS,
        b"EHLO localhost\r\n",
    ),
    "smtp-not": (lambda: SmtpQuestion(SmtpOptions()), [b"SSH-2.0-OpenSSH\r\n"], Reason.BAD_RESPONSE, b""),
    "starttls": (
        lambda: SmtpQuestion(SmtpOptions(starttls=True)),
        [b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250 x\r\n"],
        Reason.OK,
        b"EHLO localhost\r\nSTARTTLS\r\nEHLO localhost\r\nQUIT\r\n",
    ),
    "starttls-not-offered": (
        lambda: SmtpQuestion(SmtpOptions(starttls=True)),
        [b"220 x\r\n", b"250 x\r\n"],
        Reason.TLS_FAILED,
        b"EHLO localhost\r\n",
    ),
    "ftp": (lambda: FtpQuestion(NOBODY), [b"220 hi\r\n"], Reason.OK, b"QUIT\r\n"),
    "ftp-login": (
        lambda: FtpQuestion(LoginOptions(username="a", password="b")),
        [b"220-long\r\n text\r\n220 hi\r\n", b"331 pass\r\n", b"230 in\r\n"],
        Reason.OK,
        b"USER a\r\nPASS b\r\nQUIT\r\n",
    ),
    "ftp-no-password-needed": (
        lambda: FtpQuestion(LoginOptions(username="a")),
        [b"220 hi\r\n", b"230 in\r\n"],
        Reason.OK,
        b"USER a\r\nQUIT\r\n",
    ),
    "ftp-denied": (
        lambda: FtpQuestion(LoginOptions(username="a", password="b")),
        [b"220 hi\r\n", b"331 pass\r\n", b"530 no\r\n"],
        Reason.BAD_STATUS,
        b"USER a\r\nPASS b\r\n",
    ),
    "pop": (lambda: PopQuestion(NOBODY), [b"+OK ready\r\n"], Reason.OK, b"QUIT\r\n"),
    "pop-login": (
        lambda: PopQuestion(LoginOptions(username="a", password="b")),
        [b"+OK\r\n", b"+OK\r\n", b"+OK\r\n"],
        Reason.OK,
        b"USER a\r\nPASS b\r\nQUIT\r\n",
    ),
    "pop-denied": (
        lambda: PopQuestion(LoginOptions(username="a", password="b")),
        [b"+OK\r\n", b"+OK\r\n", b"-ERR no\r\n"],
        Reason.BAD_RESPONSE,
        b"USER a\r\nPASS b\r\n",
    ),
    "imap": (lambda: ImapQuestion(NOBODY), [b"* OK ready\r\n"], Reason.OK, b"a1 LOGOUT\r\n"),
    "imap-login": (
        lambda: ImapQuestion(LOGIN),
        [b"* OK ready\r\n", b"* CAPABILITY IMAP4\r\na1 OK in\r\n"],
        Reason.OK,
        b'a1 LOGIN "joe" "p\\"w\\\\"\r\na2 LOGOUT\r\n',
    ),
    "imap-denied": (
        lambda: ImapQuestion(LOGIN),
        [b"* OK ready\r\n", b"a1 NO no\r\n"],
        Reason.BAD_STATUS,
        b'a1 LOGIN "joe" "p\\"w\\\\"\r\n',
    ),
    "imap-bye": (lambda: ImapQuestion(NOBODY), [b"* BYE full\r\n"], Reason.BAD_RESPONSE, b""),
    "nntp": (lambda: NntpQuestion(NOBODY), [b"200 news\r\n"], Reason.OK, b"QUIT\r\n"),
    "nntp-login": (
        lambda: NntpQuestion(LoginOptions(username="a", password="b")),
        [b"201 read only\r\n", b"381 more\r\n", b"281 in\r\n"],
        Reason.OK,
        b"AUTHINFO USER a\r\nAUTHINFO PASS b\r\nQUIT\r\n",
    ),
    "nntp-denied": (
        lambda: NntpQuestion(LoginOptions(username="a", password="b")),
        [b"200 news\r\n", b"381 more\r\n", b"481 no\r\n"],
        Reason.BAD_STATUS,
        b"AUTHINFO USER a\r\nAUTHINFO PASS b\r\n",
    ),
    "nntp-down": (lambda: NntpQuestion(NOBODY), [b"400 shutting down\r\n"], Reason.TOLD_DOWN, b""),
    "ldap": (lambda: LdapQuestion(LdapOptions()), [LDAP_BOUND], Reason.OK, LDAP_BIND + LDAP_UNBIND),
    "ldap-denied": (lambda: LdapQuestion(LdapOptions()), [LDAP_DENIED], Reason.BAD_STATUS, LDAP_BIND),
    "ldap-busy": (lambda: LdapQuestion(LdapOptions()), [LDAP_BUSY], Reason.TOLD_DOWN, LDAP_BIND),
    "ldap-search": (
        lambda: LdapQuestion(LdapOptions(search_base="")),
        [LDAP_BOUND, LDAP_ENTRY + LDAP_DONE],
        Reason.OK,
        LDAP_BIND + LDAP_SEARCH + LDAP_UNBIND,
    ),
    "ldap-search-empty": (
        lambda: LdapQuestion(LdapOptions(search_base="")),
        [LDAP_BOUND, LDAP_DONE],
        Reason.BODY_MISMATCH,
        LDAP_BIND + LDAP_SEARCH,
    ),
    "ldap-not": (
        lambda: LdapQuestion(LdapOptions()),
        [b"SSH-2.0-OpenSSH_9 and so on, long enough for the length that it seems to name\r\n" * 2],
        Reason.BAD_RESPONSE,
        LDAP_BIND,
    ),
    "ftp-starttls": (
        lambda: FtpQuestion(LoginOptions(username="a", password="b", starttls=True)),
        [b"220 hi\r\n", b"234 go on\r\n", b"331 pass\r\n", b"230 in\r\n"],
        Reason.OK,
        b"AUTH TLS\r\nUSER a\r\nPASS b\r\nQUIT\r\n",
    ),
    "ftp-no-tls": (
        lambda: FtpQuestion(LoginOptions(starttls=True)),
        [b"220 hi\r\n", b"500 what?\r\n"],
        Reason.TLS_FAILED,
        b"AUTH TLS\r\n",
    ),
    "pop-starttls": (
        lambda: PopQuestion(LoginOptions(username="a", password="b", starttls=True)),
        [b"+OK\r\n", b"+OK go on\r\n", b"+OK\r\n", b"+OK\r\n"],
        Reason.OK,
        b"STLS\r\nUSER a\r\nPASS b\r\nQUIT\r\n",
    ),
    "pop-no-tls": (
        lambda: PopQuestion(LoginOptions(starttls=True)),
        [b"+OK\r\n", b"-ERR what?\r\n"],
        Reason.TLS_FAILED,
        b"STLS\r\n",
    ),
    "imap-starttls": (
        lambda: ImapQuestion(LoginOptions(starttls=True)),
        [b"* OK ready\r\n", b"* noise\r\na0 OK go on\r\n"],
        Reason.OK,
        b"a0 STARTTLS\r\na1 LOGOUT\r\n",
    ),
    "imap-no-tls": (
        lambda: ImapQuestion(LoginOptions(starttls=True)),
        [b"* OK ready\r\n", b"a0 BAD what?\r\n"],
        Reason.TLS_FAILED,
        b"a0 STARTTLS\r\n",
    ),
    "nntp-starttls": (
        lambda: NntpQuestion(LoginOptions(username="a", starttls=True)),
        [b"200 news\r\n", b"382 go on\r\n", b"281 in\r\n"],
        Reason.OK,
        b"STARTTLS\r\nAUTHINFO USER a\r\nQUIT\r\n",
    ),
    "nntp-no-tls": (
        lambda: NntpQuestion(LoginOptions(starttls=True)),
        [b"200 news\r\n", b"580 cannot\r\n"],
        Reason.TLS_FAILED,
        b"STARTTLS\r\n",
    ),
    "ldap-starttls": (
        lambda: LdapQuestion(LdapOptions(starttls=True)),
        [LDAP_TLS, LDAP_BOUND],
        Reason.OK,
        LDAP_STARTTLS + LDAP_BIND + LDAP_UNBIND,
    ),
    "ldap-no-tls": (
        lambda: LdapQuestion(LdapOptions(starttls=True)),
        [LDAP_TLS_UNKNOWN],
        Reason.TLS_FAILED,
        LDAP_STARTTLS,
    ),
    "redis": (
        lambda: RedisQuestion(RedisOptions()),
        [b"+PONG\r\n"],
        Reason.OK,
        b"*1\r\n$4\r\nPING\r\n",
    ),
    "redis-login": (
        lambda: RedisQuestion(RedisOptions(username="u", password="p")),
        [b"+OK\r\n", b"+PONG\r\n"],
        Reason.OK,
        b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n*1\r\n$4\r\nPING\r\n",
    ),
    "redis-loading": (
        lambda: RedisQuestion(RedisOptions()),
        [b"-LOADING dataset\r\n"],
        Reason.TOLD_DOWN,
        b"*1\r\n$4\r\nPING\r\n",
    ),
    "redis-closed-to-us": (
        lambda: RedisQuestion(RedisOptions()),
        [b"-NOAUTH Authentication required.\r\n"],
        Reason.BAD_RESPONSE,
        b"*1\r\n$4\r\nPING\r\n",
    ),
    "agent": (lambda: AgentQuestion(AgentOptions(send=b"q\n")), [b"up 75%\n"], Reason.OK, b"q\n"),
    "agent-down": (lambda: AgentQuestion(AgentOptions()), [b"down # disk\n"], Reason.TOLD_DOWN, b""),
    "agent-nonsense": (lambda: AgentQuestion(AgentOptions()), [b"hello\n"], Reason.BAD_RESPONSE, b""),
    "postgres": (
        lambda: PostgresqlQuestion(DatabaseOptions(user="u", database="d")),
        [postgres(b"R", b"\0\0\0\5salt")],
        Reason.OK,
        b"\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0\0X\0\0\0\4",
    ),
    "postgres-stranger": (
        lambda: PostgresqlQuestion(DatabaseOptions(user="u", database="d")),
        [postgres(b"E", b"SFATAL\0C28000\0Mno\0\0")],
        Reason.OK,
        b"\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0\0",
    ),
    "postgres-starting": (
        lambda: PostgresqlQuestion(DatabaseOptions(user="u", database="d")),
        [postgres(b"E", b"SFATAL\0C57P03\0Mstarting up\0\0")],
        Reason.TOLD_DOWN,
        b"\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0\0",
    ),
    "mysql-locked-out": (
        lambda: MysqlQuestion(DatabaseOptions()),
        [mysql(0, b"\xff" + (1129).to_bytes(2, "little") + b"blocked")],
        Reason.TOLD_DOWN,
        b"",
    ),
    "mysql-old": (lambda: MysqlQuestion(DatabaseOptions()), [mysql(0, b"\x09old")], Reason.BAD_RESPONSE, b""),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("piece", [1, 3, 4096])
def test_a_dialogue(name: str, piece: int) -> None:
    make, heard, reason, said = CASES[name]
    exchange = Exchange(make())
    for data in heard:
        for at in range(0, len(data), piece):
            exchange.hear(data[at : at + piece])

    assert exchange.verdict is not None
    assert (exchange.verdict.reason, exchange.said) == (reason, said)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"\0\0\0\2\0\0\0", Reason.OK), (MYSQL_DENIED, Reason.OK), (MYSQL_FULL, Reason.TOLD_DOWN)],
)
def test_mysql_finishes_its_handshake(answer: bytes, reason: Reason) -> None:
    exchange = Exchange(MysqlQuestion(DatabaseOptions(user="check")))

    exchange.hear(mysql(0, MYSQL_GREETING))
    login = exchange.said
    exchange.hear(mysql(2, answer))

    assert login[3] == 1  # the sequence goes on
    assert int.from_bytes(login[:3], "little") == len(login) - 4
    assert b"check\0\0mysql_native_password\0" in login
    assert exchange.verdict is not None
    assert exchange.verdict.reason is reason


@pytest.mark.parametrize("name", CASES)
def test_an_end_before_the_answer_is_named(name: str) -> None:
    make, heard, _, _ = CASES[name]
    exchange = Exchange(make())
    for data in heard[:-1]:
        exchange.hear(data)

    verdict = exchange.close()
    assert verdict.reason is Reason.CLOSED
    assert "closed before" in verdict.detail


@pytest.mark.parametrize("name", CASES)
def test_an_endless_answer_ends(name: str) -> None:
    exchange = Exchange(CASES[name][0]())
    for _ in range(3000):
        exchange.hear(b"* 220- -\n" * 8 + b"x" * 100)

    assert exchange.verdict is not None
    assert not exchange.verdict.ok


@given(st.sampled_from(sorted(CASES)), st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_have_a_verdict(name: str, pieces: list[bytes]) -> None:
    exchange = Exchange(CASES[name][0]())
    for piece in pieces:
        if piece:
            exchange.hear(piece)

    assert isinstance(exchange.close(), Verdict)


@pytest.mark.parametrize(
    ("line", "reason", "percent"),
    [
        ("up", Reason.OK, None),
        ("ready 50%", Reason.OK, 50),
        ("75%", Reason.OK, 75),
        ("250%", Reason.OK, 100),
        ("up, maxconn:30", Reason.OK, None),
        ("drain", Reason.OK, 0),
        ("maint", Reason.TOLD_DOWN, None),
        ("failed #oom", Reason.TOLD_DOWN, None),
        ("", Reason.BAD_RESPONSE, None),
    ],
)
def test_words_of_an_agent(line: str, reason: Reason, percent: int | None) -> None:
    exchange = Exchange(AgentQuestion(AgentOptions()))

    exchange.hear(line.encode() + b"\r\n")

    assert exchange.verdict is not None
    assert (exchange.verdict.reason, exchange.verdict.percent) == (reason, percent)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SmtpQuestion(SmtpOptions(helo_name="a\r\nMAIL FROM:<x>")),
        lambda: FtpQuestion(LoginOptions(username="a\r\nDELE x")),
        lambda: ImapQuestion(LoginOptions(username="a", password="b\nc")),
    ],
)
def test_a_line_break_smuggles_no_command_in(make: Callable[[], Question]) -> None:
    with pytest.raises(ValueError, match="line break"):
        make()


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("starttls")])
def test_what_stands_behind_the_answer_to_starttls_is_forgotten(name: str) -> None:
    """It came in the clear, from anybody on the way: RFC 3207 section 6, CVE-2021-38371."""
    make, heard, reason, said = CASES[name]
    exchange = Exchange(make())
    for data in heard:
        exchange.hear(data if exchange.tls else data + b"500 half a line of a stran")

    assert exchange.verdict is not None
    assert (exchange.verdict.reason, exchange.said) == (reason, said)
