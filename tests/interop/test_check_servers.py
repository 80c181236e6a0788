"""Checks of real servers: the good answer, and the bad one, of each kind that Debian has a server for."""

import asyncio
import os
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import (
    CheckKind,
    CheckOptions,
    CheckSettings,
    DatabaseOptions,
    GrpcOptions,
    HttpOptions,
    LdapOptions,
    LoginOptions,
    RadiusOptions,
    SmtpOptions,
    TcpOptions,
    TlsOptions,
    basic_authorization,
)
from lvsha.core.instant import SECOND
from lvsha.io.probes.runner import probe_once
from tests.interop import check_servers as servers
from tests.interop.check_servers import AUTHORITY, HOST, Running, Server

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="servers that drop their rights need some"),
]

STARTS_S = 8.0
TLS = TlsOptions(ca_file=str(AUTHORITY))
STRANGER = TlsOptions()
"""An authority that the test certificate does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question, and what comes of it."""

    kind: CheckKind
    options: CheckOptions | None = None
    reason: Reason = Reason.OK
    word: str = ""
    tls: bool = False
    """Ask the server's TLS port."""
    at_other: bool = False
    """Ask the server's third port."""


def http(
    reason: Reason = Reason.OK, word: str = "", *, tls: TlsOptions | None = None, **options: object
) -> Case:
    kind = CheckKind.HTTP if tls is None else CheckKind.HTTPS
    made = HttpOptions(**options, **({} if tls is None else {"tls": tls}))  # type: ignore[arg-type]
    return Case(kind=kind, options=made, reason=reason, word=word, tls=tls is not None)


def of(kind: CheckKind, options: CheckOptions, reason: Reason = Reason.OK, word: str = "") -> Case:
    asks_later = getattr(options, "starttls", False) or kind is CheckKind.SMTP
    tls = getattr(options, "tls", None) is not None and not asks_later
    return Case(kind=kind, options=options, reason=reason, word=word, tls=tls)


def starttls(
    kind: CheckKind, reason: Reason = Reason.OK, word: str = "", *, tls: TlsOptions = TLS, **login: str
) -> Case:
    """TLS that is asked for in the clear."""
    made = LdapOptions if kind is CheckKind.LDAP else LoginOptions
    options = made(starttls=True, tls=tls, **login)
    return Case(kind=kind, options=options, reason=reason, word=word, at_other=kind is CheckKind.POP)


