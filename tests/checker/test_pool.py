"""Weights, quorum, sorry server, brake and slow start."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.pool import (
    MemberState,
    OnFailure,
    Pool,
    PoolChanged,
    PoolMember,
    PoolSettings,
    QuorumGained,
    QuorumLost,
    QuorumUnit,
    compute_view,
    next_quorum,
    target_weight,
)
from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output

NOW = Instant(50 * SECOND)
ABC = tuple(PoolMember(name=name, weight=weight) for name, weight in (("a", 1), ("b", 2), ("c", 3)))


def later(seconds: float) -> Instant:
    return Instant(NOW + int(seconds * SECOND))


def up(pool: Pool, *names: str) -> list[Output]:
    return [output for name in names for output in pool.on_check(name, True, "ok", NOW)]


def down(pool: Pool, *names: str) -> list[Output]:
    return [output for name in names for output in pool.on_check(name, False, "refused", NOW)]


def test_member_has_its_weight_while_up_and_zero_while_down() -> None:
    pool = Pool(PoolSettings(members=ABC))
    assert pool.view().weights == {"a": 0, "b": 0, "c": 0}

    up(pool, "a", "c")

    assert pool.view().weights == {"a": 1, "b": 0, "c": 3}
    assert pool.view().alive_weight == 4
    assert pool.view().alive_servers == 2


def test_member_that_is_down_is_removed_where_so_configured() -> None:
    members = (ABC[0], replace(ABC[1], on_failure=OnFailure.WEIGHT_ZERO))
    pool = Pool(PoolSettings(members=members, on_failure=OnFailure.REMOVE))

    assert pool.view().weights == {"a": None, "b": 0}


def test_same_verdict_again_says_nothing() -> None:
    pool = Pool(PoolSettings(members=ABC))

    assert [type(output) for output in up(pool, "a")] == [QuorumGained, PoolChanged]
    assert up(pool, "a") == []
    assert pool.on_check("nobody", True, "ok", NOW) == []


def test_change_names_its_member_and_reason() -> None:
    pool = Pool(PoolSettings(name="web", members=ABC), up=frozenset("abc"))

    (changed,) = down(pool, "b")

    assert isinstance(changed, PoolChanged)
    assert (changed.pool, changed.member, changed.reason) == ("web", "b", "refused")
    assert changed.before.weights["b"] == 2
    assert changed.after.weights["b"] == 0


def test_adopted_members_meet_the_quorum_from_the_first_moment() -> None:
    view = Pool(PoolSettings(members=ABC, quorum=6, has_sorry=True), up=frozenset("abc")).view()

    assert view.quorum_met
    assert not view.sorry_active


def test_quorum_is_lost_below_quorum_minus_hysteresis_and_gained_at_quorum_plus_hysteresis() -> None:
    """keepalived's rule: up at q + h, down below q - h."""
    members = tuple(PoolMember(name=str(i), weight=1) for i in range(10))
    pool = Pool(PoolSettings(name="web", members=members, quorum=5, hysteresis=2), up=frozenset("0123456789"))

    assert not any(isinstance(output, QuorumLost) for output in down(pool, *"0123456"))
    assert pool.view().alive_weight == 3
    assert QuorumLost(pool="web", alive=2, needed=3) in down(pool, "7")
    assert not any(isinstance(output, QuorumGained) for output in up(pool, *"0123"))
    assert QuorumGained(pool="web", alive=7, needed=7) in up(pool, "4")


def test_quorum_above_all_there_is_means_all_there_is() -> None:
    pool = Pool(PoolSettings(members=ABC, quorum=100, hysteresis=50))

    up(pool, "a", "b")
    assert not pool.view().quorum_met
    up(pool, "c")
    assert pool.view().quorum_met


def test_quorum_can_count_servers() -> None:
    pool = Pool(PoolSettings(members=ABC, quorum=2, quorum_unit=QuorumUnit.SERVERS))

    up(pool, "c")
    assert not pool.view().quorum_met
    up(pool, "a")
    assert pool.view().quorum_met


