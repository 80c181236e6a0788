"""Everything that is wrong with a check's settings.

For whoever reads them from a file: each problem carries the field's name, so that it
can be reported with a path.
"""

import re
from collections.abc import Iterator

from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    PORTLESS_KINDS,
    STREAM_KINDS,
    TLS_KINDS,
    CheckKind,
    CheckSettings,
    ExecOptions,
    FileOptions,
    HttpOptions,
    LdapOptions,
    LoginOptions,
    PingOptions,
    RadiusOptions,
    SipOptions,
    TcpOptions,
)
from lvsha.core.instant import MILLISECOND

_DIGEST = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_MINIMUM_INTERVAL = 50 * MILLISECOND


def problems(settings: CheckSettings) -> Iterator[tuple[str, str]]:
    """Everything wrong with ``settings``: the field's name and a sentence."""
    if settings.kind not in PORTLESS_KINDS and not 1 <= settings.port <= 65535:
        yield "port", f"a {settings.kind} check needs a port from 1 to 65535"
    for name in ("interval", "fast_interval", "down_interval"):
        value = getattr(settings, name)
        if value is not None and value < _MINIMUM_INTERVAL:
            yield name, "shorter than 50 ms"
    if settings.timeout < 10 * MILLISECOND:
        yield "timeout", "shorter than 10 ms"
    for name in ("rise", "fall"):
        if not 1 <= getattr(settings, name) <= 1000:
            yield name, "outside 1-1000"
    if not 0 <= settings.jitter_percent <= 50:
        yield "jitter_percent", "outside 0-50"
    if not 0 <= settings.bind_port <= 65535:
        yield "bind_port", "outside 0-65535"
    elif not 1 <= settings.bind_port_count <= 65536 - settings.bind_port:
        yield "bind_port_count", "reaches beyond port 65535"
    if not 0 <= settings.fwmark <= 0xFFFFFFFF:
        yield "fwmark", "outside 0-0xffffffff"
    if settings.bind_address is not None and settings.bind_address.version != settings.address.version:
        yield (
            "bind_address",
            f"is IPv{settings.bind_address.version}, the target is IPv{settings.address.version}",
        )
    if not 0 <= settings.plain_connects <= 1000:
        yield "plain_connects", "outside 0-1000"
    elif settings.plain_connects and settings.kind not in STREAM_KINDS:
        yield "plain_connects", f"a {settings.kind} check has no connection"
    wanted = OPTIONS_OF_KIND[settings.kind]
    options = settings.options
    if options is not None and (wanted is None or not isinstance(options, wanted)):
        yield "options", f"{type(options).__name__} does not fit a {settings.kind} check"
    elif isinstance(options, HttpOptions):
        yield from _http_problems(options, is_proxy=settings.kind is CheckKind.HTTP_PROXY)
    elif isinstance(options, LoginOptions | LdapOptions) and options.starttls and settings.kind in TLS_KINDS:
        yield "starttls", f"{settings.kind} speaks TLS from the first byte"
    elif isinstance(options, LdapOptions) and options.username and not options.password:
        yield "password", "a name without a password is an anonymous bind in disguise (RFC 4513)"
    elif isinstance(options, PingOptions) and not 0 <= options.payload_size <= 1400:
        yield "payload_size", "outside 0-1400"
    elif isinstance(options, SipOptions) and options.tls is not None and options.transport == "udp":
        yield "tls", 'is spoken over TCP: transport = "tcp"'
    elif isinstance(options, TcpOptions):
        yield from _regex_problem("expect_regex", options.expect_regex)
    if settings.kind is CheckKind.EXEC and not (isinstance(options, ExecOptions) and options.argv):
        yield "argv", "an exec check needs a program"
    if settings.kind is CheckKind.FILE and not (isinstance(options, FileOptions) and options.path):
        yield "path", "a file check needs a path"
    if settings.kind is CheckKind.RADIUS and not (isinstance(options, RadiusOptions) and options.secret):
        yield "secret", "a radius check needs the secret that the server has for us"
    if settings.kind is CheckKind.HTTP_PROXY and not isinstance(options, HttpOptions):
        yield "path", "a proxy is asked for a whole address: http://www.example.com/"


def _http_problems(options: HttpOptions, *, is_proxy: bool) -> Iterator[tuple[str, str]]:
    if is_proxy:
        if options.method == "CONNECT":
            if not _AUTHORITY.fullmatch(options.path):
                yield "path", "CONNECT is asked for host and port: www.example.com:443"
        elif not options.path.startswith(("http://", "https://", "ftp://")):
            yield "path", "a proxy is asked for a whole address: http://www.example.com/"
        if options.version == "2":
            yield "version", "a proxy is asked in HTTP/1"
        if options.redirects:
            yield "redirects", "a proxy's redirects lead elsewhere"
    elif not options.path.startswith("/") and not (options.method == "OPTIONS" and options.path == "*"):
        yield "path", "has to begin with /"
    if any(character <= " " or character == "\x7f" for character in options.path):
        yield "path", "holds a space or a control character; write it percent-encoded"
    if not _TOKEN.fullmatch(options.method):
        yield "method", f"{options.method!r} is not an HTTP method"
    if options.version not in ("1.0", "1.1", "2"):
        yield "version", "is 1.0, 1.1 or 2"
    if not 0 <= options.redirects <= 10:
        yield "redirects", "outside 0-10"
    elif options.redirects and options.version == "2":
        yield "redirects", "are followed with HTTP/1 only"
    for name, value in (
        *options.headers,
        ("Host", options.host or ""),
        ("Authorization", options.authorization or ""),
    ):
        if not _TOKEN.fullmatch(name):
            yield "headers", f"{name!r} is not a header's name"
        if any(character in value for character in "\r\n\0"):
            yield "headers", f"the value of {name} holds a line break"
    if not options.statuses:
        yield "statuses", "no status would be good"
    for low, high in options.statuses:
        if not 100 <= low <= high <= 999:
            yield "statuses", f"{low}-{high} is not a range within 100-999"
    yield from _regex_problem("body_regex", options.body_regex)
    yield from _regex_problem("body_regex_absent", options.body_regex_absent)
    if options.digest is not None and not _DIGEST.fullmatch(options.digest):
        yield "digest", "is neither an MD5 (32 hexadecimal digits) nor a SHA-256 (64)"
    if not 0 <= options.body_limit <= 64 * 1024 * 1024:
        yield "body_limit", "outside 0-64 MiB"


def _regex_problem(name: str, pattern: str | None) -> Iterator[tuple[str, str]]:
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            yield name, f"is not a regular expression: {error}"
