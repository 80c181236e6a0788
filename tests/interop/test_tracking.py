"""vrrpd told of what is tracked: priorities, faults, and groups, between two directors."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stories import Outcomes, play
from tests.interop.vrrp_directors import Lvsha, Pair, ended
from tests.interop.vrrp_stage import Stage, addresses, until

pytestmark = pytest.mark.interop

GROUPED = """\
track = [{ script = ["/bin/check"] }, { file = "/run/uplink", weight = -150 }]
group = "pair"

[[vrrp]]
interface = "eth0"
name = "second"
vrid = 52
addresses = ["10.0.0.20/24"]
preempt = true
group = "pair"
"""
ALL = addresses("10.0.0.10", "10.0.0.11", "10.0.0.20")


def tell(director: Lvsha, **message: Any) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(director.run_dir / "vrrpd.sock"))
        sock.sendall(json.dumps(message).encode() + b"\n")
        sock.recv(1)


def holder(stage: Stage) -> str | None:
    """Who holds all of them, if one does."""
    nodes = [node for node, host in stage.hosts.items() if host.addresses() >= ALL]
    return nodes[0] if nodes and stage.holders(ALL) == nodes else None


async def tracked(stage: Stage) -> list[str | None]:
    directors = [Lvsha(stage.host(node), Pair()) for node in ("lb1", "lb2")]
    held: list[str | None] = []
    with ended(*directors):
        for director in directors:
            with director.config_path.open("a") as config:
                config.write(GROUPED)
            director.start()

        async def chapter(node: str, what: str) -> None:
            await until(lambda: holder(stage) == node, within=30, what=what)
            held.append(holder(stage))

        await chapter("lb1", "the better one leads")
        tell(directors[0], type="track", key="script:/bin/check", up=False)
        await chapter("lb2", "a fault of one member moves the group")
        tell(directors[0], type="track", key="script:/bin/check", up=True)
        await chapter("lb1", "it is mended")
        tell(directors[0], type="track", key="file:/run/uplink", up=False)
        await chapter("lb2", "a weight moves the group, too")
        tracked = {router["name"]: router for router in directors[0].ask()["routers"]}
        assert [tracked[name]["priority"] for name in ("eth0-51", "second")] == [50, 50]
        assert tracked["eth0-51"]["tracked"] == {"script:/bin/check": True, "file:/run/uplink": False}
    return held


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return play({"tracked": tracked}, Path(tmp_path_factory.mktemp("track")))


def test_faults_and_weights_move_the_group(outcomes: Outcomes) -> None:
    assert outcomes.of("tracked") == ["lb1", "lb2", "lb1", "lb2"]
