"""Scenarios by name, what they are asked, and how one is played from beginning to end."""

import importlib
import os
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lvsha.lab import evidence, results, scenarios
from lvsha.lab.errors import LabError
from lvsha.lab.settings import RunSettings
from lvsha.lab.stage import Stage
from lvsha.lab.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a scenario found."""

    ok: bool
    verdict: str
    """One sentence for the reader."""
    established: int
    survived: int
    """Of the connections that could survive: not those on a realserver that died."""
    died: dict[str, int] = field(default_factory=dict)
    """By errno name."""
    extras: dict[str, Any] = field(default_factory=dict)
    """What this scenario adds to the result."""


def names() -> list[str]:
    """All scenarios."""
    found = [module.name for module in pkgutil.iter_modules(scenarios.__path__) if module.name[0] != "_"]
    return sorted(name.replace("_", "-") for name in found)


def summary(name: str) -> str:
    return str(_module(name).SUMMARY)


def kernel_words(name: str) -> tuple[str, ...]:
    """What a user-mode guest's kernel must be told for this scenario."""
    return tuple(getattr(_module(name), "KERNEL", ())) if name in names() else ()


def _module(name: str) -> Any:
    if name not in names():
        raise LabError(f"there is no scenario {name!r}: {', '.join(names())}")
    return importlib.import_module(f"lvsha.lab.scenarios.{name.replace('-', '_')}")


def play(
    settings: RunSettings, *, kernel: str, folder: Path, artifacts: Path, story: Story
) -> dict[str, Any]:
    """Play one scenario here and return its result as JSON has it. Never raises for what the directors do."""
    module = _module(settings.scenario)
    act: Callable[[Stage], Outcome] = module.play
    asked_for_nothing = RunSettings(scenario=settings.scenario)
    for key, value in getattr(module, "DEFAULTS", {}).items():
        if getattr(settings, key) == getattr(asked_for_nothing, key):
            settings = replace(settings, **{key: value})
    began = time.monotonic()
    release = os.uname().release
    result: dict[str, Any] = {
        "scenario": settings.scenario,
        "director": str(settings.director),
        "kernel": kernel,
        "kernel_release": release,
        "advert_s": settings.advert_s,
        "connections": {"established": 0, "survived": 0},
        "longest_silence_ms": None,
        "ok": False,
    }
    with Stage(settings, folder, story) as stage:
        try:
            stage.build()
            outcome = act(stage)
            stage.stop_heartbeat()
            result["connections"] = {"established": outcome.established, "survived": outcome.survived}
            result["connections_died"] = outcome.died
            if stage.beats is not None and stage.fault_at is not None:
                result |= stage.silence()
            result |= {"ok": outcome.ok, "verdict": outcome.verdict} | outcome.extras
        except LabError as error:
            result["verdict"] = f"the scenario could not be played to its end: {error}"
        result["fault_after_last_connection_s"] = stage.fault_after_s
        result |= stage.holders()
        destinations = {name: stage.destination(name) for name in stage.topology.realservers}
        result["weights"] = results.weights(
            stage.timeline, stage.topology.directors, destinations, fault_at=stage.fault_at
        )
        result["settings"] = settings.as_json()
        if not result["ok"]:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            target = artifacts / f"{settings.scenario}-{settings.director}-{stamp}"
            evidence.keep(stage, target)
            result["artifacts"] = str(target)
    result["took_s"] = round(time.monotonic() - began, 1)
    story.say(result["verdict"])
    return result
