"""keepalived and ``lvsha agent`` run the same keepalived.conf: same IPVS table, same addresses.

Configurations of our own, for what samples lack, and the virtual servers of keepalived's samples.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.ipvs_netns import fresh_netns, saved

pytestmark = [pytest.mark.kernel, pytest.mark.interop]

LINKS = (
    "link add eth0 type veth peer name cable",
    "link set eth0 up",
    "link set cable up",
    "address add 192.168.200.254/24 dev eth0",
    "address add fd00:200::254/64 dev eth0 nodad",
)

OWNER = """
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 255
    virtual_ipaddress { 192.168.200.10/24
        192.168.200.11/24
        192.168.200.12
    }
    virtual_routes { 192.168.7.0/24 via 192.168.200.253 dev eth0
        192.168.8.0/24 src 192.168.200.10 dev eth0 table 9
    }
    virtual_rules { from 192.168.9.0/24 table 9
        fwmark 5 table 9 preference 77
    }
    notify_master "/usr/bin/touch FOLDER/master"
}
"""
"""Priority 255: MASTER at once, in both programs."""

BACKUP_IS_DOWN = "-a -t 192.168.200.10:1010 -r 192.168.200.22:1010 -g -w 0"
"""The last thing to happen: the check that fails has failed."""

NUDGE = "127.84.0.1"
"""lvsha's own private service (``sync.nudge``)."""

CONFIGS = {
    "dr": """
virtual_server 192.168.200.10 1001 {
    lb_algo wrr
    lb_kind DR
    protocol TCP
    real_server 192.168.200.21 1001 { weight 3 }
    real_server 192.168.200.22 1001 { weight 1 }
}
""",
    "nat-ports": """
virtual_server 192.168.200.10 1002 {
    lvs_sched rr
    protocol TCP
    persistence_timeout 50
    real_server 192.168.200.21 8443 { weight 1 }
    real_server 192.168.200.22 9443 { weight 0 }
}
""",
    "tunnel": """
virtual_server 192.168.200.10 1003 {
    lvs_sched wlc
    lvs_method TUN
    protocol TCP
    real_server 10.1.0.21 1003 { weight 1 }
    real_server 10.2.0.21 1003 { lvs_method TUN type gue port 6080
        weight 2 }
}
""",
    "udp-ops": """
virtual_server 192.168.200.11 1004 {
    lvs_sched rr
    ops
    protocol UDP
    real_server 192.168.200.21 1004 { weight 1
        uthreshold 100
        lthreshold 50
    }
}
""",
    "persistence-netmask": """
virtual_server 192.168.200.10 1005 {
    lvs_sched sed
    lvs_method DR
    persistence_timeout
    persistence_granularity 255.255.255.0
    protocol TCP
    real_server 192.168.200.21 1005 { weight 5 }
}
""",
    "fwmark": """
virtual_server fwmark 1006 {
    lvs_sched lc
    lvs_method DR
    persistence_timeout 300
    real_server 192.168.200.21 { weight 1 }
    real_server 192.168.200.22 { weight 1 }
}
""",
    "group": """
virtual_server_group G {
    192.168.200.10 1007
    192.168.200.30-32 1007
    fwmark 1007
}
virtual_server group G {
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    real_server 192.168.200.21 8080 { weight 1 }
}
""",
    "ipv6": """
virtual_server fd00:200::10 1008 {
    lvs_sched nq
    lvs_method DR
    protocol TCP
    real_server fd00:200::21 1008 { weight 1 }
    real_server fd00:200::22 1008 { weight 2 }
}
""",
    "language": """
$KIND=DR
$RS= \\
real_server 192.168.200.${N} 1009 { \\
    weight ${N} \\
}
virtual_server 192.168.200.10 1009 { # the whole language
    lb_algo rr
    @^nobody lb_kind $KIND
    @nobody lb_kind NAT
    protocol TCP
    $N=21
    $RS
    ~SEQ(M, 23, 25) real_server 192.168.200.${M} 1009 { weight 9 }
}
""",
    "misc-check": """
virtual_server 192.168.200.10 1010 {
    lvs_sched wlc
    lvs_method DR
    protocol TCP
    delay_loop 1
    inhibit_on_failure
    real_server 192.168.200.21 1010 {
        weight 4
        MISC_CHECK { misc_path "/bin/true" }
    }
    real_server 192.168.200.22 1010 {
        weight 4
        MISC_CHECK { misc_path "/bin/false" }
    }
}
""",
}


SAMPLES = Path("/usr/share/doc/keepalived/samples")
_BLOCK = re.compile(r"^virtual_server (?!group)([^{]*)\{", re.MULTILINE)
_CHECKER = re.compile(r"\b[A-Z]+_(GET|CHECK)\s*\{")


