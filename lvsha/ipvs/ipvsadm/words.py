"""The words of ipvsadm's command line: commands, options, and which goes with which.

Seen from ipvsadm 1.31 and its man page. The order of ``OPTIONS`` is the order in
which it looks for what does not fit, so it decides which of two complaints a
user reads.
"""

NONE, REQUIRED, OPTIONAL = 0, 1, 2
"""Whether a word of the command line takes an argument."""

COMMANDS: tuple[tuple[str, str, int], ...] = (
    ("add-service", "A", NONE),
    ("edit-service", "E", NONE),
    ("delete-service", "D", NONE),
    ("add-server", "a", NONE),
    ("edit-server", "e", NONE),
    ("delete-server", "d", NONE),
    ("clear", "C", NONE),
    ("list", "L", NONE),
    ("list", "l", NONE),
    ("zero", "Z", NONE),
    ("save", "S", NONE),
    ("restore", "R", NONE),
    ("set", "", NONE),
    ("start-daemon", "", REQUIRED),
    ("stop-daemon", "", REQUIRED),
    ("help", "h", NONE),
    ("version", "v", NONE),
)
"""Long name, short name, argument."""

ARGUMENTS: tuple[tuple[str, str, int], ...] = (
    ("tcp-service", "t", REQUIRED),
    ("udp-service", "u", REQUIRED),
    ("sctp-service", "", REQUIRED),
    ("fwmark-service", "f", REQUIRED),
    ("scheduler", "s", REQUIRED),
    ("persistent", "p", OPTIONAL),
    ("netmask", "M", REQUIRED),
    ("pe", "", REQUIRED),
    ("sched-flags", "b", REQUIRED),
    ("ops", "o", NONE),
    ("ipv6", "6", NONE),
    ("real-server", "r", REQUIRED),
    ("gatewaying", "g", NONE),
    ("ipip", "i", NONE),
    ("masquerading", "m", NONE),
    ("tun-type", "", REQUIRED),
    ("tun-port", "", REQUIRED),
    ("tun-nocsum", "", NONE),
    ("tun-csum", "", NONE),
    ("tun-remcsum", "", NONE),
    ("weight", "w", REQUIRED),
    ("u-threshold", "x", REQUIRED),
    ("l-threshold", "y", REQUIRED),
    ("connection", "c", NONE),
    ("timeout", "", NONE),
    ("daemon", "", NONE),
    ("stats", "", NONE),
    ("rate", "", NONE),
    ("thresholds", "", NONE),
    ("persistent-conn", "", NONE),
    ("tun-info", "", NONE),
    ("sort", "", NONE),
    ("nosort", "", NONE),
    ("exact", "", NONE),
    ("numeric", "n", NONE),
    ("syncid", "", REQUIRED),
    ("sync-maxlen", "", REQUIRED),
    ("mcast-interface", "", REQUIRED),
    ("mcast-group", "", REQUIRED),
    ("mcast-port", "", REQUIRED),
    ("mcast-ttl", "", REQUIRED),
)

IS_COMMAND = frozenset(name for name, _, _ in COMMANDS)
LONG = {name: takes for name, _, takes in (*COMMANDS, *ARGUMENTS)}
SHORT = {short: name for name, short, _ in (*COMMANDS, *ARGUMENTS) if short}

MEANS = {
    "tcp-service": "service-address",
    "udp-service": "service-address",
    "sctp-service": "service-address",
    "fwmark-service": "service-address",
    "gatewaying": "forwarding-method",
    "ipip": "forwarding-method",
    "masquerading": "forwarding-method",
}
"""Several words that say one thing: only one of them may be said."""

OPTIONS = (
    "numeric",
    "connection",
    "service-address",
    "scheduler",
    "persistent",
    "netmask",
    "real-server",
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "mcast-interface",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "ops",
    "pe",
    "sched-flags",
    "mcast-group",
    "mcast-port",
    "mcast-ttl",
    "sync-maxlen",
    "tun-info",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
)

