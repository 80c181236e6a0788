"""lvsha itself, with the configuration that a user of the standard topology would write."""

import base64
import hashlib
import json
import os
import sys
from typing import Any

from lvsha.lab.netns import run
from lvsha.lab.peers.base import Peer
from lvsha.lab.peers.keepalived import INSIDE_VRID, PRIORITIES, SYNCID, VRID
from lvsha.lab.settings import Process
from lvsha.lab.topology import PORT

RELAY_KEY = base64.b64encode(hashlib.sha256(b"the lab's own").digest()).decode() + "\n"
"""No secret: the lab has no strangers."""


class Lvsha(Peer):
    """A pair of lvsha agents."""

    name = "lvsha"

    def command(self, node: str) -> list[str]:
        config = str(self.node_folder(node) / "lvsha.toml")
        return [sys.executable, "-m", "lvsha.cli.main", "agent", "-f", config, "--node", node]

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
        for address in topology.service_addresses:
            lines += self._service(f"[{address}]:{PORT}" if address.version == 6 else f"{address}:{PORT}")
        lines += ["", "[sync]", 'interface = "eth0"', f"syncid = {SYNCID}"]
        if settings.sync_maxlen:
            lines.append(f"maxlen = {settings.sync_maxlen}")
        folder = self.node_folder(node)
        if settings.transport == "relay":
            lines += ["", "[sync.relay]", f'key_file = "{folder}/relay.key"']
        if self.tcp_timeout_s is not None:
            lines += ["", "[timeouts]", f'tcp = "{self.tcp_timeout_s}s"']
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
        return [*lines, f"excluded_addresses = {json.dumps(excluded)}"] if excluded else lines

    def _service(self, address: str) -> list[str]:
        settings = self.settings
        realservers = ", ".join(
            f'{{ address = "{self.topology.realserver_address(name)}", weight = {self.weights[name]} }}'
            for name in self.topology.realservers
        )
        interval = f'"{settings.check_interval_s * 1000:g}ms"'
        check = (
            f'{{ type = "tcp", interval = {interval}, fast_interval = {interval}, '
            f'timeout = "{settings.check_timeout_s * 1000:g}ms", fall = {settings.check_fall}, rise = 1 }}'
        )
        return [
            "",
            "[[service]]",
            f'address = "{address}"',
            'protocol = ["tcp", "udp"]',
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
