"""Rows of the kernel's table, made into entries again with the help of the service table."""

from ipaddress import ip_address

from lvsha.core.addr import AF_INET
from lvsha.director.rebuild import rebuilder
from lvsha.ipvs.model import (
    Destination,
    DestinationState,
    ForwardingMethod,
    Protocol,
    Service,
    ServiceKey,
    ServiceState,
    Table,
    Timeouts,
)
from lvsha.sync.conn_table import TableRow
from lvsha.wire.ipvs_sync.names import ConnFlag
from lvsha.wire.ipvs_sync.records import SyncConn

VIP, CLIENT, SERVER = "10.0.0.10", "10.0.0.100", "10.0.0.11"
TIMEOUTS = Timeouts(tcp_s=1200, tcp_fin_s=90, udp_s=240)


def state_of(key: ServiceKey, method: ForwardingMethod, **service: int) -> ServiceState:
    destination = Destination(address=ip_address(SERVER), port=80, method=method)
    return ServiceState(
        service=Service(key=key, **service),  # type: ignore[arg-type]  # only numbers are passed here
        destinations={destination.key: DestinationState(destination=destination)},
    )


def table_with(key: ServiceKey, method: ForwardingMethod, **service: int) -> Table:
    return {key: state_of(key, method, **service)}


WEB = ServiceKey.of(Protocol.TCP, ip_address(VIP), 80)


def row(
    *, protocol: int = 6, cport: int = 40000, vport: int = 80, vaddr: str = VIP, state: str, expires_s: int
) -> TableRow:
    packed = [ip_address(each).packed for each in (CLIENT, vaddr, SERVER)]
    return TableRow(protocol, packed[0], cport, packed[1], vport, packed[2], 80, state, expires_s)


def rebuilt(table: Table, each: TableRow) -> SyncConn:
    conn = rebuilder(table, TIMEOUTS)(each)
    assert conn is not None
    return conn


def test_the_realserver_gives_the_forwarding_method() -> None:
    conn = rebuilt(table_with(WEB, ForwardingMethod.DROUTE), row(state="ESTABLISHED", expires_s=700))

    assert conn.flags == ForwardingMethod.DROUTE | ConnFlag.NOOUTPUT
    assert (conn.state_name, conn.timeout) == ("ESTABLISHED", 1200)


def test_a_masqueraded_row_that_is_closing_is_inactive() -> None:
    conn = rebuilt(table_with(WEB, ForwardingMethod.MASQ), row(state="FIN_WAIT", expires_s=80))

    assert conn.flags == ConnFlag.INACTIVE
    assert conn.timeout == 90


def test_udp_never_counts_as_active() -> None:
    conn = rebuilt(table_with(WEB, ForwardingMethod.MASQ), row(protocol=17, state="UDP", expires_s=200))

    assert conn.flags & ConnFlag.INACTIVE
    assert (conn.state, conn.timeout) == (0, 240)


def test_a_template_lives_as_long_as_its_service_says() -> None:
    table = table_with(WEB, ForwardingMethod.TUNNEL, persistence_timeout_s=50)

    conn = rebuilt(table, row(cport=0, state="ASSURED", expires_s=20))

    assert conn.is_template
    assert (conn.state, conn.timeout, conn.forwarding_method) == (1, 50, ForwardingMethod.TUNNEL)


def test_the_template_of_a_mark_carries_it_as_its_virtual_address() -> None:
    table = table_with(ServiceKey.of_fwmark(5, AF_INET), ForwardingMethod.DROUTE, persistence_timeout_s=300)

    conn = rebuilt(table, row(protocol=0, cport=0, vport=0, vaddr="0.0.0.5", state="NONE", expires_s=9))

    assert (conn.protocol, conn.vaddr, conn.timeout) == (0, bytes((0, 0, 0, 5)), 300)
    assert conn.forwarding_method == ForwardingMethod.DROUTE


def test_an_ordinary_row_gets_the_mark_of_the_one_service_that_has_its_realserver() -> None:
    mark = ServiceKey.of_fwmark(5, AF_INET)

    conn = rebuilt(table_with(mark, ForwardingMethod.DROUTE), row(state="ESTABLISHED", expires_s=9))

    assert conn.fwmark == 5


def test_a_mark_is_not_guessed_between_two_services() -> None:
    table = {
        key: state_of(key, ForwardingMethod.DROUTE)
        for key in (ServiceKey.of_fwmark(5, AF_INET), ServiceKey.of_fwmark(6, AF_INET))
    }

    assert rebuilt(table, row(state="ESTABLISHED", expires_s=9)).fwmark == 0


def test_a_longer_timer_than_the_state_has_is_kept() -> None:
    """Of a synchronised row: what the peer's kernel gave it."""
    conn = rebuilt(table_with(WEB, ForwardingMethod.MASQ), row(state="ESTABLISHED", expires_s=3000))

    assert conn.timeout == 3000


def test_a_template_without_realserver_is_left_out() -> None:
    dead = row(cport=0, vport=0xFFFF, state="NONE", expires_s=9)._replace(dport=0xFFFF)

    assert rebuilder({}, TIMEOUTS)(dead) is None
