"""A configuration on trial: confirmed, rolled back, over by itself, of the process before."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvsha.agent import applied
from lvsha.agent.config_life import ConfigLife
from lvsha.api.port import Refused, Unavailable
from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors, ConfigProblem
from tests.api.pretended import SETTINGS

OLD, NEW, BAD = "old = 1\n", "new = 2\n", "bad"


class Agent:
    """The processes around: each load takes what stands in the place of the file now."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "lvsha.toml"
        self.file.write_text(OLD)
        self.state = folder / "state"
        self.events: list[str] = []
        self.rolled_back = asyncio.Event()
        self.fails = 0
        self.settings = self.load(None)[0]
        self.directord: Any = SimpleNamespace(
            settings=self.settings,
            journal=SimpleNamespace(write=self.write),
            refused=None,
        )
        self.life = self.begin()

    def write(self, name: str, **_: object) -> None:
        self.events.append(name)
        if name == "director.config_rolled_back":
            self.rolled_back.set()

    def begin(self) -> ConfigLife:
        life = ConfigLife(self.directord, self.load, file=str(self.file), state_dir=self.state)

        async def load_everywhere(_within_s: float) -> None:
            if self.fails:
                self.fails -= 1
                raise Unavailable("no supervisor is there to load the file")
            self.directord.settings = self.load(None)[0]

        life._load_everywhere = load_everywhere  # type: ignore[assignment,method-assign]  # no processes here
        return life

    def load(self, text: str | None) -> tuple[Settings, tuple[object, ...]]:
        if text is None:
            text = self.file.read_text()
            found = applied.in_force(self.state, str(self.file), text, at=time.time())
            text = text if found is None else found.text
        if text == BAD:
            raise ConfigErrors("lvsha.toml", [ConfigProblem(path="TOML", message="is bad")])
        return replace(SETTINGS, generation=applied.digest(text)), ()

    @property
    def runs(self) -> str:
        return str(self.directord.settings.generation)

    async def apply(self, text: str = NEW, within_s: float = 600) -> Any:
        return await self.life.apply(text, within_s=within_s, owner="ann", pair=True)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


async def test_what_is_confirmed_is_in_the_file(agent: Agent) -> None:
    await agent.apply()
    assert agent.runs == applied.digest(NEW)
    assert agent.file.read_text() == OLD
    trial = agent.life.trial
    assert trial is not None
    assert (trial["owner"], trial["pair"]) == ("ann", True)

    answer = await agent.life.confirm(generation=applied.digest(NEW), owner="ann")

    assert answer["written"]
    assert agent.file.read_text() == NEW
    assert agent.life.trial is None
    assert not list(agent.state.iterdir())
    assert agent.events == ["director.config_on_trial", "director.config_confirmed"]


async def test_a_file_that_cannot_be_written_is_stood_in_for(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.apply()
    whole = applied.write

    def write(path: Path, text: str, *, mode: int | None = None) -> None:
        if path == agent.file:
            raise PermissionError(13, "read-only")
        whole(path, text, mode=mode)

    monkeypatch.setattr(applied, "write", write)
    answer = await agent.life.confirm(generation=None, owner="ann")

    assert not answer["written"]
    assert agent.load(None)[0].generation == applied.digest(NEW)


async def test_a_rollback_and_the_end_of_the_time_bring_back_what_ran(agent: Agent) -> None:
    await agent.apply()
    answer = await agent.life.roll_back(owner="ann")
    assert answer["generation"] == agent.runs == applied.digest(OLD)

    await agent.apply()
    agent.life._on_time()
    assert agent.life._task is not None
    await agent.life._task

    assert agent.runs == applied.digest(OLD)
    assert agent.file.read_text() == OLD
    with pytest.raises(Refused, match="no configuration is on trial"):
        await agent.life.confirm(generation=None, owner="ann")


async def test_a_trial_of_the_process_before_goes_on_and_one_that_was_over_is_ended(agent: Agent) -> None:
    await agent.apply()
    agent.life.close()

    agent.life = agent.begin()
    agent.life.start()
    assert agent.life.trial is not None
    await agent.life.confirm(generation=None, owner="ann")

    over = applied.Applied(OLD, applied.digest(NEW), 1.0, "ann", False)
    applied.keep(agent.state, str(agent.file), applied.TRIAL, over)
    agent.life = agent.begin()
    agent.life.start()
    async with asyncio.timeout(30):
        await agent.rolled_back.wait()
    assert agent.life.trial is None
    assert agent.runs == applied.digest(NEW)


@pytest.mark.parametrize("text", [BAD])
async def test_what_is_refused_changes_nothing(agent: Agent, text: str) -> None:
    with pytest.raises(Refused, match="it has problems") as refused:
        await agent.apply(text)

    assert refused.value.answer["problems"]
    assert agent.runs == applied.digest(OLD)
    assert not agent.state.exists()


async def test_a_second_trial_and_another_generation_are_refused(agent: Agent) -> None:
    await agent.apply()

    with pytest.raises(Refused, match="of ann is on trial"):
        await agent.apply("third = 3\n")
    with pytest.raises(Refused, match="is on trial here, not abc"):
        await agent.life.confirm(generation="abc", owner="bob")
    assert agent.runs == applied.digest(NEW)


async def test_what_nobody_can_load_is_taken_back(agent: Agent) -> None:
    agent.fails = 1

    with pytest.raises(Unavailable, match="no supervisor"):
        await agent.apply()

    assert agent.life.trial is None
    assert agent.runs == applied.digest(OLD)
    assert not list(agent.state.iterdir())


async def test_a_file_of_keepalived_is_not_replaced(agent: Agent) -> None:
    agent.life = ConfigLife(
        agent.directord, agent.load, file="/etc/keepalived/keepalived.conf", state_dir=agent.state
    )
    with pytest.raises(Refused, match="lvsha config convert"):
        await agent.apply()
