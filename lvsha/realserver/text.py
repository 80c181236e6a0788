"""A plan as lines for other set-up tools, which make it so at every boot."""

import shlex
from collections.abc import Iterator

from lvsha.realserver.model import Plan, Step, StepKind


def as_interfaces(plan: Plan) -> str:
    """Lines for /etc/network/interfaces, below the stanza of lo."""
    lines = [f"    up {shlex.join(step.command)}" for step in plan.steps]
    lines += [f"    down {shlex.join(step.undo)}" for step in reversed(plan.steps) if step.undo is not None]
    return "\n".join(["auto lo", "iface lo inet loopback", *lines]) + "\n"


def as_sysctl(plan: Plan) -> str:
    """Lines for /etc/sysctl.d."""
    lines = [step.what for step in plan.steps if step.kind is StepKind.SYSCTL]
    return "\n".join(lines) + "\n" if lines else ""


def as_networkd(plan: Plan) -> str:
    """Files for systemd-networkd and what stands beside them; those of ``as_sysctl`` come first."""
    files: dict[str, list[str]] = {}
    for step in plan.steps:
        for name, first, lines in _networkd(step):
            files.setdefault(name, list(first)).extend(lines)
    return "\n".join(f"# {name}\n" + "\n".join(lines) + "\n" for name, lines in files.items())


_FOLDER = "/etc/systemd/network"


def _networkd(step: Step) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """A file, how it begins, and what this step adds to it."""
    words = step.command
    if step.kind is StepKind.MODULE:
        yield "/etc/modules-load.d/lvsha-realserver.conf", (), (words[-1],)
    elif step.kind is StepKind.ADDRESS:
        prefix = words[words.index("replace") + 1]
        extra = "DuplicateAddressDetection=none" if ":" in prefix else "Scope=host"
        yield (
            f"{_FOLDER}/10-lvsha-lo.network",
            ("[Match]", "Name=lo"),
            ("", "[Address]", f"Address={prefix}", extra),
        )
    elif step.kind is StepKind.FIREWALL:
        yield "/etc/nftables.conf", (), ("table " + words[-1].rpartition("; table ")[2],)
    elif step.kind is StepKind.ROUTE:
        yield from _networkd_route(words)
    elif words[:3] == ("ip", "fou", "add"):
        port = words[words.index("port") + 1]
        yield (
            f"{_FOLDER}/10-lvsha-fou-{port}.netdev",
            ("[NetDev]", f"Name=lvsha-fou-{port}", "Kind=fou", "", "[FooOverUDP]"),
            (f"Port={port}", "Encapsulation=GenericUDPEncapsulation"),
        )
    elif words[:3] == ("ip", "link", "add"):
        yield (
            f"{_FOLDER}/10-{words[3]}.netdev",
            ("[NetDev]", f"Name={words[3]}", "Kind=gre", "", "[Tunnel]"),
            ("Local=any", "Remote=any", "Independent=yes"),
        )
    elif words[:3] == ("ip", "link", "set"):
        yield (
            f"{_FOLDER}/10-lvsha-{words[3]}.network",
            ("[Match]", f"Name={words[3]}", "", "[Link]"),
            ("ActivationPolicy=up", "", "[Network]", "LinkLocalAddressing=no"),
        )


def _networkd_route(words: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    name = "into the .network file of the interface towards the directors"
    if "del" in words:
        yield name, (), ("# to its own [Address]: no route to that network", "AddPrefixRoute=no", "")
    elif "default" in words:
        yield name, (), ("[Route]", f"Gateway={words[-1]}", "GatewayOnLink=yes", "")
    else:
        yield name, (), ("[Route]", f"Destination={words[words.index('replace') + 1]}", "Scope=link", "")
