"""What moves with the addresses, what waits, and what does not flap: between two directors."""

import pytest

from tests.interop.stories import Stories
from tests.interop.test_vrrp_authentication import START_S
from tests.interop.vrrp_directors import Lvsha, Pair, ended
from tests.interop.vrrp_stage import Host, Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

PAIR = Pair()
ALL = addresses(*PAIR.addresses)
MORE = """\
link_up_delay = "1s"
routes = [
    { to = "0.0.0.0/0", via = "10.0.0.254", source = "10.0.0.10", table = 100 },
    { to = "192.168.7.0/24", metric = 7 },
]
rules = [{ source = "10.0.0.10/32", table = 100, priority = 500 }]
"""


def moving(host: Host) -> tuple[list[str], list[str]]:
    """Routes and rules of ours on a host."""
    routes = host.namespace.run(["ip", "route", "show", "table", "all", "proto", "112"])
    rules = host.namespace.run(["ip", "rule", "show"])
    ours = [line.split("\t", 1)[1] for line in rules.splitlines() if line.startswith("500:")]
    return [" ".join(line.split()) for line in routes.splitlines()], [" ".join(line.split()) for line in ours]


HELD = (
    [
        "default via 10.0.0.254 dev eth0 table 100 src 10.0.0.10",
        "192.168.7.0/24 dev eth0 scope link metric 7",
    ],
    ["from 10.0.0.10 lookup 100 proto 112"],
)


@stories.story
async def test_routes_and_rules_follow_the_role_and_a_flapping_cable_does_not_move_it(stage: Stage) -> None:
    directors = [Lvsha(stage.host(node), PAIR) for node in ("lb1", "lb2")]
    one, other = (stage.host(node) for node in ("lb1", "lb2"))
    with ended(*directors):
        for director in directors:
            with director.config_path.open("a") as config:
                config.write(MORE)
            director.start()
        await until(lambda: stage.holders(ALL) == ["lb1"] or None, within=START_S, what="one MASTER")
        await until(lambda: moving(one) == HELD or None, within=3, what="routes and rules of the MASTER")
        assert moving(other) == ([], [])

        stage.cable("lb1", plugged=False)
        await until(lambda: moving(other) == HELD or None, within=5, what="routes and rules of its successor")
        await until(lambda: moving(one) == ([], []) or None, within=5, what="none on the other")

        # It comes and goes three times; lb1 has the higher priority and would take over each time.
        for _ in range(3):
            stage.cable("lb1", plugged=True)
            await until(
                lambda: len(directors[0].events("vrrp.interface_unusable")) > 1 or None,
                within=3,
                what="a link",
            )
            assert stage.holders(ALL) == ["lb2"]
            stage.cable("lb1", plugged=False)
        stage.cable("lb1", plugged=True)
        await until(lambda: stage.holders(ALL) == ["lb1"] or None, within=10, what="the role to return")
        assert len(directors[1].events("vrrp.became_master")) <= 2
