"""[sync], [ipvs] and [agent]: what there is once for a director."""

from collections.abc import Sequence
from typing import cast

from lvsha.config import schema
from lvsha.config.context import Context, seconds
from lvsha.config.findings import did_you_mean
from lvsha.config.lines import Path
from lvsha.config.settings import (
    AgentSettings,
    ApiSettings,
    LogFormat,
    LogLevel,
    OnStop,
)
from lvsha.config.tables.values import duration_text
from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.ipvs.model import (
    Timeouts,
)
from lvsha.sync.relay_settings import MAX_PEERS, RelayPeer, RelaySettings, director_id
from lvsha.sync.settings import SyncSettings, Transport

SYNC_MAXLEN_SAFE = 9223
"""Above it the kernel's 8-bit count of entries overflows and entries are lost without a word."""


class Daemons:
    """The tables that a document has once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._findings = context.findings

    def sync(self, node: str, nodes: Sequence[str], *, has_services: bool) -> SyncSettings | None:
        """The sync daemons of ``node``; None: there are none."""
        sync = self._context.document.sync
        interfaces = {}
        for each in nodes:
            interfaces[each] = (
                self._context.each(("sync", "interface"), sync.interface, each)
                if sync.interface is not None
                else next(
                    (
                        self._context.each(("vrrp", place, "interface"), vrrp.interface, each)
                        for place, vrrp in zip(
                            self._context.parts.vrrp, self._context.document.vrrp, strict=True
                        )
                    ),
                    None,
                )
            )
        if not sync.enabled:
            if len(nodes) > 1 and has_services:
                self._findings.warning(
                    ("sync", "enabled"), "without synchronisation a takeover resets every connection"
                )
            return None
        interface = interfaces.get(node)
        if interface is None:
            is_expected = len(nodes) > 1 or bool(sync.model_fields_set)
            if self._context.parts.vrrp_complete and not self._context.document.vrrp and is_expected:
                self._findings.error(
                    ("sync", "interface"), "is missing, and there is no [[vrrp]] to take it from"
                )
            return None
        syncid = sync.syncid or next((vrrp.vrid for vrrp in self._context.document.vrrp), None)
        if syncid is None:
            self._findings.error(("sync", "syncid"), "is missing, and there is no [[vrrp]] to take it from")
            return None
        if sync.group is not None and not sync.group.is_multicast:
            self._findings.error(
                ("sync", "group"), f"{sync.group} is not a multicast address", 'like "224.0.0.81"'
            )
        maxlen = None if sync.maxlen == "kernel" else int(sync.maxlen)
        if maxlen is not None and maxlen > SYNC_MAXLEN_SAFE:
            self._findings.warning(
                ("sync", "maxlen"),
                f"above {SYNC_MAXLEN_SAFE} bytes the kernel's count of entries overflows and some are lost",
                "1472 fills an Ethernet frame",
            )
        transport, relay = self._relay(node, nodes)
        return SyncSettings(
            interface=interface,
            syncid=syncid,
            group=sync.group,
            port=sync.port,
            ttl=sync.ttl,
            maxlen=maxlen,
            nudge_interval=sync.nudge_interval,
            reset_grace=sync.reset_grace,
            transport=transport,
            relay=relay,
            sysctls=self.sysctls(),
        )

    def _relay(self, node: str, nodes: Sequence[str]) -> tuple[Transport, RelaySettings | None]:
        """How entries travel, and the relay's settings where they travel by it."""
        sync = self._context.document.sync
        relay, path = sync.relay, ("sync", "relay")
        others = [director for director in self._context.directors if director.name != node]
        wanted = sync.transport
        if wanted is None:
            wanted = "relay" if others and relay.key_file is not None else "multicast"
        if wanted == "multicast":
            return Transport.MULTICAST, None
        if relay.key_file is None:
            self._findings.error(
                (*path, "key_file"),
                "is missing: the relay seals what it sends",
                'like "/etc/lvsha/relay.key"',
            )
        if not others:
            self._findings.error(
                ("sync", "transport"), "a relay needs another director", "name it in [directors]"
            )
        if len(others) > MAX_PEERS:
            self._findings.error(("directors",), f"{len(others) + 1} directors, the relay takes 17")
        for director in others:
            if director.address is None:
                self._findings.error(
                    ("directors", director.name), "needs an address for the relay", 'address = "..."'
                )
        numbers = {director_id(director.name): director.name for director in self._context.directors}
        if len(numbers) < len(self._context.directors):
            self._findings.error(
                ("directors",), "two of the names have the same number in the relay", "rename one"
            )
        address = next((each.address for each in self._context.directors if each.name == node), None)
        if relay.address is not None:
            at: Path = (*path, "address")
            for each in nodes:
                found = cast(Address | None, self._context.each(at, relay.address, each, is_needed=False))
                address = found if each == node and found is not None else address
        return Transport.RELAY, RelaySettings(
            director=director_id(node),
            peers=tuple(
                RelayPeer(
                    name=director.name,
                    director=director_id(director.name),
                    address=director.address,
                    port=relay.port,
                )
                for director in others
                if director.address is not None
            ),
            key_file=relay.key_file or "",
            address=address,
            port=relay.port,
            datagram=relay.datagram,
            linger=relay.linger,
            limit=relay.limit,
            coverage_target=relay.coverage_target,
            gate_deadline=relay.gate_deadline,
            switchover_deadline=relay.switchover_deadline,
        )

    def sysctls(self) -> dict[str, str]:
        """``net.ipv4.vs.*`` by short name."""
        values = {}
        for name, value in self._context.document.ipvs.sysctl.items():
            path: Path = ("ipvs", "sysctl", name)
            if name not in schema.SYSCTLS:
                self._findings.error(
                    path,
                    f"net.ipv4.vs.{name} does not exist",
                    did_you_mean(name.removeprefix("net.ipv4.vs."), schema.SYSCTLS),
                )
                continue
            values[name] = value
            limits = schema.SYSCTLS[name]
            if value == "":
                continue
            numbers = [
                int(word) if word.lstrip("-").isascii() and word.lstrip("-").isdigit() else None
                for word in value.split()
            ]
            if limits is None:
                if len(numbers) != 2 or None in numbers or not _threshold_fits(cast(list[int], numbers)):
                    self._findings.error(
                        path, f'"{value}" is not a threshold and a larger period', 'like "0 0" or "2 50"'
                    )
            elif len(numbers) != 1 or numbers[0] is None or not limits[0] <= numbers[0] <= limits[1]:
                self._findings.error(path, f'"{value}" is not a number from {limits[0]} to {limits[1]}')
            elif name == "sync_ports" and numbers[0] & (numbers[0] - 1):
                self._findings.error(path, f"{value} is not a power of two")
            else:
                self._doubt_sysctl(path, name, value)
        return values

    def _doubt_sysctl(self, path: Path, name: str, value: str) -> None:
        doubts = {
            (
                "backup_only",
                "1",
            ): "a director whose backup daemon runs forwards nothing, and here it always runs",
            ("sync_version", "0"): "version 0 carries no IPv6, no firewall marks and no time-outs",
            ("conntrack", "1"): "connections of netfilter are not synchronised and do not survive a takeover",
            (
                "conn_reuse_mode",
                "0",
            ): "a new connection from a used port goes to the old realserver, even a dead one",
            (
                "expire_nodest_conn",
                "1",
            ): "a standby whose own check flaps deletes the connections that it was given",
        }
        if doubt := doubts.get((name, value)):
            self._findings.warning(path, doubt)
        elif name == "sync_ports" and value != "1":
            self._findings.warning(
                path,
                f"with {value} sync threads the last part-filled messages cannot be pushed out at once",
                "1 unless one thread is too slow",
            )

    def timeouts(self) -> Timeouts | None:
        """The kernel's idle time-outs."""
        timeouts = self._context.document.ipvs.timeouts
        if not timeouts.model_fields_set:
            return None
        path: Path = ("ipvs", "timeouts")
        return Timeouts(
            tcp_s=seconds(self._findings, (*path, "tcp"), timeouts.tcp) or 0,
            tcp_fin_s=seconds(self._findings, (*path, "tcp_fin"), timeouts.tcp_fin) or 0,
            udp_s=seconds(self._findings, (*path, "udp"), timeouts.udp) or 0,
        )

    def agent(self) -> AgentSettings:
        """The processes themselves."""
        agent = self._context.document.agent
        if agent.drift_interval < 50 * MILLISECOND:
            self._findings.error(
                ("agent", "drift_interval"), "shorter than 50 ms", '"500ms" repairs within 1 s'
            )
        timeout = agent.watchdog_timeout
        if timeout % SECOND or not 5 * SECOND <= timeout <= 3600 * SECOND:
            self._findings.error(
                ("agent", "watchdog_timeout"),
                f"{duration_text(timeout)} is not a number of whole seconds from 5 s to an hour",
                "a vrrpd that died is back within 5 s",
            )
        return AgentSettings(
            log_format=LogFormat(agent.log_format),
            log_level=LogLevel(agent.log_level),
            run_dir=agent.run_dir,
            state_dir=agent.state_dir,
            on_stop=OnStop(agent.on_stop),
            record_file=agent.record_file,
            watchdog=agent.watchdog,
            watchdog_timeout=timeout,
            maintenance_dir=agent.maintenance_dir,
            exclusive=agent.exclusive,
            check_workers=agent.check_workers,
            drift_interval=agent.drift_interval,
        )

    def api(self) -> ApiSettings:
        """How a running director is asked."""
        api = self._context.document.api
        if api.listen:
            for name in ("certificate", "key"):
                if getattr(api, name) is None:
                    self._findings.error(("api", name), "is needed by listen: TCP is spoken with TLS only")
            if api.token_file is None:
                self._findings.error(
                    ("api", "token_file"),
                    "is needed by listen: it says who may do what",
                    "`lvsha token` makes entries",
                )
        else:
            for name in ("certificate", "key", "token_file", "client_ca"):
                if getattr(api, name) is not None:
                    self._findings.warning(
                        ("api", name), "does nothing without listen", 'listen = ["0.0.0.0:9443"]'
                    )
        return ApiSettings(
            group=api.group,
            listen=tuple(api.listen),
            certificate=api.certificate,
            key=api.key,
            token_file=api.token_file,
            client_ca=api.client_ca,
            rate=api.rate,
            peer_role=api.peer_role,
        )


def _threshold_fits(numbers: list[int]) -> bool:
    threshold, period = numbers
    return threshold >= 0 and (period == 0 or threshold < period)
