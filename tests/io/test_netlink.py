"""``NetlinkSocket``: chunks, sequence numbers, lost answers, dumps."""

import errno
from _socket import socket
from collections import deque
from typing import Any, cast

import pytest

from lvsha.io.netlink import CHUNK, GENERIC, AnswersLost, NetlinkError, NetlinkSocket, Request
from lvsha.wire import genl_ipvs
from lvsha.wire.netlink import ACK, DONE, DUMP_INTR, ERROR, message, messages


class Kernel:
    """Fails the requests whose payload says so, in order; answers as the real one does."""

    def __init__(self, *, receive_buffer: int = 4 << 20, send_buffer: int = 4 << 20) -> None:
        self._buffers = {8: receive_buffer, 7: send_buffer}
        self.sent: list[bytes] = []
        self.waiting: deque[bytes | OSError] = deque()

    def send(self, data: bytes) -> int:
        self.sent.append(data)
        for _, flags, sequence, start, end in messages(data):
            payload = data[start:end]
            code = int(payload[4:]) if payload.startswith(b"fail") else 0
            if code or flags & ACK:
                self.waiting.append(error(sequence, code))
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.waiting:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        answer = self.waiting.popleft()
        if isinstance(answer, OSError):
            raise answer
        return answer

    def getsockopt(self, level: int, option: int) -> int:
        return self._buffers[option]

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option in (32, 33):
            raise PermissionError(errno.EPERM, "not root")

    def bind(self, address: object) -> None:
        pass


def error(sequence: int, code: int) -> bytes:
    return message(ERROR, 0x100, sequence, (-code).to_bytes(4, "little", signed=True) + bytes(16))


def netlink(kernel: Kernel) -> NetlinkSocket:
    return NetlinkSocket(GENERIC, endpoint=cast(socket, kernel))


def requests(count: int, size: int = 100) -> list[Request]:
    return [(28, 0, bytes(size)) for _ in range(count)]


def test_errors_are_told_by_the_index_of_their_request() -> None:
    kernel = Kernel()
    batch = requests(2000)
    for index in (0, 700, 1999):
        batch[index] = (28, 0, b"fail%d" % errno.EEXIST)

    failures = netlink(kernel).batch(batch)

    assert failures == [(index, errno.EEXIST, "") for index in (0, 700, 1999)]


def test_a_batch_is_cut_into_chunks_that_each_ask_once() -> None:
    kernel = Kernel()

    netlink(kernel).batch(requests(3000))

    assert all(len(data) <= CHUNK for data in kernel.sent)
    assert len(kernel.sent) == -(-3000 * 116 // CHUNK)
    numbers = [sequence for data in kernel.sent for _, _, sequence, _, _ in messages(data)]
    assert numbers == list(range(1, 3001))
    for data in kernel.sent:
        flags = [flags & ACK for _, flags, _, _, _ in messages(data)]
        assert flags == [0] * (len(flags) - 1) + [ACK]


def test_a_small_receive_buffer_means_few_requests_at_once() -> None:
    """Were all of them refused, the answers would still fit."""
    kernel = Kernel(receive_buffer=208 * 1024)

    netlink(kernel).batch(requests(1000, size=20))

    assert max(len(list(messages(data))) for data in kernel.sent) == 208


def test_a_request_larger_than_a_chunk_goes_alone() -> None:
    kernel = Kernel()

    netlink(kernel).batch([(28, 0, bytes(10)), (28, 0, bytes(CHUNK)), (28, 0, bytes(10))])

    assert [len(list(messages(data))) for data in kernel.sent] == [1, 1, 1]


def test_sequence_numbers_wrap() -> None:
    kernel = Kernel()
    sender = netlink(kernel)
    sender._sequence = 0xFFFFFFFE

    assert sender.batch([(28, 0, b"fail1"), (28, 0, b"fail2"), (28, 0, b"")]) == [(0, 1, ""), (1, 2, "")]
    assert sender._sequence == 1


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (OSError(errno.ENOBUFS, "full"), errno.ENOBUFS),
        (BlockingIOError(errno.EAGAIN, "late"), errno.ETIMEDOUT),
    ],
)
def test_lost_answers_are_no_failure_of_a_request(trouble: OSError, code: int) -> None:
    kernel = Kernel()
    kernel.waiting.append(trouble)

    with pytest.raises(AnswersLost) as caught:
        netlink(kernel).batch(requests(1))

    assert caught.value.errno == code


