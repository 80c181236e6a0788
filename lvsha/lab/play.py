"""Orders for a guest, and what obeys them there: ``python -m lvsha.lab.play SESSION``."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvsha.lab.errors import LabError
from lvsha.lab.guest import GuestRequest, Kernel, run_session, session
from lvsha.lab.report import kind_of_service, progress
from lvsha.lab.scenario import kernel_words, play
from lvsha.lab.settings import RunSettings
from lvsha.lab.stage import Stage
from lvsha.lab.story import Story
from lvsha.lab.topology import Topology

FOLDER = Path("/run/lvsha-lab")
"""Of the runs, inside the guest."""

SHELL_RC = """
PS1='lab# '
on() { ip netns exec "$@"; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One guest's work."""

    runs: tuple[RunSettings, ...] = ()
    """Played one after another."""
    topology: RunSettings | None = None
    """Build this one's topology for ``command``; with ``pair``, its directors and realservers too."""
    pair: bool = False
    command: tuple[str, ...] = ()
    artifacts: str = "artifacts"
    quiet: bool = False
    """Say nothing while playing."""


# On the host


def send(
    orders: Orders,
    kernel: Kernel,
    *,
    limit_s: float,
    memory: str,
    interactive: bool = False,
    narrate_to: Any = None,
    keep_what_there_is: bool = False,
) -> tuple[int, list[dict[str, Any]]]:
    """Have a fresh guest obey; returns its exit status and the results of what was played.

    Raises:
        LabError: the guest did not start, died or took too long. With ``keep_what_there_is`` only when
            nothing was played before; else the error goes to stderr and the status is 1.
    """
    request = GuestRequest(
        argv=(sys.executable, "-m", "lvsha.lab.play"),
        limit_s=limit_s,
        memory=memory,
        kernel_words=tuple(sorted({word for run in orders.runs for word in kernel_words(run.scenario)})),
        interactive=interactive,
        keep=tuple(word for word in orders.command if word.startswith("/")),
    )
    with session(request, with_session=True) as folder:
        document = {
            "runs": [settings.as_json() for settings in orders.runs],
            "topology": orders.topology.as_json() if orders.topology is not None else None,
            "pair": orders.pair,
            "command": orders.command,
            "artifacts": str(Path(orders.artifacts).absolute()),
            "kernel": str(kernel),
            "quiet": orders.quiet,
        }
        (folder / "orders.json").write_text(json.dumps(document))
        results = folder / "results.json"
        try:
            status = run_session(folder, request, kernel, output=narrate_to)
        except LabError as error:
            if not keep_what_there_is or not results.exists():
                raise
            print(f"lvsha lab: {error}", file=sys.stderr)
            status = 1
        return status, json.loads(results.read_text()) if results.exists() else []


# In the guest


def main(arguments: Sequence[str]) -> int:
    folder = Path(arguments[0])
    orders = json.loads((folder / "orders.json").read_text())
    story = Story(io.StringIO()) if orders["quiet"] else Story()
    try:
        if orders["topology"] is not None:
            return _command_on_stage(orders, story)
        results = []
        for number, document in enumerate(orders["runs"], 1):
            settings = RunSettings.from_json(document)
            story.title(headline(settings))
            results.append(
                play(
                    settings,
                    kernel=orders["kernel"],
                    folder=FOLDER / str(number),
                    artifacts=Path(orders["artifacts"]),
                    story=story,
                )
            )
            _write_whole(folder / "results.json", json.dumps(results))
            if orders["quiet"]:
                total = len(orders["runs"])
                print(f"[{number:3}/{total}] {progress(results[-1])}", file=sys.stderr, flush=True)
    except LabError as error:
        print(f"lvsha lab: {error}", file=sys.stderr)
        return 1
    return 0 if all(result["ok"] for result in results) else 1


def _write_whole(path: Path, text: str) -> None:
    """At no moment half of it: the guest may be ended while it writes."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def headline(settings: RunSettings) -> str:
    """``crash with lvsha: DR, IPv4, adverts every 0.1 s``."""
    vips = f", {settings.vips} VIPs" if settings.vips > 1 else ""
    kind = "".join(f", {word}" for word in kind_of_service(settings.as_json()))
    part = f" of {settings.process}" if settings.scenario == "agent-kill" else ""
    return (
        f"{settings.scenario}{part} with {settings.director}: {settings.method.upper()}, "
        f"IPv{settings.family}{kind}, adverts every {settings.advert_s:g} s{vips}"
    )


def _command_on_stage(orders: dict[str, Any], story: Story) -> int:
    settings = RunSettings.from_json(orders["topology"])
    if not orders["pair"]:
        topology = Topology(settings.topology)
        topology.build()
        return subprocess.call(orders["command"])
    with Stage(settings, FOLDER / "1", story) as stage:
        stage.build()
        stage.start_pair()
        command = list(orders["command"])
        if not command:
            _greet(stage)
            rc = FOLDER / "bashrc"
            rc.write_text(SHELL_RC)
            command = ["bash", "--rcfile", str(rc), "-i"]
        return subprocess.call(command)


def _greet(stage: Stage) -> None:
    names = ", ".join(["client", *stage.topology.directors, *stage.topology.realservers])
    logs = stage.peer.log("lb1").parent.parent
    for line in (
        "",
        f"Network namespaces: {names}. Some things to do:",
        "  on lb1 ipvsadm -Ln                 the kernel's table",
        "  on lb1 ip address                  who holds the VIP?",
        f"  on client bash -c 'exec 3<>/dev/tcp/{stage.vip}/8000; echo hi >&3; head -n 1 <&3'",
        "  ip link set lb1-eth0 down          crash lb1",
        f"  tail -f {logs}/lb*/log",
        "Leave with exit; everything is gone then.",
        "",
    ):
        stage.story.plain(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
