"""Of which services the connections are that would be lost now.

What is missing at a peer the relay knows as keys (``Relay.would_lose``). A kernel finds
the service of a connection by its mark first, then by address and port, then by
address alone; so do we.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from lvsha.core.addr import AF_INET, AF_INET6
from lvsha.ipvs.model import ServiceKey
from lvsha.sync.conn_entry import vaddr_of
from lvsha.sync.store import Store

NO_SERVICE = "(no service)"
"""Of connections whose service was removed, or that are passive data connections of FTP."""


def service_of(key: bytes, entry: bytes | None, names: Mapping[ServiceKey, str]) -> str:
    """The name of a connection's service; ``entry`` None: it has ended meanwhile."""
    family = AF_INET6 if key[0] & 1 else AF_INET
    packed, port = vaddr_of(key), int.from_bytes(key[4:6], "big")
    mark = int.from_bytes(entry[16:20], "big") if entry is not None else 0
    if not key[1]:
        mark = int.from_bytes(packed[:4], "big")  # a template of a marked service
    candidates = [ServiceKey.of_fwmark(mark, family)] if mark else []
    if key[1]:
        address = ip_address(packed)
        candidates += [ServiceKey.of(key[1], address, each) for each in (port, 0)]
    return next((names[each] for each in candidates if each in names), NO_SERVICE)


def by_service(keys: Iterable[bytes], store: Store, names: Mapping[ServiceKey, str]) -> dict[str, int]:
    """How many of these connections each service has; the worst first."""
    found: Counter[str] = Counter()
    for key in keys:
        held = store.get(key)
        found[service_of(key, held.entry if held is not None else None, names)] += 1
    return dict(found.most_common())
