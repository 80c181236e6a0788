"""Usage, refusals and what a missing program is answered with; no guest is started."""

from pathlib import Path

import pytest

from lvsha.cli import lab
from lvsha.lab import guest, scenario
from lvsha.lab.errors import LabError


@pytest.mark.parametrize("verb", [[], ["run"], ["compare"], ["demo"], ["shell"], ["exec"]])
def test_help_has_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lab.main([*verb, "--help"])

    assert ended.value.code == 0
    assert "example" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["run"], ["run", "nonesuch"], ["run", "crash", "--phase", "2"], ["compare"], ["exec"]]
)
def test_wrong_usage_is_exit_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lab.main(words)

    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_every_scenario_of_the_contract_is_there_and_says_what_it_is() -> None:
    wanted = {"crash", "planned", "agent-kill", "realserver-death", "realserver-return", "late-joiner"}

    assert wanted <= set(scenario.names())
    assert all(scenario.summary(name) for name in scenario.names())


def test_without_user_mode_linux_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_host_has_ipvs", lambda: False)
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)

    with pytest.raises(LabError, match="apt-get install user-mode-linux kmod iproute2"):
        guest.choose_kernel("auto")


def test_a_host_without_ip_vs_is_refused_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_host_has_ipvs", lambda: False)

    with pytest.raises(LabError, match="--kernel uml"):
        guest.choose_kernel("host")


def test_what_lies_in_a_hidden_folder_and_is_needed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout itself may lie under /tmp."""
    monkeypatch.setattr(guest, "HIDDEN", (str(tmp_path),))
    checkout = tmp_path / "checkout"
    script = tmp_path / "script.sh"
    checkout.mkdir()
    script.touch()
    monkeypatch.chdir(checkout)

    kept = guest._kept_paths(guest.GuestRequest(argv=("sh", str(script), "/nonesuch"), keep=()))

    assert kept == [str(checkout), str(script)]


@pytest.mark.parametrize(
    ("memory", "why"), [("x", "write 512M or 2G"), ("64K", "too little"), ("-1", "write")]
)
def test_a_guest_of_an_impossible_size_is_refused(memory: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        guest.memory_folder(memory)
