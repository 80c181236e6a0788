"""Hatchling's hook: ``lvsha-ipvsadm`` is the C program where there is a compiler, else the script."""

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "lvsha/native/lvsha-ipvsadm.c"
SCRIPT = "lvsha/native/lvsha-ipvsadm"
PROGRAM = "build/native/lvsha-ipvsadm"
NAME = "lvsha-ipvsadm"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")


def compiled(root: Path) -> Path | None:
    """The program; None without a compiler (``CC``, cc) that can make it."""
    program = root / PROGRAM
    scratch = program.with_suffix(f".{os.getpid()}")
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, *FLAGS, "-o", scratch, root / SOURCE], check=True)
        scratch.replace(program)
    except (OSError, subprocess.CalledProcessError):
        scratch.unlink(missing_ok=True)
        return None
    return program


class Hook(BuildHookInterface[Any]):
    """Chooses the program when a wheel is built, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        program = compiled(Path(self.root))
        if program is None:
            build_data["shared_scripts"][SCRIPT] = NAME
            return
        build_data["shared_scripts"] |= {PROGRAM: NAME, SCRIPT: f"{NAME}.py"}
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
