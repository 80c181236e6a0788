"""``lvsha agent``: run a director."""

import argparse
import contextlib
import gc
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from lvsha.cli.parser import Parser
from lvsha.core.errors import ConfigErrors, ConfigProblem, LvshaError

SUMMARY = "run a director"

_DEFAULT_FILE = "/etc/lvsha/lvsha.toml"
_VRRPD_SILENCE_S = 3.0
_DIRECTORD_SILENCE_S = 15.0
_WORKERS = ("directord", "vrrpd")
"""In the order of starting."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lvsha agent",
        description="Run a director: vrrpd (addresses) and directord (checks, IPVS, sync), supervised.",
        epilog="example: lvsha agent -f /etc/lvsha/lvsha.toml",
    )
    parser.add_argument("-f", "--file", default=_DEFAULT_FILE, help=f"configuration ({_DEFAULT_FILE})")
    parser.add_argument("--node", help="which of [directors] this is; default: by host name or own address")
    parser.add_argument(
        "--only",
        choices=_WORKERS,
        help="run one of the two processes, as the systemd units do",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="read the configuration and the program as a start would, say what is wrong, and start nothing",
    )
    parser.add_argument(
        "--run-dir", help="instead of [agent] run_dir, with the state below it: several on one machine"
    )
    return parser


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    is_loaded = "lvsha.agent.directord" in sys.modules
    from lvsha.agent import applied, last_good, renewal
    from lvsha.agent.journal import Journal
    from lvsha.agent.notify import Notifier
    from lvsha.agent.supervisor import Loaded, Supervisor, WorkerSpec, lock_run_dir
    from lvsha.agent.vrrpd.process import main as vrrpd_main
    from lvsha.cli import config_file
    from lvsha.config.load import Loader
    from lvsha.config.settings import AgentSettings, Settings
    from lvsha.io.realtime import get_ready, run_ahead

    loader = Loader()

    def state_dir(text: str) -> Path:
        """Where the state of an agent with this file is, also when it does not parse."""
        if arguments.run_dir:
            return Path(arguments.run_dir) / "state"
        return Path(last_good.state_dir_of(text, AgentSettings().state_dir))

    def own_text() -> tuple[str, bool]:
        """The file's text, or what stands in its place; whether that is on trial."""
        text = config_file.read(arguments.file)
        if not arguments.file.endswith(".toml"):
            return text, False
        found = applied.in_force(state_dir(text), arguments.file, text, at=time.time())
        return (text, False) if found is None else (found.text, found.until is not None)

    def read(text: str | None) -> tuple[Settings, tuple[ConfigProblem, ...]]:
        text = own_text()[0] if text is None else text
        settings, warnings = config_file.load(arguments.file, arguments.node, loader, text=text)
        if arguments.run_dir:
            agent = replace(settings.agent, run_dir=arguments.run_dir, state_dir=str(state_dir(text)))
            settings = replace(settings, agent=agent)
        return settings, warnings

    def load() -> Loaded:
        text, is_trial = own_text()
        settings, warnings = read(text)
        if arguments.file.endswith(".toml") and not is_trial:
            try:
                last_good.keep(Path(settings.agent.state_dir), arguments.file, text)
            except OSError as error:
                message = f"the last good configuration cannot be kept: {error.strerror}"
                warnings = (*warnings, ConfigProblem(path="agent.state_dir", message=message))
        return Loaded(settings=settings, warnings=warnings)

    def load_first() -> Loaded:
        """A start is not lost to a broken file if there was a good one."""
        try:
            return load()
        except ConfigErrors as refusal:
            with contextlib.suppress(LvshaError, OSError):
                text = Path(arguments.file).read_text(errors="replace")
                if (kept := last_good.recall(state_dir(text), arguments.file)) is not None:
                    settings, warnings = read(kept.text)
                    return Loaded(settings=settings, warnings=warnings, refused=refusal, kept_at=kept.at)
            raise

    def run_directord(settings: Settings, control: object) -> int:
        from lvsha.agent import directord  # imports asyncio and aiohttp: only in its own process

        return directord.main(settings, control, read, arguments.file)  # type: ignore[arg-type]

    try:
        loaded = load_first()
        run_dir = Path(loaded.settings.agent.run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        if arguments.rehearse:
            import lvsha.agent.directord  # noqa: F401 # what a start would come to need

            return 0
        handed = renewal.received()
        locks = (
            handed.locks
            if handed is not None
            else tuple(lock_run_dir(run_dir, name) for name in _WORKERS if arguments.only in (None, name))
        )
    except LvshaError as error:
        for line in str(error).splitlines():
            print(f"lvsha agent: {line}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"lvsha agent: {error.filename}: {error.strerror}; set [agent] run_dir", file=sys.stderr)
        return 1
    # Forked with everything loaded, as the lab does it, there is nothing that executing would leave out.
    program = None if is_loaded else "lvsha.agent.vrrpd_main"
    specs: tuple[WorkerSpec, ...] = (
        WorkerSpec(name="directord", main=run_directord, silence_s=_DIRECTORD_SILENCE_S),
        WorkerSpec(
            name="vrrpd",
            main=vrrpd_main,
            silence_s=_VRRPD_SILENCE_S,
            warm=get_ready,
            program=program,
        ),
    )
    if arguments.only:
        specs = tuple(spec for spec in specs if spec.name == arguments.only)
    run_ahead()  # a worker's death waits for nobody
    gc.collect()
    gc.freeze()  # what is loaded now is shared with the workers and never collected again
    supervisor = Supervisor(
        specs=specs,
        loaded=loaded,
        load=load,
        journal=Journal("agent", loaded.settings.agent),
        notifier=Notifier.from_environment(),
        locks=locks,
        command=renewal.own_command(argv),
        handed=handed,
    )
    status = supervisor.run()
    for lock in locks:
        os.close(lock)
    return status
