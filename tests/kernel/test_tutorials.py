"""The scripts of the tutorials, run as the pages say, and what the pages print of them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lvsha.lab.errors import LabError
from lvsha.lab.netns import ip_batch, present

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"


@pytest.fixture
def clean() -> Iterator[None]:
    """The guest as it was: the scripts leave their machines and their switch behind."""
    before = set(present())
    yield
    for line in (*(f"netns del {name}" for name in set(present()) - before), "link del switch"):
        with suppress(LabError):
            ip_batch([line])


def play(*words: str) -> str:
    lvsha = str(Path(sys.executable).with_name("lvsha"))
    done = subprocess.run(
        ["sh", *words],
        cwd=ROOT,
        env={**os.environ, "LVSHA": lvsha},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def plain(text: str) -> str:
    """Without the times and the widths of a picture."""
    return " ".join(text.replace("-", " ").split())


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            "broken",
            (
                "no answer: <urlopen error timed out>",
                "NAT to 10.0.0.11:80",
                "error: direct-route-to-client: realserver answers client directly, from 10.0.0.11:80",
                "do: delete the realserver's route to the local network, or use DR",
            ),
        ),
        ("fixed", ("answered with 200", "NAT to 10.0.0.11:80: went well", "SYN, ACK (NAT back)")),
    ],
)
def test_nat_on_one_network(how: str, said: tuple[str, ...], tmp_path: Path) -> None:
    page = (PAGES / "nat-on-one-network.md").read_text()

    shown = play("docs/tutorials/one-network.sh", how, str(tmp_path))

    for words in said:
        assert plain(words) in plain(shown), shown
        assert plain(words) in plain(page)


@pytest.mark.usefixtures("clean")
@pytest.mark.timeout(300)
def test_dr_from_nothing(tmp_path: Path) -> None:
    page = (PAGES / "dr-from-nothing.md").read_text()

    shown = play("docs/tutorials/dr-from-nothing.sh", str(tmp_path))

    for words in (
        "ip -4 address replace 10.0.0.10/32 dev lo scope host",
        "7 steps applied; `lvsha realserver undo` takes them back, `check` proves them",
        "director lb1: all is well",
        "connection sync, syncid 51: master on eth0 (maxlen 44), backup on eth0 (maxlen 1472)",
        "direct routing (DR) to 10.0.0.1",
        "director lb2: all is well",
    ):
        assert plain(words) in plain(shown), shown
        assert plain(words) in plain(page)
    assert shown.count("answered with 200") == 2
    first, _, second = shown.partition("== lb1 dies")
    for text, name in ((first, "lb1"), (second, "lb2")):
        status = text[text.index(f"director {name}:") :]
        (router,) = (line for line in status.splitlines() if line.strip().startswith("eth0-51"))
        # A starved lb1 steps down by rule, and lb2 leads before it dies as well.
        assert "MASTER" in router or (name == "lb1" and "lb2" in router), shown
