"""A frozen director loses its addresses by itself; a killed one that comes back keeps them."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stories import Outcomes, play
from tests.interop.vrrp_directors import Lvsha, Pair, children, gone
from tests.interop.vrrp_stage import Stage, addresses, until

pytestmark = pytest.mark.interop

LEASE_S = 4.0
"""Longer than the down interval; the kernel looks once a second whether it is over."""


async def elected(stage: Stage) -> tuple[Lvsha, Lvsha]:
    pair = Pair(preempts=False)
    one, other = (Lvsha(stage.host(node), pair) for node in ("lb1", "lb2"))
    for director in (one, other):
        with director.config_path.open("a") as config:
            config.write(f'lease = "{LEASE_S:g}s"\n')
    one.start()
    await until(lambda: stage.holders(addresses(*pair.addresses)) == ["lb1"], within=30, what="lb1 MASTER")
    other.start()
    await until(lambda: bool(other.events("vrrp.master_changed")), within=30, what="lb2 hears lb1")
    return one, other


async def frozen(stage: Stage) -> dict[str, Any]:
    one, other = await elected(stage)
    ours = addresses(*one.pair.addresses)
    try:
        stopped = [*children(one.pid), one.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: ours <= other.host.addresses(), within=5, what="lb2 takes over")
        await until(lambda: not ours & one.host.addresses(), within=10, what="lb1 loses the lease")
        alone = stage.holders(ours)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(1.0)
        return {"alone": alone, "holders": stage.holders(ours)}
    finally:
        one.end()
        other.end()


async def killed(stage: Stage) -> dict[str, Any]:
    one, other = await elected(stage)
    try:
        worker = one.vrrpd_pid()
        os.kill(worker, signal.SIGKILL)
        await until(lambda: gone(worker) and one.vrrpd_pid() != worker, within=10, what="a successor")
        await asyncio.sleep(2 * LEASE_S)
        return {
            "holders": stage.holders(addresses(*one.pair.addresses)),
            "adopted": one.events("vrrp.adopted_addresses"),
            "taken": other.events("vrrp.became_master"),
        }
    finally:
        one.end()
        other.end()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return play({"frozen": frozen, "killed": killed}, Path(tmp_path_factory.mktemp("lease")))


def test_a_frozen_master_holds_nothing_when_its_lease_is_over(outcomes: Outcomes) -> None:
    assert outcomes.of("frozen")["alone"] == ["lb2"]


def test_a_thawed_master_does_not_take_back_what_it_lost(outcomes: Outcomes) -> None:
    assert outcomes.of("frozen")["holders"] == ["lb2"]


def test_a_killed_vrrpd_is_back_within_its_lease(outcomes: Outcomes) -> None:
    story = outcomes.of("killed")

    assert story["holders"] == ["lb1"]
    assert [event["as_master"] for event in story["adopted"]] == [True]
    assert not story["taken"]
