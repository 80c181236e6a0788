"""What an inspector counts, and what it finds."""

from ipaddress import ip_address

import pytest

from lvsha.core.errors import DropReason
from lvsha.core.instant import SECOND, Instant
from lvsha.sync import inspect
from lvsha.sync.inspect import Finding, FindingKind, Inspector, Rate
from lvsha.sync.nudge import NUDGE_CLIENT
from lvsha.wire.ipvs_sync.message import encode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import SyncConn

START = Instant(1_000 * SECOND)
WEB = SyncConn.build(
    protocol=6,
    client=(ip_address("192.0.2.1"), 40_001),
    virtual=(ip_address("10.0.0.10"), 80),
    destination=(ip_address("10.1.0.1"), 80),
    state=TcpState.ESTABLISHED,
    flags=0,
    timeout=900,
)
TEMPLATE = WEB._replace(cport=0, flags=ConnFlag.TEMPLATE, timeout=360)
ODD = WEB._replace(cport=40_009, options=b"\x41\x18" + bytes(24))
"""An entry with an option: its message is not decoded by columns."""
SERVICE = (6, bytes((10, 0, 0, 10)), 80)


def later(seconds: float) -> Instant:
    return Instant(START + round(seconds * SECOND))


def show(
    inspector: Inspector, *entries: SyncConn, source: str = "10.9.0.1", syncid: int = 7, at: float = 0
) -> list[FindingKind]:
    """The kinds of what it reports about this message."""
    outputs = inspector.observe(encode_message(syncid, entries), source=source, port=8848, now=later(at))
    return [output.kind for output in outputs if isinstance(output, Finding)]


@pytest.mark.parametrize("entries", [(WEB, TEMPLATE), (WEB, TEMPLATE, ODD)], ids=["by columns", "one by one"])
def test_counts_are_the_same_either_way(entries: tuple[SyncConn, ...]) -> None:
    inspector = Inspector()

    show(inspector, *entries)

    assert (inspector.messages, inspector.entries, inspector.lost_entries) == (1, len(entries), 0)
    figures = inspector.services[SERVICE]
    assert (figures.entries, figures.templates) == (len(entries), 1)
    assert figures.states == {TcpState.ESTABLISHED: len(entries) - 1}
    assert inspector.clients == {WEB.caddr: len(entries)}
    (sender,) = inspector.senders.values()
    assert (sender.entries, sender.versions, sender.ports) == (len(entries), {1}, {8848})


def test_services_are_summed_up_over_several_looks() -> None:
    inspector = Inspector()
    show(inspector, WEB)
    assert inspector.services[SERVICE].entries == 1

    show(inspector, WEB, at=1)

    assert inspector.services[SERVICE].entries == 2


def test_state_changes_of_connections_are_counted_and_templates_have_none() -> None:
    inspector = Inspector()
    for state in (TcpState.ESTABLISHED, TcpState.ESTABLISHED, TcpState.FIN_WAIT, TcpState.TIME_WAIT):
        show(inspector, WEB._replace(state=state))
    show(inspector, TEMPLATE._replace(state=0))
    show(inspector, TEMPLATE)

    assert inspector.transitions == {(6, 1, 4): 1, (6, 4, 5): 1}


def test_a_state_is_remembered_over_a_change_of_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "MAX_CONNECTIONS", 4)
    inspector = Inspector()
    show(inspector, WEB)
    show(inspector, *[WEB._replace(cport=port) for port in (1, 2)])

    show(inspector, WEB._replace(state=TcpState.FIN_WAIT))

    assert inspector.transitions == {(6, 1, 4): 1}


def test_clients_past_the_bound_are_forgotten_but_the_busy_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "MAX_CLIENTS", 8)
    inspector = Inspector()
    show(inspector, *[WEB] * 5)

    for number in range(40):
        show(inspector, WEB._replace(caddr=bytes((198, 51, 100, number))))

    assert len(inspector.clients) <= 2 * 8
    assert inspector.clients[WEB.caddr] == 5
    assert inspector.forgotten > 0