def test_sorry_server_alone_serves_while_the_quorum_is_lost() -> None:
    pool = Pool(PoolSettings(members=ABC, quorum=3, has_sorry=True), up=frozenset("abc"))

    down(pool, "c", "b")

    assert pool.view().sorry_active
    assert pool.view().weights == {"a": 0, "b": 0, "c": 0}
    up(pool, "b")
    assert not pool.view().sorry_active
    assert pool.view().weights == {"a": 1, "b": 2, "c": 0}


def test_sorry_server_waits_for_the_first_verdicts() -> None:
    pool = Pool(PoolSettings(members=ABC, quorum=3, has_sorry=True))
    assert not pool.view().sorry_active

    down(pool, "a", "b")
    assert not pool.view().sorry_active, "c alone could still meet the quorum"
    down(pool, "c")
    assert pool.view().sorry_active


def test_without_a_sorry_server_the_living_serve_on_below_the_quorum() -> None:
    pool = Pool(PoolSettings(members=ABC, quorum=6), up=frozenset("abc"))

    down(pool, "c")

    assert not pool.view().quorum_met
    assert pool.view().weights == {"a": 1, "b": 2, "c": 0}


def test_drained_member_has_weight_zero_though_it_is_up() -> None:
    pool = Pool(PoolSettings(members=ABC, on_failure=OnFailure.REMOVE), up=frozenset("abc"))

    pool.drain("b", True, NOW)
    assert pool.view().weights["b"] == 0
    assert pool.view().alive_weight == 4

    pool.drain("b", False, NOW)
    assert pool.view().weights["b"] == 2


def test_weight_and_share_from_a_check() -> None:
    pool = Pool(PoolSettings(members=(PoolMember(name="a", weight=40),)), up=frozenset("a"))

    pool.on_weight("a", NOW, percent=50)
    assert pool.view().weights == {"a": 20}
    pool.on_weight("a", NOW, percent=1)
    assert pool.view().weights == {"a": 1}
    pool.on_weight("a", NOW, percent=0)
    assert pool.view().weights == {"a": 0}
    pool.on_weight("a", NOW, weight=7)
    assert pool.view().weights == {"a": 7}
    pool.on_weight("a", NOW)
    assert pool.view().weights == {"a": 40}


def test_brake_keeps_the_members_that_fell_last() -> None:
    members = tuple(PoolMember(name=name, weight=5) for name in "abcd")
    pool = Pool(PoolSettings(members=members, minimum_pooled_percent=50), up=frozenset("abcd"))

    for second, name in enumerate("dacb"):
        pool.on_check(name, False, "refused", later(second))

    assert pool.view().pooled_though_down == ("b", "c")
    assert pool.view().weights == {"a": 0, "b": 5, "c": 5, "d": 0}
    assert not pool.view().quorum_met, "who is only kept in is not alive"


def test_brake_lets_go_as_others_return() -> None:
    members = tuple(PoolMember(name=name, weight=5) for name in "ab")
    pool = Pool(PoolSettings(members=members, minimum_pooled_percent=50), up=frozenset("ab"))
    down(pool, "a", "b")
    assert len(pool.view().pooled_though_down) == 1

    up(pool, "a")

    assert pool.view().pooled_though_down == ()
    assert pool.view().weights == {"a": 5, "b": 0}


def test_brake_does_not_pool_who_was_never_up() -> None:
    pool = Pool(PoolSettings(members=ABC, minimum_pooled_percent=100))

    down(pool, "a", "b", "c")

    assert pool.view().weights == {"a": 0, "b": 0, "c": 0}


def test_sorry_server_takes_precedence_over_the_brake() -> None:
    pool = Pool(PoolSettings(members=ABC, minimum_pooled_percent=100, has_sorry=True), up=frozenset("abc"))

    down(pool, "a", "b", "c")

    assert pool.view().sorry_active
    assert set(pool.view().weights.values()) == {0}


def test_member_that_comes_back_climbs_to_its_weight() -> None:
    pool = Pool(
        PoolSettings(members=(PoolMember(name="a", weight=100),), slow_start=10 * SECOND), up=frozenset("a")
    )
    down(pool, "a")
    up(pool, "a")
    weights = [pool.view().weights["a"]]
    while (deadline := pool.deadline) is not None:
        pool.on_deadline(deadline)
        weights.append(pool.view().weights["a"])

    assert weights == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert deadline is None


