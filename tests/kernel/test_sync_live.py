"""``lvsha sync`` beside the kernel's own daemons: nothing of lvsha's runs there but the command."""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.sync.inspect import FindingKind
from tests.cli.sync_captures import CLOSING, TEMPLATE, WEB, frame, message, write_capture

pytestmark = pytest.mark.kernel

LVSHA = str(Path(sys.executable).with_name("lvsha"))
SYNCID = 7
VIP = "10.91.0.1"
PEER = "10.91.0.2"

PATIENCE_S = 60.0
"""For whatever has to happen: the guest may be on a busy machine."""

_numbers = itertools.count()


class Director:
    """A namespace with a service on its own address, whose only server is itself."""

    def __init__(self, name: str) -> None:
        self.namespace = Namespace(name)

    def lvsha(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        with self.namespace.entered():
            return subprocess.run(
                [LVSHA, "sync", *arguments], capture_output=True, text=True, check=False, timeout=60
            )

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return self.namespace.popen(
            [LVSHA, "sync", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def daemon(self, role: str, *more: str) -> None:
        self.namespace.run(
            ["ipvsadm", "--start-daemon", role, "--mcast-interface", "sync0", "--syncid", str(SYNCID), *more]
        )


@contextlib.contextmanager
def pair(*, both_serve: bool = False) -> Iterator[tuple[Director, Director]]:
    """Two directors on one wire. The right one asks, so it has the service only if it shall balance too."""
    number = next(_numbers)
    names = f"live{number}a", f"live{number}b"
    ip_batch([f"netns add {name}" for name in names])
    try:
        ip_batch([f"link add sync0 netns {names[0]} type veth peer name sync0 netns {names[1]}"])
        directors = Director(names[0]), Director(names[1])
        for director, address in zip(directors, (VIP, PEER), strict=True):
            director.namespace.batch(
                ["link set lo up", f"addr add {address}/24 dev sync0", "link set sync0 up"]
            )
            director.namespace.sysctl(
                net__ipv4__vs__sync_threshold="0 0", net__ipv4__vs__sync_refresh_period="10"
            )
            if director is directors[1] and not both_serve:
                continue
            for command in (f"-A -u {VIP}:53 -s rr", f"-a -u {VIP}:53 -r {VIP}:53 -m"):
                director.namespace.run(["ipvsadm", *command.split()])
        yield directors
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def ask(director: Director, count: int, *, first_port: int = 20_000) -> None:
    """``count`` clients on the peer's side send a datagram each to the service."""
    with director.namespace.entered():
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for number, sock in enumerate(sockets):
        with sock:
            sock.bind((PEER, first_port + number))
            sock.sendto(b"?", (VIP, 53))


def listens(director: Director) -> None:
    """Wait until a command has opened its packet socket: Python takes its time to start in a guest."""
    deadline = time.monotonic() + PATIENCE_S
    while director.namespace.read("/proc/net/packet").count("\n") < 2:
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.05)


def finish(
    process: "subprocess.Popen[bytes]", *, once: Callable[[dict[str, Any]], bool]
) -> tuple[int, dict[str, Any]]:
    """Read what a command says, once a second, until it has said that; interrupt it as Ctrl-C does.

    The last it says comes after that.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_S
    while not once(said := json.loads(process.stdout.readline())):
        assert time.monotonic() < deadline, f"this is the last it said: {said}"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert err == b"", err.decode()
    return process.returncode, json.loads(out.splitlines()[-1])


def entries(count: int) -> Callable[[dict[str, Any]], bool]:
    """So many were heard of, lost ones too."""
    return lambda said: said["entries"] + said["lost_entries"] >= count


def rows(director: Director) -> int:
    """UDP connections in a director's kernel."""
    return director.namespace.read("/proc/net/ip_vs_conn").count("\nUDP")


def test_the_masters_own_messages_are_seen_where_it_runs() -> None:
    """A UDP socket hears none of them there; this is why the command looks at frames."""
    with pair() as (left, right):
        left.daemon("master")
        watch = left.start("watch", "--json")
        listens(left)
        ask(right, 20)

        status, last = finish(watch, once=entries(20))

        assert status == 0
        assert last["interface"] == "sync0"
        assert (last["entries"], last["lost_entries"], last["capture_dropped"]) == (20, 0, 0)
        assert [(sender["source"], sender["syncid"]) for sender in last["senders"]] == [(VIP, SYNCID)]
        assert last["services"][0]["service"] == f"UDP {VIP}:53"
        assert last["daemon"] is None


def test_the_backups_side_says_how_far_it_is_behind_and_the_capture_decodes(tmp_path: Path) -> None:
    with pair() as (left, right):
        left.daemon("master")
        right.daemon("backup")
        out = tmp_path / "out.pcap"
        watch = right.start("watch", "--json", "--pcap", str(out))
        listens(right)
        ask(right, 20)

        status, last = finish(watch, once=entries(20))

        assert status == 0
        daemon = last["daemon"]
        assert (daemon["syncid"], daemon["queue_bytes"], daemon["drops"]) == (SYNCID, 0, 0)
        assert 0 <= daemon["lag_ms"] <= daemon["worst_lag_ms"]
        decoded = left.lvsha("decode", "--json", str(out))
        assert len(decoded.stdout.splitlines()) == last["entries"] == 20
        assert run(["tcpdump", "-nr", str(out)]).count("> 224.0.0.81.8848") == last["messages"]


def test_wire_and_kernel_agree_and_a_row_that_went_is_found() -> None:
    with pair() as (left, right):
        left.daemon("master")
        right.daemon("backup")
        diff = right.start("diff", "wire", "kernel", "--duration", "100", "--json")
        listens(right)
        ask(right, 20)
        deadline = time.monotonic() + PATIENCE_S
        while rows(right) < 20:
            assert time.monotonic() < deadline, "the backup's kernel has not heard of all of them"
            time.sleep(0.1)
        time.sleep(1)  # what the kernel has heard, the command has still to read
        diff.send_signal(signal.SIGINT)
        out, _ = diff.communicate(timeout=PATIENCE_S)
        assert (diff.returncode, out) == (0, b"")
        kernels = [director.namespace.read("/proc/net/ip_vs_conn") for director in (left, right)]

        # The second copy of the table lacks a row.
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir("/run")
            Path("left").write_text(kernels[0])
            Path("right").write_text("\n".join(kernels[1].splitlines()[:-1]) + "\n")
            found = left.lvsha("diff", "/run/left", "/run/right", "--json")

        assert found.returncode == 1
        assert [json.loads(line)["difference"] for line in found.stdout.splitlines()] == ["connection_lost"]


def test_two_masters_under_one_syncid_are_found() -> None:
    with pair(both_serve=True) as (left, right):
        left.daemon("master")
        right.daemon("master")
        watch = left.start("watch", "--json", "-i", "sync0")
        listens(left)
        ask(right, 5)

        def both(said: dict[str, Any]) -> bool:
            return FindingKind.TWO_MASTERS in {finding["kind"] for finding in said["findings"]}

        status, last = finish(watch, once=both)

        assert status == 1
        assert FindingKind.TWO_MASTERS in {finding["kind"] for finding in last["findings"]}


def test_a_backup_with_a_small_maxlen_loses_what_the_master_sends_and_watch_says_so() -> None:
    with pair() as (left, right):
        left.daemon("master")
        right.daemon("backup", "--sync-maxlen", "1024")
        watch = right.start("watch", "--json")
        listens(right)
        ask(right, 80)

        status, last = finish(watch, once=entries(80))

        assert status == 1
        assert [finding["kind"] for finding in last["findings"]] == [FindingKind.TOO_LONG]
        assert rows(right) == last["entries"] < 80
        assert last["entries"] + last["lost_entries"] == 80


def test_replay_fills_a_kernel_with_what_the_capture_says() -> None:
    with pair() as (_, right):
        right.daemon("backup")
        capture = write_capture(
            Path("/run/replay.pcap"), [frame(message(WEB, CLOSING)), frame(message(TEMPLATE, syncid=9))]
        )

        one = right.lvsha("replay", str(capture), "--json")
        assert (one.returncode, json.loads(one.stdout)["sent"]) == (1, 1)
        assert "--syncid 7" in one.stderr
        two = right.lvsha("replay", str(capture), "--syncid", "7", "--rate", "100")

        assert two.returncode == 0, two.stderr
        table = right.namespace.read("/proc/net/ip_vs_conn")
        assert sorted(line.split()[7] for line in table.splitlines()[1:]) == [
            "ASSURED",
            "ESTABLISHED",
            "FIN_WAIT",
        ]


def test_a_page_for_prometheus() -> None:
    with pair() as (left, right):
        left.daemon("master")
        right.daemon("backup")
        stats = right.start("stats", "--listen", "127.0.0.1:9848")
        listens(right)
        ask(right, 3)
        counted = f'lvsha_sync_entries_total{{syncid="{SYNCID}",source="{VIP}"}} 3'
        deadline = time.monotonic() + PATIENCE_S
        while counted not in (page := metrics(right)):
            assert time.monotonic() < deadline, page
            time.sleep(0.3)
        stats.send_signal(signal.SIGINT)
        stats.communicate(timeout=PATIENCE_S)

        assert "lvsha_sync_daemon_drops_total 0" in page


def metrics(director: Director) -> str:
    with director.namespace.entered():
        asking = socket.create_connection(("127.0.0.1", 9848), timeout=PATIENCE_S)
    with asking:
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: asking.recv(65536), b"")).decode()


