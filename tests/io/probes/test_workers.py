"""Probes in other processes: the same answers, and what happens when a process dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings, ExecOptions, HttpOptions
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.core.machine import Output
from lvsha.io.probes.workers import CheckWorkerEnded, ProbeWorkers
from tests.io.probes.probe_servers import answering, check, serving, silent

OK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Asking = Callable[[str, CheckSettings], "asyncio.Future[ProbeResult]"]


class Bench:
    """Two workers, what they reported, and a way to await a result."""

    def __init__(self) -> None:
        self.events: list[Output] = []
        self.workers = ProbeWorkers(2, self.events.append)

    def ask(self, check_id: str, settings: CheckSettings) -> "asyncio.Future[ProbeResult]":
        ended: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()
        self.workers.start(check_id, settings, lambda _, result: ended.set_result(result))
        return ended


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.workers.close()


async def test_answers_are_those_of_a_probe_made_here(bench: Bench) -> None:
    async with serving(answering(OK_ANSWER)) as port:
        good, bad, weighed = await asyncio.wait_for(
            asyncio.gather(
                bench.ask("a", check(CheckKind.HTTP, port)),
                bench.ask("b", check(CheckKind.HTTP, port, HttpOptions(statuses=((204, 204),)))),
                bench.ask(
                    "c",
                    replace(
                        check(
                            CheckKind.EXEC,
                            options=ExecOptions(argv=("/bin/sh", "-c", "exit 7"), weight_from_exit=True),
                        ),
                        timeout=5 * SECOND,
                    ),
                ),
            ),
            10,
        )

    assert (good.ok, good.reason, good.detail) == (True, Reason.OK, "status 200")
    assert good.timings.connected is not None
    assert good.timings.total >= good.timings.connected
    assert (bad.ok, bad.reason, bad.ours) == (False, Reason.BAD_STATUS, False)
    assert (weighed.ok, weighed.weight) == (True, 5)
    assert len(bench.workers) == 0


async def test_targets_are_shared_out_and_each_stays_where_it_is(bench: Bench) -> None:
    async with serving(silent, host="0.0.0.0") as port:
        targets = [
            replace(check(CheckKind.TCP, port), address=ip_address(f"127.0.1.{i}")) for i in range(1, 30)
        ]
        for _ in range(3):
            results = await asyncio.wait_for(
                asyncio.gather(*(bench.ask(str(each.address), each) for each in targets)), 10
            )
            assert all(result.ok for result in results)

    workers = {each.worker for each in bench.workers._by_id.values()}
    assert len(workers) == 2


async def test_a_worker_that_dies_is_replaced_and_asks_again(bench: Bench) -> None:
    async with serving(answering(OK_ANSWER)) as port:
        settings = check(CheckKind.HTTP, port, timeout_ms=5_000)
        assert (await asyncio.wait_for(bench.ask("a", settings), 10)).ok
        before = bench.workers.pids
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        waiting = bench.ask("a", settings)
        await asyncio.sleep(0)
        for pid in before:
            os.kill(pid, signal.SIGKILL)

        assert (await asyncio.wait_for(waiting, 10)).ok

    ends = [event for event in bench.events if isinstance(event, CheckWorkerEnded)]
    assert sorted(event.in_flight for event in ends) == [0, 1]
    assert {event.status for event in ends} == {-signal.SIGKILL}
    assert not set(before) & set(bench.workers.pids)


async def test_an_answer_to_an_older_request_is_dropped(bench: Bench) -> None:
    heard: list[str] = []
    async with serving(silent) as port:
        slow = check(CheckKind.HTTP, port, timeout_ms=100)
        bench.workers.start("a", slow, lambda *_: heard.append("old"))
        bench.workers.start("b", slow, lambda *_: heard.append("cancelled"))
        bench.workers.cancel("b")
        ended = bench.ask("a", replace(slow, timeout=200 * MILLISECOND))
        result = await asyncio.wait_for(ended, 10)

    assert result.reason is Reason.TIMEOUT
    assert heard == []


async def test_closing_leaves_no_process(bench: Bench) -> None:
    pids = bench.workers.pids
    bench.workers.close()

    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
