"""Long work lets everything else have its turn."""

import asyncio

from lvsha.api.port import Json
from lvsha.api.snapshot import make
from lvsha.config.settings import ServiceSettings
from lvsha.io.slices import Slices
from tests.api.pretended import SETTINGS, Parts, Pretended


async def test_work_goes_on_until_its_slice_is_used_up_and_then_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    whole, short = Slices(slice_s=3600), Slices(slice_s=0)
    for _ in range(10):
        await whole.pause()
    assert turns == 0

    for _ in range(10):
        await short.pause()
    beside.cancel()
    assert turns >= 9


async def test_a_status_is_whole_whatever_runs_between_its_parts() -> None:
    """Its problems come with its rows, so the head is asked for last."""
    port = Pretended()
    asked: list[str] = []

    class Noting(Parts):
        def service(self, settings: ServiceSettings) -> Json:
            asked.append(settings.name)
            return super().service(settings)

        def head(self) -> Json:
            asked.append("head")
            return super().head()

    body, status, pictures = await make(Noting(port.bench), SETTINGS.services)

    assert asked == ["web", "api", "head"]
    assert [each["name"] for each in status["services"]] == ["web", "api"]
    assert [len(each.rows) for each in pictures] == [2, 1]
    assert body.count(b'"last_check"') == 3