def test_other_errors_of_the_socket_are_not_hidden() -> None:
    kernel = Kernel()
    kernel.waiting.append(OSError(errno.EBADF, "closed"))

    with pytest.raises(OSError, match="closed"):
        netlink(kernel).batch(requests(1))


def test_the_kernels_own_words_are_passed_on() -> None:
    kernel = Kernel()
    words = b"\x10\x00\x01\x00no route\x00\x00\x00\x00"
    kernel.waiting.append(
        message(ERROR, 0x300, 1, (-22).to_bytes(4, "little", signed=True) + bytes(16) + words)
    )

    with pytest.raises(NetlinkError) as caught:
        netlink(kernel).do(28, b"")

    assert (caught.value.errno, caught.value.text) == (22, "no route")


def test_do_if_answered_does_not_wait() -> None:
    class Silent(Kernel):
        def send(self, data: bytes) -> int:
            return len(data)

    assert netlink(Silent()).do_if_answered(28, b"") is False
    assert netlink(Kernel()).do_if_answered(28, b"") is True
    with pytest.raises(NetlinkError):
        netlink(Kernel()).do_if_answered(28, b"fail3")


class Table(Kernel):
    """Answers dumps; the first ``interruptions`` of them say that the table changed."""

    def __init__(self, *, interruptions: int, code: int = 0) -> None:
        super().__init__()
        self.interruptions = interruptions
        self.code = code

    def send(self, data: bytes) -> int:
        self.sent.append(data)
        ((_, _, sequence, _, _),) = messages(data)
        flag = DUMP_INTR if self.interruptions > 0 else 0
        self.interruptions -= 1
        stale = message(28, 2, sequence + 100, b"old!")
        self.waiting.append(stale + message(28, 2, sequence, b"one.") + message(28, 2, sequence, b"two."))
        end = (-self.code).to_bytes(4, "little", signed=True)
        self.waiting.append(message(28, 2, sequence, b"tri.") + message(DONE, 2 | flag, sequence, end))
        return len(data)


@pytest.mark.parametrize(("interruptions", "tries"), [(0, 1), (1, 2), (9, 3)])
def test_a_dump_is_repeated_while_the_table_changes_but_not_for_ever(interruptions: int, tries: int) -> None:
    kernel = Table(interruptions=interruptions)

    answers = netlink(kernel).dump(28, b"")

    assert [buffer[start:end] for buffer, start, end in answers] == [b"one.", b"two.", b"tri."]
    assert len(kernel.sent) == tries


def test_a_dump_that_ends_in_an_error_is_one() -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink(Table(interruptions=0, code=errno.EPERM)).dump(28, b"")

    assert caught.value.errno == errno.EPERM


def test_objects_come_one_by_one_and_the_end_says_whether_the_table_changed() -> None:
    kernel = Table(interruptions=1)
    ours = netlink(kernel)

    objects = ours.each(28, b"")
    buffer, start, end = next(objects)

    assert buffer[start:end] == b"one."
    assert len(kernel.waiting) == 1  # not yet read
    assert [buffer[start:end] for buffer, start, end in objects] == [b"two.", b"tri."]
    assert ours.interrupted


def test_a_row_without_counters_is_the_head_of_one_with_them() -> None:
    attributes = genl_ipvs.destination_attributes(
        family=2,
        address=bytes([10, 0, 0, 1]),
        port=80,
        method=3,
        weight=7,
        upper_threshold=9,
        lower_threshold=2,
        tun_type=0,
        tun_port=0,
        tun_flags=0,
    )
    payload = genl_ipvs.command(genl_ipvs.NEW_DEST, attributes)

    plain = genl_ipvs.destination_layouts(counters=False).read(payload, 0, len(payload))

    whole = genl_ipvs.destination_layouts().read(payload, 0, len(payload))
    assert plain == whole[: genl_ipvs.DEST_COUNTERS]
    assert plain[:6] == (bytes([10, 0, 0, 1]) + bytes(12), bytes([0, 80]), 3, 7, 9, 2)
