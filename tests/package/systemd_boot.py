"""Boots Debian with systemd as process 1 on a kernel that has IPVS, and plays a director's life by the units.

``PYTHONPATH=. .venv/bin/python tests/package/systemd_boot.py [--json FILE] [--deb FILE]``, as root, with
``mmdebstrap`` and ``user-mode-linux`` installed: some minutes, so it is no part of ``./run test``. What is
played is ``systemd_story.py``; here the machine is made, and what came out is held against what is promised.
Exit 1: a promise was not kept.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lvsha.lab import syscalls

ROOT = Path(__file__).resolve().parents[2]
MODULES = Path("/usr/lib/uml/modules")
STORY = Path(__file__).with_name("systemd_story.py")
PACKAGES = "python3,systemd,systemd-sysv,iproute2,nftables,kmod,ipvsadm,procps"
LIMIT_S = 1800
SCHED_RR, SCHED_RESET_ON_FORK = 2, 0x40000000
NET_ADMIN_AND_RAW = 1 << 12 | 1 << 13

UNIT = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/bin/python3 /story/systemd_story.py /story/result.json
StandardOutput=file:/story/said
StandardError=file:/story/said
ExecStopPost=/bin/systemctl --force --force poweroff
"""

Chapters = dict[str, dict[str, Any]]


def run(*words: str | Path, **options: Any) -> None:
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL, **options)


def make_root(root: Path, package: Path) -> None:
    """A clean Debian with the package, a newer one to upgrade to, the kernel's modules, and the story."""
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
    shutil.copy(package, root / "lvsha.deb")
    run("chroot", root, "dpkg", "-i", "/lvsha.deb")
    make_newer(package, root / "newer.deb", root / "newer")
    (release,) = os.listdir(MODULES)
    target = root / "lib/modules" / release
    for part in ("kernel/net", "kernel/lib", "kernel/crypto", "kernel/drivers/net"):
        shutil.copytree(MODULES / release / part, target / part)
    for index in (MODULES / release).glob("modules.*"):
        shutil.copy(index, target)
    run("chroot", root, "depmod", release)
    (root / "story").mkdir()
    shutil.copy(STORY, root / "story")
    units = root / "etc/systemd/system"
    (units / "story.service").write_text(UNIT)
    (units / "getty.target").symlink_to("/dev/null")
    (root / "etc/fstab").write_text("")


def make_newer(package: Path, target: Path, folder: Path) -> None:
    """The same, called another version, every file of it newer."""
    run("dpkg-deb", "-R", package, folder)
    for name in (folder / "DEBIAN/control", *folder.glob("opt/lvsha/lib/*/site-packages/lvsha/__init__.py")):
        name.write_text(name.read_text().replace("0.1.0", "0.1.1"))
    for name in folder.glob("opt/lvsha/lib/*/site-packages/lvsha/**/*.py"):
        name.touch()
    run(
        "dpkg-deb",
        "--root-owner-group",
        "-Zgzip",
        "-z1",
        "--build",
        folder,
        target,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(folder)


def boot(root: Path) -> Chapters:
    """What the story told; with ``problem`` where it did not come to its end."""
    console = root / "story/console"
    words = [
        *("linux.uml", "rootfstype=hostfs", f"rootflags={root}", "rw", "quiet", "mem=1G"),
        *(f"uml_dir={root / 'story'}", "umid=guest", "init=/lib/systemd/systemd"),
        *("systemd.unit=multi-user.target", "systemd.wants=story.service", "systemd.show_status=no"),
        *("con=null", "con0=null,fd:1", "ssl=null"),
    ]
    with console.open("wb") as output:
        machine = subprocess.Popen(
            words,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: syscalls.die_with_parent(signal.SIGKILL),
        )
        try:
            machine.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
    with suppress(OSError, ValueError):
        found: Chapters = json.loads((root / "story/result.json").read_text())
        return found
    log = console.read_text(errors="replace").splitlines()[-60:]
    return {"problem": {"text": "it told nothing", "log": log}}


def promises(told: Chapters) -> Iterator[tuple[str, bool]]:
    """Each promise, and whether it was kept."""
    started = told["started"]
    rows = started["processes"]
    workers = [row for row in rows if "lvsha.agent.vrrpd_main" in row["command"]]
    log = "\n".join(started["log"])
    yield "both units are active", all(unit["ActiveState"] == "active" for unit in started["units"].values())
    yield "nobody runs as root", all(row["uid"] != 0 for row in rows)
    yield (
        "CAP_NET_ADMIN and CAP_NET_RAW and no more",
        all(row["capabilities"] == NET_ADMIN_AND_RAW for row in rows),
    )
    yield "vrrpd runs in real time", all(row["policy"] == SCHED_RR | SCHED_RESET_ON_FORK for row in workers)
    yield "its memory is locked", any(row["locked_kb"] > 0 for row in workers)
    yield "nothing was refused", not any(word in log for word in ("refused", "EPERM", "not permitted"))
    yield "the watchdog is fed", "watchdog" in told
    for name in ("reload", "worker_of_vrrpd_killed", "directord_killed", "directord_restarted", "upgraded"):
        yield f"{name}: no takeover", told[name]["takeovers"] == 0
    yield "upgraded: in the same processes", told["upgraded"]["same_processes"]
    yield "vrrpd_killed: no takeover (adverts every 2 s)", told["vrrpd_killed"]["takeovers"] == 0
    yield "stopped: the other director took over", told["stopped"]["takeovers"] == 1
    yield "stopped: nothing is left", not (told["stopped"]["address_left"] or told["stopped"]["table_left"])
    yield (
        "purged: no unit, no user, no file of ours",
        not any(told["purged"][name] for name in ("units", "user", "address_left", "files")),
    )
    for name, chapter in told.items():
        if "alive" in chapter:
            yield f"{name}: every connection lives", chapter["alive"] == started["alive"]
            yield f"{name}: every new connection is served", chapter["refused"] == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deb", type=Path, help="a package that is built already")
    parser.add_argument("--json", type=Path, help="write what was told, chapter by chapter")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lvsha-systemd-") as name:
        folder = Path(name)
        if arguments.deb is None:
            run(ROOT / "systemd/deb/build.sh", folder, cwd=ROOT, stdout=subprocess.DEVNULL)
            (package,) = folder.glob("*.deb")
        else:
            package = arguments.deb
        make_root(folder / "root", package)
        told = boot(folder / "root")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(told, indent=1))
    if "problem" in told:
        print(told["problem"]["text"], *told["problem"]["log"], sep="\n")
        return 1
    kept = list(promises(told))
    for promise, is_kept in kept:
        print(f"{'ok     ' if is_kept else 'BROKEN '} {promise}")
    return 0 if all(is_kept for _, is_kept in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
