"""Reads what a machine is, applies a plan to it, and takes it back."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError, LvshaError
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sysctl import read_sysctl
from lvsha.realserver.plan import Machine, Plan, Step, StepKind, sysctls_of

STATE = Path("/var/lib/lvsha/realserver.json")
"""What was applied, newest last, so that it can be taken back."""

Run = Callable[[tuple[str, ...]], None]


def look() -> Machine:
    """This machine, in the network namespace of the caller."""
    with RouteSocket() as routes:
        links = {index: link.name for index, link in routes.links().items()}
        addresses: dict[Address, str] = {
            address.prefix.ip: links.get(address.index, "?") for address in routes.addresses()
        }
    sysctls = {}
    for name in sysctls_of(sorted(set(addresses.values()) - {"lo", "?"})):
        try:
            sysctls[name] = read_sysctl(name)
        except (KernelError, ValueError):
            continue  # no such interface yet
    gateway, interface = _default_route()
    return Machine(
        addresses=addresses,
        sysctls=sysctls,
        links=frozenset(links.values()),
        default_gateway=gateway,
        default_interface=interface,
    )


def _default_route() -> tuple[Address | None, str | None]:
    """``/proc/net/route``: destination and gateway as little-endian hexadecimal."""
    for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]:
        interface, destination, gateway, *_ = line.split()
        if destination == "00000000":
            return ip_address(int.from_bytes(bytes.fromhex(gateway), "little")), interface
    return None, None


def run(command: tuple[str, ...]) -> None:
    """One command of a plan.

    Raises:
        LvshaError: it failed, with what it said.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LvshaError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise LvshaError(f"{' '.join(command)}: {said[-1] if said else f'exit status {done.returncode}'}")


def cuts_session(plan: Plan, machine: Machine, environment: dict[str, str] | None = None) -> Step | None:
    """A step that would take the route away from under the operator's own ssh session."""
    connection = (os.environ if environment is None else environment).get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return None
    client = ip_address(connection[0].partition("%")[0])
    for step in plan.steps:
        is_route = step.kind is StepKind.ROUTE and not step.is_done
        if is_route and machine.default_gateway is not None and not _is_near(client, machine):
            return step
        if step.kind is StepKind.ADDRESS and step.what.startswith(f"{client}/"):
            return step
    return None


def _is_near(client: Address, machine: Machine) -> bool:
    """Whether the client is reached without the default route, as far as /24 and /64 tell."""
    shift = 8 if client.version == 4 else 64
    return any(
        address.version == client.version and int(address) >> shift == int(client) >> shift
        for address in machine.addresses
    )


def apply(plan: Plan, state: Path = STATE, execute: Run = run) -> list[Step]:
    """Make it so; what was done. On a failure everything done before is taken back.

    Raises:
        LvshaError: a step failed, or the state file cannot be written.
    """
    done: list[Step] = []
    earlier = _load(state)
    try:
        for step in plan.steps:
            if step.is_done:
                continue
            execute(step.command)
            done.append(step)
            _save(state, [*earlier, *done])  # before the next: a crash here leaves a way back
    except LvshaError:
        for step in reversed(done):
            if step.undo is not None:
                execute(step.undo)
        _save(state, earlier)
        raise
    return done


def undo(state: Path = STATE, execute: Run = run) -> tuple[list[Step], list[str]]:
    """Take back everything that was applied: the steps, and what failed."""
    steps = _load(state)
    failures = []
    for step in reversed(steps):
        if step.undo is None:
            continue
        try:
            execute(step.undo)
        except LvshaError as error:
            failures.append(str(error))
    state.unlink(missing_ok=True)
    return steps, failures


def _load(state: Path) -> list[Step]:
    try:
        entries = json.loads(state.read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise LvshaError(f"{state}: {error}; remove it, and take back by hand what was applied") from None
    return [
        Step(
            kind=StepKind(entry["kind"]),
            what=entry["what"],
            command=tuple(entry["command"]),
            undo=None if entry["undo"] is None else tuple(entry["undo"]),
            reason=entry["reason"],
        )
        for entry in entries
    ]


def _save(state: Path, steps: list[Step]) -> None:
    try:
        if not steps:
            state.unlink(missing_ok=True)
            return
        state.parent.mkdir(parents=True, exist_ok=True)
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(step) for step in steps], indent=1))
        fresh.rename(state)
    except OSError as error:
        raise LvshaError(f"{state}: {error.strerror}; --state names another place") from None
