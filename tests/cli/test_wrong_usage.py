"""Wrong usage costs one line on standard error and exit status 2, for every verb."""

import pytest

from lvsha.cli import main as lvsha
from lvsha.cli.helps import every_help

BESIDE = ("ipvs",)
"""Speaks as ipvsadm does."""
WORDS = [words for words, _ in every_help() if words[0] not in BESIDE]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_an_option_that_there_is_not_is_refused_in_a_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = lvsha.main([*words, "--no-such-option"])
    except SystemExit as end:
        status = end.code  # type: ignore[assignment]  # a number, or the assertion says so

    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("lvsha")
    assert "--help" in err


def test_a_word_nearly_right_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lvsha.main(["lab", "run", "relaod"])

    assert "did you mean 'reload'?" in capsys.readouterr().err
