"""``lvsha trace live`` on a director, while a client's connection passes through its kernel."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lvsha.io.capture import CaptureFile
from tests.trace.make_trace_captures import ONE_NETWORK, TWO_NETWORKS, VIP, Net, build, direct, two_networks

pytestmark = pytest.mark.kernel

LVSHA = str(Path(sys.executable).with_name("lvsha"))


def listening(net: Net, *more: str) -> "subprocess.Popen[bytes]":
    """Started on the director, and ready."""
    words = [LVSHA, "trace", "live", "--client", "10.0.0.100", "--vip", f"{VIP}:80", *more]
    process = net.hosts["lb"].popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"listening on eth0")
    return process


def ended(process: "subprocess.Popen[bytes]") -> str:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err.decode()
    return out.decode()


def test_direct_routing_is_told_as_it_happens(tmp_path: Path) -> None:
    pcap = tmp_path / "seen.pcap"
    with build(ONE_NETWORK, inet6=False) as net:
        direct(net)
        process = listening(net, "--pcap", str(pcap))
        net.fetch(net.listen(VIP, 80))
        out = ended(process)

    lines, _, story = out.partition("\n\n")
    assert "10.0.0.100 asks: who has 10.0.0.10?" in lines
    assert "in  SYN, 10.0.0.100:40001 -> 10.0.0.10:80, 02:00:00:00:00:64 -> 02:00:00:00:00:01" in lines
    assert (
        "out SYN, 10.0.0.100:40001 -> 10.0.0.10:80: the packet before, same IP header,"
        " new destination MAC 02:00:00:00:00:0b" in lines
    )
    assert "direct routing (DR)" in story
    assert "The connection went well." in story
    with pcap.open("rb") as file:
        assert sum(1 for _ in CaptureFile(file)) == len(lines.splitlines())


def test_nat_is_seen_on_both_interfaces() -> None:
    with build(TWO_NETWORKS, inet6=False) as net:
        two_networks(net, port=8080)
        process = listening(net, "--json")
        net.fetch(net.listen("10.1.0.11", 8080))
        document = json.loads(ended(process))

    (connection,) = document["connections"]
    assert (connection["method"], connection["realserver"]) == ("nat", "10.1.0.11:8080")
    assert connection["outcome"] == "closed"
    assert {capture["name"] for capture in document["captures"]} == {"eth0", "eth1"}
