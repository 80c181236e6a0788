"""Directors that track a gateway, and pairs of two kinds."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsha.config.load import loads
from lvsha.lab.peers.keepalived import Keepalived
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.peers.mixed import MixedPair
from lvsha.lab.settings import DirectorKind, RunSettings
from lvsha.lab.topology import Topology
from lvsha.vrrp.settings import Authentication
from lvsha.vrrp.track import TrackKind

SETTINGS = RunSettings(scenario="gateway-loss")


def test_both_kinds_give_the_role_up_without_the_gateway(tmp_path: Path) -> None:
    topology = Topology(SETTINGS.topology)
    lvsha, keepalived = (kind(topology, SETTINGS, tmp_path) for kind in (Lvsha, Keepalived))
    lvsha.tracked = keepalived.tracked = ip_address("10.0.0.100")

    (track,) = loads(lvsha.config("lb1"), "lab", "lb1").routers[0].track
    text = keepalived.config("lb1")

    assert (track.kind, track.target, track.weight) == (TrackKind.GATEWAY, "10.0.0.100", None)
    assert text.count("{") == text.count("}")
    assert "ping -c 1 -W 1 10.0.0.100" in text
    assert "track_script" in text


@pytest.mark.parametrize("first", list(DirectorKind))
def test_a_mixed_pair_is_one_of_each_and_neither_asks_for_more_than_the_other_can(
    first: DirectorKind, tmp_path: Path
) -> None:
    pair = MixedPair(Topology(SETTINGS.topology), replace(SETTINGS, director=first), tmp_path)

    assert sorted(kind.name for kind in pair.kinds.values()) == ["keepalived", "lvsha"]
    assert pair.kinds["lb1"].name == str(first)
    (lvsha,) = (kind for kind in pair.kinds.values() if isinstance(kind, Lvsha))
    assert loads(lvsha.config("lb2"), "lab", "lb2").routers[0].authentication is Authentication.NONE
    assert pair.command("lb1") == pair.kinds["lb1"].command("lb1")
