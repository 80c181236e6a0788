"""``IpvsSocket`` against the recorded words of a kernel."""

import errno
from collections.abc import Callable

import pytest

from lvsha.core.errors import KernelError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.netlink import GENERIC, NetlinkSocket
from lvsha.ipvs.model import AddService, DaemonRole, RemoveService, Service
from lvsha.wire.genl_ipvs import CONTROLLER
from lvsha.wire.netlink import ACK, ERROR, HEADER, message, messages
from tests.io.ipvs_steps import MARK, STEPS, WEB
from tests.io.netlink_tape import Exchange, Player, load


def ipvs_of(exchanges: list[Exchange]) -> tuple[IpvsSocket, Player]:
    player = Player(exchanges)
    return IpvsSocket(connect=lambda _: NetlinkSocket(GENERIC, endpoint=player.as_socket())), player


def test_every_step_is_asked_and_answered_as_recorded() -> None:
    """The bytes of every request and the records of every answer."""
    recorded = load("ipvs.json")
    ipvs, player = ipvs_of([exchange for step in STEPS for exchange in recorded[step.name]])

    for step in STEPS:
        assert step.run(ipvs) == step.answer, step.name

    assert player.is_finished
    assert recorded.keys() == {step.name for step in STEPS}


def answer(request: bytes, code: int) -> bytes:
    """What the kernel says to a request that it refuses."""
    sequence = HEADER.unpack_from(request)[3]
    return message(ERROR, 0x100, sequence, (-code).to_bytes(4, "little", signed=True) + request[:16])


def refused_at_open(code: int, *, at_family: bool) -> str:
    """The text of the KernelError of ``open``, when the kernel refuses its first or second request."""
    family, info = load("ipvs.json")["open"]
    exchanges: list[Exchange]
    if at_family:
        exchanges = [(family[0], [answer(family[0], code)])]
    else:
        exchanges = [family, (info[0], [answer(info[0], code)])]
    ipvs, player = ipvs_of(exchanges)
    with pytest.raises(KernelError) as caught:
        ipvs.open()
    assert caught.value.errno == code
    assert player.is_finished
    return str(caught.value)


def test_a_kernel_without_ip_vs_says_which_module_to_load() -> None:
    assert "modprobe ip_vs" in refused_at_open(errno.ENOENT, at_family=True)


def test_a_user_without_the_capability_is_told_which() -> None:
    assert "CAP_NET_ADMIN" in refused_at_open(errno.EPERM, at_family=False)


def opened(*replies: Callable[[bytes], list[bytes]]) -> IpvsSocket:
    """An open socket to a kernel that is a list of functions from request to replies."""
    recorded = load("ipvs.json")["open"]
    ipvs, player = ipvs_of(list(recorded))
    ipvs.open()
    waiting = list(replies)

    def send(data: bytes) -> int:
        player._waiting.extend(waiting.pop(0)(data))
        return len(data)

    player.send = send  # type: ignore[method-assign]
    return ipvs


HINTS = [
    (AddService(Service(key=WEB)), errno.EEXIST, "edit it instead"),
    (AddService(Service(key=WEB, scheduler="fo")), errno.ENOENT, "modprobe -a ip_vs_fo`"),
    (AddService(Service(key=WEB, pe_name="sip")), errno.ENOENT, "ip_vs_wlc ip_vs_pe_sip"),
    (RemoveService(WEB), errno.ESRCH, "no such service"),
    (RemoveService(WEB), errno.EPERM, "CAP_NET_ADMIN"),
]


@pytest.mark.parametrize(("operation", "code", "words"), HINTS)
def test_a_refused_operation_says_what_to_do(
    operation: AddService | RemoveService, code: int, words: str
) -> None:
    ipvs = opened(lambda request: [answer(request, code)])

    ((which, error),) = ipvs.apply([operation])

    assert which == operation
    assert error.errno == code
    assert words in str(error)


def test_no_operation_sends_nothing() -> None:
    assert opened().apply([]) == []


def test_a_silent_kernel_leaves_the_state_unknown() -> None:
    ipvs = opened(lambda _: [])

    with pytest.raises(KernelError) as caught:
        ipvs.apply([RemoveService(WEB)])

    assert caught.value.errno == errno.ETIMEDOUT


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next() -> None:
    late: list[bytes] = []

    def silent(request: bytes) -> list[bytes]:
        late.append(answer(request, errno.EEXIST))
        return []

    ipvs = opened(silent, lambda request: [late[0], answer(request, errno.ESRCH)])
    with pytest.raises(KernelError):
        ipvs.apply([AddService(Service(key=WEB))])

    ((_, error),) = ipvs.apply([RemoveService(MARK)])

    assert error.errno == errno.ESRCH


def test_a_daemon_that_the_kernel_stops_without_a_word_is_looked_for() -> None:
    """No answer, and the daemon is still listed: then it does run."""
    recorded = load("ipvs.json")
    ((_, daemons),) = recorded["list daemons"]

    def listed(request: bytes) -> list[bytes]:
        sequence = HEADER.unpack_from(request)[3]
        return [
            b"".join(
                message(kind, flags, sequence, reply[start:end])
                for kind, flags, _, start, end in messages(reply)
            )
            for reply in daemons
        ]

    ipvs = opened(lambda _: [], listed)

    with pytest.raises(KernelError) as caught:
        ipvs.stop_daemon(DaemonRole.MASTER)

    assert caught.value.errno == errno.ETIMEDOUT


def test_only_the_last_request_of_a_batch_asks_for_an_answer() -> None:
    (batch, _), *_ = load("ipvs.json")["fill"]

    flags = [flags & ACK for _, flags, _, _, _ in messages(batch)]

    assert flags == [0] * (len(flags) - 1) + [ACK]
    assert CONTROLLER not in [kind for kind, *_ in messages(batch)]
