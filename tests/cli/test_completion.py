"""Completion and manual pages say what the help says."""

import subprocess
from pathlib import Path

import pytest

from lvsha.cli import completion, helps, main, manual


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of ``words``."""
    typed = " ".join(words)
    order = f'COMP_WORDS=(lvsha {typed} ""); COMP_CWORD={len(words) + 1}; _lvsha; echo "${{COMPREPLY[@]}}"'
    result = subprocess.run(
        ["bash", "-c", f"{script}\n{order}"], capture_output=True, text=True, check=True, cwd="/proc/self/fd"
    )
    return set(result.stdout.split())


@pytest.fixture(scope="module")
def bash() -> str:
    return completion._bash(list(helps.every_help()))


def test_every_verb_is_offered(bash: str) -> None:
    assert completed(bash) >= set(main.VERBS)


def test_verbs_and_options_of_a_verb_are_offered(bash: str) -> None:
    assert completed(bash, "config") >= {"check", "show", "diff", "convert", "schema"}
    assert completed(bash, "sync") >= {"watch", "decode", "replay"}
    assert completed(bash, "config", "check", "lvsha.toml") >= {"--strict", "--json"}
    assert completed(bash, "sync", "decode") >= {"--follow", "--summary"}


def test_every_verb_has_a_page_with_its_help(tmp_path: Path) -> None:
    names = {path.name for path in manual.write(tmp_path)}

    assert names >= {f"lvsha-{verb}.1" for verb in main.VERBS} | {"lvsha.1", "lvsha-sync-decode.1"}
    text = (tmp_path / "lvsha-config-check.1").read_text()
    assert ".SH NAME\nlvsha\\-config\\-check \\- Say everything that is wrong" in text
    assert "\\-\\-strict" in text


def test_line_that_looks_like_a_macro_is_text() -> None:
    assert "\\&.SH" in manual.page(("x",), "x", "usage: x\n\n.SH of the text")