def test_late_loop_skips_steps_of_a_slow_start() -> None:
    pool = Pool(
        PoolSettings(members=(PoolMember(name="a", weight=100),), slow_start=10 * SECOND), up=frozenset("a")
    )
    down(pool, "a")
    up(pool, "a")

    pool.on_deadline(later(4.5))
    assert pool.view().weights == {"a": 50}
    pool.on_deadline(later(60))
    assert pool.view().weights == {"a": 100}
    assert pool.deadline is None


def test_first_verdict_after_a_start_needs_no_slow_start() -> None:
    pool = Pool(PoolSettings(members=(PoolMember(name="a", weight=100),), slow_start=10 * SECOND))

    up(pool, "a")

    assert pool.view().weights == {"a": 100}


def test_slow_start_does_not_lower_the_quorum() -> None:
    pool = Pool(
        PoolSettings(members=(PoolMember(name="a", weight=100),), quorum=100, slow_start=10 * SECOND),
        up=frozenset("a"),
    )
    down(pool, "a")
    up(pool, "a")

    assert pool.view().quorum_met


def test_reconfiguring_keeps_what_is_known_of_a_member() -> None:
    pool = Pool(PoolSettings(members=ABC), up=frozenset("ab"))

    outputs = pool.reconfigure(
        PoolSettings(members=(replace(ABC[0], weight=9), PoolMember(name="d", weight=4))), NOW
    )

    assert pool.view().weights == {"a": 9, "d": 0}
    assert [type(output) for output in outputs] == [PoolChanged]
    assert pool.reconfigure(pool.settings, NOW) == []


# Property tests: a pool is a function of what is known, not of how it came to be known.

percents = st.none() | st.integers(-10, 200)
weights = st.integers(0, 70_000)
states = st.builds(
    MemberState,
    up=st.booleans(),
    proven=st.booleans(),
    fell_at=st.none() | st.integers(0, 10).map(Instant),
    ramp_step=st.integers(1, 10),
    is_drained=st.booleans(),
    check_weight=st.none() | st.integers(-5, 100_000),
    check_percent=percents,
)


@st.composite
def pools(draw: st.DrawFn) -> tuple[PoolSettings, dict[str, MemberState]]:
    names = [str(i) for i in range(draw(st.integers(0, 6)))]
    settings = PoolSettings(
        members=tuple(
            PoolMember(
                name=name,
                weight=draw(st.integers(0, 5)),
                on_failure=draw(st.none() | st.sampled_from(OnFailure)),
            )
            for name in names
        ),
        quorum=draw(st.integers(0, 20)),
        hysteresis=draw(st.integers(0, 10)),
        quorum_unit=draw(st.sampled_from(QuorumUnit)),
        on_failure=draw(st.sampled_from(OnFailure)),
        has_sorry=draw(st.booleans()),
        minimum_pooled_percent=draw(st.sampled_from([0, 1, 34, 50, 99, 100, 150])),
    )
    return settings, {name: draw(states) for name in names}


@given(pools(), st.booleans())
def test_view_keeps_the_rules(pool: tuple[PoolSettings, dict[str, MemberState]], met: bool) -> None:
    settings, known = pool
    view = compute_view(settings, known, met)

    assert set(view.weights) == {member.name for member in settings.members}
    for member in settings.members:
        state, weight = known[member.name], view.weights[member.name]
        serves = not view.sorry_active and not state.is_drained
        if serves and state.up:
            assert weight is not None
            full = target_weight(member, state)
            assert 0 <= weight <= full <= 65535
            assert (weight == 0) == (full == 0), "a slow start never stops a member altogether"
        elif member.name in view.pooled_though_down:
            assert serves
            assert weight == target_weight(member, state) > 0
        else:
            assert not weight, "no destination with weight > 0 that its pool calls down"
    if view.sorry_active:
        assert settings.has_sorry
        assert not met
    assert view.alive_servers <= len(settings.members)


