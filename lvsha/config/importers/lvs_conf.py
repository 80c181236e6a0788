"""``lvs.conf`` of the LVS-HOWTO's configure script, to lvsha's own configuration.

Lines like ``LVS_TYPE=VS_DR``, ``VIP=eth0:110 192.168.1.110 …``, ``SERVICE=t http rr 192.168.1.7,2``.
"""

import re
from ipaddress import ip_address
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import refuse, whole
from lvsha.config.importers.keepalived_services import endpoint
from lvsha.config.importers.ldirectord_ports import SERVICE_OF_PORT
from lvsha.config.importers.report import Block, Imported, Notebook, Place, Reader

_TYPES: Final = {"VS_NAT": "nat", "VS_DR": "dr", "VS_TUN": "tun"}
_PORTS: Final = {
    **{name: port for port, name in SERVICE_OF_PORT.items()},
    "telnet": 23,
    "ssh": 22,
    "www": 80,
    "domain": 53,
    "pop3": 110,
    "ntp": 123,
    "nfs": 2049,
    "netpipe": 5002,
}
_REALSERVERS: Final = (
    "concerns the realservers: `lvsha realserver plan` of the new file, there, says what to set"
)
_ELSEWHERE: Final = {
    "DIP": "the director's own address: put it into [directors]",
    "DIRECTOR_INSIDEIP": "the director's inner address belongs to its network set-up",
    "DIRECTOR_DEFAULT_GW": "belongs to the director's network set-up",
    "DIRECTOR_GW": "belongs to the director's network set-up",
    "SERVER_DEFAULT_GW": _REALSERVERS,
    "SERVER_GW": _REALSERVERS,
    "SERVER_NET_DEVICE": _REALSERVERS,
    "SERVER_VIP_DEVICE": _REALSERVERS,
    "SERVER_LVS_DEVICE": _REALSERVERS,
}


def convert_lvs_conf(name: str, text: str, reader: Reader) -> Imported:
    """Services on the VIP; what concerns other machines is said, not carried over."""
    notebook = Notebook()
    method = "dr"
    virtual: Any = None
    vip_place: Place | None = None
    interface = "eth0"
    services: list[tuple[str, Place]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if not line:
            continue
        place = Place(file=name, line=number)
        notebook.statements += 1
        key, equals, value = (part.strip().strip("\"'") for part in line.partition("="))
        if not equals:
            notebook.suspicious(place, key, "is no setting: a = is missing", matters=True)
        elif key in ("LVS_TYPE", "LVSTYPE"):
            if value.upper() in _TYPES:
                method = _TYPES[value.upper()]
                notebook.take()
            else:
                notebook.suspicious(place, key, f"{value} is not VS_NAT, VS_DR or VS_TUN", matters=True)
        elif key == "VIP":
            try:
                interface, virtual = _device_and_address(value, interface)
                vip_place = place
                notebook.take()
            except ValueError as error:
                notebook.suspicious(place, key, str(error), matters=True)
        elif key in ("SERVICE", "SERVICES"):
            services.append((value, place))
        elif key in _ELSEWHERE:
            matters = key == "SERVER_DEFAULT_GW" and method == "nat"
            notebook.lost(place, key, f"{value}: {_ELSEWHERE[key]}", matters=matters)
        else:
            notebook.lost(place, key, "is not known here", matters=False)
    blocks = []
    if virtual is not None:
        vrrp = {"interface": interface, "vrid": 51, "addresses": [f"{virtual}/32"]}
        note = "vrid 51 is chosen here: any number that no other router on this network uses."
        blocks.append(Block(header="vrrp", table=vrrp, place=vip_place, notes=(note,)))
    for value, place in services:
        try:
            if virtual is None:
                refuse("there is no VIP for it")
            blocks.append(Block(header="service", table=_service(value, virtual, method), place=place))
            notebook.take()
        except (ValueError, IndexError) as error:
            said = str(error) if isinstance(error, ValueError) and str(error) else "it is cut short"
            notebook.suspicious(place, "SERVICE", f"{said}: left out", matters=True)
    return Imported(
        format="lvs-conf",
        blocks=tuple(blocks),
        remarks=tuple(sorted(notebook.remarks, key=lambda remark: remark.place.line)),
        statements=notebook.statements,
        carried=notebook.carried,
    )


def _device_and_address(value: str, interface: str) -> tuple[str, Any]:
    """``eth0:110 192.168.1.110 255.255.255.255 192.168.1.110`` or the address alone."""
    for word in value.split():
        try:
            return interface, ip_address(word.partition("/")[0])
        except ValueError:
            interface = word.partition(":")[0]
    raise ValueError(f"{value!r} holds no address")


def _service(value: str, virtual: Any, method: str) -> dict[str, Any]:
    """``t http rr 10.0.0.11,2 10.0.0.12:8080``; a weight stands behind a comma."""
    words = value.split()
    protocol = {"t": "tcp", "tcp": "tcp", "u": "udp", "udp": "udp"}.get(words[0].lower())
    if protocol is None:
        refuse(f"{words[0]!r} is neither t nor u")
    port = whole(words[1], 0, 65535) if words[1].isdecimal() else _PORTS.get(words[1], -1)
    if port < 0:
        refuse(f"{words[1]} is no port")
    scheduler = words[2]
    realservers = []
    for word in words[3:]:
        where, _, weight = word.partition(",")
        host, _, own_port = where.partition(":")
        table: dict[str, Any] = {"address": str(ip_address(host))}
        if own_port:
            number = whole(own_port, 1, 65535) if own_port.isdecimal() else _PORTS.get(own_port, -1)
            if number < 0:
                refuse(f"{own_port} is no port")
            if method == "nat" and number != port:
                table["address"] = endpoint(ip_address(host), number)
        if weight:
            table["weight"] = whole(weight, 0, 65535)
        realservers.append(table)
    return {
        "address": endpoint(virtual, port),
        "protocol": protocol,
        "scheduler": scheduler,
        "method": method,
        "realservers": realservers,
    }
