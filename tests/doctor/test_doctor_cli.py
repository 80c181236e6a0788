"""The command: its exit status, its one line of error, and how other machines are asked."""

import json
import stat
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lvsha.cli.doctor import main
from lvsha.core.errors import LvshaError
from lvsha.doctor import programs, transport
from lvsha.doctor.facts import Facts, HeardAdvert, Link
from lvsha.doctor.transport import to_json
from lvsha.ipvs.model import Daemon, DaemonRole


def test_the_list_has_a_line_for_each_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert main(["--list", "--json"]) == 0

    text, _, rest = capsys.readouterr().out.partition("[")
    rows = json.loads("[" + rest)
    assert len(rows) == len(text.splitlines())
    assert set(rows[0]) == {"id", "severity", "title", "why", "remedy", "page"}


def test_a_finding_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--explain", "no-ip-forward"]) == 0
    assert "docs/failures/no-ip-forward.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--explain", "no-such-thing"],
        ["--listen", "-1"],
        ["--listen", "nan"],
        ["--vip", "10.0.0.300"],
        ["--client", "web1"],
        ["--method", "dr"],
        ["--role", "king"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(str(end.code))

    assert status == 2
    assert capsys.readouterr().out == ""


def remote(folder: Path, body: str) -> list[str]:
    """A command that stands for ssh: it gets the host and what to run there."""
    script = folder / "shell"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return ["--host", "root@lb1", f"--ssh={script}", "--listen=0"]


def test_what_another_machine_says_is_judged_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = Daemon(role=DaemonRole.MASTER, interface="eth9", syncid=1)
    facts = Facts(host="x", has_ip_vs=True, daemons=(gone,), blind_spots=(("nftables", "no right"),))
    (tmp_path / "facts").write_text(to_json(facts))
    told = remote(tmp_path, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/facts')

    assert main([*told, "--json", "--vip", "10.0.0.10:80"]) == 1

    report = json.loads(capsys.readouterr().out)
    assert [(each["id"], each["host"], each["severity"]) for each in report["findings"]] == [
        ("sync-interface", "lb1", "warning")
    ]
    assert report["hosts"] == [{"host": "lb1", "role": "director"}]
    assert report["blind_spots"] == [{"host": "lb1", "what": "nftables", "why": "no right"}]
    assert (tmp_path / "asked").read_text() == "root@lb1 lvsha doctor --facts --listen=0 --vip=10.0.0.10:80\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'sh: lvsha: not found' >&2; exit 127", "pip install lvsha"),
        ("echo 'root@lb1: Permission denied (publickey).' >&2; exit 255", "ssh-copy-id root@lb1"),
        ("echo 'Host key verification failed.' >&2; exit 255", "by hand once"),
        ("echo 'ssh: connect to host lb1 port 22: No route to host' >&2; exit 255", "is sshd running"),
        ("echo 'Connection reset by peer' >&2; exit 255", "without a password"),
        ("echo 'lvsha doctor: boom' >&2; exit 1", "status 1: lvsha doctor: boom"),
        ("yes mine | head -n 200000 >&2; exit 1", "status 1: mine"),  # more than a pipe holds
        ("echo \"lvsha: there is no verb 'doctor'\" >&2; exit 2", "older"),
        ("echo hello", "the same version"),
        ("echo '{\"host\": 1}'", "the same version"),
    ],
)
def test_a_machine_that_does_not_answer_well(
    body: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(remote(tmp_path, body)) == 1

    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_machine_that_hangs_is_given_up(tmp_path: Path) -> None:
    *_, shell, _ = remote(tmp_path, "exec sleep 600")
    hanging = transport.ask("root@lb1", [], shell=shell.removeprefix("--ssh="), program="lvsha")

    with pytest.raises(LvshaError, match="no answer in"):
        transport.answer(hanging, 0.05)

    assert hanging.process.returncode is not None


def test_a_host_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host=-oProxyCommand=true", "--listen=0"]) == 1
    assert "is not a host" in capsys.readouterr().err


def test_a_program_that_says_too_much_or_is_not_there() -> None:
    with pytest.raises(LvshaError, match="MiB"):
        programs.run("cat", "/dev/zero")
    with pytest.raises(LvshaError, match="no-such-program"):
        programs.run("no-such-program")


def test_rows_of_ip() -> None:
    gre = {
        "ifname": "gre1",
        "flags": ["NOARP", "UP", "LOWER_UP"],
        "mtu": 1476,
        "linkinfo": {"info_kind": "gre", "info_data": {"icsum": True}},
        "stats64": {"rx": {"crc_errors": 3}},
    }
    (link,) = programs.links([gre])
    assert (link.kind, link.checks_sums, link.checksum_errors, link.is_up) == ("gre", True, 3, True)

    cache = [
        {"dst": "10.0.0.100", "gateway": "10.0.0.100", "dev": "eth0", "cache": ["redirected"]},
        {"dst": "10.0.0.101", "gateway": "10.0.0.1", "dev": "eth0", "cache": []},
    ]
    assert [str(there) for there, _ in programs.redirected(cache)] == ["10.0.0.100"]

    routes = [
        {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"},
        {"type": "blackhole", "dst": "10.9.0.0/16"},
        {"dst": "10.0.0.0/24", "dev": "eth0", "scope": "link"},
    ]
    assert [str(route.network) for route in programs.routes(routes, 4)] == ["0.0.0.0/0", "10.0.0.0/24"]

    states = [{"dst": "10.0.0.2", "dev": "eth0", "lladdr": "02:00:00:00:00:02", "state": ["STALE"]}]
    states.append({"dst": "10.0.0.3", "dev": "eth0", "state": ["FAILED"]})
    assert [neighbour.mac for neighbour in programs.neighbours(states)] == ["02:00:00:00:00:02"]


def test_the_file_here_is_held_against_what_is_heard_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lvsha.toml").write_text(
        'directors = { lb1 = { address = "10.0.0.1" } }\n'
        '[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = ["10.0.0.10/24"]\n'
    )
    heard = HeardAdvert(
        interface="eth0",
        source=IPv4Address("10.0.0.2"),
        is_own=False,
        is_multicast=True,
        ttl=255,
        version=3,
        vrid=51,
        interval_cs=100,
        addresses=(IPv4Address("10.0.0.10"),),
    )
    daemon = Daemon(role=DaemonRole.MASTER, interface="eth0", syncid=1)
    facts = Facts(host="x", has_ip_vs=True, daemons=(daemon,), links=(Link(name="eth0"),), adverts=(heard,))
    (tmp_path / "facts").write_text(to_json(facts))

    status = main([*remote(tmp_path, f"cat {tmp_path}/facts"), "-f", str(tmp_path / "lvsha.toml"), "--json"])

    assert status == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["id"] == "other-interval"
