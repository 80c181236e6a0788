"""Checks through the forwarding path: the virtual address, steered to one realserver by a firewall mark."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, create_server

import pytest

from lvsha.config.path_slots import FIRST_MARK, FIRST_PORT, PORTS_EACH, SLOTS
from lvsha.core.addr import endpoint_text
from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.lab.topology import PORT
from tests.kernel.director_rig import Rig, running_pair

pytestmark = pytest.mark.kernel

VIP = "10.0.0.10"


@pytest.fixture
def hosts() -> Iterator[dict[str, Namespace]]:
    names = {"lb1": "10.0.0.1/24", "rs1": "10.0.0.11/24"}
    spaces = {name: Namespace(f"path-{name}") for name in names}
    with ExitStack() as stack:
        for space in spaces.values():
            ip_batch([f"netns add {space.name}"])
            stack.callback(ip_batch, [f"netns del {space.name}"])
        spaces["lb1"].batch([f"link add eth0 type veth peer name eth0 netns {spaces['rs1'].name}"])
        for name, space in spaces.items():
            space.batch(["link set lo up", "link set eth0 up", f"address add {names[name]} dev eth0"])
        for key in ("all", "eth0"):
            with spaces["rs1"].entered():
                Path(f"/proc/sys/net/ipv4/conf/{key}/arp_ignore").write_text("1")
                Path(f"/proc/sys/net/ipv4/conf/{key}/arp_announce").write_text("2")
                Path(f"/proc/sys/net/ipv4/conf/{key}/rp_filter").write_text("0")
            with spaces["lb1"].entered():
                Path(f"/proc/sys/net/ipv4/conf/{key}/rp_filter").write_text("0")
        yield spaces
        with spaces["lb1"].entered():
            subprocess.run(["ipvsadm", "-C"], check=False)


def ask(space: Namespace, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("lvsha")), "check", "run", *words, "--json"]
    with space.entered():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return str(json.loads(done.stdout)["reason"])


CASES = (
    # method, the director holds the address, accept_local, the realserver has the address, what is found
    ("dr", False, 0, True, "ok"),
    ("dr", False, 0, False, "timeout"),
    ("dr", True, 0, True, "timeout"),  # the answer comes from an address of our own: dropped as a martian
    ("dr", True, 1, True, "ok"),
    ("dr", True, 1, False, "timeout"),
    ("tun", True, 1, True, "ok"),
    ("tun", True, 1, False, "timeout"),
    ("no tunnel", True, 1, True, "refused"),  # ICMP: it knows no such protocol
    ("nat", True, 0, False, "ok"),  # the realserver needs no address: its answers come back by the director
)
FLAGS = {"dr": "-g", "tun": "-i", "no tunnel": "-i", "nat": "-m"}


def test_a_realserver_that_cannot_be_reached_by_its_path_is_seen(hosts: dict[str, Namespace]) -> None:
    lb1, rs1 = hosts["lb1"], hosts["rs1"]
    found = []
    # A port for each case: a connection that the kernel still remembers would take its packets the old way.
    for port, (method, is_master, accept_local, has_address, _) in enumerate(CASES, 8001):
        with ExitStack() as stack:
            where = f"10.0.0.11:{port}" if method == "nat" else "10.0.0.11"
            with lb1.entered():
                for words in ("-C", "-A -f 101 -s rr", f"-a -f 101 -r {where} {FLAGS[method]}"):
                    subprocess.run(["ipvsadm", *words.split()], check=True)
                for key in ("all", "eth0"):
                    Path(f"/proc/sys/net/ipv4/conf/{key}/accept_local").write_text(str(accept_local))
            if method == "tun":
                rs1.batch(["link add t0 type ipip local any remote any", "link set t0 up"])
                stack.callback(rs1.batch, ["link del t0"])
                with rs1.entered():
                    Path("/proc/sys/net/ipv4/conf/t0/rp_filter").write_text("0")
            if has_address:
                rs1.batch([f"address add {VIP}/32 dev lo"])
                stack.callback(rs1.batch, [f"address del {VIP}/32 dev lo"])
            if is_master:
                lb1.batch([f"address add {VIP}/32 dev eth0"])
                stack.callback(lb1.batch, [f"address del {VIP}/32 dev eth0"])
            with rs1.entered():
                server = stack.enter_context(create_server(("0.0.0.0", port)))
            assert server is not None
            said = ask(lb1, f"tcp://{VIP}:{port}", "fwmark=101", 'bind_address="10.0.0.1"', "timeout=400ms")
            found.append((method, is_master, accept_local, has_address, said))

    assert found == list(CASES)


METHODS = ("dr", "tun", "nat")
FAMILIES = {
    # virtual address, its director's, its realserver's; where a tunnel of the family ends
    4: ("10.0.0.10", "10.0.0.1", "10.0.0.11", "ipip"),
    6: ("fd00::10", "fd00::1", "fd00::11", "ip6tnl mode any"),
}
PLACES = {(method, family): 8101 + 10 * family + n for n, method in enumerate(METHODS) for family in FAMILIES}
"""Each has a virtual port of its own; with NAT the realserver's is another one."""
BEHIND_NAT = 1000

