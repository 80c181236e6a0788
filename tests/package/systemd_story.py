"""What is played in a machine that systemd has booted: ``python3 systemd_story.py RESULT``.

Runs on that machine's own Python, so it imports nothing of ours. The machine is director lb1, by the
units of the package; a second director, a realserver and a client live in network namespaces. Each
chapter does something to lb1 and writes down what the client and the other director saw of it.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ETC = Path("/etc/lvsha")
VIP = "10.0.0.10"
CONFIG = f"""
directors.lb1 = {{ address = "10.0.0.1", priority = 200 }}
directors.lb2 = {{ address = "10.0.0.2", priority = 100 }}
sync = {{ interface = "eth0", relay = {{ key_file = "/etc/lvsha/relay.key" }} }}
[[vrrp]]
interface = "eth0"
vrid = 51
advert_interval = 2
addresses = ["{VIP}/24"]
[[service]]
address = "{VIP}:80"
check = {{ type = "tcp", interval = 1 }}
realservers = ["10.0.0.11"]
"""
KEY = "GkG7hUDMnbRCdAQkUcWGJ6xC7ovVdsvRSnQxGjvPwJ4="
CONNECTIONS = 20
UNITS = ("lvsha-directord", "lvsha-vrrpd")
PROPERTIES = ("ActiveState", "MainPID", "NRestarts", "Result", "StatusText", "WatchdogTimestampMonotonic")
WITHIN_S = 300.0
"""For anything that must come to pass; a busy machine needs more than a moment."""

ECHO = """
import socket, selectors
ready = selectors.DefaultSelector()
listener = socket.create_server(("", 80), backlog=512)
ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            ready.register(listener.accept()[0], selectors.EVENT_READ)
            continue
        try:
            data = key.fileobj.recv(4096)
            key.fileobj.sendall(data)
        except OSError:
            data = b""
        if not data:
            ready.unregister(key.fileobj)
            key.fileobj.close()
"""

CLIENT = """
import errno, json, socket, sys, threading, time

def connect():
    return socket.create_connection((sys.argv[1], 80), timeout=10)

def answers(connection):
    try:
        connection.sendall(b"still there?")
        return connection.recv(64) == b"still there?"
    except OSError:
        return False

kept = [connect() for _ in range(int(sys.argv[2]))]
assert all(map(answers, kept))
refused = 0

def knock():
    global refused
    while True:
        try:
            with connect() as visitor:
                if not answers(visitor):
                    refused += 1
        except OSError as error:
            refused += 1
        time.sleep(0.2)

threading.Thread(target=knock, daemon=True).start()
print(json.dumps({"alive": len(kept), "refused": 0}), flush=True)
for _ in sys.stdin:
    alive = sum(map(answers, kept))
    print(json.dumps({"alive": alive, "refused": refused}), flush=True)
    refused = 0
"""


def run(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def until(holds: Callable[[], bool], what: str, within: float = WITHIN_S) -> None:
    print(f"{time.monotonic():.1f} until {what}", flush=True)
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {within:.0f} s still not: {what}")
        time.sleep(0.5)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def network() -> None:
    """A switch in a namespace of its own; this machine is on it as lb1."""
    run("ip", "netns", "add", "switch")
    run("ip", "-n", "switch", "link", "add", "br0", "type", "bridge")
    run("ip", "-n", "switch", "link", "set", "br0", "up")
    for name, last in (("lb1", 1), ("lb2", 2), ("rs1", 11), ("client", 100)):
        inside: tuple[str, ...] = ()
        if name != "lb1":
            run("ip", "netns", "add", name)
            inside = ("-n", name)
        place = ("netns", name) if inside else ()
        run("ip", "-n", "switch", "link", "add", name, "type", "veth", "peer", "name", f"to-{name}")
        run("ip", "-n", "switch", "link", "set", name, "master", "br0", "up")
        run("ip", "-n", "switch", "link", "set", f"to-{name}", *(place or ("netns", "1")))
        run("ip", *inside, "link", "set", f"to-{name}", "name", "eth0")
        run("ip", *inside, "address", "add", f"10.0.0.{last}/24", "dev", "eth0")
        run("ip", *inside, "link", "set", "eth0", "up")
        run("ip", *inside, "link", "set", "lo", "up")
    for setting in ("arp_ignore=1", "arp_announce=2"):
        run("ip", "netns", "exec", "rs1", "sysctl", "-qw", f"net.ipv4.conf.all.{setting}")
    run("ip", "-n", "rs1", "address", "add", f"{VIP}/32", "dev", "lo")


def start_in(namespace: str, unit: str, *words: str) -> None:
    run(
        *("systemd-run", "--quiet", f"--unit={unit}", "--property=KillMode=mixed"),
        *("ip", "netns", "exec", namespace, *words),
    )


class Line(http.client.HTTPConnection):
    """To directord's socket: as ``lvsha status`` asks, but without starting a Python each time."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect("/run/lvsha/directord.sock")