CASES: dict[str, tuple[Server, tuple[Case, ...]]] = {
    "nginx": (
        servers.nginx,
        (
            http(body_regex="of nginx"),
            http(path="/old", redirects=2),
            http(Reason.BAD_STATUS, "302", path="/old"),
            http(Reason.BAD_STATUS, "more than 3", path="/loop", redirects=3),
            http(Reason.BAD_STATUS, "away", path="/away", redirects=3),
            http(Reason.BAD_STATUS, "503", path="/busy"),
            http(statuses=((503, 503),), path="/busy", body_regex="not now"),
            http(Reason.BAD_STATUS, "401", path="/secret"),
            http(
                Reason.BAD_STATUS, "404", path="/secret", authorization=basic_authorization("joe", "sesame")
            ),
            http(tls=TLS, body_regex="of nginx"),
            http(tls=TLS, version="2", body_regex="of nginx"),
            http(Reason.BAD_STATUS, "503", tls=TLS, version="2", path="/busy"),
            http(Reason.CERTIFICATE_INVALID, "certificate", tls=STRANGER),
            http(Reason.BAD_RESPONSE, "HTTP/1", version="2"),
        ),
    ),
    "nghttpd": (servers.nghttpd, (http(version="2", path="/", body_regex="of nghttpd"),)),
    "slapd": (
        servers.slapd,
        (
            of(CheckKind.LDAP, LdapOptions()),
            of(CheckKind.LDAP, LdapOptions(search_base="")),
            of(CheckKind.LDAP, LdapOptions(search_base="dc=example", tls=TLS)),
            of(CheckKind.LDAP, LdapOptions(search_base="dc=nowhere"), Reason.BAD_STATUS, "noSuchObject"),
            of(CheckKind.LDAP, LdapOptions(username="cn=admin,dc=example", password="sesame")),
            of(
                CheckKind.LDAP,
                LdapOptions(username="cn=admin,dc=example", password="wrong"),
                Reason.BAD_STATUS,
                "invalidCredentials",
            ),
            of(CheckKind.LDAPS, LdapOptions(search_base="dc=example", tls=TLS)),
            starttls(CheckKind.LDAP, username="cn=admin,dc=example", password="sesame"),
            starttls(CheckKind.LDAP, search_base="dc=example"),
            starttls(CheckKind.LDAP, Reason.CERTIFICATE_INVALID, tls=STRANGER),
        ),
    ),
    "freeradius": (
        servers.freeradius,
        (
            of(CheckKind.RADIUS, RadiusOptions(secret="testing123")),
            of(CheckKind.RADIUS, RadiusOptions(secret="testing123", username="joe", password="sesame")),
            of(
                CheckKind.RADIUS,
                RadiusOptions(secret="testing123", username="joe", password="wrong"),
                Reason.BAD_STATUS,
                "Reject",
            ),
            of(CheckKind.RADIUS, RadiusOptions(secret="other"), Reason.TIMEOUT, "secret"),
        ),
    ),
    "vsftpd": (
        servers.vsftpd,
        (
            of(CheckKind.FTP, LoginOptions()),
            of(
                CheckKind.FTP,
                LoginOptions(username="anonymous", password="x@example.com"),
                Reason.BAD_STATUS,
                "encryption",
            ),
            starttls(CheckKind.FTP),
            starttls(CheckKind.FTP, username="anonymous", password="x@example.com"),
            starttls(CheckKind.FTP, Reason.CERTIFICATE_INVALID, tls=STRANGER),
            of(CheckKind.FTP, LoginOptions(username="joe", password="x"), Reason.BAD_STATUS, "530"),
        ),
    ),
    "dovecot": (
        servers.dovecot,
        (
            of(CheckKind.IMAP, LoginOptions()),
            of(CheckKind.IMAP, LoginOptions(username="joe", password="sesame")),
            of(CheckKind.IMAP, LoginOptions(username="joe", password="wrong"), Reason.BAD_STATUS, "AUTH"),
            of(CheckKind.POP, LoginOptions(tls=TLS)),
            of(CheckKind.POP, LoginOptions(username="joe", password="sesame", tls=TLS)),
            of(CheckKind.POPS, LoginOptions(username="joe", password="sesame", tls=TLS)),
            of(CheckKind.POP, LoginOptions(tls=STRANGER), Reason.CERTIFICATE_INVALID),
            starttls(CheckKind.IMAP, username="joe", password="sesame"),
            starttls(CheckKind.IMAP, Reason.BAD_STATUS, "AUTH", username="joe", password="wrong"),
            starttls(CheckKind.IMAP, Reason.CERTIFICATE_INVALID, tls=STRANGER),
            starttls(CheckKind.POP, username="joe", password="sesame"),
            starttls(CheckKind.POP, Reason.CERTIFICATE_INVALID, tls=STRANGER),
        ),
    ),
    "aiosmtpd": (
        servers.aiosmtpd,
        (
            of(CheckKind.SMTP, SmtpOptions(helo_name="check.example")),
            of(CheckKind.SMTP, SmtpOptions(starttls=True, tls=TLS)),
            of(CheckKind.SMTP, SmtpOptions(starttls=True, tls=STRANGER), Reason.CERTIFICATE_INVALID),
            of(CheckKind.TCP, TcpOptions(expect=b"220 ")),
            of(CheckKind.FTP, LoginOptions(username="joe", password="x"), Reason.BAD_STATUS),
        ),
    ),
    "postgresql": (
        servers.postgresql,
        (
            of(CheckKind.POSTGRESQL, DatabaseOptions(user="postgres", database="postgres")),
            of(CheckKind.POSTGRESQL, DatabaseOptions(user="nobody-we-know", database="postgres")),
            of(CheckKind.MYSQL, DatabaseOptions(), Reason.TIMEOUT, "greeting"),
        ),
    ),
    "mariadb": (
        servers.mariadb,
        (
            of(CheckKind.MYSQL, DatabaseOptions(user="lvsha")),
            of(CheckKind.POSTGRESQL, DatabaseOptions(), Reason.BAD_RESPONSE),
        ),
    ),
    "grpc": (
        servers.grpc,
        (
            of(CheckKind.GRPC, GrpcOptions()),
            of(CheckKind.GRPC, GrpcOptions(tls=TLS)),
            of(CheckKind.GRPC, GrpcOptions(service="a.down"), Reason.TOLD_DOWN, "NOT_SERVING"),
            of(CheckKind.GRPC, GrpcOptions(service="a.other"), Reason.BAD_STATUS, "NOT_FOUND"),
            of(CheckKind.GRPC, GrpcOptions(tls=STRANGER), Reason.CERTIFICATE_INVALID),
        ),
    ),
}


