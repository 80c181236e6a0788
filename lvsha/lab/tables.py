"""What a director's kernel holds, read in its namespace."""

from lvsha.lab import watch
from lvsha.lab.netns import Namespace
from lvsha.lab.topology import PORT

Row = tuple[str, ...]


def connections(director: Namespace) -> set[Row]:
    """Its connections to the realservers' port, without states and timers."""
    text = director.read("/proc/self/net/ip_vs_conn")
    found = (tuple(line.split()[:7]) for line in text.splitlines()[1:])
    port = f"{PORT:04X}"
    return {row for row in found if port in (row[4], row[6])}


def counted(director: Namespace, service: str) -> int:
    """The connections that it counts for an address, or for a firewall mark (``fwmark 7``).

    As good as reading its table, if they are bound; of a large one that would take half a minute.
    """
    total, mine = 0, False
    for line in director.read("/proc/self/net/ip_vs").splitlines()[3:]:
        words = line.split()
        if words[0] == "->":
            total += int(words[4]) + int(words[5]) if mine else 0
        elif words[0] == "FWM":
            mine = service == f"fwmark {int(words[1], 16)}"
        else:
            mine = watch.endpoint(words[1]).rpartition(":")[0].strip("[]") == service
    return total


def syncs(director: Namespace) -> bool:
    """A sync daemon runs: its socket ends in port 8848 on one side or the other."""
    return any(":2290 " in director.read(f"/proc/self/net/{table}") for table in ("udp", "udp6"))


def hears_vrrp(director: Namespace, networks: int) -> bool:
    """A raw socket of protocol 112 is open on every network."""
    sockets = sum(director.read(f"/proc/self/net/{table}").count(":0070 ") for table in ("raw", "raw6"))
    return sockets >= networks
