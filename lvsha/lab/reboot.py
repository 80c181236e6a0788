"""A director's machine loses its memory, as in a reboot, while its namespace stays.

The witness looks into the namespace all the time, so it cannot be deleted and made
anew. What a reboot empties is emptied one by one; connections, which no command
removes, are told to end through the kernel's own sync daemon.
"""

import contextlib
import time

from lvsha.core.errors import KernelError
from lvsha.director.rebuild import rebuilder
from lvsha.io.conn_rows import table_rows
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sync_socket import SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.errors import LabError
from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.sync.resync import deletion, pack
from lvsha.wire.ipvs_sync.v1 import encode_entry

_DEVICE = "amnesia"
_GONE_S = 15.0
_PAUSE_S = 2.0


def forget_everything(namespace: Namespace, addresses: tuple[str, ...]) -> None:
    """Services, sync daemons, connections, the private interface and these addresses.

    Its agent must be dead and its cables pulled.

    Raises:
        LabError: connections are still there after some seconds.
    """
    with namespace.entered(), IpvsSocket() as ipvs:
        for role in DaemonRole:
            with contextlib.suppress(KernelError):
                ipvs.stop_daemon(role)
        ip_batch([f"link add {_DEVICE} type dummy", f"link set {_DEVICE} up"])
        ipvs.start_daemon(Daemon(role=DaemonRole.BACKUP, interface=_DEVICE, syncid=0))
        end = time.monotonic() + _GONE_S
        with SyncInjector(_DEVICE) as injector:
            while rows := table_rows():
                if time.monotonic() > end:
                    raise LabError(f"{len(rows)} connections outlived the reboot of {namespace.name}")
                rebuild = rebuilder(ipvs.table(), ipvs.timeouts())
                found = [rebuild(row) for row in rows]
                injector.deliver(pack(0, (deletion(encode_entry(conn)) for conn in found if conn)))
                # An entry that comes again starts its second anew.
                time.sleep(_PAUSE_S)
        ipvs.stop_daemon(DaemonRole.BACKUP)
        ipvs.flush()
        lines = [f"link delete {_DEVICE}"]
        with RouteSocket() as routes:
            links = routes.links()
            if PRIVATE_INTERFACE in {link.name for link in links.values()}:
                lines.append(f"link delete {PRIVATE_INTERFACE}")
            lines += [
                f"address delete {address.prefix} dev {links[address.index].name}"
                for address in routes.addresses()
                if str(address.prefix.ip) in addresses
            ]
        ip_batch(lines)
        with contextlib.suppress(LabError):
            run(["nft", "delete", "table", "inet", "lvsha"])
