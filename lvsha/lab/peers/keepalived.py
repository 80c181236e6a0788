"""keepalived as its users run it: VRRPv3, a sync daemon tied to the instance, TCP checks, weight 0."""

from lvsha.lab.peers.base import CROWD_PORT, PERSISTENCE_S, Peer
from lvsha.lab.settings import Process
from lvsha.lab.topology import PORT

VRID = 51
INSIDE_VRID = 52
SYNCID = 51
PRIORITIES = {"lb1": 200, "lb2": 100}

ADVERTISED = 20
"""More addresses than this go into virtual_ipaddress_excluded: an advert is one packet."""


class Keepalived(Peer):
    """A pair of keepalived."""

    name = "keepalived"

    def command(self, node: str) -> list[str]:
        folder = self.node_folder(node)
        words = ["keepalived", "--dont-fork", "--log-console"]
        words += ["-f", str(folder / "keepalived.conf"), "-p", str(folder / "keepalived.pid")]
        return [*words, "-r", str(folder / "vrrp.pid"), "-c", str(folder / "checkers.pid")]

    def write_config(self, node: str) -> None:
        (self.node_folder(node) / "keepalived.conf").write_text(self.config(node))

    def config(self, node: str) -> str:
        """The text of keepalived.conf."""
        topology, settings = self.topology, self.settings
        maxlen = f" maxlen {settings.sync_maxlen}" if settings.sync_maxlen else ""
        idle = self.idle_timeout_s
        timeouts = f"  lvs_timeouts tcp {idle} udp {idle}\n" if idle is not None else ""
        vips = [f"{vip} dev eth0" for vip in topology.vips]
        blocks = [
            f"global_defs {{\n  router_id {node}\n  vrrp_version 3\n"
            f"  lvs_sync_daemon eth0 outside id {SYNCID}{maxlen}\n{timeouts}}}\n",
            self._instance("outside", "eth0", VRID, node, vips[:ADVERTISED], vips[ADVERTISED:]),
        ]
        if self.tracked is not None:
            script = f'  script "/usr/bin/ping -c 1 -W 1 {self.tracked}"\n  interval 1\n  rise 2\n  fall 2\n'
            blocks.insert(1, f"vrrp_script gateway {{\n{script}  user root\n}}\n")
        if topology.gateway is not None:
            gateway = [f"{topology.gateway} dev eth1"]
            blocks.append(self._instance("inside", "eth1", INSIDE_VRID, node, gateway, []))
            blocks.append("vrrp_sync_group pair {\n  group {\n    outside\n    inside\n  }\n}\n")
        marks = topology.marks(settings.fwmark)
        for address in self.served:
            if address in marks:
                family = "" if settings.family == 4 else "\n  ip_family inet6"
                blocks.append(self._service(f"fwmark {marks[address]}", f"TCP{family}", port=0))
            else:
                blocks += [self._service(f"{address} {PORT}", protocol) for protocol in ("TCP", "UDP")]
        for vip, members in self.crowd():
            listed = "\n".join(f"  real_server {member} {CROWD_PORT} {{\n  }}" for member in members)
            kind = f"  lb_algo rr\n  lb_kind {settings.method.upper()}\n  protocol TCP"
            blocks.append(f"virtual_server {vip} {CROWD_PORT} {{\n{kind}\n{listed}\n}}\n")
        return "\n".join(blocks)

    def _instance(
        self, name: str, interface: str, vrid: int, node: str, addresses: list[str], excluded: list[str]
    ) -> str:
        lines = [
            f"vrrp_instance {name} {{",
            "  state BACKUP",
            f"  interface {interface}",
            f"  virtual_router_id {vrid}",
            f"  priority {PRIORITIES[node]}",
            f"  advert_int {self.settings.advert_s:g}",
            "  virtual_ipaddress {",
            *(f"    {address}" for address in addresses),
            "  }",
        ]
        if self.tracked is not None:
            lines += ["  track_script {", "    gateway", "  }"]
        if excluded:
            lines += ["  virtual_ipaddress_excluded {", *(f"    {address}" for address in excluded), "  }"]
        return "\n".join([*lines, "}\n"])

    def _service(self, key: str, protocol: str, *, port: int = PORT) -> str:
        settings = self.settings
        lines = [
            f"virtual_server {key} {{",
            f"  delay_loop {settings.check_interval_s:g}",
            "  lb_algo rr",
            f"  lb_kind {settings.method.upper()}",
            f"  protocol {protocol}",
        ]
        if settings.is_persistent:
            lines.append(f"  persistence_timeout {PERSISTENCE_S}")
        for name in self.topology.realservers:
            lines += [
                f"  real_server {self.topology.realserver_address(name)} {port or ''} {{",
                f"    weight {self.weights[name]}",
                "    inhibit_on_failure",
                "    TCP_CHECK {",
                f"      connect_port {PORT}",
                f"      connect_timeout {settings.check_timeout_s:g}",
                f"      retry {settings.check_fall - 1}",
                f"      delay_before_retry {settings.check_interval_s:g}",
                "    }",
                "  }",
            ]
        return "\n".join([*lines, "}\n"])

    def pid(self, node: str, process: Process) -> int | None:
        file = "vrrp.pid" if process is Process.VRRPD else "checkers.pid"
        return int((self.node_folder(node) / file).read_text())

    def detection_limit_s(self) -> float:
        # Its waits lie between the end of a check and the start of the next.
        settings = self.settings
        return (settings.check_interval_s + settings.check_timeout_s) * settings.check_fall
