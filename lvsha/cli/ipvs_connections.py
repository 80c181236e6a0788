"""Some connections of the table: which, and how they are shown."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from lvsha.core.addr import Address, address_family, parse_endpoint
from lvsha.io.procfs import ConnectionRow
from lvsha.ipvs.ipvsadm.names import Texts
from lvsha.wire.ipvs_sync.names import state_names

PROTOCOLS = {0: "IP", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a connection must be; None takes all."""

    vip: tuple[Address, int] | None = None
    """Port 0: any."""
    rs: tuple[Address, int] | None = None
    client: Network | None = None
    state: str | None = None

    def with_option(self, name: str, text: str) -> "Filter":
        """Add one condition.

        Raises:
            ValueError: with what is wrong.
        """
        if not text:
            raise ValueError("wants an argument")
        if name == "state":
            state = text.upper()
            if state not in state_names():
                raise ValueError(f"no connection is in state {text!r}; states are {', '.join(state_names())}")
            return replace(self, state=state)
        if name == "client":
            return replace(self, client=ip_network(text, strict=False))
        endpoint = parse_endpoint(text)
        return replace(self, vip=endpoint) if name == "vip" else replace(self, rs=endpoint)

    def takes(self, row: ConnectionRow) -> bool:
        """Whether the row is wanted."""
        return (
            (self.state is None or row.state == self.state)
            and _is(self.vip, row.vaddr, row.vport)
            and _is(self.rs, row.daddr, row.dport)
            and (self.client is None or row.caddr in self.client)
        )


def _is(wanted: tuple[Address, int] | None, address: Address, port: int) -> bool:
    return wanted is None or (wanted[0] == address and wanted[1] in (0, port))


def protocol_name(number: int) -> str:
    return PROTOCOLS.get(number, f"IP_{number}")


def connection_json(row: ConnectionRow) -> dict[str, Any]:
    """The kernel's names, as ``lvsha sync decode --json`` has them."""
    return {
        "protocol": protocol_name(row.protocol),
        "caddr": str(row.caddr),
        "cport": row.cport,
        "vaddr": str(row.vaddr),
        "vport": row.vport,
        "daddr": str(row.daddr),
        "dport": row.dport,
        "fwmark": row.fwmark or None,
        "state": row.state,
        "expires_s": row.expires_s,
        "template": row.is_template,
        "pe_name": row.pe_name or None,
        "pe_data": row.pe_data.hex() or None,
    }


def connection_line(row: ConnectionRow, texts: Texts) -> str:
    """As ``ipvsadm -Lc`` prints it."""
    ends = ((row.caddr, row.cport), (row.vaddr, row.vport), (row.daddr, row.dport))
    source, virtual, destination = [
        texts.endpoint(address_family(address), address.packed, port, row.protocol) for address, port in ends
    ]
    timer = f"{row.expires_s // 60:02}:{row.expires_s % 60:02}"
    name = protocol_name(row.protocol)
    return f"{name:<3} {timer:<6} {row.state:<11} {source:<18} {virtual:<18} {destination}"
