"""A table too large for the sockets of one machine: rows that come as sync messages, made here."""

from ipaddress import ip_address

from lvsha.core.addr import Address
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.sync_socket import SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.errors import LabError
from lvsha.lab.netns import ip_batch
from lvsha.lab.settings import RunSettings
from lvsha.lab.topology import PORT, Method, Topology
from lvsha.sync.resync import pack
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry

_DEVICE = "fill0"
_PORTS = 50_000
_FLAGS = {Method.DR: 3 | ConnFlag.NOOUTPUT, Method.TUN: 2 | ConnFlag.NOOUTPUT, Method.NAT: ConnFlag(0)}


def fill_table(topology: Topology, settings: RunSettings, node: str, entries: int) -> None:
    """See ``Stage.fill``.

    Raises:
        LabError: the kernel did not take them all.
    """
    with topology.directors[node].entered(), IpvsSocket() as ipvs:
        ip_batch([f"link add {_DEVICE} type dummy", f"link set {_DEVICE} up"])
        ipvs.start_daemon(Daemon(role=DaemonRole.BACKUP, interface=_DEVICE, syncid=0))
        with SyncInjector(_DEVICE) as injector:
            done = injector.deliver(
                pack(0, (_entry(topology, settings, number) for number in range(entries)))
            )
        ipvs.stop_daemon(DaemonRole.BACKUP)
        ip_batch([f"link delete {_DEVICE}"])
    if done.dropped or done.unconfirmed:
        lost = done.dropped + done.unconfirmed
        raise LabError(f"{node} lost {lost} of {done.sent} messages of the filling")


def _entry(topology: Topology, settings: RunSettings, number: int) -> bytes:
    servers = list(topology.realservers)
    is_tcp = settings.protocol == "tcp"
    client, port = divmod(number, _PORTS)
    server = topology.realserver_address(servers[number % len(servers)])
    return encode_entry(
        SyncConn.build(
            protocol=Protocol.TCP if is_tcp else Protocol.UDP,
            client=(_client(topology, client), 10_000 + port),
            virtual=(topology.vips[0].ip, PORT),
            destination=(server, PORT),
            state=TcpState.ESTABLISHED if is_tcp else 0,
            flags=int(_FLAGS[topology.settings.method]),
            timeout=900 if is_tcp else 300,
            fwmark=settings.fwmark,
        )
    )


def _client(topology: Topology, number: int) -> Address:
    base = "172.16.0.1" if topology.settings.family == 4 else "fd00:5::1"
    return ip_address(base) + number
