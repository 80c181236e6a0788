"""The kernel's settings of IPVS, ``net.ipv4.vs.*``: what each does, and what we would set.

``[ipvs.sysctl]`` of the configuration sets them; its ranges are in ``lvsha.config.schema``.
Sources: Documentation/networking/ipvs-sysctl.rst of Linux 6.1, and measurements on
that kernel (docs/reference/ipvs.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting."""

    name: str
    default: str
    """The kernel's; empty: it depends on the machine."""
    does: str
    advice: str = ""
    """The value that we would set; empty: leave it."""
    why: str = ""


def _setting(name: str, default: str, does: str, advice: str = "", why: str = "") -> Setting:
    return Setting(name=name, default=default, does=does, advice=advice, why=why)


SETTINGS: tuple[Setting, ...] = (
    _setting(
        "am_droprate",
        "10",
        "With drop_packet = 3: one packet of so many is dropped.",
    ),
    _setting(
        "amemthresh",
        "1024",
        "Free pages (4 KiB) below which the automatic defences (mode 1) go to mode 2.",
        why="Better 1 % of the pages: 1,024 of them are gone before anybody defends.",
    ),
    _setting(
        "backup_only",
        "0",
        "A director whose backup daemon runs forwards nothing.",
        "0",
        "Both daemons run always: with 1 this director would hand packets to its own sockets, which reset.",
    ),
    _setting("cache_bypass", "0", "Sends what has no realserver to where it was addressed: for web caches."),
    _setting(
        "conn_reuse_mode",
        "1",
        "What a new connection from a port that was used before does: 0 goes to the old realserver, "
        "1 is scheduled anew, 2 counts FIN_WAIT as used as well.",
        "1",
        "With 0 a client behind NAT meets a dead realserver again; 3 helps DR with heavy port reuse.",
    ),
    _setting(
        "conntrack",
        "0",
        "Keeps netfilter's connection tracking for balanced connections.",
        "0",
        "It is not synchronised, so it breaks a takeover; it also costs a second table.",
    ),
    _setting(
        "drop_entry",
        "0",
        "Defence: drops random entries of half-open connections. 0 never, 1 when memory is short (it "
        "becomes 2), 3 always.",
        "1",
        "Costs nothing until memory is short, and keeps a SYN flood from filling it.",
    ),
    _setting(
        "drop_packet",
        "0",
        "Defence: drops one packet of so many before it is balanced. Modes as drop_entry.",
        why="It drops good packets as well: drop_entry and secure_tcp first.",
    ),
    _setting("est_cpulist", "", "On which processors counters are estimated (Linux 6.2)."),
    _setting("est_nice", "0", "How nice the estimator's threads are (Linux 6.2)."),
    _setting(
        "expire_nodest_conn",
        "0",
        "Ends a connection whose realserver was removed with its next packet; else its packets are dropped "
        "until the realserver returns or the entry expires.",
        "0",
        "With 1 a standby whose own check flaps deletes the connections that it was given.",
    ),
    _setting(
        "expire_quiescent_template",
        "0",
        "A persistent client whose realserver has weight 0 is scheduled anew.",
        "1",
        "Draining a realserver of a persistent service never ends otherwise.",
    ),
    _setting(
        "ignore_tunneled",
        "0",
        "Leaves packets alone that came out of a tunnel.",
        "",
        "1 on a director that is also a tunnel's realserver: else packets go round.",
    ),
    _setting("nat_icmp_send", "0", "Tells NAT realservers with ICMP that a connection is gone."),
    _setting(
        "pmtu_disc",
        "1",
        "Honours path MTU discovery of what it tunnels.",
        why="0 where ICMP is filtered and tunnelled packets vanish.",
    ),
    _setting(
        "run_estimation",
        "1",
        "Estimates rates every 2 s (Linux 5.16).",
        why="0 with tens of thousands of services, if nobody reads their rates.",
    ),
    _setting("schedule_icmp", "0", "Balances ICMP that belongs to no known connection."),
    _setting(
        "secure_tcp",
        "0",
        "Defence: other TCP states with shorter time-outs, and no entry before a handshake is complete. "
        "Modes as drop_entry.",
        why="It changes which states are synchronised: the same on all directors, or leave it.",
    ),
    _setting("sloppy_sctp", "0", "Accepts SCTP connections that it did not see begin."),
    _setting(
        "sloppy_tcp",
        "0",
        "Accepts TCP connections that it did not see begin.",
        why="1 with sh, mh or persistence: what synchronisation missed then still reaches its realserver.",
    ),
    _setting("snat_reroute", "1", "Routes answers of NAT realservers again by their new source address."),
    _setting(
        "sync_persist_mode",
        "0",
        "1 synchronises only templates of persistent clients.",
        "0",
        "Their connections would die at a takeover.",
    ),
    _setting(
        "sync_ports",
        "1",
        "Threads and UDP ports of synchronisation, a power of two. Read when the first daemon starts.",
        "1",
        "Of several threads the last part-filled messages cannot be pushed out at once.",
    ),
    _setting("sync_qlen_max", "", "Messages that may wait to be sent; more are dropped without a word."),
    _setting(
        "sync_refresh_period",
        "0",
        "Seconds after which a connection is told again while it has traffic.",
        "10",
        "With sync_threshold 0 0 every connection is told at its handshake and then every 10 s.",
    ),
    _setting(
        "sync_retries",
        "0",
        "How often a message is repeated within a refresh period.",
        why="1 or 2 where the wire between the directors loses packets.",
    ),
    _setting(
        "sync_sock_size",
        "0",
        "Bytes of the daemons' socket buffers; 0: the system's default.",
        "8388608",
        "The default holds 92 messages, and the kernel says nothing of more. net.core.rmem_max limits it.",
    ),
    _setting(
        "sync_threshold",
        "3 50",
        "After how many packets, and then every how many, a connection is told.",
        "0 0",
        "With 3 50 a connection that is silent after its handshake is never told, and dies at a takeover.",
    ),
    _setting(
        "sync_version",
        "1",
        "The format of messages.",
        "1",
        "0 carries no IPv6, no firewall marks and no time-outs.",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
