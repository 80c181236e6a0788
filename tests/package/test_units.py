"""The systemd units: what they leave open is little, and each of it has its reason in the documentation."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/units.md").read_text(encoding="utf-8")
UNITS = ROOT / "systemd"


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unit", ["directord", "vrrpd"])
def test_a_daemon_is_rated_three_or_better(unit: str) -> None:
    rated = analyze("--threshold=30", str(UNITS / f"lvsha-{unit}.service"))

    assert rated.returncode == 0, rated.stdout.splitlines()[-1:]


@pytest.mark.parametrize("unit", ["directord", "vrrpd"])
def test_what_is_open_has_its_reason(unit: str) -> None:
    found: list[dict[str, Any]] = json.loads(
        analyze("--json=short", str(UNITS / f"lvsha-{unit}.service")).stdout
    )
    is_open = {row["json_field"].rstrip(")") for row in found if row["exposure"] and not row["set"]}
    rows = [line.split("|") for line in PAGE.partition("## What else")[2].splitlines()]
    explained = {
        name
        for _, names, units, *_ in (row for row in rows if len(row) == 5)
        if units.strip() in ("both", unit)
        for name in re.findall(r"`([^`]+)`", names)
    }

    assert is_open <= explained, is_open - explained


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.service")), ids=lambda path: path.stem)
def test_each_capability_has_its_reason(path: Path) -> None:
    (bounding,) = re.findall(r"^CapabilityBoundingSet=(.*)$", path.read_text(), re.MULTILINE)
    explained = re.findall(rf"^\| `{path.stem}` \| `(CAP_\w+)` \| \w", PAGE, re.MULTILINE)

    assert sorted(bounding.split()) == sorted(explained)


def sources(module: str) -> dict[str, str]:
    """The text of a module of ours and of all that it imports, at once or later."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if name in found or not path.exists():
            continue
        found[name] = path.read_text(encoding="utf-8")
        for imported, names in re.findall(r"^ *from (lvsha[\w.]*) import (.*)$", found[name], re.MULTILINE):
            waiting += [imported, *(f"{imported}.{each}" for each in re.findall(r"\w+", names))]
    return found


@pytest.mark.parametrize(("unit", "module"), [("directord", "directord"), ("vrrpd", "vrrpd.process")])
def test_a_daemon_may_open_every_socket_that_it_opens(unit: str, module: str) -> None:
    (allowed,) = re.findall(
        r"^RestrictAddressFamilies=(.*)$", (UNITS / f"lvsha-{unit}.service").read_text(), re.MULTILINE
    )
    texts = sources(f"lvsha.agent.{module}")
    used = {
        family for text in texts.values() for family in re.findall(r"socket\(\s*(?:socket\.)?(AF_\w+)", text)
    }

    assert len(texts) > 20
    assert used <= set(allowed.split())
