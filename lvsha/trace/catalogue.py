"""The findings of ``lvsha trace``, by id, and what to do.

The ids are those of ``lvsha doctor`` (docs/failures/ID.md), and a few of trace's own for what only packets
show.
"""

from typing import Final

ADDRESS_CONFLICT: Final = "address-conflict"
ALL_WEIGHTS_ZERO: Final = "all-weights-zero"
ANSWERS_THROUGH_DIRECTOR: Final = "answers-through-director"
CONNECTION_RESET: Final = "connection-reset"
DIRECT_ROUTE_TO_CLIENT: Final = "direct-route-to-client"
FIREWALL_DROPS: Final = "firewall-drops"
FOU_PORT_CLOSED: Final = "fou-port-closed"
ICMP_REDIRECTS: Final = "icmp-redirects"
NO_ANSWER: Final = "no-answer"
NO_IP_FORWARD: Final = "no-ip-forward"
NO_VIP_HOLDER: Final = "no-vip-holder"
NO_VIRTUAL_SERVICE: Final = "no-virtual-service"
PATH_MTU: Final = "path-mtu"
REALSERVER_ANSWERS_ARP: Final = "realserver-answers-arp"
REALSERVER_UNREACHABLE: Final = "realserver-unreachable"
REDIRECTED_ROUTE: Final = "redirected-route"
RETRANSMISSIONS: Final = "retransmissions"
SERVICE_NOT_BOUND: Final = "service-not-bound"
TUNNEL_DEVICE_DOWN: Final = "tunnel-device-down"
TUNNEL_MTU: Final = "tunnel-mtu"
TUNNEL_SOURCE_IS_VIP: Final = "tunnel-source-is-vip"
VIP_MISSING_ON_LO: Final = "vip-missing-on-lo"
WRONG_DEFAULT_GATEWAY: Final = "wrong-default-gateway"

WARNINGS: Final = frozenset({ICMP_REDIRECTS, PATH_MTU, TUNNEL_MTU, RETRANSMISSIONS})

REMEDIES: Final = {
    ANSWERS_THROUGH_DIRECTOR: "make the router, not the director, the realserver's default gateway (or set"
    " net.ipv4.conf.INTERFACE.accept_local=1 on the director, and rp_filter=0)",
    CONNECTION_RESET: "who cuts it? a director that does not know the connection: see connection"
    " synchronisation; a realserver: its service's log",
    NO_ANSWER: "make a capture on the machine that got it last, and trace again with it; or run lvsha doctor"
    " there",
    NO_VIRTUAL_SERVICE: "is the service in the table? `lvsha ipvs -Ln` on the director; check the port the"
    " client uses",
    PATH_MTU: "let ICMP through on the whole path, or give the narrow link's MTU to both ends",
    REALSERVER_UNREACHABLE: "is the realserver up, in that network, with that address? ask from the director:"
    " ip neigh, arping",
    RETRANSMISSIONS: "look for a full queue, a bad cable or a slow machine between the captures that have the"
    " packets and those that lack them",
    TUNNEL_SOURCE_IS_VIP: "on the director the virtual address must not be the source of its own packets: an"
    " address of its own first, and the virtual one deprecated (ip address ... preferred_lft 0)",
}
"""What to do, for ids that ``lvsha doctor`` does not have."""
