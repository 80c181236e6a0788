"""A pair of two kinds: lvsha and keepalived, each the other's backup."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lvsha.lab.peers.base import Peer
from lvsha.lab.peers.keepalived import Keepalived
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import DirectorKind, Process, RunSettings
from lvsha.lab.topology import Topology


class MixedPair(Peer):
    """lb1 is of the kind that the settings name, lb2 of the other. Connections go by the kernel's daemons."""

    name = "mixed"

    def __init__(self, topology: Topology, settings: RunSettings, folder: Path) -> None:
        super().__init__(topology, settings, folder)
        kernels = replace(settings, transport="multicast")
        lvsha = Lvsha(topology, kernels, folder)
        keepalived = Keepalived(topology, kernels, folder)
        pair: tuple[Peer, Peer] = (lvsha, keepalived)
        if settings.director is DirectorKind.KEEPALIVED:
            pair = (keepalived, lvsha)
        self.kinds: dict[str, Peer] = dict(zip(topology.directors, pair, strict=True))

    def command(self, node: str) -> list[str]:
        return self.kinds[node].command(node)

    def write_config(self, node: str) -> None:
        self.kinds[node].write_config(node)

    def pid(self, node: str, process: Process) -> int | None:
        return self.kinds[node].pid(node, process)

    def knows_connections(self, node: str) -> bool:
        return self.kinds[node].knows_connections(node)

    def extras(self, node: str) -> dict[str, Any]:
        return self.kinds[node].extras(node)