_SERVICE = frozenset({"scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"})
_TUNNEL = frozenset({"tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"})
_SERVER = frozenset({"forwarding-method", "weight", "u-threshold", "l-threshold"}) | _TUNNEL
_ADDRESS = frozenset({"service-address"})
_BOTH = frozenset({"service-address", "real-server"})
_SYNC = frozenset({"mcast-interface", "syncid", "sync-maxlen", "mcast-group", "mcast-port", "mcast-ttl"})
_NOTHING: frozenset[str] = frozenset()

EITHER = ("connection", "service-address", "timeout", "daemon")
"""What a list can be of: one of them."""
_LIST = frozenset(
    {
        *EITHER,
        *(
            "numeric",
            "stats",
            "rate",
            "thresholds",
            "persistent-conn",
            "nosort",
            "syncid",
            "exact",
            "tun-info",
        ),
    }
)

CALLED = {"clear": "flush"}
"""What a complaint calls a command, where that is not its long name."""

LEGAL: dict[str, tuple[frozenset[str], frozenset[str], tuple[str, ...]]] = {
    "add-service": (_ADDRESS, _SERVICE, ()),
    "edit-service": (_ADDRESS, _SERVICE, ()),
    "delete-service": (_ADDRESS, _NOTHING, ()),
    "add-server": (_BOTH, _SERVER, ()),
    "edit-server": (_BOTH, _SERVER, ()),
    "delete-server": (_BOTH, _NOTHING, ()),
    "clear": (_NOTHING, _NOTHING, ()),
    "list": (_NOTHING, _LIST, EITHER),
    "zero": (_NOTHING, _ADDRESS, ()),
    "save": (_NOTHING, frozenset({"numeric"}), ()),
    "restore": (_NOTHING, _NOTHING, ()),
    "set": (_NOTHING, _NOTHING, ()),
    "start-daemon": (_NOTHING, _SYNC, ()),
    "stop-daemon": (_NOTHING, frozenset({"syncid"}), ()),
}
"""What a command must have, what it may have, and of which it may have one only."""

TUNNEL_OPTIONS = ("tun-port", "tun-nocsum", "tun-csum", "tun-remcsum")
_SUMS = ("tun-nocsum", "tun-csum", "tun-remcsum")
TUNNEL_LEGAL: dict[str, tuple[frozenset[str], frozenset[str], tuple[str, ...]]] = {
    "ipip": (_NOTHING, _NOTHING, ()),
    "gue": (frozenset({"tun-port"}), frozenset(_SUMS), _SUMS),
    "gre": (_NOTHING, frozenset({"tun-nocsum", "tun-csum"}), _SUMS),
}
"""The same for the types of tunnel."""

TUNNEL_TYPES = {"ipip": 0, "gue": 1, "gre": 2}
TUNNEL_SUMS = {"tun-nocsum": 0, "tun-csum": 1, "tun-remcsum": 2}
METHODS = {"masquerading": 0, "ipip": 2, "gatewaying": 3}

FLAGS: dict[str, tuple[int, str]] = {
    "flag-1": (0x08, ""),
    "flag-2": (0x10, ""),
    "flag-3": (0x20, ""),
    "sh-fallback": (0x08, "sh"),
    "sh-port": (0x10, "sh"),
    "mh-fallback": (0x08, "mh"),
    "mh-port": (0x10, "mh"),
}
"""A scheduler flag's bit, and whose it is; nobody's goes with all."""

DEFAULT_SCHEDULER = "wlc"
DEFAULT_PERSISTENCE_S = 360
"""What ``-p`` alone means. The man page says 300."""
LONGEST_TIMEOUT_S = 31 * 86_400
"""Of ``-p`` and ``--set``."""
LARGEST = 2**31 - 1
"""Weight and thresholds. (The man page says 65,535 for thresholds.)"""
LARGEST_MAXLEN = 65_535 - 20 - 8
