"""``lvsha config``: what it prints and how it ends."""

import io
import json
import sys
from pathlib import Path

import pytest

from lvsha.cli.config import main
from tests.config.problem_cases import BASE, CASES, SERVICE


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.toml"
    path.write_text(BASE + SERVICE)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.toml"
    path.write_text(CASES["unknown scheduler"] + "quorum = 0\n")
    return str(path)


@pytest.fixture
def doubtful(tmp_path: Path) -> str:
    path = tmp_path / "doubtful.toml"
    path.write_text(CASES["dh"])
    return str(path)


def test_a_good_file_is_fine(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", good]) == 0
    assert capsys.readouterr().out == f"{good}: fine\n"


def test_each_problem_is_one_line_that_an_editor_can_jump_to(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", bad]) == 1

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{bad}:12: service[0].scheduler: "wlcc" is not "rr", ')
    assert first.endswith('(did you mean "wlc"?)')
    assert second == f"{bad}:13: service[0].quorum: 0 is less than 1"


def test_warnings_fail_only_when_strict(doubtful: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", doubtful]) == 0
    warning, summary = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"{doubtful}:12: warning: service[0].scheduler: dh gives no answer")
    assert summary == f"{doubtful}: fine, 1 warning"

    assert main(["check", "--strict", doubtful]) == 1


def test_check_for_programs(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", bad]) == 1

    answer = json.loads(capsys.readouterr().out)
    assert (answer["file"], answer["ok"], answer["warnings"]) == (bad, False, [])
    assert [(error["line"], error["path"]) for error in answer["errors"]] == [
        (12, "service[0].scheduler"),
        (13, "service[0].quorum"),
    ]
    assert answer["errors"][0]["suggestion"] == 'did you mean "wlc"?'


def test_a_file_that_a_check_needs_and_is_not_here_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here.pem").touch()
    path = tmp_path / "tls.toml"
    path.write_text(
        BASE
        + SERVICE.replace('"tcp"', f'{{ type = "https", tls.ca_file = "{tmp_path}/here.pem" }}')
        + SERVICE.replace(":80", ":81").replace(
            '"tcp"', f'{{ type = "https", tls.ca_file = "{tmp_path}/gone.pem" }}'
        )
        + SERVICE.replace(":80", ":82").replace(
            '"tcp"', '{ type = "exec", command = ["/nowhere/probe", "-x"] }'
        )
    )

    assert main(["check", str(path)]) == 0

    ca_file, command, _ = capsys.readouterr().out.splitlines()
    assert (
        ca_file
        == f"{path}:14: warning: service[1].check.tls.ca_file: there is no file {tmp_path}/gone.pem here"
    )
    assert command.startswith(
        f"{path}:18: warning: service[2].check.command[0]: there is no file /nowhere/probe"
    )


def test_standard_input_is_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((BASE + SERVICE).encode())))

    assert main(["check", "-"]) == 0
    assert capsys.readouterr().out == "-: fine\n"


@pytest.mark.parametrize("verb", [["check"], ["show"], ["diff", "/nonexistent/a.toml"]])
def test_a_file_that_cannot_be_read_is_one_line(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, str(tmp_path / "none.toml")]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "No such file or directory; name the configuration file" in captured.err


def test_a_file_that_is_not_text_is_refused_at_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b'a = 1\nname = "caf\xe9"\n')

    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().out == f"{path}:2: TOML: is not UTF-8 text (iconv -t UTF-8)\n"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (BASE + SERVICE).replace("\n", "\r\n").encode())

    assert main(["check", str(path)]) == 0


def test_show_prints_a_file_that_is_fine(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--node", "lb2", good]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "shown.toml").write_text(shown)

    assert f"# {good} as director lb2 sees it" in shown
    assert main(["check", "--strict", str(tmp_path / "shown.toml")]) == 0
    assert main(["diff", "--exit-code", "--node", "lb2", good, str(tmp_path / "shown.toml")]) == 0


def test_show_for_programs(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--json", "--node", "lb2", good]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["node"] == "lb2"
    assert answer["vrrp"][0]["priority"] == {"lb2": 100}


def test_show_says_what_to_do_on_a_machine_that_is_no_director(
    good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    monkeypatch.setattr("lvsha.cli.config_file.local_addresses", set)

    assert main(["show", good]) == 1
    assert "say which one with --node lb1" in capsys.readouterr().err


def test_show_knows_a_director_by_its_host_name(
    good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "lb2.example.com")
    monkeypatch.setattr("lvsha.cli.config_file.local_addresses", set)

    assert main(["show", good]) == 0
    assert "as director lb2 sees it" in capsys.readouterr().out


def test_show_masks_secrets_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secret.toml"
    path.write_text(BASE + 'version = 2\npassword = "sesame"\n')

    main(["show", "--node", "lb1", str(path)])
    assert "sesame" not in capsys.readouterr().out
    main(["show", "--node", "lb1", "--secrets", str(path)])
    assert 'password = "sesame"' in capsys.readouterr().out


def test_diff_tells_changes_and_their_effect(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.toml"
    new.write_text((BASE + SERVICE).replace(', "10.0.0.12"', ""))

    assert main(["diff", "--node", "lb1", good, str(new)]) == 0
    assert capsys.readouterr().out.startswith(
        "- service tcp/10.0.0.10:80 realserver 10.0.0.12:80 [connections]"
    )
    assert main(["diff", "--node", "lb1", "--exit-code", good, str(new)]) == 1
    capsys.readouterr()
    assert main(["diff", "--node", "lb1", "--json", good, str(new)]) == 0
    (change,) = json.loads(capsys.readouterr().out)
    assert (change["kind"], change["effect"]) == ("removed", "connections")


def test_diff_refuses_a_bad_new_file(good: str, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--node", "lb1", good, bad]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{bad}:12: service[0].scheduler")


def test_schema_is_json_and_the_page_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "lvsha configuration"
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Configuration file")


@pytest.mark.parametrize("arguments", [[], ["chek"], ["check", "a", "b"], ["diff"], ["show", "--nodes", "x"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)

    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith("--help` tells more\n")


@pytest.mark.parametrize("verb", [[], ["check"], ["show"], ["diff"], ["schema"]])
def test_help_has_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--help"])

    assert stop.value.code == 0
    assert "example: lvsha config" in capsys.readouterr().out
