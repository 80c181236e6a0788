"""A check in words: what it asks, and which answer is a good one."""

from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    AgentOptions,
    CheckKind,
    CheckSettings,
    DatabaseOptions,
    DnsOptions,
    ExecOptions,
    FileOptions,
    GrpcOptions,
    HttpOptions,
    LdapOptions,
    LoginOptions,
    PingOptions,
    RadiusOptions,
    RedisOptions,
    SipOptions,
    SmtpOptions,
    TcpOptions,
    UdpOptions,
)


def _statuses(ranges: tuple[tuple[int, int], ...]) -> str:
    return "status " + ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _starttls(options: SmtpOptions | LoginOptions | LdapOptions) -> str:
    return ", STARTTLS" if options.starttls else ""


def explain(settings: CheckSettings) -> tuple[str, str]:
    """(what is asked, what is expected), without secrets."""
    if settings.kind is CheckKind.ON:
        return "nothing", "nothing: always up"
    if settings.kind is CheckKind.OFF:
        return "nothing", "nothing: always down"
    made = OPTIONS_OF_KIND[settings.kind]
    options = settings.options if settings.options is not None else made() if made is not None else None
    match options:
        case HttpOptions():
            expected = [_statuses(options.statuses)]
            if options.redirects:
                expected.append(f"after up to {options.redirects} redirects")
            if options.body_regex is not None:
                expected.append(f"a body with {options.body_regex!r}")
            if options.body_regex_absent is not None:
                expected.append(f"a body without {options.body_regex_absent!r}")
            if options.digest is not None:
                expected.append(f"a body of digest {options.digest}")
            host = f" of {options.host}" if options.host is not None else ""
            return f"{options.method} {options.path} HTTP/{options.version}{host}", ", ".join(expected)
        case TcpOptions():
            expects = [
                *([f"an answer that begins with {options.expect!r}"] if options.expect is not None else []),
                *([f"an answer with {options.expect_regex!r}"] if options.expect_regex is not None else []),
            ]
            asked = f"{len(options.send)} bytes" if options.send else "a connection"
            return asked, " and ".join(expects) or "that it is accepted"
        case PingOptions():
            return f"an echo of {options.payload_size} bytes", "an echo reply"
        case SmtpOptions():
            return f"EHLO {options.helo_name}{_starttls(options)}", "220 and 250"
        case DnsOptions():
            expected_answer = (
                f"{options.expect} among the answers" if options.expect is not None else "no error"
            )
            return f"{options.name} {options.type}", expected_answer
        case UdpOptions():
            if options.expect is not None:
                return f"{len(options.payload)} bytes", f"a reply that begins with {options.expect!r}"
            wanted = "a reply" if options.require_reply else "no ICMP error within the time-out"
            return f"{len(options.payload)} bytes", wanted
        case ExecOptions():
            weighs = ", or 2-255 as a weight" if options.weight_from_exit else ""
            return f"{' '.join(options.argv)}", f"exit status 0{weighs}"
        case FileOptions():
            if options.weight_from_content:
                return f"{options.path}", "a percentage in it"
            return f"{options.path}", "that it is there" if options.present_is_up else "that it is not there"
        case AgentOptions():
            return "the agent", "up, ready, drain or a percentage"
        case RedisOptions():
            return "PING" if options.password is None else "AUTH and PING", "+PONG"
        case LoginOptions():
            who = f" and a login as {options.username}" if options.username is not None else ""
            return f"the greeting{_starttls(options)}{who}", "that it is friendly"
        case LdapOptions():
            who = options.username if options.username is not None else "nobody"
            entry = f", and the entry {options.search_base!r}" if options.search_base is not None else ""
            return f"a bind as {who}{entry}{_starttls(options)}", "success"
        case RadiusOptions():
            if options.username is None:
                return "Status-Server", "Access-Accept, signed with our secret"
            return f"Access-Request for {options.username}", "Access-Accept, signed with our secret"
        case GrpcOptions():
            return f"the health of {options.service or 'the whole server'}", "SERVING"
        case SipOptions():
            over = "TLS" if options.tls is not None else options.transport.upper()
            return f"OPTIONS of {options.user} over {over}", _statuses(options.statuses)
        case DatabaseOptions():
            return f"a login as {options.user}", "that the server takes part in it"
        case _:
            raise AssertionError(f"{settings.kind} has no words")


def secrets_of(settings: CheckSettings) -> tuple[bytes, ...]:
    """What must not be shown of an exchange, longest first."""
    options = settings.options
    found = [getattr(options, name, None) for name in ("password", "secret", "authorization")]
    found += [value for _, value in getattr(options, "headers", ())]
    encoded = {text.encode() for text in found if text}
    return tuple(sorted(encoded, key=len, reverse=True))
