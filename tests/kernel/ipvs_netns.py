"""A fresh network namespace with an empty IPVS table, and the real ipvsadm inside."""

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lvsha.lab.netns import Namespace, ip_batch

_names = (f"ipvs{number}" for number in itertools.count())


def ipvsadm(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the real one."""
    return subprocess.run(
        ["ipvsadm", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


def saved() -> list[str]:
    """``ipvsadm -Sn``, sorted: a table in ipvsadm's words."""
    return sorted(ipvsadm("-Sn").stdout.splitlines())


@contextmanager
def fresh_netns(links: Sequence[str] = ()) -> Iterator[Namespace]:
    """Inside, for the length of a block; ``links``: lines for ``ip -batch``."""
    namespace = Namespace(next(_names))
    ip_batch([f"netns add {namespace.name}"])
    try:
        with namespace.entered():
            ip_batch(["link set lo up", *links])
            yield namespace
            ipvsadm("-C")
            for role in ("master", "backup"):
                ipvsadm("--stop-daemon", role)
    finally:
        ip_batch([f"netns del {namespace.name}"])
