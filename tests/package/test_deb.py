"""The Debian package, built, installed, upgraded, removed and purged in a clean root.

In the order of the file: each test goes on where the one before it ended.
"""

import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.package, pytest.mark.timeout(600)]

NOT_OURS = re.compile(
    r"/(dev|proc|sys|run|tmp|opt|var/(lib/dpkg|log|cache)|etc/(passwd|group|g?shadow|sub[ug]id)-?)(/|$)"
)
"""What changes by itself, or by a user that comes and goes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A Debian that has nothing but Python."""

    root: Path
    package: Path
    files_before: frozenset[str]

    def run(self, *command: str, check: bool = True) -> str:
        result = subprocess.run(
            ["chroot", str(self.root), "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def install(self) -> str:
        return self.run("dpkg", "-i", f"/{self.package.name}")

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")


def files_of(root: Path) -> frozenset[str]:
    found: set[str] = set()
    for folder, names, files in os.walk(root):
        inside = "/" + os.path.relpath(folder, root).removeprefix(".")
        names[:] = [name for name in names if not NOT_OURS.match(f"{inside.rstrip('/')}/{name}")]
        found.update(f"{inside.rstrip('/')}/{name}" for name in (*names, *files))
    return frozenset(name for name in found if not NOT_OURS.match(name))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    folder = tmp_path_factory.mktemp("package")
    root, dist = folder / "root", folder / "dist"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm", str(root)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    subprocess.run(
        ["systemd/deb/build.sh", str(dist)],
        cwd=ROOT,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    (built,) = dist.glob("*.deb")
    before = files_of(root)
    package = root / built.name
    package.write_bytes(built.read_bytes())
    return Machine(root, package, before)


def test_what_is_installed_is_there_and_runs(machine: Machine) -> None:
    machine.install()

    assert machine.run("lvsha", "--version").startswith("lvsha ")
    assert "usage: " in machine.run("lvsha-ipvsadm", "-h")
    example = "/usr/share/doc/lvsha/examples/minimal-dr.toml"
    assert "lb1" in machine.run("lvsha", "config", "show", "--node", "lb1", example)
    # What is executed as a program of its own finds lvsha as its parent does.
    machine.run("/opt/lvsha/bin/python3", "-c", "import lvsha.agent.vrrpd_main, lvsha.io.probes.worker")
    machine.run("lvsha", "agent", "--rehearse", "--node", "lb1", "-f", example, "--run-dir", "/run/rehearsed")
    for unit in (ROOT / "systemd").glob("*.service"):
        installed = machine.path(f"/lib/systemd/system/{unit.name}")
        for program in re.findall(r"^ExecStart=(\S+)", installed.read_text(), re.MULTILINE):
            assert os.access(machine.path(program), os.X_OK), program
    for kind in ("sysusers.d", "tmpfiles.d", "modules-load.d", "sysctl.d"):
        assert machine.path(f"/usr/lib/{kind}/lvsha.conf").is_file()
    assert machine.path("/usr/share/man/man1/lvsha-config-check.1.gz").is_file()
    assert "_lvsha" in machine.path("/usr/share/bash-completion/completions/lvsha").read_text()


def test_configuration_is_for_root_and_the_director_only(machine: Machine) -> None:
    *_, home, shell = machine.run("getent", "passwd", "lvsha").strip().split(":")
    group = int(machine.run("getent", "group", "lvsha").split(":")[2])

    assert (home, shell) == ("/var/lib/lvsha", "/usr/sbin/nologin")
    for name, mode in (("/etc/lvsha", 0o750), ("/etc/lvsha/lvsha.toml", 0o640)):
        state = machine.path(name).stat()
        assert (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid) == (mode, 0, group), name


def test_configuration_that_was_written_survives_an_upgrade(machine: Machine) -> None:
    config = machine.path("/etc/lvsha/lvsha.toml")
    config.write_text("# mine\n")

    said = machine.install()

    assert config.read_text() == "# mine\n"
    assert "systemctl reload lvsha-directord" in said


def test_removing_keeps_the_configuration(machine: Machine) -> None:
    machine.run("dpkg", "-r", "lvsha")

    assert machine.path("/etc/lvsha/lvsha.toml").read_text() == "# mine\n"
    assert not machine.path("/opt/lvsha").exists()


def test_purging_leaves_nothing(machine: Machine) -> None:
    machine.path("/var/lib/lvsha").mkdir()

    machine.run("dpkg", "-P", "lvsha")

    assert files_of(machine.root) - {f"/{machine.package.name}"} == machine.files_before
    assert machine.run("getent", "passwd", "lvsha", check=False) == ""
