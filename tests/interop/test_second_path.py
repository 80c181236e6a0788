"""Two directors whose network is cut hear each other over a second one: there are never two MASTERs."""

import pytest

from tests.interop.stories import Stories
from tests.interop.test_vrrp_authentication import OLD, START_S, with_keys
from tests.interop.vrrp_directors import Lvsha, Pair, ended, wall_clock
from tests.interop.vrrp_stage import Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

PAIR = Pair()
ALL = addresses(*PAIR.addresses)
PATH = """\
paths = [{ interface = "eth1", peers = ["192.0.2.1", "192.0.2.2"] }]
"""


@stories.story
async def test_a_cut_network_is_told_from_a_dead_peer(stage: Stage) -> None:
    one, other = (stage.host(node) for node in ("lb1", "lb2"))
    name = other.namespace.name
    one.namespace.run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", name])
    for number, host in enumerate((one, other), 1):
        host.namespace.batch([f"addr add 192.0.2.{number}/24 dev eth1", "link set eth1 up"])
    lb1, lb2 = (with_keys(Lvsha(host, PAIR), OLD) for host in (one, other))
    with ended(lb1, lb2):
        for director in (lb1, lb2):
            with director.config_path.open("a") as config:
                config.write(PATH)
            director.start()
        await until(lambda: stage.holders(ALL) == ["lb1"] or None, within=START_S, what="one MASTER")
        await until(lambda: lb2.state() == "BACKUP" or None, within=START_S, what="a BACKUP")
        before = len(lb2.events("vrrp.became_master"))

        stage.forward("lb1", frames=False)
        cut = wall_clock()
        enough = cut + 4 * PAIR.down_interval("lb2")
        await until(lambda: wall_clock() > enough or None, within=6, what="four down intervals")
        assert stage.wire.of("lb1", since=cut), "it goes on saying so into the cut"
        assert stage.holders(ALL) == ["lb1"]
        assert len(lb2.events("vrrp.became_master")) == before

        stage.cable("lb1", plugged=False)
        await until(lambda: stage.holders(ALL) == ["lb2"] or None, within=2, what="a takeover at its word")
        assert lb2.events("vrrp.became_master")[-1]["reason"] == "master_left"
        assert lb2.ask()["process"]["drops"] == {}
