"""An address that is bound and not accepted, on a real kernel: no data comes in, neighbours find it."""

from pathlib import Path
from typing import Any

import pytest

from lvsha.agent.accept_mode import AcceptMode
from tests.interop.stories import Stories
from tests.interop.vrrp_stage import Host, Stage
from tests.vrrp.routers import VIPS, VIPS6, settings

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

BOUND = (VIPS[0], VIPS6[0])


class Said:
    """A journal that keeps the names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def write(self, name: str, **_: Any) -> None:
        self.names.append(name)


def answers(host: Host, address: str) -> bool:
    done = host.namespace.popen(["ping", "-c1", "-W1", "-n", address], stdout=-3, stderr=-3)
    return done.wait() == 0


def found(host: Host, address: str) -> bool:
    """Whether a host knows its hardware address."""
    words = host.namespace.run(["ip", "neigh", "show", address]).split()
    return "lladdr" in words


@stories.story
async def test_data_is_dropped_and_neighbours_find_the_address(stage: Stage) -> None:
    one, other = stage.host("lb1"), stage.host("lb2")
    for host, prefix in ((one, BOUND[0]), (one, BOUND[1])):
        host.namespace.run(["ip", "addr", "add", str(prefix), "dev", "eth0"])
    for prefix in BOUND:
        other.namespace.run(["ip", "route", "replace", f"{prefix.ip}/{prefix.max_prefixlen}", "dev", "eth0"])
    routers = [
        settings(accept=False),
        settings(name="six", family=6, addresses=VIPS6, accept=False),
    ]
    said = Said()
    rules = AcceptMode(said, Path(stage.folder))  # type: ignore[arg-type]  # what it uses of a journal
    assert all(answers(other, str(prefix.ip)) for prefix in BOUND)

    with one.namespace.entered():
        rules.want(routers)
        await rules.settle()
        other.namespace.run(["ip", "neigh", "flush", "dev", "eth0"])
        assert not any(answers(other, str(prefix.ip)) for prefix in BOUND)
        assert all(found(other, str(prefix.ip)) for prefix in BOUND)

        one.namespace.run(["nft", "flush", "ruleset"])
        await rules.settle()
        assert not answers(other, str(BOUND[0].ip))

        await rules.stop()
    assert all(answers(other, str(prefix.ip)) for prefix in BOUND)
    assert said.names == [f"director.accept_mode_{what}" for what in ("applied", "repaired", "applied")]
