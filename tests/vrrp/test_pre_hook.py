"""A takeover waits for its ``pre_hook``, and never for long."""

from dataclasses import replace

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.vrrp.outputs import Preparing
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.transitions import State
from tests.vrrp.routers import backup, due, fire, hear, kinds

HOOK = {"pre_hook": ("/bin/before",), "pre_hook_timeout": 500 * MILLISECOND}


def asked() -> VirtualRouter:
    """A BACKUP whose MASTER is silent, and that has asked."""
    router = backup(**HOOK)
    assert fire(router) == [Preparing("r")]
    return router


def test_a_backup_asks_and_waits_before_it_takes_over() -> None:
    router = asked()

    assert router.state is State.BACKUP


def test_it_takes_over_as_soon_as_the_answer_comes() -> None:
    router = asked()
    now = Instant(due(router) - 400 * MILLISECOND)

    router.permit(now)

    assert router.deadline == now
    assert "BecameMaster" in kinds(router.on_deadline(now))


def test_it_takes_over_without_an_answer_when_the_time_is_over() -> None:
    assert "BecameMaster" in kinds(fire(asked()))


def test_a_master_that_is_heard_meanwhile_ends_it_and_is_asked_about_again_later() -> None:
    router = asked()

    hear(router, 200, due(router) - MILLISECOND)
    router.permit(Instant(router.deadline or 0))

    assert router.state is State.BACKUP
    assert fire(router) == [Preparing("r")]


def test_a_farewell_meanwhile_does_not_put_it_off() -> None:
    router = asked()
    before = router.deadline

    hear(router, 0, due(router) - MILLISECOND)

    assert router.deadline == before


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    router = backup(**HOOK)
    before = router.deadline

    assert router.permit(Instant(0)) == []
    assert router.deadline == before


def test_without_a_pre_hook_nothing_is_asked() -> None:
    router = backup(**HOOK)
    router.reconfigure(replace(router.settings, pre_hook=()), Instant(0))

    assert "BecameMaster" in kinds(fire(router))
