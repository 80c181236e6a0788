"""Every finding there is: id, severity, title, why it hurts, what to do.

The ids are a contract: ``lvsha doctor --json`` and ``lvsha trace`` print them, and each has
its page, ``docs/failures/ID.md``. An id is never given to something else.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """In falling order."""

    ERROR = "error"
    """Packets are lost now."""
    WARNING = "warning"
    """It works until something happens: a takeover, a long packet, a second client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of finding."""

    id: str
    severity: Severity
    title: str
    why: str
    remedy: str

    @property
    def page(self) -> str:
        return f"docs/failures/{self.id}.md"


def _error(id: str, title: str, why: str, remedy: str) -> Kind:
    return Kind(id=id, severity=Severity.ERROR, title=title, why=why, remedy=remedy)


def _warning(id: str, title: str, why: str, remedy: str) -> Kind:
    return Kind(id=id, severity=Severity.WARNING, title=title, why=why, remedy=remedy)


# --- forwarding: NAT, routes, filters -----------------------------------------------------------------

NO_IP_FORWARD = _error(
    "no-ip-forward",
    "the director does not forward packets",
    "Answers of NAT realservers reach the director, which has to pass them on; with ip_forward = 0 it"
    " drops them without a word.",
    "sysctl -w net.ipv4.ip_forward=1 (IPv6: net.ipv6.conf.all.forwarding=1), and in /etc/sysctl.d",
)
ICMP_REDIRECTS = _warning(
    "icmp-redirects",
    "the director tells realservers a shorter way past itself",
    "Client and NAT realservers share a network: the director sends ICMP redirects, the realserver then"
    " answers the client directly, from its own address, and the connection hangs.",
    "on the director: net.ipv4.conf.all.send_redirects=0 and the same for default and the interface",
)
REDIRECTED_ROUTE = _error(
    "redirected-route",
    "an ICMP redirect has put a route past the director into the route cache",
    "The realserver believed a redirect: its answers go straight to the client, one hop instead of two,"
    " with an address the client does not know.",
    "ip route flush cache there, send_redirects=0 on the director, accept_redirects=0 on the realserver",
)
WRONG_DEFAULT_GATEWAY = _error(
    "wrong-default-gateway",
    "a NAT realserver's way to the client does not pass the director",
    "Answers that do not come back through the director keep the realserver's address; the client drops"
    " them.",
    "make an address of the director (better: an inner virtual address) the realserver's default gateway",
)
DIRECT_ROUTE_TO_CLIENT = _error(
    "direct-route-to-client",
    "a NAT realserver reaches the client without the director",
    "Client and realserver share a network, so answers take the direct route, and keep the realserver's"
    " address: the client answers them with RST and hangs.",
    "delete the realserver's route to the local network, or use DR, or another network for clients",
)
RP_FILTER = _error(
    "rp-filter",
    "reverse path filtering drops the packets",
    "The route back to the sender leaves by another interface than the packet came in by: with"
    " rp_filter = 1 the kernel drops it and only counts IPReversePathFilter.",
    "net.ipv4.conf.INTERFACE.rp_filter=2 (the higher of this and conf.all counts)",
)
FIREWALL_DROPS = _error(
    "firewall-drops",
    "a firewall rule drops what the service needs",
    "A rule or a chain's policy drops packets of the virtual service, of VRRP, or of a tunnel.",
    "accept the packet that the evidence names before the rule that it names",
)

# --- realservers --------------------------------------------------------------------------------------

REALSERVER_ANSWERS_ARP = _error(
    "realserver-answers-arp",
    "a realserver answers ARP for the virtual address",
    "Whoever asked last goes straight to one realserver: no balancing, no takeover, and connections"
    " break when the answer changes.",
    "there: arp_ignore=1 and arp_announce=2 for all and the interface, before the address is on lo"
    " (`lvsha realserver apply`)",
)
REALSERVER_ANNOUNCES_VIP = _warning(
    "realserver-announces-vip",
    "a realserver may ask ARP questions in the name of the virtual address",
    "Its question carries the virtual address as sender, and every listener learns the realserver's MAC"
    " for it.",
    "net.ipv4.conf.all.arp_announce=2 (`lvsha realserver apply`)",
)
VIP_MISSING_ON_LO = _error(
    "vip-missing-on-lo",
    "a realserver does not have the virtual address",
    "With DR and tunnels packets arrive addressed to the virtual address: who does not have it drops or"
    " forwards them.",
    "`lvsha realserver apply`: the address as /32 (IPv6 /128) on lo, arp_ignore=1 before it",
)
SERVICE_NOT_BOUND = _error(
    "service-not-bound",
    "no service listens where the realserver gets its packets",
    "The kernel answers with RST: with DR and tunnels the service has to listen on the virtual address"
    " (or on all), not only on the realserver's own.",
    "bind the service to the virtual address or to all addresses, on the service's port",
)
WRONG_PORT = _error(
    "wrong-port",
    "a realserver's port differs from the service's, and nobody translates it",
    "Only NAT changes ports: with DR and tunnels the packet keeps the service's port, whatever the table"
    " says.",
    "give the realserver the service's port, or use NAT",
)

# --- the table ----------------------------------------------------------------------------------------

ALL_WEIGHTS_ZERO = _error(
    "all-weights-zero",
    "every realserver of a service has weight 0",
    "There is nobody to give a new connection to; the kernel answers it with RST or ICMP.",
    "see why checks fail (`lvsha status`), or give weights back (`lvsha undrain`, ipvsadm -e -w 1)",
)
NO_DESTINATIONS = _error(
    "no-destinations",
    "a service has no realservers",
    "There is nobody to give a new connection to.",
    "add realservers, or see why checks removed them (`lvsha status`)",
)
QUORUM_LOST = _error(
    "quorum-lost",
    "a service has fewer healthy realservers than its quorum",
    "The director has given the service up, or sends it to the sorry server.",
    "see why checks fail: `lvsha status`",
)
PERSISTENCE_PINNING = _warning(
    "persistence-pinning",
    "persistence keeps clients on one realserver",
    "A template ties a client (or its whole network) to a realserver for as long as it comes back: a"
    " drained realserver never empties, and clients behind one address all go to one.",
    "net.ipv4.vs.expire_quiescent_template=1 for drained realservers; a narrower persistence netmask, or"
    " a shorter time",
)
FTP_NOT_HELPED = _error(
    "ftp-not-helped",
    "FTP is balanced without helper or persistence",
    "FTP opens data connections to other ports: without ip_vs_ftp (NAT) or a persistent service for all"
    " ports (DR, tunnels) they reach no realserver, or another one.",
    "NAT: modprobe ip_vs_ftp; DR and tunnels: a persistent service of port 0, or of one firewall mark",
)

# --- tunnels ------------------------------------------------------------------------------------------

TUNNEL_DEVICE_DOWN = _error(
    "tunnel-device-down",
    "the realserver has no tunnel device that is up",
    "Nothing unwraps what the director sends.",
    "`lvsha realserver apply`: ip link set tunl0 up (or the GRE or GUE receiver)",
)
TUNNEL_MTU = _error(
    "tunnel-mtu",
    "full-sized packets do not get through to the realserver",
    "A wrapped packet is 20 to 36 bytes longer, and the way to the realserver takes less than the"
    " interface says: short requests work, long ones hang.",
    "the right MTU on every link to the realserver; or a smaller advmss on the realserver's routes",
)
FOU_PORT_CLOSED = _error(
    "fou-port-closed",
    "nobody unwraps GUE at the realserver's port",
    "The director wraps in UDP to a port at which no fou receiver listens: the realserver answers ICMP"
    " port unreachable.",
    "ip fou add port PORT gue on the realserver (`lvsha realserver apply`), and open the port",
)
TUNNEL_CHECKSUM = _error(
    "tunnel-checksum",
    "director and realserver disagree about tunnel checksums",
    "A GRE receiver with checksums on drops packets without one, and one without drops packets that have"
    " one; it counts them as receive errors only.",
    "the same on both: ipvsadm --tun-nocsum or --tun-csum, and the device's icsum or noicsum",
)

# --- connection synchronisation -----------------------------------------------------------------------

SYNC_DAEMON_MISSING = _warning(
    "sync-daemon-missing",
    "a director does not take part in connection synchronisation",
    "One director sends its connections and another does not listen (or the other way round): they die"
    " at the next takeover.",
    "start both daemons on both: [sync] of lvsha.toml, or ipvsadm --start-daemon master and backup",
)
SYNC_SYNCID = _warning(
    "sync-syncid",
    "the directors' sync ids differ",
    "A backup drops the messages of another syncid without a word.",
    "the same syncid on all directors of a cluster, and no other cluster with it",
)
SYNC_GROUP = _warning(
    "sync-group",
    "the directors' sync groups or ports differ",
    "They send to a multicast group or port that the other does not listen to.",
    "the same group and port on all",
)
SYNC_INTERFACE = _warning(
    "sync-interface",
    "a sync daemon's interface is gone, down, or in another network than the peer's",
    "The kernel lists the daemon as running all the same; nothing is sent or heard.",
    "restart the daemon on an interface that both directors have in one network",
)
SYNC_VERSION = _warning(
    "sync-version",
    "a director sends the old sync format",
    "Version 0 carries no IPv6, no firewall marks and no time-outs: what needs them is lost at a takeover.",
    "net.ipv4.vs.sync_version=1 on all",
)
SYNC_MAXLEN = _warning(
    "sync-maxlen",
    "sync messages are longer than the backup takes",
    "A datagram longer than the backup's sync_maxlen is cut, and then dropped whole, without a word.",
    "the same sync_maxlen on all, and restart the daemons",
)
SYNC_FIREWALL = _warning(
    "sync-firewall",
    "a firewall drops connection synchronisation",
    "Nothing else notices; the connections die at the next takeover.",
    "accept UDP 8848 to 224.0.0.81 from the other directors",
)
SYNC_ONE_WAY = _warning(
    "sync-one-way",
    "a director's sync messages do not arrive at the other",
    "It sends, and the other one hears nothing of it.",
    "see sync-group, sync-interface, sync-firewall and multicast-lost; else the switch between them",
)

# --- VRRP ---------------------------------------------------------------------------------------------

TWO_MASTERS = _error(
    "two-masters",
    "two directors advertise one virtual router",
    "Both hold the address: clients are torn between them.",
    "see the other VRRP findings; else what cut the network between them",
)
VRID_CLASH = _error(
    "vrid-clash",
    "two clusters use one VRID in one network",
    "They hear each other and disagree about the addresses: one of them gives its own up.",
    "another vrid for one of them",
)
OTHER_VRID = _error(
    "other-vrid",
    "the same addresses are advertised under two VRIDs",
    "Two directors that should be one virtual router do not understand each other: both are MASTER.",
    "the same vrid on both",
)
OTHER_VERSION = _error(
    "other-version",
    "the directors speak different VRRP versions",
    "Each drops the other's adverts: both are MASTER.",
    "the same version on both (keepalived: vrrp_version 3)",
)
OTHER_INTERVAL = _warning(
    "other-interval",
    "the directors' advert intervals differ",
    "Version 2 drops such adverts, and both are MASTER; version 3 takes over as slowly as the MASTER says.",
    "the same advert_interval on both",
)
OTHER_PASSWORD = _error(
    "other-password",
    "the directors' VRRP passwords or authentication types differ",
    "Each drops the other's adverts: both are MASTER.",
    "the same auth_type and password on both; VRRPv3 has none",
)
VRRP_TTL = _error(
    "vrrp-ttl",
    "adverts arrive with a TTL other than 255",
    "They came through a router, or something re-sends them: receivers drop them (RFC 9568 7.1).",
    "the directors in one network; no router or proxy between them",
)
MULTICAST_LOST = _error(
    "multicast-lost",
    "multicast does not get from one director to the other",
    "They reach each other by unicast, but adverts (and sync messages) are lost: typically a switch with"
    " IGMP snooping and no querier.",
    "a querier, or no snooping for the groups, in that network; or unicast_peers",
)
ADDRESS_CONFLICT = _error(
    "address-conflict",
    "two machines answer for the virtual address",
    "Clients go to whichever answered last.",
    "find the machine with the other MAC in the switch's table; remove the address there",
)
NO_VIP_HOLDER = _error(
    "no-vip-holder",
    "nobody has the virtual address",
    "ARP questions for it are not answered: no client gets in.",
    "is a director MASTER? `lvsha status` there; see firewall-drops and missing-interface",
)
GARP_NOT_TAKEN = _error(
    "garp-not-taken",
    "a neighbour still has the old MAC for the virtual address",
    "The announcement of the last takeover was not taken: its packets go to the old director.",
    "ip neigh flush to ADDRESS there; let it accept gratuitous ARP, or announce more often (garp)",
)

# --- the kernel ---------------------------------------------------------------------------------------

NO_IP_VS_MODULE = _error(
    "no-ip-vs-module",
    "the kernel has no ip_vs",
    "There is no balancing at all.",
    "modprobe ip_vs, and systemd/modules-load.d/lvsha.conf for every boot",
)
MODULE_MISSING = _error(
    "module-missing",
    "a kernel module that the configuration needs cannot be loaded",
    "A scheduler, persistence engine or tunnel is a module: without it the service is refused.",
    "install the distribution's full kernel (linux-modules-extra), then modprobe the module",
)
CONNTRACK_CLASH = _warning(
    "conntrack-clash",
    "connection tracking gets into balancing's way",
    "With net.ipv4.vs.conntrack = 1 each connection is also in netfilter's table, which is not"
    " synchronised: after a takeover rules call them invalid. A full table drops packets.",
    "net.ipv4.vs.conntrack=0 unless a rule needs it; a larger nf_conntrack_max",
)
TIMEOUTS_DIFFER = _warning(
    "timeouts-differ",
    "the directors keep idle connections for different times",
    "After a takeover idle connections end sooner (or never) on the other director.",
    "the same on all: [ipvs.timeouts] of lvsha.toml, or ipvsadm --set TCP TCPFIN UDP",
)
EXPIRE_NODEST_CONN = _warning(
    "expire-nodest-conn",
    "connections of a removed realserver are cut at once",
    "With expire_nodest_conn = 1 a failing check ends every connection of its realserver, and a standby"
    " whose own check flaps deletes what it was given.",
    "net.ipv4.vs.expire_nodest_conn=0, and set weight 0 instead of removing",
)
BACKUP_ONLY = _error(
    "backup-only",
    "a director that is active forwards nothing, because its backup daemon runs",
    "With backup_only = 1 the kernel leaves every packet alone while a backup daemon runs, and its own"
    " sockets answer with RST.",
    "net.ipv4.vs.backup_only=0",
)
OLD_KERNEL = _warning(
    "old-kernel",
    "this kernel has a known trap for this set-up",
    "Before Linux 6.14 reading /proc/net/ip_vs_conn takes quadratic time (200,000 connections: 38 s, and"
    " a processor); before 5.9 conn_reuse_mode 1 with conntrack delays re-used ports by a second.",
    "a newer kernel; until then do not poll `ipvsadm -Lc` or /proc/net/ip_vs_conn",
)

ALL: tuple[Kind, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Kind))
"""In the order above."""

BY_ID = {kind.id: kind for kind in ALL}
