"""What is wrong with a configuration, gathered until everything was looked at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from lvsha.config.lines import Path, path_text
from lvsha.core.errors import ConfigProblem


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, before its line is known."""

    path: Path
    message: str
    suggestion: str | None
    is_error: bool


class Findings:
    """Errors and warnings in the order in which they were found, each once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str], Finding] = {}

    def error(self, path: Path, message: str, suggestion: str | None = None) -> None:
        """Something that keeps the configuration from being used."""
        self._found.setdefault((path, message), Finding(path, message, suggestion, True))

    def warning(self, path: Path, message: str, suggestion: str | None = None) -> None:
        """Something that works, but probably not as its author thinks."""
        self._found.setdefault((path, message), Finding(path, message, suggestion, False))

    @property
    def has_errors(self) -> bool:
        return any(finding.is_error for finding in self._found.values())

    def problems(self, line: Callable[[Path], int | None], *, errors: bool) -> tuple[ConfigProblem, ...]:
        """Either the errors or the warnings, in the order of the file; ``line`` knows where a path stands."""
        problems = [
            ConfigProblem(
                path=path_text(finding.path) or "(the whole file)",
                message=finding.message,
                line=line(finding.path),
                suggestion=finding.suggestion,
            )
            for finding in self._found.values()
            if finding.is_error is errors
        ]
        return tuple(sorted(problems, key=lambda problem: problem.line or 0))

    def take(self, others: "Findings", *, place: int) -> None:
        """Those that were found in one service, which now has this place."""
        for finding in others._found.values():
            path = finding.path
            if path[0] == "service" and len(path) > 1 and path[1] != place:
                finding = replace(finding, path=("service", place, *path[2:]))
            self._found.setdefault((finding.path, finding.message), finding)


OTHER_WORDS = {
    # keepalived's and ldirectord's words, and what people type from habit.
    "virtual_router_id": "vrid",
    "router_id": "vrid",
    "virtual_ipaddress": "addresses",
    "virtual_ipaddresses": "addresses",
    "virtual_ipaddress_excluded": "excluded_addresses",
    "vips": "addresses",
    "advert_int": "advert_interval",
    "nopreempt": "preempt",
    "unicast_peer": "unicast_peers",
    "unicast_src_ip": "source_address",
    "mcast_src_ip": "source_address",
    "auth_pass": "password",
    "state": "priority",
    "vrrp_instance": "vrrp",
    "virtual_server": "service",
    "services": "service",
    "global_defs": "agent",
    "lb_algo": "scheduler",
    "lvs_sched": "scheduler",
    "sched": "scheduler",
    "lb_kind": "method",
    "lvs_method": "method",
    "forward": "method",
    "gate": "dr",
    "direct": "dr",
    "droute": "dr",
    "masq": "nat",
    "tunnel": "tun",
    "ipip": "tun",
    "real": "realservers",
    "real_server": "realservers",
    "real_servers": "realservers",
    "servers": "realservers",
    "backends": "realservers",
    "destinations": "realservers",
    "virtual": "address",
    "vip": "address",
    "ip": "address",
    "checker": "check",
    "sorry_server": "sorry",
    "fallback": "sorry",
    "inhibit_on_failure": "on_failure",
    "quiescent": "on_failure",
    "inhibit": "weight-zero",
    "persistent": "persistence_timeout",
    "persistence_granularity": "persistence_netmask",
    "netmask": "persistence_netmask",
    "uthreshold": "upper_threshold",
    "lthreshold": "lower_threshold",
    "delay_loop": "interval",
    "checkinterval": "interval",
    "connect_timeout": "timeout",
    "checktimeout": "timeout",
    "retry": "fall",
    "failurecount": "fall",
    "delay_before_retry": "fast_interval",
    "status_code": "status",
    "statuses": "status",
    "regex": "body_regex",
    "url": "path",
    "request": "path",
    "virtualhost": "host",
    "http_get": "http",
    "ssl_get": "https",
    "tcp_check": "tcp",
    "connect": "tcp",
    "icmp": "ping",
    "ping_check": "ping",
    "smtp_check": "smtp",
    "dns_check": "dns",
    "udp_check": "udp",
    "misc_check": "exec",
    "external": "exec",
    "script": "exec",
    "none": "on",
    "id": "syncid",
    "syncd": "sync",
    "lvs_sync_daemon": "sync",
    "mcast_group": "group",
    "mcast_port": "port",
    "mcast_ttl": "ttl",
    "sync_maxlen": "maxlen",
    "nodes": "directors",
    "director": "directors",
    "peers": "directors",
}
"""What other tools call a thing, or a slip of the pen that no edit distance finds."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant."""
    known = list(choices)
    lowered = word.lower().replace("-", "_")
    for candidate in (lowered, lowered.replace("_", "-"), OTHER_WORDS.get(lowered)):
        if candidate in known:
            return candidate
    matches = get_close_matches(word, known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """``did you mean "scheduler"?``, or nothing when no choice is near."""
    meant = nearest(word, choices)
    return f'did you mean "{meant}"?' if meant is not None else None