def test_nudges_are_not_somebodys_connections() -> None:
    inspector = Inspector()

    show(inspector, WEB._replace(caddr=NUDGE_CLIENT[0].packed))

    assert (inspector.nudges, dict(inspector.clients)) == (1, {})


def test_two_masters_under_one_syncid_are_said_once() -> None:
    inspector = Inspector()
    show(inspector, WEB)

    said = [show(inspector, WEB, source="10.9.0.2", at=1), show(inspector, WEB, at=2)]

    assert said == [[FindingKind.TWO_MASTERS], []]


def test_a_takeover_is_not_two_masters() -> None:
    inspector = Inspector()
    show(inspector, WEB)

    assert show(inspector, WEB, source="10.9.0.2", at=inspect.BOTH_ALIVE_S + 1) == []


def test_an_alien_syncid() -> None:
    inspector = Inspector(syncids=frozenset({7}))

    assert show(inspector, WEB, syncid=8) == [FindingKind.ALIEN_SYNCID]


def test_both_versions_from_one_sender() -> None:
    inspector = Inspector()
    show(inspector, WEB)

    outputs = inspector.observe(
        encode_message(7, [WEB._replace(timeout=0)], version=0), source="10.9.0.1", port=8848, now=START
    )

    assert [getattr(output, "kind", None) for output in outputs] == [FindingKind.VERSION_MIX]


def test_a_message_longer_than_the_backup_takes() -> None:
    inspector = Inspector(receiver=Receiver(maxlen=1024))

    assert show(inspector, *[WEB] * 40) == [FindingKind.TOO_LONG]
    assert inspector.problems[DropReason.BAD_MESSAGE_SIZE] == 1
    assert inspector.entries == 0


def test_an_overflowed_count() -> None:
    message = bytearray(encode_message(7, [WEB] * 255))
    message += message[8 : 8 + 36 * 40]
    message[2:4] = len(message).to_bytes(2, "big")
    message[4] = 295 - 256
    inspector = Inspector()

    (finding,) = inspector.observe(bytes(message), source="10.9.0.1", port=8848, now=START)

    assert isinstance(finding, Finding)
    assert finding.kind is FindingKind.COUNT_OVERFLOW
    assert (inspector.entries, inspector.lost_entries) == (39, 256)


def test_malformed_messages_of_one_kind_are_said_once_and_counted_each_time() -> None:
    inspector = Inspector()

    said = [
        len(inspector.observe(bytes(2), source="10.9.0.1", port=8848, now=later(number)))
        for number in range(3)
    ]

    assert said == [1, 0, 0]
    assert (inspector.problems[DropReason.TRUNCATED], inspector.lost_entries) == (3, 3)


def test_silence_is_said_once() -> None:
    inspector = Inspector(silence=60 * SECOND)
    show(inspector, WEB)

    said = [len(inspector.check_silence(later(seconds))) for seconds in (59, 61, 62)]

    assert said == [0, 1, 0]


def test_a_full_queue_is_said_once() -> None:
    inspector = Inspector()

    assert [len(inspector.check_queue(drops, START)) for drops in (0, 3, 9)] == [0, 1, 0]


def test_senders_past_the_bound_push_the_longest_silent_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "MAX_SENDERS", 2)
    inspector = Inspector()
    for number in range(3):
        show(inspector, WEB, source=f"10.9.0.{number}", at=number * 100)

    assert [source for _, source in inspector.senders] == ["10.9.0.1", "10.9.0.2"]


@pytest.mark.parametrize(
    ("asked_at", "rate"), [(0.5, 10.0), (1.0, 10.0), (4.0, 10.0), (7.0, 4.0), (100.0, 0.0)]
)
def test_a_rate_is_over_whole_seconds_since_the_first(asked_at: float, rate: float) -> None:
    """Ten a second in the seconds 0 to 3."""
    meter = Rate()
    for second in range(4):
        if second <= asked_at:
            meter.add(10, later(second))

    assert meter.per_second(later(asked_at)) == rate