ONE_DIRECTOR = """
[directors]
lb1 = { address = "10.0.0.1" }
[defaults.check]
type = "tcp"
through = "path"
interval = "500ms"
timeout = "400ms"
fall = 2
"""


def service_text(method: str, family: int) -> str:
    virtual, source, real, _ = FAMILIES[family]
    port = PLACES[method, family]
    there = port + BEHIND_NAT * (method == "nat")
    return (
        f'[[service]]\naddress = "{endpoint_text(ip_address(virtual), port)}"\nmethod = "{method}"\n'
        f'check = {{ bind_address = "{source}" }}\n'
        f'realservers = ["{endpoint_text(ip_address(real), there)}"]\n'
    )


def found_up(run_dir: Path) -> set[tuple[str, int]] | None:
    """The places whose checks are up; None: nobody answers, or somebody is not proven yet."""
    command = [str(Path(sys.executable).with_name("lvsha")), "status", "--checks", "--json"]
    done = subprocess.run([*command, "--run-dir", str(run_dir)], capture_output=True, text=True, check=False)
    try:
        checks = json.loads(done.stdout)["checks"]
    except (ValueError, KeyError):
        return None
    if len(checks) != len(PLACES) or any(each["state"] not in ("up", "down") for each in checks):
        return None
    words = " ".join(place for each in checks if each["state"] == "up" for place in each["followers"])
    return {place for place, port in PLACES.items() if f":{port}/" in words}


def until(run_dir: Path, wanted: set[tuple[str, int]], log: Path) -> None:
    seen: set[tuple[str, int]] | None = None
    end = time.monotonic() + 60
    while (seen := found_up(run_dir)) != wanted and time.monotonic() < end:
        time.sleep(0.2)
    assert seen == wanted, log.read_text()[-3000:]


