"""What a director adds to its kernel's synchronisation over a group, heard by a plain kernel."""

import asyncio
import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from ipaddress import IPv4Address

import pytest

from lvsha.agent.journal import Journal
from lvsha.agent.multicast_sync import MulticastSync
from lvsha.config.settings import AgentSettings
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.sync_socket import SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.sync.resync import pack
from lvsha.sync.settings import SyncSettings
from lvsha.wire.ipvs_sync.names import TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

ROWS = 100
OURS, OTHERS = "10.0.0.10", "10.0.0.20"
PATIENCE_S = 40.0
_number = itertools.count()


@contextmanager
def two_kernels() -> Iterator[tuple[Namespace, Namespace]]:
    """With ``sync0`` between them, the same two services, and daemons: both roles here, a backup there."""
    here, there = (Namespace(f"group{next(_number)}") for _ in range(2))
    ip_batch([f"netns add {here.name}", f"netns add {there.name}"])
    try:
        ip_batch([f"link add sync0 netns {here.name} type veth peer name sync0 netns {there.name}"])
        for namespace, address in ((here, "10.9.0.1/24"), (there, "10.9.0.2/24")):
            with namespace.entered():
                ip_batch(["link set lo up", f"addr add {address} dev sync0", "link set sync0 up"])
                serve()
                roles = (DaemonRole.BACKUP, DaemonRole.MASTER) if namespace is here else (DaemonRole.BACKUP,)
                for role in roles:
                    start_daemon(role)
        yield here, there
    finally:
        for namespace in (here, there):
            subprocess.run(["ip", "netns", "delete", namespace.name], check=False)


def serve() -> None:
    for address in (OURS, OTHERS):
        run(["ipvsadm", "-A", "-t", f"{address}:80", "-s", "rr"])
        run(["ipvsadm", "-a", "-t", f"{address}:80", "-r", "10.0.0.11:80", "-g"])


def start_daemon(role: DaemonRole) -> None:
    with IpvsSocket() as ipvs:
        ipvs.start_daemon(Daemon(role=role, interface="sync0", syncid=7))


def entry(cport: int, address: str) -> bytes:
    return encode_entry(
        SyncConn.build(
            protocol=6,
            client=(IPv4Address("10.0.0.100"), cport),
            virtual=(IPv4Address(address), 80),
            destination=(IPv4Address("10.0.0.11"), 80),
            state=TcpState.ESTABLISHED,
            flags=0,
            timeout=900,
        )
    )


def counted(namespace: Namespace) -> dict[str, int]:
    """Active connections of each address."""
    with namespace.entered(), IpvsSocket() as ipvs:
        return {
            str(key.address): sum(each.active for each in state.destinations.values())
            for key, state in ipvs.table().items()
        }


async def comes(namespace: Namespace, wanted: dict[str, int]) -> None:
    end = time.monotonic() + PATIENCE_S
    while (found := counted(namespace)) != wanted:
        assert time.monotonic() < end, f"{found} after {PATIENCE_S:g} s, not {wanted}"
        await asyncio.sleep(0.1)


def test_a_plain_kernel_learns_what_a_takeover_inherited_and_learns_it_again() -> None:
    async def play(here: Namespace, there: Namespace) -> None:
        with here.entered(), IpvsSocket() as ipvs:
            with SyncInjector("sync0") as injector:
                rows = [entry(1000 + number, address) for number in range(ROWS) for address in (OURS, OTHERS)]
                injector.deliver(pack(7, rows))
            journal = Journal("directord", AgentSettings(), stream=StringIO())
            settings = SyncSettings(interface="sync0", syncid=7)
            sync = MulticastSync.of(settings, ipvs=ipvs, journal=journal)
            assert sync is not None
            task = asyncio.create_task(sync.run())
            await asyncio.sleep(0)
            assert counted(there) == {OURS: 0, OTHERS: 0}

            sync.on_routers(
                [
                    {"state": "MASTER", "addresses": [f"{OURS}/24"]},
                    {"state": "BACKUP", "addresses": [f"{OTHERS}/24"]},
                ]
            )
            await comes(there, {OURS: ROWS, OTHERS: 0})

            # A backup that begins with nothing: no connection has said anything meanwhile.
            with there.entered(), IpvsSocket() as peer:
                peer.stop_daemon(DaemonRole.BACKUP)
                run(["sysctl", "-qw", "net.ipv4.vs.expire_nodest_conn=1"])
                run(["ipvsadm", "-C"])
                serve()
            await comes(there, {OURS: 0, OTHERS: 0})
            with there.entered():
                start_daemon(DaemonRole.BACKUP)
            await comes(there, {OURS: ROWS, OTHERS: 0})
            assert counted(here) == {OURS: ROWS, OTHERS: ROWS}
            task.cancel()

    with two_kernels() as (here, there):
        asyncio.run(play(here, there))
