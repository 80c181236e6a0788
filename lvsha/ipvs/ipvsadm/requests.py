"""From a command to what the kernel is asked."""

from lvsha.ipvs.ipvsadm.command import Command
from lvsha.wire import genl_ipvs
from lvsha.wire.genl_ipvs import HASHED, STATE_BACKUP, STATE_MASTER

STATES = {"master": STATE_MASTER, "backup": STATE_BACKUP}


def identity(command: Command) -> bytes:
    """The attribute that names the command's service."""
    return genl_ipvs.service_identity(
        family=command.family,
        protocol=command.protocol,
        address=command.address,
        port=command.port,
        fwmark=command.fwmark,
    )


def _service(command: Command) -> bytes:
    return genl_ipvs.service_attributes(
        family=command.family,
        protocol=command.protocol,
        address=command.address,
        port=command.port,
        fwmark=command.fwmark,
        scheduler=command.scheduler,
        flags=command.flags,
        flags_mask=0xFFFFFFFF & ~HASHED,
        timeout_s=command.timeout,
        netmask=command.netmask,
        pe_name=command.pe or None,
    )


def destination(command: Command) -> bytes:
    """The attribute that describes the command's realserver."""
    return genl_ipvs.destination_attributes(
        family=command.server_family,
        address=command.server,
        port=command.server_port,
        method=command.method,
        weight=command.weight,
        upper_threshold=command.upper,
        lower_threshold=command.lower,
        tun_type=command.tun_type,
        tun_port=command.tun_port,
        tun_flags=command.tun_flags,
    )


def _daemon(command: Command) -> bytes:
    return genl_ipvs.daemon_attributes(
        state=STATES[command.daemon],
        interface=command.interface,
        syncid=command.syncid,
        maxlen=command.maxlen,
        group=command.group,
        port=command.mcast_port,
        ttl=command.ttl,
    )


def payload(command: Command) -> bytes | None:
    """The request of a command that changes something; None for one that only asks."""
    match command.verb:
        case "add-service":
            return genl_ipvs.command(genl_ipvs.NEW_SERVICE, _service(command))
        case "edit-service":
            return genl_ipvs.command(genl_ipvs.SET_SERVICE, _service(command))
        case "delete-service":
            return genl_ipvs.command(genl_ipvs.DEL_SERVICE, identity(command))
        case "add-server":
            return genl_ipvs.command(genl_ipvs.NEW_DEST, identity(command), destination(command))
        case "edit-server":
            return genl_ipvs.command(genl_ipvs.SET_DEST, identity(command), destination(command))
        case "delete-server":
            named = genl_ipvs.destination_identity(
                family=command.server_family, address=command.server, port=command.server_port
            )
            return genl_ipvs.command(genl_ipvs.DEL_DEST, identity(command), named)
        case "clear":
            return genl_ipvs.command(genl_ipvs.FLUSH)
        case "zero":
            parts = (identity(command),) if command.has("service-address") else ()
            return genl_ipvs.command(genl_ipvs.ZERO, *parts)
        case "set":
            return genl_ipvs.command(genl_ipvs.SET_CONFIG, genl_ipvs.timeouts_attributes(*command.timeouts))
        case "start-daemon":
            return genl_ipvs.command(genl_ipvs.NEW_DAEMON, _daemon(command))
        case "stop-daemon":
            return genl_ipvs.command(genl_ipvs.DEL_DAEMON, _daemon(command))
    return None