@pytest.mark.timeout(300)
def test_each_method_is_checked_by_key_for_both_families(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    """By who has the addresses itself, as a MASTER; each way breaks alone and is found alone."""
    lb1, rs1 = hosts["lb1"], hosts["rs1"]
    everything = set(PLACES)
    for space, end in ((lb1, "1"), (rs1, "11")):
        space.batch(
            [f"address add fd00::{end}/64 dev eth0 nodad", f"address add fe80::{end}/64 dev eth0 nodad"]
        )
    # Deprecated, as lvsha binds it: it must not become the source of a tunnel's packets.
    lb1.batch([f"address add {VIP}/32 dev eth0", "address add fd00::10/128 dev eth0 nodad preferred_lft 0"])
    tunnels = [f"t{family}" for family in FAMILIES]
    for family, (_, _, _, kind) in FAMILIES.items():
        rs1.batch([f"link add t{family} type {kind} local any remote any", f"link set t{family} up"])
    with rs1.entered():
        for name in ("t4", "default"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    held = [
        f"address {{}} {FAMILIES[family][0]}/{length} dev lo{nodad}"
        for family, length, nodad in ((4, 32, ""), (6, 128, " nodad"))
    ]
    rs1.batch([line.format("add") for line in held])
    file, run_dir, log = tmp_path / "lvsha.toml", tmp_path / "run", tmp_path / "log"
    file.write_text(ONE_DIRECTOR + "".join(service_text(*place) for place in PLACES))
    with ExitStack() as stack:
        behind_nat = stack.enter_context(ExitStack())
        with rs1.entered():
            for (method, family), port in PLACES.items():
                there = ("0.0.0.0", port) if family == 4 else ("::", port)
                keeper = stack
                if method == "nat":
                    there, keeper = (there[0], port + BEHIND_NAT), behind_nat
                inet = AF_INET if family == 4 else AF_INET6
                keeper.enter_context(create_server(there, family=inet))
        agent = [str(Path(sys.executable).with_name("lvsha")), "agent", "-f", str(file), "--node", "lb1"]
        with lb1.entered(), log.open("wb") as output:
            process = subprocess.Popen([*agent, "--run-dir", str(run_dir)], stdout=output, stderr=output)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        until(run_dir, everything, log)

        # Without the address on the realserver.
        rs1.batch([line.format("del").replace(" nodad", "") for line in held])
        until(run_dir, {place for place in everything if place[0] == "nat"}, log)
        rs1.batch([line.format("add") for line in held])
        until(run_dir, everything, log)

        # With tunnels that end nowhere.
        rs1.batch([f"link set {name} down" for name in tunnels])
        until(run_dir, {place for place in everything if place[0] != "tun"}, log)
        rs1.batch([f"link set {name} up" for name in tunnels])

        # Behind NAT nobody listens any more.
        behind_nat.close()
        until(run_dir, {place for place in everything if place[0] != "nat"}, log)


def through_path(text: str) -> str:
    assert 'type = "tcp", ' in text
    return text.replace('type = "tcp", ', 'type = "tcp", through = "path", ')


def are_up(rig: Rig, node: str, wanted: set[str]) -> Callable[[], bool]:
    """Whether these are the realservers that a director's checks find up."""

    def ask() -> bool:
        checks = json.loads(rig.command("status", "--checks", "--json", node=node))["checks"]
        followers = [each["followers"] for each in checks if each["state"] == "up"]
        return {place.rpartition("/")[2] for places in followers for place in places} == wanted

    return ask


def marked_services(rig: Rig, node: str) -> int:
    with rig.namespace(node).entered():
        return sum(line.startswith("FWM") for line in run(["ipvsadm", "-Ln"]).splitlines())


def accepts_local(rig: Rig, node: str) -> str:
    with rig.namespace(node).entered():
        return Path("/proc/sys/net/ipv4/conf/eth0/accept_local").read_text().strip()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("family", [4, 6])
def test_one_key_takes_a_check_through_the_path(tmp_path: Path, family: int) -> None:
    """On the MASTER, which has the address itself, and on the BACKUP alike."""
    with running_pair(tmp_path, through_path, family=family) as rig:
        topology = rig.stage.topology
        names = {
            name: endpoint_text(topology.realserver_address(name), PORT) for name in topology.realservers
        }
        everybody = set(names.values())
        for node in ("lb1", "lb2"):
            rig.until(are_up(rig, node, everybody), f"all up on {node}", within=30)
            assert marked_services(rig, node) == len(names)
        if family == 4:
            assert (accepts_local(rig, "lb1"), accepts_local(rig, "lb2")) == ("1", "1")

        # Its own address answers as before, and the path ends nowhere.
        name = next(iter(names))
        length = 32 if family == 4 else 128
        place = f"address {{}} {rig.stage.vip}/{length} dev lo"
        topology.realservers[name].batch([place.format("del")])
        for node in ("lb1", "lb2"):
            rig.until(are_up(rig, node, everybody - {names[name]}), f"{name} down on {node}", within=30)
        topology.realservers[name].batch([place.format("add") + (" nodad" if family == 6 else "")])
        rig.until(are_up(rig, "lb1", everybody), "all up again", within=30)

        # A source port of a director belongs to one realserver: no remembered connection can lead a probe
        # astray. (What lb2 asked is known here too, and its ports are its own.)
        with rig.namespace("lb1").entered():
            rows = [line.split() for line in run(["ipvsadm", "-Lnc"]).splitlines()]
        owners: dict[tuple[str, int], set[str]] = {}
        for row in rows:
            if row and row[0] == "TCP":
                source, there = row[3].rpartition(":"), row[5].rpartition(":")
                if FIRST_PORT <= int(source[2]) < FIRST_PORT + SLOTS * PORTS_EACH:
                    slot = (int(source[2]) - FIRST_PORT) // PORTS_EACH
                    owners.setdefault((source[0], slot), set()).add(there[0].strip("[]"))
        assert len(owners) >= len(names)
        assert all(len(each) == 1 for each in owners.values()), owners
        with rig.namespace("lb1").entered():
            shown = run(["ipvsadm", "-Ln"])
        assert all(f"FWM  {FIRST_MARK + slot} " in shown for _, slot in owners)

        # Without the key nothing of it stays.
        rig.reloaded(lambda text: text)
        rig.until(lambda: marked_services(rig, "lb1") == 0, "no firewall mark left", within=20)
        assert accepts_local(rig, "lb1") == "0"
