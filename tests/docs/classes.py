"""Which commands of the documentation are run where, and why some are not.

A block of ``sh`` or ``console`` that no list names is run on this machine, in a folder of its page
(``test_commands.py``). Each is known by its page and the first line that is no comment. All of them, and
the commands between backquotes in the text, are shown to the command's own parsers.
"""

from collections.abc import Mapping

GUEST = "in a guest, beside a running pair: tests/kernel/test_documented_commands.py"

_LAB = "starts a guest of its own, for minutes; lvsha.lab has tests, and `./run demo` is such a command"
_TUTORIAL = "in a guest: tests/kernel/test_tutorials.py runs the same script"
_BENCH = "a benchmark of minutes; it made the page that it stands on"
_SSH = "needs other machines by ssh; tests/kernel/test_doctor_by_ssh.py asks several"
_INSTALL = "changes the machine that it runs on; tests/package installs the same into a clean root"
_REALSERVERS = "asks machines of the reader; tests/cli/test_check.py asks servers of its own"
_CAPTURE = "listens on this machine's interfaces until Ctrl-C; tests/kernel/test_trace_live.py does it"
_PAIR = "asks a pair with a file of the reader; tests/kernel/test_pair.py tries, confirms and rolls back"
_SYNC = "listens to a sync network until it is ended; tests/kernel/test_sync_live.py does it"

CLASSES: Mapping[str, Mapping[str, str]] = {
    "README.md": {"./run demo": "what runs this test is `./run test`; the demo takes half a minute"},
    "docs/decisions/0002-one-shell-script-and-pip.md": {
        "uv pip compile": "a developer's, with an index; tests/test_layout.py compares what comes out"
    },
    "docs/failures/direct-route-to-client.md": {"ip route add": GUEST},
    "docs/failures/firewall-drops.md": {
        "nft insert": "the kernel of the lab has no nftables of the family inet"
    },
    "docs/failures/icmp-redirects.md": {"sysctl -w": GUEST},
    "docs/failures/no-ip-forward.md": {"sysctl -w": GUEST},
    "docs/failures/realserver-answers-arp.md": {"sysctl -w": GUEST},
    "docs/how-to/check-a-configuration.md": {"$ lvsha config diff": GUEST},
    "docs/how-to/check-a-realserver.md": {"lvsha check run": _REALSERVERS},
    "docs/how-to/check-through-the-path.md": {"lvsha check run": _REALSERVERS},
    "docs/how-to/convert-a-configuration.md": {
        "lvsha config convert /etc": GUEST,
        "lvsha config convert --to": GUEST,
    },
    "docs/how-to/convert-from-keepalived.md": {
        "lvsha config convert --to": GUEST,
        "lvsha agent": "runs until it is ended; tests/kernel/test_import_behaviour.py runs such files",
        "for f in": "needs keepalived's samples; tests/config/importers/test_keepalived_samples.py has them",
    },
    "docs/how-to/convert-from-lvs-conf.md": {"lvsha realserver plan": GUEST},
    "docs/how-to/change-both-directors.md": {
        "lvsha config push new.toml --plan": _PAIR,
        "lvsha config push new.toml --confirm-within 5m": _PAIR,
        "lvsha config confirm": _PAIR,
        "lvsha config rollback": _PAIR,
    },
    "docs/how-to/dashboard.md": {"ssh -N": _SSH},
    "docs/how-to/drain-a-realserver.md": {
        'lvsha drain 10.0.0.11 --deadline 10m --reason "new disk" --wait': GUEST,
        'lvsha drain 10.0.0.11 --deadline 10m --reason "new disk" --url': _SSH,
        "lvsha undrain": GUEST,
    },
    "docs/how-to/find-what-is-wrong.md": {"lvsha doctor --host": _SSH},
    "docs/how-to/get-alerts.md": {"lvsha reload": GUEST},
    "docs/how-to/install.md": {
        "apt-get install ./dist": _INSTALL,
        "apt-get install python3": _INSTALL,
        "python3 -m venv": _INSTALL,
        "cp systemd/": _INSTALL,
        "cp lvsha.toml": _INSTALL,
        "systemctl enable": _INSTALL,
        "PYTHONPATH=. .venv/bin/python tests/package": "boots a machine of its own, for minutes",
    },
    "docs/how-to/upgrade.md": {
        "apt-get install ./dist": _INSTALL,
        "systemctl reload": "under systemd; tests/package/systemd_boot.py upgrades a MASTER by it",
        "journalctl": "under systemd; tests/package/systemd_boot.py reads the same lines",
    },
    "docs/how-to/is-my-sync-working.md": {
        "lvsha sync watch": _SYNC,
        "ssh standby": _SSH,
        "tcpdump": _CAPTURE,
        "lvsha sync stats": _SYNC,
    },
    "docs/how-to/lab-look-around.md": {"lvsha lab": _LAB},
    "docs/how-to/lab-measure.md": {"lvsha lab": _LAB},
    "docs/how-to/measure-a-flood.md": {"lvsha lab": _LAB},
    "docs/how-to/prepare-a-realserver.md": {
        "lvsha realserver plan lvsha.toml": GUEST,
        "lvsha realserver plan --role director": GUEST,
        "lvsha realserver check --role director": "stands on three machines; tests/kernel/test_realserver.py",
    },
    "docs/how-to/replace-ipvsadm.md": {
        "ln -s": _INSTALL,
        "lvsha ipvs -Sn": GUEST,
        "sed -i": GUEST,
        "lvsha ipvs diff": GUEST,
        "lvsha ipvs -Lnc": GUEST,
    },
    "docs/how-to/secure-the-api.md": {
        "adduser": _INSTALL,
        "LVSHA_TOKEN=": "asks another machine; tests/api/test_access.py asks over TLS with tokens",
    },
    "docs/how-to/trace-a-connection.md": {"tcpdump": _CAPTURE, "lvsha trace live": _CAPTURE},
    "docs/reference/api.md": {"curl --unix": GUEST},
    "docs/reference/benchmarks-no-loss.md": {".venv/bin/python tests/bench": _BENCH, "lvsha lab": _LAB},
    "docs/reference/benchmarks-sync.md": {".venv/bin/python tests/bench": _BENCH},
    "docs/reference/benchmarks.md": {".venv/bin/python tests/bench": _BENCH, "lvsha lab": _LAB},
    "docs/reference/doctor.md": {
        "lvsha doctor": _SSH,
        ".venv/bin/python tests/bench": _BENCH,
        "lvsha lab": _LAB,
    },
    "docs/reference/ipvs.md": {"lvsha lab": _LAB},
    "docs/reference/lab.md": {"lvsha lab": _LAB},
    "docs/tutorials/dr-from-nothing.md": {
        "mkdir -p build/tutorial": _TUTORIAL,
        "sysctl -q -w": "what `lvsha realserver plan` prints; tests/kernel/test_realserver.py applies it",
    },
    "docs/tutorials/from-keepalived.md": {
        "lvsha config convert --to": GUEST,
        "systemctl stop keepalived": "moves a pair under systemd; install.md says where it was tried",
    },
    "docs/tutorials/nat-on-one-network.md": {
        "mkdir -p build/tutorial": _TUTORIAL,
        ".venv/bin/lvsha lab": _TUTORIAL,
    },
}
"""Page, the beginning of a block's first line, where it is run or why it is not."""


def class_of(page: str, first: str) -> str | None:
    """None: it is run on this machine."""
    for beginning, reason in CLASSES.get(page, {}).items():
        if first.startswith(beginning):
            return reason
    return None
