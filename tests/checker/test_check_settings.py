"""What is refused, and that secrets are not shown."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from lvsha.checker.problems import problems
from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    PORTLESS_KINDS,
    CheckKind,
    CheckOptions,
    CheckSettings,
    ExecOptions,
    FileOptions,
    HttpOptions,
    LdapOptions,
    LoginOptions,
    PingOptions,
    RadiusOptions,
    TcpOptions,
    basic_authorization,
)
from lvsha.core.instant import MILLISECOND

HTTP = CheckSettings(kind=CheckKind.HTTP, address=IPv4Address("10.0.0.11"), port=80)


@pytest.mark.parametrize("kind", CheckKind)
def test_every_kind_has_defaults_without_problems(kind: CheckKind) -> None:
    options: CheckOptions | None = None
    if kind is CheckKind.EXEC:
        options = ExecOptions(argv=("/bin/true",))
    elif kind is CheckKind.FILE:
        options = FileOptions(path="/run/up")
    elif kind is CheckKind.RADIUS:
        options = RadiusOptions(secret="s")
    elif kind is CheckKind.HTTP_PROXY:
        options = HttpOptions(path="http://www.example.com/")
    settings = CheckSettings(
        kind=kind,
        address=IPv6Address("fd00::11"),
        port=0 if kind in PORTLESS_KINDS else 80,
        options=options,
    )

    assert list(problems(settings)) == []
    assert kind in OPTIONS_OF_KIND


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (replace(HTTP, port=0), "port"),
        (replace(HTTP, interval=MILLISECOND), "interval"),
        (replace(HTTP, down_interval=MILLISECOND), "down_interval"),
        (replace(HTTP, timeout=0), "timeout"),
        (replace(HTTP, rise=0), "rise"),
        (replace(HTTP, fall=10_000), "fall"),
        (replace(HTTP, jitter_percent=60), "jitter_percent"),
        (replace(HTTP, fwmark=-1), "fwmark"),
        (replace(HTTP, bind_port=70_000), "bind_port"),
        (replace(HTTP, bind_address=IPv6Address("::1")), "bind_address"),
        (replace(HTTP, options=PingOptions()), "options"),
        (replace(HTTP, kind=CheckKind.ON, options=PingOptions()), "options"),
        (replace(HTTP, options=HttpOptions(path="index.html")), "path"),
        (replace(HTTP, options=HttpOptions(path="/a b")), "path"),
        (replace(HTTP, options=HttpOptions(method="G ET")), "method"),
        (replace(HTTP, options=HttpOptions(version="3")), "version"),
        (replace(HTTP, options=HttpOptions(redirects=11)), "redirects"),
        (replace(HTTP, options=HttpOptions(redirects=1, version="2")), "redirects"),
        (replace(HTTP, kind=CheckKind.HTTP_PROXY, options=HttpOptions(path="/")), "path"),
        (
            replace(HTTP, kind=CheckKind.HTTP_PROXY, options=HttpOptions(method="CONNECT", path="http://a/")),
            "path",
        ),
        (replace(HTTP, kind=CheckKind.LDAP, options=LdapOptions(username="cn=a")), "password"),
        (replace(HTTP, kind=CheckKind.RADIUS, options=RadiusOptions()), "secret"),
        (replace(HTTP, plain_connects=1001), "plain_connects"),
        (replace(HTTP, kind=CheckKind.DNS, options=None, plain_connects=1), "plain_connects"),
        (replace(HTTP, options=HttpOptions(headers=(("X", "a\r\nEvil: yes"),))), "headers"),
        (replace(HTTP, options=HttpOptions(headers=(("X:", "a"),))), "headers"),
        (replace(HTTP, options=HttpOptions(host="a\nb")), "headers"),
        (replace(HTTP, options=HttpOptions(statuses=())), "statuses"),
        (replace(HTTP, options=HttpOptions(statuses=((300, 200),))), "statuses"),
        (replace(HTTP, options=HttpOptions(body_regex="(")), "body_regex"),
        (replace(HTTP, options=HttpOptions(digest="abc")), "digest"),
        (replace(HTTP, options=HttpOptions(body_limit=-1)), "body_limit"),
        (replace(HTTP, kind=CheckKind.TCP, options=TcpOptions(expect_regex="[")), "expect_regex"),
        (replace(HTTP, kind=CheckKind.PING, options=PingOptions(payload_size=9000)), "payload_size"),
        (replace(HTTP, kind=CheckKind.EXEC), "argv"),
        (replace(HTTP, kind=CheckKind.FILE), "path"),
    ],
)
def test_problem_names_its_field(settings: CheckSettings, field: str) -> None:
    assert [name for name, _ in problems(settings)] == [field]


def test_secrets_do_not_appear_in_repr() -> None:
    secret = "correct horse"
    options = (
        HttpOptions(authorization=basic_authorization("joe", secret), headers=(("X-Key", secret),)),
        LoginOptions(username="joe", password=secret),
        TcpOptions(send=secret.encode()),
    )

    for option in options:
        assert secret not in repr(option)
        assert "am9l" not in repr(option), "nor base64 of it"


def test_target_is_written_as_ipvsadm_does() -> None:
    assert HTTP.target() == "http 10.0.0.11:80"
    assert replace(HTTP, address=IPv6Address("fd00::1")).target() == "http [fd00::1]:80"
    assert replace(HTTP, kind=CheckKind.PING).target() == "ping 10.0.0.11"
