"""Debian's sshd in namespaces of the rig: own keys, own files, nothing of the machine's."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.kernel.doctor_rig import Rig

SSHD = "/usr/sbin/sshd"
PLAIN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_UP_S = 30.0

_SERVER = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/known.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH={path}
"""

_CLIENT = """
Host *
  User root
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  BatchMode yes
"""


class Target(NamedTuple):
    """A host of the client's."""

    address: str
    key: str = "known"
    limit_s: int = 60
    """ConnectTimeout."""


def lvsha_path() -> str:
    """A PATH on which our ``lvsha`` is."""
    return f"{Path(sys.executable).parent}:{PLAIN_PATH}"


def make_keys(folder: Path) -> None:
    """The servers', one that they know, and one that they do not."""
    for name in ("host_key", "known", "unknown"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"* {host_key}")


def client(folder: Path, hosts: Mapping[str, Target]) -> str:
    """What ``--ssh`` is: a client that knows these hosts by name."""
    lines = [_CLIENT.format(folder=folder)]
    for name, host in hosts.items():
        lines.append(f"Host {name}\n  HostName {host.address}\n  IdentityFile {folder}/{host.key}")
        lines.append(f"  ConnectTimeout {host.limit_s}")
    (folder / "client").write_text("\n".join(lines))
    return f"ssh -F {shlex.quote(str(folder / 'client'))}"


@contextmanager
def sshd(rig: Rig, folder: Path, paths: Mapping[str, str]) -> Iterator[None]:
    """One on port 22 of each machine that ``paths`` names, with that PATH for who logs in."""
    os.makedirs("/run/sshd", exist_ok=True)  # where sshd locks its unprivileged part in
    with ExitStack() as stack:
        for name, path in paths.items():
            file = folder / f"{name}.sshd"
            file.write_text(_SERVER.format(folder=folder, path=path))
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = rig.spaces[name].popen([SSHD, "-D", "-e", "-f", str(file)], stdout=log, stderr=log)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        for name in paths:
            _wait(rig, name, (folder / f"{name}.log"))
        yield


def _wait(rig: Rig, name: str, log: Path) -> None:
    end = time.monotonic() + _UP_S
    while time.monotonic() < end:
        try:
            with rig.spaces[name].entered():
                socket.create_connection((rig.address(name), 22), 5.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text()[-2000:])
