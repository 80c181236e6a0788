"""A takeover is proved by those who have followed, and doubted when they are silent."""

from ipaddress import IPv4Address, ip_address
from itertools import pairwise

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import AskNeighbor, TakeoverProved, TakeoverUnproved
from lvsha.vrrp.proof import BURST, PACE, PATIENCE, SLOWEST, TakeoverProof

VIP, OTHER_VIP = IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11")
GATEWAY, NEIGHBOR = IPv4Address("10.0.0.254"), IPv4Address("10.0.0.7")


def begin(
    proof: TakeoverProof,
    *,
    addresses: tuple[IPv4Address, ...] = (VIP,),
    left: bool = False,
    now: int = 0,
) -> list[Output]:
    return proof.begin(
        router="r",
        interface="eth0",
        addresses=addresses,
        neighbors=(GATEWAY, NEIGHBOR),
        predecessor_left=left,
        now=Instant(now),
    )


def run(proof: TakeoverProof, until: int) -> list[tuple[int, Output]]:
    """What comes out up to an instant, with when."""
    seen: list[tuple[int, Output]] = []
    while proof.deadline is not None and proof.deadline <= until:
        now = proof.deadline
        seen += [(now, output) for output in proof.on_deadline(now)]
    return seen


def heard(
    proof: TakeoverProof, neighbor: IPv4Address, *, address: IPv4Address = VIP, now: int = 0
) -> list[Output]:
    return proof.heard(interface="eth0", neighbor=neighbor, address=address, now=Instant(now))


def test_every_neighbour_is_asked_from_every_address_and_one_question_comes_from_nobody() -> None:
    proof = TakeoverProof()

    first = begin(proof, addresses=(VIP, OTHER_VIP))
    asked = [output for _, output in run(proof, 0)]

    assert first == [AskNeighbor("eth0", None, VIP)]
    assert asked == [
        AskNeighbor("eth0", address, neighbor)
        for neighbor in (GATEWAY, NEIGHBOR)
        for address in (VIP, OTHER_VIP)
    ]


def test_nobody_looks_for_a_frozen_predecessor_that_said_that_it_leaves() -> None:
    """It keeps the address until its successor's second advert; its answer would be called a conflict."""
    assert begin(TakeoverProof(), left=True) == []


def test_it_is_proved_when_the_last_one_has_answered() -> None:
    proof = TakeoverProof()
    begin(proof)
    run(proof, 0)

    assert heard(proof, GATEWAY) == []
    assert heard(proof, NEIGHBOR, now=5) == [TakeoverProved("r", (GATEWAY, NEIGHBOR), 5, 2)]
    assert proof.deadline is None


def test_only_who_has_not_answered_is_asked_again_and_ever_more_slowly() -> None:
    proof = TakeoverProof()
    begin(proof)
    run(proof, 0)
    heard(proof, GATEWAY)

    again = [(now, output) for now, output in run(proof, 10 * SECOND) if isinstance(output, AskNeighbor)]

    assert {output for _, output in again} == {AskNeighbor("eth0", VIP, NEIGHBOR)}
    assert [now // MILLISECOND for now, _ in again] == [250, 750, 1750, 3750, 7750]


def test_silence_is_an_alarm_once_and_an_answer_after_it_still_counts() -> None:
    proof = TakeoverProof()
    begin(proof)
    heard(proof, GATEWAY)

    told = [(now, output) for now, output in run(proof, 300 * SECOND) if isinstance(output, TakeoverUnproved)]

    assert told == [(PATIENCE, TakeoverUnproved("r", (NEIGHBOR,), 1, 4))]
    assert isinstance(heard(proof, NEIGHBOR, now=300 * SECOND)[0], TakeoverProved)


def test_asking_never_ends_and_never_becomes_faster_than_once_a_minute_then() -> None:
    proof = TakeoverProof()
    begin(proof)
    run(proof, 600 * SECOND)

    asked = [now for now, output in run(proof, 1200 * SECOND) if output == AskNeighbor("eth0", VIP, GATEWAY)]

    assert [later - earlier for earlier, later in pairwise(asked)] == [SLOWEST] * 9


def test_a_thousand_addresses_and_a_takeover_every_moment_are_no_storm() -> None:
    proof = TakeoverProof()
    many = tuple(IPv4Address(f"10.1.{number >> 8}.{number & 255}") for number in range(1000))
    sent: list[int] = []
    for start in range(0, SECOND, 50 * MILLISECOND):
        begin(proof, addresses=many, now=start)
        sent += [
            now for now, output in run(proof, start + 50 * MILLISECOND) if isinstance(output, AskNeighbor)
        ]

    bursts = {now: sent.count(now) for now in set(sent)}
    assert max(bursts.values()) <= BURST
    assert len(sent) <= BURST * (SECOND // PACE + 1)


def test_who_is_master_no_more_asks_nobody() -> None:
    proof = TakeoverProof()
    begin(proof)

    proof.stop("r")

    assert proof.deadline is None
    assert heard(proof, GATEWAY) == []


def test_another_family_or_scope_is_not_asked() -> None:
    proof = TakeoverProof()

    proof.begin(
        router="r",
        interface="eth0",
        addresses=(ip_address("fe80::10"), ip_address("2001:db8::10")),
        neighbors=(ip_address("fe80::1"), GATEWAY),
        predecessor_left=False,
        now=Instant(0),
    )

    assert [output for _, output in run(proof, 0)] == [
        AskNeighbor("eth0", ip_address("fe80::10"), ip_address("fe80::1"))
    ]