KEEPALIVED = f"""
global_defs {{
    lvs_sync_daemon sync0 one id {SYNCID}
    script_user root
}}
vrrp_instance one {{
    state MASTER
    interface sync0
    virtual_router_id 9
    priority 250
    advert_int 0.2
    virtual_ipaddress {{
        10.91.0.8/32
    }}
}}
virtual_server {VIP} 53 {{
    lvs_sched rr
    lvs_method NAT
    protocol UDP
    real_server {VIP} 53 {{
        weight 1
    }}
}}
"""


def test_keepalived_needs_no_agent_either(tmp_path: Path) -> None:
    config = tmp_path / "keepalived.conf"
    config.write_text(KEEPALIVED)
    with pair() as (left, right):
        left.namespace.run(["ipvsadm", "-C"])
        command = ["keepalived", "-n", "-l", "-f", str(config), "-p", str(tmp_path / "pid")]
        command += ["-r", str(tmp_path / "vrrp.pid"), "-c", str(tmp_path / "checkers.pid")]
        keepalived = left.namespace.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            give_up = time.monotonic() + PATIENCE_S
            while (
                "master" not in left.namespace.run(["ipvsadm", "-L", "--daemon"])
                or f"{VIP}:53" not in left.namespace.run(["ipvsadm", "-Ln"]).partition("->")[2]
            ):
                assert time.monotonic() < give_up, "keepalived has not started its daemon and its service"
                time.sleep(0.2)
            table = right.start("table", "-i", "sync0", "--duration", "100", "--json")
            watch = left.start("watch", "--json")
            listens(left)
            listens(right)
            ask(right, 10)

            status, last = finish(watch, once=entries(10))
            time.sleep(1)  # what this one has heard, the other has still to read
            table.send_signal(signal.SIGINT)
            out, _ = table.communicate(timeout=PATIENCE_S)
        finally:
            keepalived.terminate()
            keepalived.wait(20)

        assert status == 0
        assert [(sender["syncid"], sender["entries"]) for sender in last["senders"]] == [(SYNCID, 10)]
        heard = [json.loads(line) for line in out.splitlines()]
        assert {row["cport"] for row in heard} == set(range(20_000, 20_010))
        assert {row["origin"] for row in heard} == {last["senders"][0]["source"]}
