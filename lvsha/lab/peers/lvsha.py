"""lvsha itself, with the configuration that a user of the standard topology would write."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from typing import Any

from lvsha.lab import forked
from lvsha.lab.forked import Forked
from lvsha.lab.netns import run
from lvsha.lab.peers.base import CROWD_PORT, PERSISTENCE_S, Peer
from lvsha.lab.peers.keepalived import INSIDE_VRID, PRIORITIES, SYNCID, VRID
from lvsha.lab.settings import Process
from lvsha.lab.topology import PORT

RELAY_KEY = base64.b64encode(hashlib.sha256(b"the lab's own").digest()).decode() + "\n"
"""No secret: the lab has no strangers."""

MODULES = ("lvsha.cli.agent", "lvsha.agent.directord", "lvsha.agent.vrrpd.process")
"""What an agent reads at its start; nothing of it works at import."""


class Lvsha(Peer):
    """A pair of lvsha agents."""

    name = "lvsha"
    takes_back = False

    def command(self, node: str) -> list[str]:
        config = str(self.node_folder(node) / "lvsha.toml")
        return [sys.executable, "-m", "lvsha.cli.main", "agent", "-f", config, "--node", node]

    def launch(self, node: str, log: int) -> "subprocess.Popen[bytes] | Forked":
        if not self.settings.warm:
            return super().launch(node, log)
        forked.load(MODULES)
        _python, _m, module, *arguments = self.command(node)
        namespace = self.topology.directors[node]
        return Forked(module, arguments, namespace=namespace, log=log, environment=os.environ)

    def write_config(self, node: str) -> None:
        folder = self.node_folder(node)
        (folder / "lvsha.toml").write_text(self.config(node))
        key = folder / "relay.key"
        key.touch(mode=0o600)
        key.write_text(RELAY_KEY)

    def config(self, node: str) -> str:
        """The text of lvsha.toml: the same for both directors but for the folders, which they share here."""
        settings, topology = self.settings, self.topology
        lines = ["[directors]"]
        for name in topology.directors:
            address = topology.director_address(name)
            lines.append(f'{name} = {{ address = "{address}", priority = {PRIORITIES[name]} }}')
        lines += self._router("outside", "eth0", VRID, [str(vip) for vip in topology.vips])
        if topology.gateway is not None:
            lines += self._router("inside", "eth1", INSIDE_VRID, [str(topology.gateway)])
        marks = topology.marks(settings.fwmark)
        for address in self.served:
            text = f"[{address}]:{PORT}" if address.version == 6 else f"{address}:{PORT}"
            key = [f'address = "{text}"', 'protocol = ["tcp", "udp"]']
            if address in marks:
                key = [f"fwmark = {marks[address]}", f"family = {address.version}"]
            lines += self._service(key)
        for vip, members in self.crowd():
            lines += ["", "[[service]]", f'address = "{vip}:{CROWD_PORT}"', f'method = "{settings.method}"']
            lines += ['check = "on"', f"realservers = {json.dumps(members)}"]
        lines += ["", "[sync]", 'interface = "eth0"', f"syncid = {SYNCID}"]
        if settings.sync_maxlen:
            lines.append(f"maxlen = {settings.sync_maxlen}")
        folder = self.node_folder(node)
        if settings.transport == "relay":
            lines += ["", "[sync.relay]", f'key_file = "{folder}/relay.key"']
        if self.idle_timeout_s is not None:
            lines += ["", "[ipvs.timeouts]"]
            lines += [f'{protocol} = "{self.idle_timeout_s}s"' for protocol in ("tcp", "udp")]
        lines += ["", "[agent]", f'run_dir = "{folder}/run"', f'state_dir = "{folder}/state"']
        return "\n".join(lines) + "\n"

    def _router(self, name: str, interface: str, vrid: int, addresses: list[str]) -> list[str]:
        # An advert is one packet: what does not fit moves along unadvertised.
        advertised, excluded = addresses[:20], addresses[20:]
        lines = [
            "",
            "[[vrrp]]",
            f'name = "{name}"',
            f'interface = "{interface}"',
            f"vrid = {vrid}",
            f'advert_interval = "{self.settings.advert_s * 1000:g}ms"',
            f"addresses = {json.dumps(advertised)}",
        ]
        if self.preempts:
            lines.append("preempt = true")
        if self.tracked is not None:
            look = 'interval = "200ms", timeout = "200ms", rise = 2, fall = 2'
            lines.append(f'track = [{{ gateway = "{self.tracked}", {look} }}]')
        return [*lines, f"excluded_addresses = {json.dumps(excluded)}"] if excluded else lines

    def _service(self, key: list[str]) -> list[str]:
        settings = self.settings
        if settings.is_persistent:
            key = [*key, f'persistence_timeout = "{PERSISTENCE_S}s"']
        port = f"port = {PORT}, " if settings.fwmark else ""
        realservers = ", ".join(
            f'{{ address = "{self.topology.realserver_address(name)}", weight = {self.weights[name]} }}'
            for name in self.topology.realservers
        )
        interval = f'"{settings.check_interval_s * 1000:g}ms"'
        check = (
            f'{{ type = "tcp", {port}interval = {interval}, fast_interval = {interval}, '
            f'timeout = "{settings.check_timeout_s * 1000:g}ms", fall = {settings.check_fall}, rise = 1 }}'
        )
        return [
            "",
            "[[service]]",
            *key,
            f'method = "{settings.method}"',
            'scheduler = "rr"',
            f"check = {check}",
            f"realservers = [{realservers}]",
        ]

    def pid(self, node: str, process: Process) -> int | None:
        """The supervisor forks its workers, so the log is what tells them apart."""
        words = f"agent.worker_started worker={process} pid="
        found = [line for line in self.log(node).read_text().splitlines() if words in line]
        return int(found[-1].partition(words)[2].split()[0]) if found else None

    def knows_connections(self, node: str) -> bool:
        if self.settings.transport != "relay":
            return True
        lines = self.log(node).read_text(errors="replace").splitlines()
        return any(
            "relay.resync_finished" in line and ("direction=in" in line or '"direction":"in"' in line)
            for line in lines
        )

    def switch_over(self, node: str, *, force: bool = False) -> str:
        # Not by the command: a Python that starts takes the one processor for a second.
        answer = self._ask(node, f"POST /v1/release?force={force:d}", timeout_s=30.0)
        return str(answer.get("error", "" if answer else "no answer"))

    def take_part(self, node: str) -> None:
        self._ask(node, "POST /v1/resume", timeout_s=30.0)

    def status(self, node: str) -> dict[str, Any]:
        """What a director says of itself; empty while it does not answer."""
        return self._ask(node, "GET /v1/status", timeout_s=2.0)

    def _ask(self, node: str, order: str, *, timeout_s: float) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(timeout_s)
                sock.connect(str(self.node_folder(node) / "run" / "directord.sock"))
                sock.sendall(f"{order} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
                answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
            return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
        except (OSError, ValueError):
            return {}

    def extras(self, node: str) -> dict[str, Any]:
        if self.has_ended(node):
            return {}
        run_dir = self.node_folder(node) / "run"
        if not os.path.exists(run_dir / "directord.sock"):
            return {}
        text = run([*self.command(node)[:3], "status", "--json", "--run-dir", str(run_dir)], check=False)
        try:
            status = json.loads(text)
        except ValueError:
            return {}
        return {"status": status}