def block_at(text: str, start: int) -> int:
    """Where the block ends that opens at or after ``start``."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if text[at] == "}" and depth == 0:
            return at + 1
    raise AssertionError(text[start : start + 80])


def shipped() -> Iterator[tuple[str, str]]:
    """Each virtual server of keepalived's own samples: its name, what stands behind, and its block.

    Without their checkers, for their realservers are not here.
    """
    for path in sorted(SAMPLES.glob("keepalived.conf.*")):
        text = re.sub(r"(?m)[#!].*$", "", path.read_text())
        for found in _BLOCK.finditer(text):
            body = text[found.end() - 1 : block_at(text, found.start())]
            while checker := _CHECKER.search(body):
                body = body[: checker.start()] + body[block_at(body, checker.start()) :]
            yield f"sample{path.suffix} {found[1].strip()}", body


def with_samples(configs: dict[str, str]) -> dict[str, str]:
    """Each with a port or mark of its own: several samples have the same virtual server."""
    found = {}
    for number, (name, body) in enumerate(shipped(), 2001):
        target = name.split()[1]
        found[name] = f"virtual_server {target} {number} {body}\n"
    return configs | found


CONFIGS = with_samples(CONFIGS)


def addresses() -> list[str]:
    shown = subprocess.run(
        ["ip", "-br", "address", "show", "dev", "eth0"], capture_output=True, text=True, check=True
    )
    return sorted(word for word in shown.stdout.split()[2:] if not word.startswith("fe80"))


def moved() -> list[str]:
    """Routes and rules without who made them, and without the scope that lvsha gives as ip does."""
    lines = []
    for command in (["ip", "-o", "route", "show", "table", "all"], ["ip", "rule", "show"]):
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines += [
            " ".join(re.sub(r"proto \S+|scope link", "", line).split())
            for line in shown.splitlines()
            if re.search(r"192\.168\.[789]\.0/24|fwmark", line)
        ]
    return sorted(lines)


MARKS = {
    name: re.search(r"\b(?:1|2)0\d\d\b(?!\.)", text)[0]  # type: ignore[index]  # each has one
    for name, text in CONFIGS.items()
}
"""The port or firewall mark of each."""


@contextmanager
def running(argv: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def settled(look: Callable[[], list[str]], is_done: Callable[[list[str]], bool]) -> list[str]:
    """What is seen once it is as it should be, or after a minute: a loaded guest is slow."""
    deadline = time.monotonic() + 60
    while not is_done(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return seen


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Rules and addresses of both programs, all configurations in one file."""
    folder = tmp_path_factory.mktemp("import")
    file = folder / "keepalived.conf"
    file.write_text(OWNER.replace("FOLDER", str(folder)) + "".join(CONFIGS.values()))
    told = folder / "master"
    keepalived = ["keepalived", "-n", "-l", "-D", "-f", str(file)]
    for option, pid in (("-p", "main"), ("-r", "vrrp"), ("-c", "checkers")):
        keepalived += [option, str(folder / f"{pid}.pid")]
    agent = [str(Path(sys.executable).with_name("lvsha")), "agent", "-f", str(file)]
    agent += ["--run-dir", str(folder / "run")]
    found = {}
    with fresh_netns(LINKS):

        def look() -> list[str]:
            return [rule for rule in saved() if NUDGE not in rule] + addresses() + moved()

        before = look()
        with running(keepalived, folder / "keepalived.log"):
            found["keepalived"] = settled(look, lambda seen: BACKUP_IS_DOWN in seen and len(addresses()) > 3)
            found["told by keepalived"] = [str(told.exists())]
            told.unlink(missing_ok=True)
        settled(look, lambda seen: seen == before)
        with running(agent, folder / "lvsha.log"):
            found["lvsha"] = settled(look, lambda seen: seen == found["keepalived"])
            settled(lambda: [str(told.exists())], lambda seen: seen == ["True"])
            found["told by lvsha"] = [str(told.exists())]
        found["log"] = (folder / "lvsha.log").read_text().splitlines()
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_rules(name: str, tables: dict[str, list[str]]) -> None:
    ours, theirs = (
        [
            rule
            for rule in tables[who]
            if rule.startswith("-") and MARKS[name] in rule.split()[2].rpartition(":")
        ]
        for who in ("lvsha", "keepalived")
    )

    assert ours == theirs
    assert len(theirs) >= 2


@pytest.mark.skipif(not SAMPLES.exists(), reason="keepalived's samples are not installed")
def test_eight_of_the_shipped_samples_are_among_them() -> None:
    assert len({name.split()[0] for name in CONFIGS if name.startswith("sample")}) >= 8


def test_the_same_whole_table_and_addresses(tables: dict[str, list[str]]) -> None:
    assert tables["lvsha"] == tables["keepalived"], "\n".join(tables["log"])
    assert "192.168.200.12/32" in tables["lvsha"]


def test_the_same_routes_and_rules_move(tables: dict[str, list[str]]) -> None:
    assert [line for line in tables["lvsha"] if "192.168.7.0" in line]
    assert [line for line in tables["lvsha"] if line.startswith("77:")]
    assert [line for line in tables["lvsha"] if line.startswith("16384:")]


def test_the_same_script_runs(tables: dict[str, list[str]]) -> None:
    assert tables["told by lvsha"] == tables["told by keepalived"] == ["True"]