@given(pools())
def test_quorum_is_monotonic_in_memory(pool: tuple[PoolSettings, dict[str, MemberState]]) -> None:
    """Whoever gains the quorum from nothing would also have kept it: hysteresis never oscillates."""
    settings, known = pool
    assert next_quorum(settings, known, True) or not next_quorum(settings, known, False)
    met = next_quorum(settings, known, False)
    assert next_quorum(settings, known, met) is met


@given(pools())
def test_nothing_alive_is_never_a_quorum_and_everything_alive_always_is(
    pool: tuple[PoolSettings, dict[str, MemberState]],
) -> None:
    settings, known = pool
    nothing = {name: replace(state, up=False) for name, state in known.items()}
    everything = {name: MemberState(up=True, proven=True) for name in known}

    assert not next_quorum(settings, nothing, True)
    if any(member.weight for member in settings.members):
        assert next_quorum(settings, everything, False)


verdicts = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)


@given(verdicts, st.integers(1, 6))
def test_order_of_news_does_not_matter_without_hysteresis(news: list[tuple[str, bool]], quorum: int) -> None:
    settings = PoolSettings(members=ABC, quorum=quorum, has_sorry=True)
    pool = Pool(settings)
    for name, is_up in news:
        pool.on_check(name, is_up, "", NOW)

    last = dict(news)
    fresh = Pool(settings)
    for name in sorted(last, reverse=True):
        fresh.on_check(name, last[name], "", NOW)

    assert pool.view() == fresh.view()


@given(verdicts, st.integers(0, 3), st.integers(1, 6))
def test_events_tell_every_change_of_the_view(
    news: list[tuple[str, bool]], hysteresis: int, quorum: int
) -> None:
    """Whoever only listens to the events knows the view."""
    pool = Pool(PoolSettings(members=ABC, quorum=quorum, hysteresis=hysteresis, has_sorry=True))
    heard = pool.view()
    for name, is_up in news:
        for output in pool.on_check(name, is_up, "", NOW):
            if isinstance(output, PoolChanged):
                assert output.before == heard
                heard = output.after
    assert heard == pool.view()


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | weights, percents),
        max_size=30,
    )
)
def test_weights_from_checks_do_not_add_up(news: list[tuple[str, int | None, int | None]]) -> None:
    """A weight that a check says replaces the one before it (keepalived issue 2720 grew to 667)."""
    pool = Pool(PoolSettings(members=ABC), up=frozenset("abc"))
    for name, weight, percent in news:
        pool.on_weight(name, NOW, weight=weight, percent=percent)
    for member in ABC:
        pool.on_weight(member.name, NOW)

    assert pool.view().weights == {"a": 1, "b": 2, "c": 3}


def test_several_members_are_drained_in_one_change() -> None:
    pool = Pool(PoolSettings(members=ABC), up=frozenset("abc"))

    (changed,) = pool.drain_several({"a": True, "c": True, "gone": True})

    assert isinstance(changed, PoolChanged)
    assert pool.view().weights == {"a": 0, "b": 2, "c": 0}
    assert pool.drain_several({"a": False, "c": False})
    assert pool.view().weights == {"a": 1, "b": 2, "c": 3}


news_of_one = st.tuples(
    st.sampled_from("012345"),
    st.sampled_from(["up", "down", "drain", "undrain", "climb"]) | st.integers(0, 9),
)


@given(pools(), st.sampled_from([0, 10 * SECOND]), st.lists(news_of_one, max_size=25))
def test_news_of_one_member_makes_the_view_that_the_rules_make_of_all(
    pool_: tuple[PoolSettings, dict[str, MemberState]], slow_start: int, news: list[tuple[str, str | int]]
) -> None:
    settings = replace(pool_[0], slow_start=slow_start)
    pool = Pool(settings)
    met = pool.view().quorum_met
    for second, (name, what) in enumerate(news):
        now = later(second)
        match what:
            case "up" | "down":
                pool.on_check(name, what == "up", "", now)
            case "drain" | "undrain":
                pool.drain(name, what == "drain", now)
            case "climb":
                pool.on_deadline(now)
            case int():
                pool.on_weight(name, now, weight=what)

        states = {member.name: state for member in settings.members if (state := pool.state(member.name))}
        if what != "climb":
            met = next_quorum(settings, states, met)
            assert pool.view() == compute_view(settings, states, met)
        met = pool.view().quorum_met
