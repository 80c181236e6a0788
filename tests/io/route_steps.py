"""What a ``RouteSocket`` asks of a namespace with ``lo``, ``dummy0`` (2) and ``dummy1`` (3), and the answers.

Played from ``proto/netlink/route.json`` by the unit tests, and against a real
kernel by the kernel tests, which also record the file.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface

from lvsha.core.errors import KernelError
from lvsha.io.rtnl import InterfaceAddress, Item, Link, RouteSocket

LINKS = (
    "link add dummy0 index 2 address 02:00:00:00:00:01 type dummy",
    "link set dummy0 up mtu 1400",
    "link add dummy1 index 3 address 02:00:00:00:00:02 type dummy",
)
INDICES = {"lo": 1, "dummy0": 2, "dummy1": 3}

V4 = ip_interface("10.97.0.10/24")
SECOND = ip_interface("10.97.0.11/24")
V6 = ip_interface("fd97::10/64")
LEASE = ip_interface("10.97.1.1/32")


def refused(results: list[tuple[Item, KernelError]]) -> list[tuple[str, str, str]]:
    return [(name, str(prefix), errno.errorcode[error.errno]) for (name, prefix), error in results]


def on_dummy0(routes: RouteSocket) -> list[InterfaceAddress]:
    """The kernel's own link-local address left out: when it comes is its affair."""
    return [each for each in routes.addresses(2) if not each.prefix.ip.is_link_local]


@dataclass(frozen=True, slots=True)
class RouteStep:
    name: str
    run: Callable[[RouteSocket], object]
    answer: object


def lease_of(routes: RouteSocket) -> object:
    (lease,) = [each for each in routes.addresses(2) if each.prefix == LEASE]
    return lease.valid_s is not None and 25 <= lease.valid_s <= 30


STEPS = (
    RouteStep(
        "links",
        lambda routes: [link for link in routes.links().values() if link.name.startswith("dummy")],
        [
            Link(
                name="dummy0",
                index=2,
                mac=bytes.fromhex("020000000001"),
                up=True,
                carrier=True,
                mtu=1400,
                kind="dummy",
            ),
            Link(
                name="dummy1",
                index=3,
                mac=bytes.fromhex("020000000002"),
                up=False,
                carrier=False,
                mtu=1500,
                kind="dummy",
            ),
        ],
    ),
    RouteStep(
        "add",
        lambda routes: refused(routes.add_addresses([("dummy0", V4), ("dummy0", SECOND), ("dummy0", V6)])),
        [],
    ),
    RouteStep(
        "list them",
        on_dummy0,
        [
            InterfaceAddress(index=2, prefix=V4),
            InterfaceAddress(index=2, prefix=SECOND, is_primary=False),
            InterfaceAddress(index=2, prefix=V6),
        ],
    ),
    RouteStep(
        "add them again", lambda routes: refused(routes.add_addresses([("dummy0", V4), ("dummy0", V6)])), []
    ),
    RouteStep(
        "a lease, renewed",
        lambda routes: [
            refused(routes.add_addresses([("dummy0", LEASE)], valid_s=seconds)) for seconds in (10, 30)
        ],
        [[], []],
    ),
    RouteStep("list the lease", lease_of, True),
    RouteStep(
        "no interface of the name",
        lambda routes: [str(error) for _, error in routes.add_addresses([("dumy0", V4), ("dummy0", V4)])],
        ["add 10.97.0.10/24 to dumy0: ENODEV (there is no interface 'dumy0': did you mean 'dummy0'?)"],
    ),
    RouteStep(
        "a multicast address is refused",
        lambda routes: refused(routes.add_addresses([("dummy0", ip_interface("ff02::99/128"))])),
        [("dummy0", "ff02::99/128", "EADDRNOTAVAIL")],
    ),
    RouteStep(
        "remove, twice, and from nowhere",
        lambda routes: [
            refused(
                routes.remove_addresses([("dummy0", SECOND), ("dummy0", V4), ("dummy0", V6), ("gone0", V4)])
            )
            for _ in range(2)
        ],
        [[], []],
    ),
    RouteStep("only the lease is left", lambda routes: [each.prefix for each in on_dummy0(routes)], [LEASE]),
)
