"""What a reload changes, and what that does."""

import pytest

from lvsha.config.diff import Change, Effect, Kind, diff, text
from lvsha.config.load import loads
from tests.config.problem_cases import BASE, SERVICE, VRRP

OLD = BASE + SERVICE


def changes(old: str, new: str, node: str = "lb1") -> tuple[Change, ...]:
    return diff(loads(old, "old", node), loads(new, "new", node))


def test_nothing_changes_when_only_the_writing_differs() -> None:
    new = SERVICE.replace('"tcp"', '{ type = "tcp", interval = 1 }') + "# other\n" + BASE

    assert changes(OLD, new) == ()


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (
            OLD + 'scheduler = "mh"\n',
            [
                "~ service tcp/10.0.0.10:80 scheduler: wlc -> mh",
                "~ service tcp/10.0.0.10:80 scheduler_flags: [] -> [mh-fallback]",
            ],
        ),
        (OLD + 'name = "web"\n', ["~ service tcp/10.0.0.10:80 name: tcp/10.0.0.10:80 -> web"]),
        (
            OLD.replace('"10.0.0.12"', '{ address = "10.0.0.12", weight = 5 }'),
            ["~ service tcp/10.0.0.10:80 realserver 10.0.0.12:80 weight: 1 -> 5"],
        ),
        (
            OLD.replace(', "10.0.0.12"', ""),
            [
                "- service tcp/10.0.0.10:80 realserver 10.0.0.12:80 [connections] "
                "(drain it first: lvsha drain 10.0.0.12:80)"
            ],
        ),
        (
            OLD.replace('"10.0.0.12"', '"10.0.0.12", "10.0.0.13"'),
            ["+ service tcp/10.0.0.10:80 realserver 10.0.0.13:80"],
        ),
        (
            OLD.replace('"10.0.0.12"', '{ address = "10.0.0.12", on_failure = "remove" }'),
            ["~ service tcp/10.0.0.10:80 realserver 10.0.0.12:80 on_failure: none -> remove"],
        ),
        (
            OLD.replace('"10.0.0.12"', '{ address = "10.0.0.12", check = "on" }'),
            ["~ service tcp/10.0.0.10:80 realserver 10.0.0.12:80 check.type: tcp -> on"],
        ),
        (
            OLD.replace('"10.0.0.12"', '{ address = "10.0.0.12", check = { rise = 4 } }'),
            ["~ service tcp/10.0.0.10:80 realserver 10.0.0.12:80 check.rise: 2 -> 4"],
        ),
        (
            OLD + 'sorry = "10.0.0.99"\n',
            ["~ service tcp/10.0.0.10:80 sorry: none -> { address = 10.0.0.99:80, weight = 1, method = dr }"],
        ),
        (OLD + "hysteresis = 1\n", ["~ service tcp/10.0.0.10:80 hysteresis: 0 -> 1"]),
        (
            OLD + SERVICE.replace(":80", ":81"),
            ["+ service tcp/10.0.0.10:81 (TCP 10.0.0.10:81, 2 realservers)"],
        ),
        (BASE, ["- service tcp/10.0.0.10:80 (TCP 10.0.0.10:80, 2 realservers) [connections]"]),
        (
            OLD.replace("vrid = 51", "vrid = 51\npriority = 7"),
            ["~ vrrp eth0-51 priority: 200 -> 7"],
        ),
        (
            OLD.replace('["10.0.0.10/24"]', '["10.0.0.10/24", "10.0.0.20/24"]'),
            ["~ vrrp eth0-51 addresses: [10.0.0.10/24] -> [10.0.0.10/24, 10.0.0.20/24]"],
        ),
        (
            OLD.replace('["10.0.0.10/24"]', '["10.0.0.20/24"]\nexcluded_addresses = ["10.0.0.10/24"]'),
            [
                "~ vrrp eth0-51 addresses: [10.0.0.10/24] -> [10.0.0.20/24]",
                "~ vrrp eth0-51 excluded_addresses: [] -> [10.0.0.10/24]",
            ],
        ),
        (
            OLD.replace("10.0.0.10/24", "10.0.0.20/24"),
            ["~ vrrp eth0-51 addresses: [10.0.0.10/24] -> [10.0.0.20/24] [connections]"],
        ),
        (OLD + "[sync]\nmaxlen = 1472\n", ["~ sync maxlen: 44 -> 1472 [sync]"]),
        (OLD + "[sync]\nnudge_interval = 0\n", ["~ sync nudge_interval: 50ms -> 0s"]),
        (OLD + "[sync]\nenabled = false\n", ["~ sync enabled: true -> false [sync]"]),
        (OLD + '[ipvs.timeouts]\ntcp = "1h"\n', ["~ ipvs.timeouts tcp: none -> 1h"]),
        (OLD + '[agent]\nrun_dir = "/run/x"\n', ["~ agent run_dir: /run/lvsha -> /run/x [restart]"]),
        (OLD + "[agent]\nexclusive = true\n", ["~ agent exclusive: false -> true"]),
        (OLD.replace("10.0.0.2", "10.0.0.3"), ["~ director lb2 address: 10.0.0.2 -> 10.0.0.3"]),
    ],
)
def test_a_change_is_told_with_its_effect(new: str, expected: list[str]) -> None:
    assert text(changes(OLD, new)).splitlines() == expected


def test_another_interface_makes_another_router_under_the_same_name() -> None:
    named = OLD.replace("vrid = 51", 'vrid = 51\nname = "web"')
    (router, sync) = changes(named, named.replace("eth0", "eth1"))

    assert (router.path, router.field, router.effect) == ("vrrp web", "interface", Effect.ROLE)
    assert sync.effect is Effect.SYNC


def test_a_router_that_goes_should_hand_over_first() -> None:
    removed, added = changes(BASE, BASE.replace("eth0", "eth1") + '[sync]\ninterface = "eth0"\n')

    assert (removed.kind, removed.effect) == (Kind.REMOVED, Effect.ROLE)
    assert removed.advice == "hand over with lvsha switchover first"
    assert (added.kind, added.effect) == (Kind.ADDED, Effect.LIVE)


def test_a_changed_secret_is_told_without_it() -> None:
    old = BASE + 'version = 2\npassword = "sesame"\n'
    shown = text(changes(old, old.replace("sesame", "open")))

    assert "password: ******** -> another ********" in shown
    assert "open" not in shown


def test_a_new_router_changes_nothing_else() -> None:
    new = OLD + VRRP.replace("51", "52").replace("10.0.0.10", "10.0.0.30")

    assert text(changes(OLD, new)) == "+ vrrp eth0-52"
