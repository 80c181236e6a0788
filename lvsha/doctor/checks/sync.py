"""Connection synchronisation: do one director's daemons hear the other's?"""

from collections.abc import Iterator
from itertools import permutations

from lvsha.core.addr import Address
from lvsha.doctor import catalogue
from lvsha.doctor.facts import Facts
from lvsha.doctor.firewall import Packet
from lvsha.doctor.scene import Finding, Scene
from lvsha.ipvs.model import Daemon, DaemonRole

_UDP = 17


def check(scene: Scene) -> Iterator[Finding]:
    for director in scene.directors:
        yield from _alone(director)
        yield from _heard(scene, director)
    for sender, receiver in permutations(scene.directors, 2):
        master = daemon_of(sender, DaemonRole.MASTER)
        if master is None or is_private(sender, master):
            continue
        backup = daemon_of(receiver, DaemonRole.BACKUP)
        if backup is None:
            yield Finding(
                kind=catalogue.SYNC_DAEMON_MISSING,
                host=receiver.host,
                evidence=f"{sender.host} sends on {master.interface}; no backup daemon runs here",
            )
        elif not is_private(receiver, backup):
            yield from _pair(scene, sender, master, receiver, backup)


def daemon_of(host: Facts, role: DaemonRole) -> Daemon | None:
    return next((daemon for daemon in host.daemons if daemon.role is role), None)


def is_private(host: Facts, daemon: Daemon) -> bool:
    """On a dummy device of this machine, with an agent that relays."""
    link = host.link(daemon.interface)
    return link is not None and link.kind == "dummy"


def _alone(director: Facts) -> Iterator[Finding]:
    for daemon in director.daemons:
        link = director.link(daemon.interface)
        if link is None or not link.is_up:
            yield Finding(
                kind=catalogue.SYNC_INTERFACE,
                host=director.host,
                evidence=f"the {daemon.role} daemon's {daemon.interface} is"
                f" {'gone' if link is None else 'down'}",
            )
    if daemon_of(director, DaemonRole.MASTER) and director.sysctl("net.ipv4.vs.sync_version", "1") == "0":
        yield Finding(
            kind=catalogue.SYNC_VERSION, host=director.host, evidence="net.ipv4.vs.sync_version = 0"
        )


def _heard(scene: Scene, director: Facts) -> Iterator[Finding]:
    """By what came while we listened; pairs tell more where both directors were asked."""
    backup = daemon_of(director, DaemonRole.BACKUP)
    if backup is None:
        return
    foreign = [each for each in director.sync if not each.is_own]
    ours = [each for each in foreign if backup.syncid in (0, each.syncid)]
    host = director.host
    known = {own.address for other in scene.directors for own in other.addresses}
    unknown = [each for each in foreign if each.source not in known]
    if unknown and not ours and len(scene.directors) == 1:
        ids = ", ".join(str(number) for number in sorted({each.syncid for each in unknown}))
        yield Finding(
            kind=catalogue.SYNC_SYNCID,
            host=host,
            evidence=f"ours is {backup.syncid}; {unknown[0].source} sends under {ids}, nobody under ours",
        )
    for each in ours:
        wanted = (backup.group, backup.port)
        if each in unknown and (each.group, each.port) != wanted and not _is_thread(each.port, backup):
            yield Finding(
                kind=catalogue.SYNC_GROUP,
                host=host,
                evidence=f"{each.source} sends to {each.group} port {each.port}, ours is"
                f" {backup.group} port {backup.port}",
            )
        if backup.maxlen and each.longest > backup.maxlen:
            yield Finding(
                kind=catalogue.SYNC_MAXLEN,
                host=host,
                evidence=f"{each.source} sends {each.longest} bytes, ours takes {backup.maxlen}",
            )
        if each.version == 0 and each in unknown:
            yield Finding(kind=catalogue.SYNC_VERSION, host=host, evidence=f"{each.source} sends version 0")
    yield from _filtered(scene, director, backup)


def _is_thread(port: int, backup: Daemon) -> bool:
    return backup.port is not None and backup.port <= port < backup.port + 16


def _filtered(scene: Scene, director: Facts, backup: Daemon) -> Iterator[Finding]:
    if backup.group is None or backup.port is None or is_private(director, backup):
        return
    for source in _senders(scene, director) or [None]:
        packet = Packet(
            protocol=_UDP,
            destination=backup.group,
            source=source,
            port=backup.port,
            interface=backup.interface,
        )
        if drop := scene.drop(director, packet):
            yield Finding(kind=catalogue.SYNC_FIREWALL, host=director.host, evidence=str(drop))
            return


def _senders(scene: Scene, receiver: Facts) -> list[Address | None]:
    """Where the other directors' messages come from."""
    found: list[Address | None] = []
    for other in scene.directors:
        master = daemon_of(other, DaemonRole.MASTER)
        if other is not receiver and master is not None:
            found += [own.address for own in other.addresses if own.interface == master.interface][:1]
    return found


def _pair(scene: Scene, sender: Facts, master: Daemon, receiver: Facts, backup: Daemon) -> Iterator[Finding]:
    host = receiver.host
    if backup.syncid and master.syncid != backup.syncid:
        yield Finding(
            kind=catalogue.SYNC_SYNCID,
            host=host,
            evidence=f"{sender.host} sends under {master.syncid}, the backup here takes {backup.syncid}",
        )
    if (master.group, master.port) != (backup.group, backup.port):
        yield Finding(
            kind=catalogue.SYNC_GROUP,
            host=host,
            evidence=f"{sender.host} sends to {master.group} port {master.port}, the backup here listens to"
            f" {backup.group} port {backup.port}",
        )
    if master.maxlen and backup.maxlen and master.maxlen > backup.maxlen:
        yield Finding(
            kind=catalogue.SYNC_MAXLEN,
            host=host,
            evidence=f"{sender.host} sends up to {master.maxlen} bytes, the backup here takes"
            f" {backup.maxlen}",
        )
    theirs, ours = sender.networks_on(master.interface), receiver.networks_on(backup.interface)
    if theirs and ours and not set(theirs) & set(ours):
        yield Finding(
            kind=catalogue.SYNC_INTERFACE,
            host=host,
            evidence=f"{sender.host} sends on {master.interface} ({theirs[0]}), the backup here listens on"
            f" {backup.interface} ({ours[0]})",
        )
    elif not _is_broken(sender, master) and not _is_broken(receiver, backup):
        yield from _arrives(scene, sender, receiver)


def _is_broken(host: Facts, daemon: Daemon) -> bool:
    link = host.link(daemon.interface)
    return link is None or not link.is_up


def _arrives(scene: Scene, sender: Facts, receiver: Facts) -> Iterator[Finding]:
    sent = sum(each.count for each in sender.sync if each.is_own)
    own = {each.address for each in sender.addresses}
    arrived = sum(each.count for each in receiver.sync if each.source in own and not each.is_own)
    adverts_sent = any(each.is_own and each.is_multicast and each.count > 1 for each in sender.adverts)
    adverts_arrived = any(each.source in own for each in receiver.adverts)
    if sent > 1 and not arrived and receiver.listened_s and (adverts_arrived or not adverts_sent):
        yield Finding(
            kind=catalogue.SYNC_ONE_WAY,
            host=receiver.host,
            evidence=f"{sender.host} sent {sent} messages in {sender.listened_s:.0f} s, none came here",
        )