def status() -> dict[str, Any]:
    """Of lb1; empty: it does not answer."""
    line = Line("lvsha")
    try:
        line.request("GET", "/v1/status")
        found: dict[str, Any] = json.loads(line.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = {"error": str(error)}
    finally:
        line.close()
    return found


def journal(*units: str) -> str:
    return run("journalctl", "-q", "-o", "cat", *(f"-u{unit}" for unit in units))


def takeovers() -> int:
    """How often the other director has become MASTER."""
    return journal("lb2").count("vrrp.became_master")


def show(unit: str) -> dict[str, str]:
    """What systemd knows of a unit."""
    lines = run("systemctl", "show", unit, *(f"-p{name}" for name in PROPERTIES)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def main_pids() -> list[str]:
    return [show(unit)["MainPID"] for unit in UNITS]


class Client:
    """Connections that stay open, and a new one every 200 ms."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", "client", "/usr/bin/python3", "-c", CLIENT, VIP, str(CONNECTIONS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found

    def look(self) -> dict[str, int]:
        """How many connections live, and how many new ones failed since the last look."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()


class Story:
    def __init__(self, result: Path) -> None:
        self._result = result
        self.chapters: dict[str, dict[str, Any]] = {}
        self.client: Client | None = None

    def tell(self, name: str, **found: Any) -> None:
        if self.client is not None:
            found |= self.client.look()
        self.chapters[name] = found | {"takeovers": takeovers(), "at_s": round(time.monotonic(), 1)}
        self._save()

    def fail(self, problem: str) -> None:
        log = journal("lvsha-directord", "lvsha-vrrpd", "lb2").splitlines()[-150:]
        self.chapters["problem"] = {"text": problem, "log": log, "status": status()}
        self._save()

    def _save(self) -> None:
        self._result.write_text(json.dumps(self.chapters, indent=1))
        with self._result.open() as file:
            os.fsync(file.fileno())

    # Chapters

    def begin(self) -> None:
        network()
        write(ETC / "lvsha.toml", CONFIG)
        write(ETC / "relay.key", KEY + "\n", mode=0o600)
        run("systemd-tmpfiles", "--create", "lvsha.conf")
        start_in("rs1", "rs1", "/usr/bin/python3", "-c", ECHO)
        run("systemctl", "start", "lvsha.target")
        until(lambda: "vrrp.became_master" in journal("lvsha-vrrpd"), "lb1 is MASTER")
        agent = ("lvsha", "agent", "-f", str(ETC / "lvsha.toml"), "--node", "lb2", "--run-dir", "/run/lb2")
        start_in("lb2", "lb2", *agent)
        until(lambda: "agent.ready" in journal("lb2"), "lb2 runs")
        until(lambda: "checker.check_rose" in journal("lvsha-directord"), "rs1 is up")
        self.client = Client()
        until(in_sync, "lb2 has every connection")
        shown = {unit: show(unit) for unit in UNITS}
        self.tell("started", units=shown, processes=processes(), log=journal(*UNITS).splitlines())

    def watchdog(self) -> None:
        before = [show(unit)["WatchdogTimestampMonotonic"] for unit in UNITS]
        until(
            lambda: all(
                show(unit)["WatchdogTimestampMonotonic"] != last
                for unit, last in zip(UNITS, before, strict=True)
            ),
            "both said again that they live",
        )
        self.tell("watchdog")

    def reload(self) -> None:
        write(ETC / "lvsha.toml", CONFIG.replace("interval = 1", "interval = 2"), mode=0o640)
        run("systemd-tmpfiles", "--create", "lvsha.conf")
        run("systemctl", "reload", "lvsha-directord")
        until(lambda: all("agent.reloaded" in journal(unit) for unit in UNITS), "both reloaded")
        self.tell("reload", pids=main_pids())

    def kill(self, chapter: str, unit: str, whom: str) -> None:
        """``whom``: ``worker``, or of ``systemctl kill``."""
        said = "agent.worker_started" if whom == "worker" else "agent.ready"
        count = journal(unit).count(said)
        if whom == "worker":
            os.kill(worker_of(unit), signal.SIGKILL)
        else:
            run("systemctl", "kill", "-s", "KILL", f"--kill-whom={whom}", unit)
        until(partial(says, unit, said, count + 1), f"{unit} is back")
        until(in_sync, "the pair is whole again")
        self.tell(chapter)

    def restart(self) -> None:
        count = journal("lvsha-directord").count("agent.ready")
        run("systemctl", "restart", "lvsha-directord")
        until(lambda: journal("lvsha-directord").count("agent.ready") > count, "directord is back")
        until(in_sync, "the pair is whole again")
        self.tell("directord_restarted")

    def upgrade(self) -> None:
        before = main_pids()
        said = run("dpkg", "-i", "/newer.deb")
        self.tell("unpacked", pids=main_pids() == before, said=said)
        run("systemctl", "reload", "lvsha-directord")
        until(lambda: all("agent.renewed" in journal(unit) for unit in UNITS), "both supervisors are new")
        until(lambda: all("agent.worker_replaced" in journal(unit) for unit in UNITS), "both workers are new")
        until(in_sync, "the pair is whole again")
        self.tell("upgraded", same_processes=main_pids() == before, log=journal(*UNITS).splitlines()[-60:])

    def stop(self) -> None:
        run("systemctl", "stop", "lvsha.target")
        self.tell("stopped", address_left=has_address(), table_left=run("ipvsadm", "-Sn").split())

    def purge(self) -> None:
        run("systemctl", "start", "lvsha.target")
        until(in_sync, "the pair is whole again")
        run("dpkg", "-P", "lvsha")
        units = run("systemctl", "list-unit-files", "--no-legend", "lvsha*", check=False).split()
        user = run("getent", "passwd", "lvsha", check=False)
        self.tell("purged", units=units, user=user, address_left=has_address(), files=list_left())


def says(unit: str, event: str, times: int) -> bool:
    return journal(unit).count(event) >= times


def worker_of(unit: str) -> int:
    """The oldest child of a unit's main process."""
    (main,) = (show(name)["MainPID"] for name in UNITS if name == unit)
    return min(map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split()))


def has_address() -> bool:
    return VIP in run("ip", "address", "show", "dev", "eth0")


def list_left() -> list[str]:
    places = ("/opt/lvsha", "/etc/lvsha", "/run/lvsha", "/var/lib/lvsha", "/lib/systemd/system/lvsha.target")
    return [place for place in places if Path(place).exists()]


def in_sync() -> bool:
    peers = status().get("sync", {}).get("relay", {}).get("peers", [])
    return bool(peers) and all((peer.get("coverage") or 0) > 0.9 for peer in peers)


def processes() -> list[dict[str, Any]]:
    """Of both units: who runs, as whom, scheduled how, with how much locked memory."""
    found = []
    for unit in UNITS:
        main = show(unit)["MainPID"]
        for pid in Path(f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs").read_text().split():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found.append(
                {
                    "unit": unit,
                    "pid": int(pid),
                    "is_main": pid == main,
                    "command": [word.decode() for word in words if word],
                    "uid": int(fields["Uid"].split()[0]),
                    "capabilities": int(fields["CapEff"], 16),
                    "locked_kb": int(fields["VmLck"].split()[0]),
                    "policy": os.sched_getscheduler(int(pid)),
                    "nice": os.getpriority(os.PRIO_PROCESS, int(pid)),
                }
            )
    return found


def main() -> None:
    story = Story(Path(sys.argv[1]))
    try:
        story.begin()
        story.watchdog()
        story.reload()
        story.kill("worker_of_vrrpd_killed", "lvsha-vrrpd", "worker")
        story.kill("directord_killed", "lvsha-directord", "all")
        story.restart()
        story.upgrade()
        story.kill("vrrpd_killed", "lvsha-vrrpd", "all")
        story.stop()
        story.purge()
    except Exception as error:
        story.fail(f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
