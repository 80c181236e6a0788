"""What ``lvsha ipvs`` adds to ipvsadm, on a real table."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lvsha.cli.main import main
from tests.kernel.ipvs_netns import fresh_netns, ipvsadm, saved

pytestmark = pytest.mark.kernel

TABLE = (
    "-A -t 192.0.2.1:80 -s wrr -p 60 -M 255.255.0.0",
    "-a -t 192.0.2.1:80 -r 10.1.0.1:8080 -m -w 5 -x 100 -y 50",
    "-a -t 192.0.2.1:80 -r 10.1.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    "-A -f 4294967295 -6 -s mh -b mh-port",
    "-a -f 4294967295 -6 -r [fd00::5]:0 -g -w 1",
)


@pytest.fixture(autouse=True)
def netns() -> Iterator[None]:
    with fresh_netns(["link add dummy0 type dummy", "link set dummy0 up"]):
        done = ipvsadm("-R", stdin="\n".join(TABLE) + "\n")
        assert not done.stderr
        yield


Feed = Callable[..., None]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Feed]:
    """Lines for the standard input of what runs in this process."""
    with ExitStack() as stack:

        def feed(*lines: str) -> None:
            path = tmp_path / "input"
            path.write_text("\n".join(lines))
            monkeypatch.setattr(sys, "stdin", stack.enter_context(path.open()))

        yield feed


def test_full_save_is_restored_with_thresholds_and_marks(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ipvs", "-Sn", "--full"]) == 0
    full = capsys.readouterr().out.splitlines()
    ipvsadm("-C")
    feed(*full)

    assert main(["ipvs", "-R"]) == 0

    assert "10.1.0.1:8080" in ipvsadm("-Ln", "--thresholds").stdout
    assert "100        50" in ipvsadm("-Ln", "--thresholds").stdout
    assert sorted(full) == sorted(TABLE)


def test_ipvsadms_own_save_loses_them() -> None:
    """Why there is --full."""
    assert not any("-x 100" in line for line in saved())
    assert "-A -f -1 -6 -s mh -b mh-port" in saved()


def test_diff(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    feed(*TABLE)
    assert main(["ipvs", "diff", "-"]) == 0
    feed(*TABLE[:2])
    assert main(["ipvs", "diff", "--json", "-"]) == 1

    report = json.loads(capsys.readouterr().out)
    assert not report["equal"]
    assert report["plan"] == ["-d -t 192.0.2.1:80 -r 10.1.0.2:80", "-D -f 4294967295 -6"]


def test_atomic_restore_changes_nothing_if_a_line_is_wrong(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved()
    feed("-C", "-A -t 192.0.2.9:80", "-a -t 192.0.2.9:80 -r 10.1.0.1 -w many")

    assert main(["ipvs", "-R", "--atomic"]) == 1

    assert "line 3: illegal weight specified" in capsys.readouterr().err
    assert saved() == before


def test_atomic_restore_puts_back_what_the_kernel_refuses_half_way(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved()
    # Only the kernel knows that a realserver must be unicast.
    feed("-C", "-A -t 192.0.2.9:80", "-a -t 192.0.2.9:80 -r 224.0.0.1 -m")

    assert main(["ipvs", "-R", "--atomic"]) == 1

    assert "the table is as it was before" in capsys.readouterr().err
    assert saved() == before


def test_atomic_restore_of_the_same_keeps_the_services(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    feed("-C", *TABLE[:2], "-a -t 192.0.2.1:80 -r 10.1.0.3:80 -m")

    assert main(["ipvs", "-R", "--atomic", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["applied"]
    assert report["plan"] == [
        "-a -t 192.0.2.1:80 -r 10.1.0.3:80 -m -w 1",
        "-d -t 192.0.2.1:80 -r 10.1.0.2:80",
        "-D -f 4294967295 -6",
    ]
    assert "-a -t 192.0.2.1:80 -r 10.1.0.3:80 -m -w 1" in saved()


def test_dry_run_changes_nothing(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    before = saved()
    feed("-D -t 192.0.2.1:80")

    assert main(["ipvs", "-R", "--dry-run"]) == 0

    assert capsys.readouterr().out == "-D -t 192.0.2.1:80\n"
    assert saved() == before


@pytest.mark.parametrize(
    "words", [["-L"], ["-L", "-t", "192.0.2.1:80"], ["-L", "--timeout"], ["-L", "--daemon"]]
)
def test_lists_as_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ipvs", *words, "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    if "services" in shown:
        web = next(each for each in shown["services"] if each["address"])
        assert (web["persistence_s"], web["netmask"]) == (60, "255.255.0.0")
        tunnel = next(each for each in web["destinations"] if each["method"] == "tun")
        assert tunnel["tunnel"] == {"type": "gue", "port": 6080, "checksum": "csum"}


def test_watch_top_and_connections_show_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ipvs", "-Ln", "--watch=0.1", "--count=2"]) == 0
    assert capsys.readouterr().out.count("InPPS") == 2

    assert main(["ipvs", "top", "--interval", "0.1", "--count", "1"]) == 0
    assert "TCP 192.0.2.1:80" in capsys.readouterr().out

    assert main(["ipvs", "-Lnc", "--state", "ESTABLISHED"]) == 0
    assert capsys.readouterr().out.startswith("IPVS connection entries")


def test_errors_of_restore_tell_their_line(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    feed("-A -t 192.0.2.1:80", "-A -t 192.0.2.2:80", "-D -f 9", "-A -t 192.0.2.3:80")

    assert main(["ipvs", "-R"]) == 0

    assert capsys.readouterr().err.splitlines() == [
        "Service already exists (line 1: -A -t 192.0.2.1:80)",
        "No such service (line 3: -D -f 9)",
    ]
    assert "-A -t 192.0.2.3:80 -s wlc" in saved()
