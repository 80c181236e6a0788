"""What the lab reads out of a director's kernel."""

from lvsha.lab import tables
from lvsha.lab.netns import Namespace

SERVICES = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A00000A:1F40 rr persistent 120 FFFFFFFF
  -> 0A00000B:1F40      Route   1      50         1
  -> 0A00000C:1F40      Route   1      49         0
UDP  0A00000A:1F40 rr
  -> 0A00000B:1F40      Route   1      0          3
TCP  [fd00:0000:0000:0000:0000:0000:0000:000a]:1F40 rr
  -> [fd00:0000:0000:0000:0000:0000:0000:000b]:1F40      Route   1      7         0
FWM  00000007 rr
  -> 0A00000B:0000      Route   1      20         1
FWM  00000008 rr
  -> 0A00000B:0000      Route   1      4          0
"""

CONNECTIONS = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000064 9C40 0A00000A 1F40 0A00000B 1F40 ESTABLISHED     899
TCP 0A000064 9C42 0A00000A 0050 0A00000B 0050 ESTABLISHED     899
"""


class Told(Namespace):
    """Reads what it was given."""

    def __init__(self, text: str) -> None:
        super().__init__("lb1")
        self._text = text

    def read(self, path: str) -> str:
        return self._text


def test_connections_are_counted_by_address_and_by_mark() -> None:
    director = Told(SERVICES)

    found = [tables.counted(director, name) for name in ("10.0.0.10", "fd00::a", "fwmark 7", "fwmark 8")]

    assert found == [103, 7, 21, 4]
    assert tables.counted(director, "10.0.0.11") == 0


def test_only_the_realservers_port_is_of_interest() -> None:
    rows = tables.connections(Told(CONNECTIONS))

    assert rows == {("TCP", "0A000064", "9C40", "0A00000A", "1F40", "0A00000B", "1F40")}
