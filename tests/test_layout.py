"""Rules of the project that no linter knows."""

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.core.errors import DropReason

ROOT = Path(__file__).resolve().parents[1]

GENERATED = {".hypothesis", ".git", ".venv", "build", "dist", "artifacts", "__pycache__"}
"""Not the project's: git's own, environments, caches and results (``.gitignore`` names them)."""


def project_files() -> Iterator[Path]:
    for directory, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in GENERATED and not name.endswith("_cache")]
        yield from (Path(directory, name) for name in files)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", ["proto", "systemd"])
def test_data_folders_hold_no_python(folder: str) -> None:
    """Python there would shadow proto-plus and python3-systemd, for the root is on ``sys.path``."""
    assert list((ROOT / folder).rglob("*.py")) == []


def test_packages_do_no_work_at_import() -> None:
    """An ``__init__.py`` is its docstring; the root's also has the version."""
    for init in (ROOT / "lvsha").rglob("__init__.py"):
        docstring, *rest = ast.parse(init.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), init
        allowed = 1 if init.parent == ROOT / "lvsha" else 0
        assert len(rest) <= allowed, f"{init} does more than describe its package"


def test_every_package_of_ours_is_a_package() -> None:
    """A folder with modules but no ``__init__.py`` escapes import-linter."""
    folders = {path.parent for path in (ROOT / "lvsha").rglob("*.py")}

    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def values_of(key: str, value: object) -> Iterator[object]:
    """Every value that stands under ``key`` anywhere in parsed JSON."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from values_of(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from values_of(key, inner)


def test_every_drop_reason_is_produced_by_a_vector() -> None:
    """The conformance tests feed the vectors to the decoders; this one sees that none is forgotten."""
    produced = {
        reason
        for path in (ROOT / "proto" / "vectors").rglob("*.json")
        for reason in values_of("reason", json.loads(path.read_text(encoding="utf-8")))
    }

    assert sorted({str(reason) for reason in DropReason} - produced) == []


def test_no_file_names_a_place_on_one_machine() -> None:
    """A checkout, a home or a build machine's mirror: true here, wrong everywhere else."""
    patterns = [r"/home/\w", r"/root/[.\w]", r"/work/\w", r"\.pyenv", r"file:///", r"bash_jobs"]
    if len(ROOT.parts) > 2:
        patterns.append(re.escape(f"{ROOT}/"))
    here = re.compile("|".join(patterns).encode())

    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in project_files()
        if path != Path(__file__).resolve() and (match := here.search(path.read_bytes()))
    ]

    assert found == []


def test_import_layers_cover_everything_without_exceptions() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")

    assert layers["containers"] == ["lvsha"]
    assert layers["exhaustive"] is True
    assert [contract["name"] for contract in contracts if "ignore_imports" in contract] == []


def test_every_layer_below_the_shell_is_held_to_purity() -> None:
    """A package that moves below ``io`` must also lose its clocks and sockets."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    shell = next(i for i, layer in enumerate(layers) if re.search(r"\bio\b", layer))
    below = {f"lvsha.{name}" for layer in layers[shell + 1 :] for name in re.findall(r"\w+", layer)}
    pure = next(contract for contract in contracts if contract["name"].startswith("Machines are pure"))

    assert set(pure["source_modules"]) == below


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_file_has_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")

    assert "://" not in text
    for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry


def test_lock_files_agree_with_each_other_and_with_pyproject() -> None:
    project = pyproject()["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    runtime, everything = pins("requirements.lock"), pins("requirements-dev.lock")

    assert runtime.items() <= everything.items()
    assert names(project["dependencies"]) <= runtime.keys()
    assert names(extras) <= everything.keys()


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_systemd_units_start_a_command_that_exists() -> None:
    """The option that the units use is one of the agent's."""
    agent = (ROOT / "lvsha" / "cli" / "agent.py").read_text(encoding="utf-8")

    for unit in ("vrrpd", "directord"):
        text = (ROOT / "systemd" / f"lvsha-{unit}.service").read_text(encoding="utf-8")
        assert f"lvsha agent --only {unit} -f /etc/lvsha/lvsha.toml" in text
        assert f'"{unit}"' in agent
    assert '"--only"' in agent
