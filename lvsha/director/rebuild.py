"""A connection as the kernel's table prints it, made into an entry again.

``/proc/net/ip_vs_conn`` says neither flags nor mark nor time-out. The forwarding
method is the realserver's, which the service table knows; the time-out is the
state's; the mark of a template is its virtual address. What cannot be told: sequence
data of FTP over NAT, and the mark of an ordinary connection when several marked
services share the realserver.
"""

from collections.abc import Callable
from ipaddress import ip_address

from lvsha.core.addr import AF_INET, AF_INET6, Address
from lvsha.ipvs.model import ForwardingMethod, ServiceKey, ServiceState, Table, Timeouts
from lvsha.sync.conn_table import TableRow
from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync.names import (
    ConnFlag,
    Protocol,
    TcpState,
    TemplateState,
    default_timeout_s,
    is_active,
    state_number,
)
from lvsha.wire.ipvs_sync.records import TYPE_INET6, SyncConn

_DEAD_PORT = 0xFFFF
_TEMPLATE_STATES = frozenset(state.name for state in TemplateState)


def rebuilder(table: Table, timeouts: Timeouts) -> Callable[[TableRow], SyncConn | None]:
    """What makes entries of rows, by what ``table`` says of realservers; None: it cannot be sent."""
    methods = _methods(table)
    marks = _marks(table)

    def rebuild(row: TableRow) -> SyncConn | None:
        is_template = row.cport == 0 and row.state in _TEMPLATE_STATES
        if row.cport == 0 and row.vport == row.dport == _DEAD_PORT:
            return None  # a template whose realserver is gone: it only waits for its end
        try:
            state = state_number(row.protocol, row.state, template=is_template)
        except ValueError:
            if row.state != "ERR!":
                return None
            state = 0
        family = AF_INET6 if len(row.caddr) == 16 else AF_INET
        vaddr, daddr = ip_address(row.vaddr), ip_address(row.daddr)
        service = _service(table, family, row, vaddr, is_template=is_template)
        fwmark = 0
        if service is None and not is_template:
            candidates = marks.get((family, daddr, row.dport)) or marks.get((family, daddr, 0)) or ()
            fwmark = candidates[0] if len(candidates) == 1 else 0
            service = table.get(ServiceKey.of_fwmark(fwmark, family)) if fwmark else None
        method = _method(service, daddr, row.dport)
        if method is None:
            method = methods.get(daddr, ForwardingMethod.MASQ)
        flags = int(method)
        if method is not ForwardingMethod.MASQ:
            flags |= ConnFlag.NOOUTPUT
        if is_template:
            flags |= ConnFlag.TEMPLATE
        elif row.cport == 0:
            flags |= ConnFlag.NO_CPORT
        if not is_template and not is_active(row.protocol, state):
            flags |= ConnFlag.INACTIVE
        return SyncConn(
            type=TYPE_INET6 if family == AF_INET6 else 0,
            protocol=row.protocol,
            flags=flags,
            state=state,
            cport=row.cport,
            vport=row.vport,
            dport=row.dport,
            fwmark=fwmark,
            timeout=max(row.expires_s, _timeout_s(row, state, service, timeouts, is_template=is_template)),
            caddr=row.caddr,
            vaddr=row.vaddr,
            daddr=row.daddr,
            options=tlv.encode_options(pe_name=row.pe_name, pe_data=row.pe_data) if row.pe_data else b"",
        )

    return rebuild


def _methods(table: Table) -> dict[Address, ForwardingMethod]:
    """By realserver, wherever a row's service is not found."""
    found: dict[Address, ForwardingMethod] = {}
    for state in table.values():
        for destination in state.destinations.values():
            found.setdefault(destination.destination.address, destination.destination.method)
    return found


def _marks(table: Table) -> dict[tuple[int, Address, int], tuple[int, ...]]:
    """The firewall marks that lead to a realserver."""
    found: dict[tuple[int, Address, int], tuple[int, ...]] = {}
    for key, state in table.items():
        if key.fwmark:
            for address, port in state.destinations:
                where = (key.family, address, port)
                found[where] = (*found.get(where, ()), key.fwmark)
    return found


def _service(
    table: Table, family: int, row: TableRow, vaddr: Address, *, is_template: bool
) -> ServiceState | None:
    if is_template and row.protocol == Protocol.IP:
        return table.get(ServiceKey.of_fwmark(int.from_bytes(row.vaddr[:4], "big"), family))
    for port in (row.vport, 0):
        if (found := table.get(ServiceKey.of(row.protocol, vaddr, port))) is not None:
            return found
    return None


def _method(service: ServiceState | None, daddr: Address, dport: int) -> ForwardingMethod | None:
    if service is None:
        return None
    for port in (dport, 0):
        if (found := service.destinations.get((daddr, port))) is not None:
            return found.destination.method
    return next(
        (
            each.destination.method
            for each in service.destinations.values()
            if each.destination.address == daddr
        ),
        None,
    )


def _timeout_s(
    row: TableRow, state: int, service: ServiceState | None, timeouts: Timeouts, *, is_template: bool
) -> int:
    if is_template:
        persistence = service.service.persistence_timeout_s if service is not None else None
        return persistence or default_timeout_s(row.protocol, state, template=True)
    if row.protocol == Protocol.TCP and state == TcpState.ESTABLISHED and timeouts.tcp_s:
        return timeouts.tcp_s
    if row.protocol == Protocol.TCP and state == TcpState.FIN_WAIT and timeouts.tcp_fin_s:
        return timeouts.tcp_fin_s
    if row.protocol == Protocol.UDP and timeouts.udp_s:
        return timeouts.udp_s
    return default_timeout_s(row.protocol, state)