def settings_of(case: Case, running: Running) -> CheckSettings:
    return CheckSettings(
        kind=case.kind,
        address=ip_address(HOST),
        port=running.tls_port if case.tls else running.other_port if case.at_other else running.port,
        options=case.options,
        timeout=SECOND if case.reason is Reason.TIMEOUT else 5 * SECOND,
    )


async def first_answer(settings: CheckSettings, wanted: Reason) -> ProbeResult:
    """Ask until it is as wanted: a server takes a moment to begin."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        result = await probe_once(settings)
        if result.reason is wanted or loop.time() - began > STARTS_S:
            return result
        await asyncio.sleep(0.05)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", CASES)
async def test_a_real(name: str) -> None:
    start, cases = CASES[name]
    wrong: list[str] = []
    with servers.place() as directory, start(directory) as running:
        for number, case in enumerate(cases):
            settings = settings_of(case, running)
            result = await (first_answer(settings, case.reason) if number == 0 else probe_once(settings))
            if result.reason is not case.reason or case.word not in result.detail:
                wrong.append(f"{settings.target()} {case.options}: {result.reason} {result.detail}")
            assert not result.ours, result.detail
            if wrong and number == 0:
                break  # it has not begun at all
        said = (directory / "log").read_text(errors="replace")[-2000:]

    assert not wrong, "\n".join([*wrong, said])


@pytest.mark.timeout(60)
async def test_a_real_proxy() -> None:
    login = basic_authorization("joe", "sesame")
    with servers.place() as directory, servers.tinyproxy(directory) as running:
        page = f"http://{HOST}:{running.tls_port}/page.html"

        def asked(**options: object) -> CheckSettings:
            made = HttpOptions(**options)  # type: ignore[arg-type]
            case = Case(kind=CheckKind.HTTP_PROXY, options=made)
            return settings_of(case, running)

        good = await first_answer(
            asked(path=page, authorization=login, body_regex="behind a proxy"), Reason.OK
        )
        tunnel = await probe_once(
            asked(method="CONNECT", path=f"{HOST}:{running.tls_port}", authorization=login)
        )
        stranger = await probe_once(asked(path=page))
        said = (directory / "log").read_text(errors="replace")[-2000:]
        nothing = await probe_once(asked(path=f"http://{HOST}:9/", authorization=login))

    assert good.ok, good.detail + said
    assert tunnel.ok, tunnel.detail
    assert (stranger.reason, "407" in stranger.detail) == (Reason.BAD_STATUS, True), stranger.detail
    assert nothing.reason is Reason.BAD_STATUS
