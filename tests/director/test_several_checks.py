"""Realservers with more than one check; and one check that many follow."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsha.checker.combine import Needs
from lvsha.checker.result import Reason
from lvsha.config.settings import RealServerSettings
from lvsha.core.instant import SECOND
from lvsha.director.status import destinations_status
from tests.director.test_director import REFUSED, Bench, realserver, service, settings

OTHER = IPv4Address("10.0.9.9")


def with_two(needs: Needs) -> RealServerSettings:
    plain = realserver(11)
    assert plain.check is not None
    return replace(plain, further_checks=(replace(plain.check, address=OTHER),), needs=needs)


@pytest.mark.parametrize(("needs", "weight"), [(Needs.ALL, 0), (Needs.ANY, 10)])
def test_one_of_two_checks_fails(needs: Needs, weight: int) -> None:
    web = service("web", with_two(needs))
    bench = Bench(settings(web))
    bench.advance(3 * SECOND)
    assert bench.weights(web.service.key) == {"10.0.0.11": 10}

    bench.dead.add(OTHER)
    bench.advance(4 * SECOND)

    assert bench.director.check_count == 2
    assert bench.weights(web.service.key) == {"10.0.0.11": weight}
    decisive = bench.director.check_of(web.realservers[0])
    assert decisive is not None
    assert (decisive.settings.address == OTHER) == (needs is Needs.ALL)

    bench.dead.clear()
    bench.advance(4 * SECOND)
    assert bench.weights(web.service.key) == {"10.0.0.11": 10}


def test_a_member_says_whose_check_keeps_it_down() -> None:
    web = service("web", with_two(Needs.ALL))
    bench = Bench(settings(web))
    bench.dead.add(OTHER)
    bench.advance(4 * SECOND)

    state = bench.director.member(("web", "rs11"))

    assert state is not None
    assert state.reason == f"tcp: {Reason.REFUSED} {REFUSED.detail}"


def test_followers_are_told_apart_and_counted() -> None:
    one, two = service("web", realserver(11), realserver(12)), service("api", realserver(11), port=443)
    bench = Bench(settings(one, two))

    followers = {str(check.settings.address): places for check, places in bench.director.followers()}

    assert followers == {
        "10.0.0.11": (("web", "rs11"), ("api", "rs11")),
        "10.0.0.12": (("web", "rs12"),),
    }


def test_checks_that_differ_only_in_what_is_not_shown_have_ids_of_their_own() -> None:
    plain = realserver(11)
    assert plain.check is not None
    checks = tuple(replace(plain.check, fall=fall) for fall in range(3, 8))
    web = service("web", replace(plain, further_checks=checks))

    bench = Bench(settings(web))

    assert bench.director.check_count == 6
    bench.take(bench.director.reconfigure(settings(web), bench.now))
    assert bench.director.check_count == 6


def test_the_status_tells_each_of_several_checks() -> None:
    web = service("web", with_two(Needs.ALL), realserver(12))
    bench = Bench(settings(web))
    bench.dead.add(OTHER)
    bench.advance(4 * SECOND)

    view = bench.director.views()["web"]
    first, second = destinations_status(web, bench.director, view, {}, bench.now)

    assert [(row["check"], row["state"]) for row in first["checks"]] == [
        ("tcp 10.0.0.11:80", "up"),
        ("tcp 10.0.9.9:80", "down"),
    ]
    assert (first["check"], first["state"]) == ("tcp 10.0.9.9:80", "down")
    assert second["checks"] == []
    assert second["check_id"] == "web/rs12"
    assert second["last_check"]["phases_ms"] == {}
