"""``accept_local`` while checks go through the path, and not a moment longer."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lvsha.agent import path_answers
from lvsha.agent.path_answers import PathAnswers, realservers_of
from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.errors import KernelError
from lvsha.io import sysctl

TEXT = """
[directors]
lb1 = { address = "10.0.0.1" }

[sync]
enabled = false

[[service]]
address = "10.0.0.10:80"
method = "dr"
check = { type = "tcp", through = "path" }
realservers = ["10.0.0.11", { address = "10.0.0.12", method = "nat" }]
"""
PLAIN = TEXT.replace(', through = "path"', "")


class Written:
    """A journal."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, event: str, **_: Any) -> None:
        self.events.append(event)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that stands for net.ipv4.conf, where everything is reached by eth0.5."""
    root = tmp_path / "sys"
    place = root / "net/ipv4/conf/eth0.5"
    place.mkdir(parents=True)
    (place / "accept_local").write_text("0\n")

    def change(wanted: dict[str, str]) -> Any:
        return sysctl.change_sysctls(wanted, root=root)

    def restore(saved: Any) -> Any:
        return sysctl.restore_sysctls(saved, root=root)

    monkeypatch.setattr(path_answers, "change_sysctls", change)
    monkeypatch.setattr(path_answers, "restore_sysctls", restore)
    monkeypatch.setattr(
        path_answers, "interfaces_towards", lambda targets: {"eth0.5"} if list(targets) else set()
    )
    return place / "accept_local"


def settings_of(text: str) -> Settings:
    return loads(text, node="lb1")


def made(tmp_path: Path) -> tuple[PathAnswers, Written]:
    journal = Written()
    return PathAnswers(journal, tmp_path), journal  # type: ignore[arg-type]  # all that it needs of one


def test_only_answers_from_a_virtual_address_need_it() -> None:
    assert realservers_of(settings_of(TEXT)) == {ip_address("10.0.0.11")}
    assert realservers_of(settings_of(PLAIN)) == set()


def test_it_is_set_kept_and_put_back(tmp_path: Path, conf: Path) -> None:
    answers, journal = made(tmp_path)
    settings = settings_of(TEXT)

    answers.settle(settings)
    assert conf.read_text() == "1\n"
    conf.write_text("0\n")  # somebody else's doing
    answers.settle(settings)
    assert conf.read_text() == "1\n"
    answers.settle(settings)
    assert journal.events == ["director.accept_local_set"] * 2

    answers.settle(settings_of(PLAIN))
    assert conf.read_text() == "0\n"


def test_a_successor_puts_back_what_its_predecessor_found(tmp_path: Path, conf: Path) -> None:
    made(tmp_path)[0].settle(settings_of(TEXT))

    successor, journal = made(tmp_path)
    successor.settle(settings_of(TEXT))
    assert journal.events == []
    successor.restore()

    assert conf.read_text() == "0\n"
    assert not list(tmp_path.glob("*.json"))


def test_a_missing_route_is_said_once_and_tried_again(
    tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(_: object) -> set[str]:
        raise KernelError("find the way to 10.0.0.11", 101, "no route")

    answers, journal = made(tmp_path)
    settings = settings_of(TEXT)
    with monkeypatch.context() as patch:
        patch.setattr(path_answers, "interfaces_towards", nowhere)
        answers.settle(settings)
        answers.settle(settings)
    assert journal.events == ["director.accept_local_failed"]

    answers.settle(settings)
    assert conf.read_text() == "1\n"


def test_the_interface_towards_this_machine_is_its_loopback() -> None:
    assert path_answers.interfaces_towards([ip_address("127.0.0.1")]) == {"lo"}
    assert path_answers.interfaces_towards([]) == set()
