"""What ``ipvsadm -S`` prints: the table as lines that ``-R`` reads."""

from _collections_abc import Iterable, Iterator, Sequence

from lvsha.ipvs.ipvsadm.listing import (
    ONE_PACKET,
    PERSISTENT,
    TUNNEL_WORDS,
    Destinations,
    as_signed,
    flag_names,
    has_flags,
    netmask_text,
)
from lvsha.ipvs.ipvsadm.names import AF_INET6, SCTP, TCP, UDP, Texts
from lvsha.ipvs.ipvsadm.order import destination_order, service_key, sort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lvsha.ipvs.ipvsadm.names import Names
    from lvsha.wire.genl_ipvs import DestinationRow, ServiceRow

_PROTOCOLS = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
_METHODS = ("-m", "-l", "-i", "-g", "-b")
_SUMS = {0: "--tun-nocsum", 1: "--tun-csum", 2: "--tun-remcsum"}


class Saving:
    """``full`` adds what ipvsadm loses: thresholds, the netmask of a service that is not persistent, and
    marks of 2^31 and more as ``-R`` reads them."""

    def __init__(self, options: Iterable[str], names: "Names", *, full: bool = False) -> None:
        self._texts = Texts(names, numeric="numeric" in set(options))
        self._full = full

    def lines(self, services: "Sequence[ServiceRow]", destinations: Destinations) -> Iterator[str]:
        for place in sort([service_key(row) for row in services]):
            row = services[place]
            name = self._name(row)
            yield self._service(name, row)
            rows = destinations(row)
            for at in destination_order(rows):
                yield self._destination(name, row, rows[at])

    def _name(self, row: "ServiceRow") -> str:
        if row.fwmark:
            mark = row.fwmark if self._full else as_signed(row.fwmark)
            return f"-f {mark}" + (" -6" if row.family == AF_INET6 else "")
        endpoint = self._texts.endpoint(row.family, row.address, row.port, row.protocol)
        return f"{_PROTOCOLS.get(row.protocol, '-t')} {endpoint}"

    def _service(self, name: str, row: "ServiceRow") -> str:
        parts = ["-A", name, "-s", row.scheduler]
        mask = netmask_text(row)
        if row.flags & PERSISTENT:
            parts.append(f"-p {row.timeout_s}")
        if mask and (row.flags & PERSISTENT or self._full):
            parts.append(f"-M {mask}")
        if row.pe_name:
            parts.append(f"--pe {row.pe_name}")
        if row.flags & ONE_PACKET:
            parts.append("-o")
        if has_flags(row):
            parts.append(f"-b {flag_names(row)}")
        return " ".join(parts)

    def _destination(self, name: str, service: "ServiceRow", row: "DestinationRow") -> str:
        port = int.from_bytes(row[1], "big")
        endpoint = self._texts.endpoint(row[6] or service.family, row[0], port, service.protocol)
        text = f"-a {name} -r {endpoint} {_METHODS[row[2] & 7]} -w {row[3]}"
        if self._full and (row[4] or row[5]):
            text += f" -x {row[4]} -y {row[5]}"
        if row[2] & 7 == 2:
            text += self._tunnel(row)
        return text

    def _tunnel(self, row: "DestinationRow") -> str:
        kind = TUNNEL_WORDS[row[7]]
        if kind == "ipip":
            return " --tun-type ipip"
        port = f" --tun-port {int.from_bytes(row[8], 'big')}" if kind == "gue" else ""
        return f" --tun-type {kind}{port} {_SUMS[row[9]]}"
