"""Checks through the forwarding path: what tells IPVS which realserver a probe is for.

Every realserver that is checked so has a *slot*: a firewall mark of its own, and eight
source ports of its own. IPVS steers a new connection by the mark; a connection it remembers
it steers by source port, for up to two minutes and whatever the mark says. Ports that no
other realserver's checks ever use leave nothing to confuse.

A slot follows from the realserver, not from its place in the file: a reload moves none but
those few that meet another in the same slot.
"""

from collections.abc import Iterable
from dataclasses import replace
from zlib import crc32

from lvsha.checker.settings import CheckSettings
from lvsha.config.findings import Findings
from lvsha.config.lines import Path
from lvsha.config.settings import RealServerSettings, ServiceSettings
from lvsha.ipvs.model import Destination, ForwardingMethod

FIRST_MARK = 0x4C560000
FIRST_PORT = 10_240
PORTS_EACH = 8
SLOTS = 2_816
"""They end where the kernel's own choice of ports begins (``ip_local_port_range``: 32768)."""

Located = tuple[Path, ServiceSettings]


def with_slots(services: Iterable[Located], findings: Findings) -> list[Located]:
    """The services with mark and ports in each check through the path."""
    services = list(services)
    targets = {
        _target(realserver.destination, check): at
        for at, service in services
        for realserver in service.realservers
        for check in realserver.checks
        if check.through_path
    }
    if not targets:
        return services
    if len(targets) > SLOTS:
        findings.error(
            targets.popitem()[1],
            f"{len(targets) + 1} realservers are checked through the path: there are marks for {SLOTS}",
            'through = "address" for some of them',
        )
        return services
    _refuse_marks_of_ours(services, findings)
    slots: dict[str, int] = {}
    taken: set[int] = set()
    for target in sorted(targets):
        slot = crc32(target.encode()) % SLOTS
        while slot in taken:
            slot = (slot + 1) % SLOTS
        slots[target] = slot
        taken.add(slot)
    return [(at, _service(service, slots)) for at, service in services]


def _target(destination: Destination, check: CheckSettings) -> str:
    """What one firewall-mark service leads to: a realserver, the way there, and the family it carries."""
    port = destination.port if destination.method is ForwardingMethod.MASQ else 0
    tunnel = f"{destination.tun_type} {destination.tun_port} {destination.tun_flags}"
    return f"{destination.address} {port} {destination.method} {tunnel} {check.address.version}"


def _service(service: ServiceSettings, slots: dict[str, int]) -> ServiceSettings:
    if not any(check.through_path for each in service.realservers for check in each.checks):
        return service
    return replace(
        service, realservers=tuple(_realserver(realserver, slots) for realserver in service.realservers)
    )


def _realserver(realserver: RealServerSettings, slots: dict[str, int]) -> RealServerSettings:
    checks = [
        _check(check, slots[_target(realserver.destination, check)]) if check.through_path else check
        for check in realserver.checks
    ]
    return replace(realserver, check=checks[0], further_checks=tuple(checks[1:])) if checks else realserver


def _check(check: CheckSettings, slot: int) -> CheckSettings:
    return replace(
        check,
        fwmark=FIRST_MARK + slot,
        bind_port=FIRST_PORT + PORTS_EACH * slot,
        bind_port_count=PORTS_EACH,
        # Eight ports are enough while none of them waits a minute in TIME_WAIT.
        close_with_reset=True,
    )


def _refuse_marks_of_ours(services: Iterable[Located], findings: Findings) -> None:
    for at, service in services:
        if FIRST_MARK <= service.service.key.fwmark < FIRST_MARK + SLOTS:
            findings.error(
                at,
                f"{service.service.key.fwmark} is a mark of checks through the path",
                f"marks from {FIRST_MARK:#x} to {FIRST_MARK + SLOTS - 1:#x} are theirs",
            )
