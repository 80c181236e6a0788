"""keepalived.conf."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lvsha.checker.combine import Needs
from lvsha.checker.pool import OnFailure
from lvsha.checker.settings import (
    CheckKind,
    CheckSettings,
    DnsOptions,
    ExecOptions,
    HttpOptions,
    SmtpOptions,
    UdpOptions,
)
from lvsha.config.exporters.words import FLAG_NAMES, Exported, netmask_text, word_of
from lvsha.config.services import METHODS, PROTOCOLS, TUNNEL_FLAGS, TUNNEL_TYPES
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.addr import AF_INET
from lvsha.core.instant import to_seconds
from lvsha.ipvs.model import Destination, ForwardingMethod, ServiceFlags, ServiceKey
from lvsha.vrrp.routes import RouteSettings, RuleSettings
from lvsha.vrrp.settings import Authentication, RouterSettings
from lvsha.vrrp.track import TrackKind, TrackSettings


def to_keepalived(settings: Settings) -> Exported:
    """A keepalived.conf for one director."""
    writer = _Keepalived(settings)
    return writer.text(), tuple(writer.lost)


class _Keepalived:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lines: list[str] = []
        self._depth = 0
        self._scripts: dict[str, str] = {}
        self.lost: list[str] = []

    def text(self) -> str:
        settings = self._settings
        with self._block("global_defs"):
            self._globals()
        self._link_delays()
        scripts = dict.fromkeys(
            (track.key, track) for router in settings.routers for track in router.track if track.command
        )
        self._scripts = {key: f"script_{number}" for number, (key, _) in enumerate(scripts, 1)}
        for key, track in scripts:
            with self._block(f"vrrp_script {self._scripts[key]}"):
                self._script(track)
        for router in settings.routers:
            with self._block(f"vrrp_instance {_quoted(router.name)}"):
                self._router(router)
        for group in dict.fromkeys(router.group for router in settings.routers if router.group):
            with self._block(f"vrrp_sync_group {_quoted(group)}"), self._block("group"):
                self._values(_quoted(router.name) for router in settings.routers if router.group == group)
        for service in settings.services:
            with self._block(f"virtual_server {_virtual(service.service.key)}"):
                self._service(service)
        return "\n".join(self._lines) + "\n"

    @contextmanager
    def _block(self, header: str) -> Iterator[None]:
        if self._depth == 0 and self._lines:
            self._lines.append("")
        self._line(header + " {")
        self._depth += 1
        yield
        self._depth -= 1
        self._line("}")

    def _line(self, *words: object) -> None:
        self._lines.append("    " * self._depth + " ".join(map(str, words)))

    def _globals(self) -> None:
        settings = self._settings
        self._line("router_id", _quoted(settings.node))
        if settings.sync is not None:
            words = ["lvs_sync_daemon", settings.sync.interface, "id", settings.sync.syncid]
            for word, value in (
                ("maxlen", settings.sync.maxlen),
                ("port", settings.sync.port),
                ("ttl", settings.sync.ttl),
                ("group", settings.sync.group),
            ):
                if value is not None:
                    words += [word, value]
            self._line(*words)
        if settings.timeouts is not None:
            pairs = (
                ("tcp", settings.timeouts.tcp_s),
                ("tcpfin", settings.timeouts.tcp_fin_s),
                ("udp", settings.timeouts.udp_s),
            )
            words = [str(word) for pair in pairs if pair[1] for word in pair]
            if words:
                self._line("lvs_timeouts", *words)
        if any(track.command for router in settings.routers for track in router.track):
            self._line("script_user root")
            self._line("enable_script_security")
        if delay := max((router.startup_delay for router in settings.routers), default=0):
            self._line("vrrp_startup_delay", f"{to_seconds(delay):g}")

    def _link_delays(self) -> None:
        delays = {
            router.interface: f"{to_seconds(router.link_down_delay):g} {to_seconds(router.link_up_delay):g}"
            for router in self._settings.routers
            if router.link_down_delay or router.link_up_delay
        }
        if delays:
            with self._block("interface_up_down_delays"):
                self._values(f"{interface} {both}" for interface, both in delays.items())

    def _script(self, track: TrackSettings) -> None:
        self._line("script", _quoted(shlex.join(track.command)))
        self._line("interval", f"{to_seconds(track.interval):g}")
        self._line("timeout", f"{to_seconds(track.timeout):g}")
        self._line("rise", track.rise)
        self._line("fall", track.fall)

    def _router(self, router: RouterSettings) -> None:
        self._line("state", "MASTER" if router.priority == 255 else "BACKUP")
        self._line("interface", router.interface)
        self._line("virtual_router_id", router.vrid)
        self._line("priority", router.priority)
        if router.vmac_interface is not None:
            self._line("use_vmac", router.vmac_interface)
            if router.unicast_peers:
                self._line("vmac_xmit_base")
        self._line("version", router.version)
        self._line("advert_int", f"{to_seconds(router.advert_interval):g}")
        if not router.preempts:
            self._line("nopreempt")
        elif router.preempt_delay:
            self._line("preempt_delay", f"{to_seconds(router.preempt_delay):g}")
        if router.source_address is not None:
            self._line("unicast_src_ip" if router.unicast_peers else "mcast_src_ip", router.source_address)
        if router.unicast_peers:
            with self._block("unicast_peer"):
                self._values(router.unicast_peers)
        if router.password is not None:
            with self._block("authentication"):
                self._line("auth_type PASS")
                self._line("auth_pass", _quoted(router.password))
        with self._block("virtual_ipaddress"):
            self._values(router.addresses)
        if router.excluded_addresses:
            with self._block("virtual_ipaddress_excluded"):
                self._values(router.excluded_addresses)
        self._line("garp_master_repeat", router.garp.repeat)
        self._line("garp_master_refresh", f"{to_seconds(router.garp.refresh):g}")
        if router.routes:
            with self._block("virtual_routes"):
                self._values(map(_route, router.routes))
        if router.rules:
            with self._block("virtual_rules"):
                self._values(map(_rule, router.rules))
        self._tracks(router)
        for what, is_set in (
            ("hook: write notify scripts", router.hook),
            ("pre_hook", router.pre_hook),
            ("second path for adverts", router.paths),
            ("such authentication", router.authentication is not Authentication.NONE),
        ):
            if is_set:
                self.lost.append(f"vrrp {router.name}: keepalived has no {what}")

    def _tracks(self, router: RouterSettings) -> None:
        blocks: dict[str, list[str]] = {}
        for track in router.track:
            weight = f" weight {track.weight}" if track.weight is not None else ""
            if track.kind is TrackKind.INTERFACE:
                blocks.setdefault("track_interface", []).append(track.target + weight)
            elif track.kind is TrackKind.SCRIPT:
                blocks.setdefault("track_script", []).append(self._scripts[track.key] + weight)
            else:
                self.lost.append(
                    f"vrrp {router.name}: keepalived does not track {track.kind} {track.target} so:"
                    " write a vrrp_script"
                )
        for keyword, lines in blocks.items():
            with self._block(keyword):
                self._values(lines)

    def _values(self, values: Any) -> None:
        for value in values:
            self._line(value)

    def _service(self, settings: ServiceSettings) -> None:
        service, key = settings.service, settings.service.key
        if key.address is None:
            self._line("ip_family", "inet" if key.family == AF_INET else "inet6")
        else:
            self._line("protocol", word_of(PROTOCOLS, key.protocol).upper())
        self._line("lvs_sched", service.scheduler)
        for flag, name in FLAG_NAMES:
            if flag in service.flags:
                self._line(f"{service.scheduler}-{name}")
        if ServiceFlags.ONE_PACKET in service.flags:
            self._line("ops")
        if service.persistence_timeout_s is not None:
            self._line("persistence_timeout", service.persistence_timeout_s)
            if service.netmask is not None:
                self._line("persistence_granularity", netmask_text(service))
        if service.pe_name is not None:
            self._line("persistence_engine", service.pe_name)
        pool = settings.pool
        self._line("quorum", pool.quorum)
        if pool.hysteresis:
            self._line("hysteresis", pool.hysteresis)
        if pool.on_failure is OnFailure.WEIGHT_ZERO:
            self._line("inhibit_on_failure")
        for what, is_set in (
            ("slow_start", pool.slow_start),
            ("minimum_pooled_percent", pool.minimum_pooled_percent),
        ):
            if is_set:
                self.lost.append(f"{settings.name}: keepalived has no {what}")
        if settings.sorry is not None:
            sorry = settings.sorry
            self._line("sorry_server", sorry.address, sorry.port or key.port)
            self._line("sorry_server_lvs_method", _method(sorry))
        for realserver in settings.realservers:
            where = f"{realserver.destination.address} {realserver.destination.port or key.port}"
            with self._block(f"real_server {where}"):
                self._real_server(settings, realserver)

    def _real_server(self, settings: ServiceSettings, realserver: RealServerSettings) -> None:
        destination = realserver.destination
        self._line("weight", destination.weight)
        self._line("lvs_method", _method(destination))
        if destination.upper_threshold:
            self._line("uthreshold", destination.upper_threshold)
        if destination.lower_threshold:
            self._line("lthreshold", destination.lower_threshold)
        if realserver.needs is Needs.ANY:
            self.lost.append(
                f"{settings.name} {realserver.name}: keepalived needs all checks, not any of them"
            )
        for check in realserver.checks:
            keyword = _CHECKERS.get(check.kind)
            if keyword is None:
                self.lost.append(
                    f"{settings.name} {realserver.name}: keepalived has no {check.kind} check; none is made"
                )
                continue
            with self._block(keyword):
                self._check(check, destination, settings.service.key)

    def _check(self, check: CheckSettings, destination: Destination, key: ServiceKey) -> None:
        timeout = "misc_timeout" if check.kind is CheckKind.EXEC else "connect_timeout"
        self._line("delay_loop", f"{to_seconds(check.interval):g}")
        self._line(timeout, f"{to_seconds(check.timeout):g}")
        self._line("retry", check.fall - 1)
        self._line("delay_before_retry", f"{to_seconds(check.fast_interval):g}")
        if check.initial == "down":
            self._line("alpha")
        if check.through_path:
            self.lost.append(
                f"{check.kind} {check.address}: through the forwarding path; "
                f"{destination.address} itself is asked instead"
            )
        elif check.kind is not CheckKind.EXEC:
            if check.address != destination.address:
                self._line("connect_ip", check.address)
            if check.port and check.port != (destination.port or key.port):
                self._line("connect_port", check.port)
        for words in _option_lines(check):
            if isinstance(words, str):
                self.lost.append(f"{check.kind} {check.address}: {words}")
            else:
                self._line(*words)
        if isinstance(check.options, HttpOptions):
            options = check.options
            with self._block("url"):
                self._url(options)

    def _url(self, options: HttpOptions) -> None:
        self._line("path", _quoted(options.path))
        self._line(
            "status_code", *(f"{low}" if low == high else f"{low}-{high}" for low, high in options.statuses)
        )
        if options.host is not None:
            self._line("virtualhost", _quoted(options.host))
        if options.digest is not None and len(options.digest) == 32:
            self._line("digest", options.digest)
        pattern = options.body_regex or options.body_regex_absent
        if pattern is not None:
            self._line("regex", _quoted(pattern))
            if options.body_regex is None:
                self._line("regex_no_match")


_CHECKERS: Final = {
    CheckKind.TCP: "TCP_CHECK",
    CheckKind.HTTP: "HTTP_GET",
    CheckKind.HTTPS: "SSL_GET",
    CheckKind.SMTP: "SMTP_CHECK",
    CheckKind.DNS: "DNS_CHECK",
    CheckKind.UDP: "UDP_CHECK",
    CheckKind.PING: "PING_CHECK",
    CheckKind.EXEC: "MISC_CHECK",
}


def _option_lines(check: CheckSettings) -> Iterator[tuple[object, ...] | str]:
    """Lines of a checker; a text is something that is lost."""
    options = check.options
    if isinstance(options, HttpOptions):
        yield ("http_protocol", options.version)
        if options.method != "GET" or options.headers or options.body or options.authorization:
            yield "keepalived asks with a plain GET"
        if check.kind is CheckKind.HTTPS:
            yield ("enable_sni",)
            if options.tls.verify:
                yield "keepalived verifies no certificate"
    elif isinstance(options, SmtpOptions):
        yield ("helo_name", _quoted(options.helo_name))
    elif isinstance(options, DnsOptions):
        yield ("type", options.type)
        yield ("name", options.name)
        if options.expect is not None:
            yield "keepalived expects no certain answer"
    elif isinstance(options, UdpOptions):
        if options.payload:
            yield ("payload", options.payload.hex())
        if options.require_reply:
            yield ("require_reply", options.expect.hex() if options.expect is not None else "")
    elif isinstance(options, ExecOptions):
        yield (
            "misc_path",
            '"' + " ".join(f"'{word}'" if " " in word else word for word in options.argv) + '"',
        )
        if options.user is not None:
            yield ("user", options.user)
        if options.weight_from_exit:
            yield ("misc_dynamic",)


def _method(destination: Destination) -> str:
    method = word_of(METHODS, destination.method).upper()
    if destination.method is not ForwardingMethod.TUNNEL:
        return method
    kind = word_of(TUNNEL_TYPES, destination.tun_type)
    words = [method, "type", kind]
    if kind == "gue":
        words += ["port", str(destination.tun_port)]
    flag = word_of(TUNNEL_FLAGS, destination.tun_flags)
    return " ".join([*words, *([] if flag == "none" or kind == "ipip" else [flag])])


def _virtual(key: ServiceKey) -> str:
    return f"fwmark {key.fwmark}" if key.address is None else f"{key.address} {key.port}"


def _quoted(text: str) -> str:
    if text and all(character.isalnum() or character in "-_./:@" for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _route(route: RouteSettings) -> str:
    words = [str(route.to), "dev", route.interface, "table", str(route.table)]
    for word, value in (("via", route.via), ("src", route.source), ("metric", route.metric)):
        if value is not None:
            words += [word, str(value)]
    return " ".join(words)


def _rule(rule: RuleSettings) -> str:
    words = []
    for word, value in (("from", rule.source), ("to", rule.to), ("fwmark", rule.fwmark)):
        if value is not None:
            words += [word, str(value)]
    return " ".join([*words, "table", str(rule.table), "preference", str(rule.priority)])
