"""Every mistake that is looked for: found, at its line, with words that help, and nothing else."""

import re

import pytest

from lvsha.config.load import check, load_with_warnings, loads
from lvsha.core.errors import ConfigErrors, ConfigProblem
from tests.config.problem_cases import BASE, CASES, SERVICE, WITHOUT_A_LINE


def marks(text: str, sign: str) -> list[tuple[int, str]]:
    """Line and words of every mark."""
    return [
        (number, words.strip())
        for number, line in enumerate(text.splitlines(), 1)
        for words in re.findall(rf" # \{sign} (.*?)(?= # [!?] |$)", line)
    ]


def find(text: str) -> tuple[tuple[ConfigProblem, ...], tuple[ConfigProblem, ...]]:
    """Errors, and warnings (which there are only without errors)."""
    try:
        return (), check(text)
    except ConfigErrors as refusal:
        return refusal.problems, ()


def words_of(problem: ConfigProblem) -> str:
    return f"{problem.path}: {problem.message} ({problem.suggestion})"


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_found_where_it_is(name: str) -> None:
    text = CASES[name]
    errors, warnings = find(text)

    for sign, problems in (("!", errors), ("?", warnings)):
        expected = marks(text, sign)
        placed = [problem for problem in problems if problem.line is not None]
        for line, words in expected:
            assert any(problem.line == line and words in words_of(problem) for problem in placed), (
                f"line {line} should say {words!r}; found {[str(problem) for problem in problems]}"
            )
        for problem in placed:
            assert any(problem.line == line and words in words_of(problem) for line, words in expected), (
                f"nobody expects: {problem}"
            )
    for problem in (*errors, *warnings):
        if problem.line is None:
            assert WITHOUT_A_LINE.get(name, "?") in problem.message
    assert errors or warnings, "a case has a mistake"


def test_the_base_of_all_cases_is_fine() -> None:
    assert check(BASE + SERVICE) == ()


def test_problems_come_in_the_order_of_the_file() -> None:
    errors, _ = find(CASES["everything at once"])

    lines = [problem.line or 0 for problem in errors]
    assert lines == sorted(lines)
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[directors]\nlb1 = {\n", 2, "Invalid initial character"),
        ('[directors]\nlb1 = "a\n', 2, "Illegal character"),
        ("[[vrrp]]\ninterface = eth0\n", 2, "Invalid value at column 13 (text stands in quotes"),
        ("a = 1\na = 2\n", 2, "Cannot overwrite a value"),
        ("[vrrp]\n[[vrrp]]\n", 2, "double"),
        ("[sync\n", 1, "Expected ']'"),
        ("just words\n", 1, 'write key = "value"'),
        ("a = [1,\n\n", 3, "at the end of the file"),
        ("a = " + "9" * 5000 + "\n", None, ""),
        ("a = " + "[" * 5000 + "\n", None, "nested too deeply"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_text_that_is_not_toml_is_refused_at_its_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(ConfigErrors) as refusal:
        loads(text, "lvsha.toml", "lb1")

    (problem,) = refusal.value.problems
    assert problem.line == line
    assert words in f"{problem.message} ({problem.suggestion})"


def test_a_refusal_names_the_file_and_every_line() -> None:
    with pytest.raises(ConfigErrors) as refusal:
        loads(CASES["unknown key"] + "quorum = 9\n", "/etc/lvsha/lvsha.toml", "lb1")

    assert str(refusal.value).splitlines() == [
        '/etc/lvsha/lvsha.toml: line 12: service[0].schedular: unknown key (did you mean "scheduler"?)',
        "/etc/lvsha/lvsha.toml: line 13: service[0].quorum: 9 is more than the total weight, 2: "
        "it is never reached",
    ]


@pytest.mark.parametrize(
    "secret",
    [
        'check = { type = "http", password = ["hunter2"] }',
        'check = { type = "http", authorization = { hunter2 = "hunter2" } }',
        'check = { type = "http", headers = { Cookie = ["hunter2"] } }',
        'check = { type = "http", username = 5, password = "hunter2" }',
        'check = { type = "tcp", send = "hex:hunter2" }',
    ],
)
def test_a_secret_is_never_repeated_in_a_message(secret: str) -> None:
    errors, _ = find(BASE + SERVICE.replace('check = "tcp"', secret))

    assert errors
    for problem in errors:
        assert "hunter2" not in problem.message
        assert "hunter2" not in str(problem.suggestion)


def test_warnings_come_beside_settings() -> None:
    settings, warnings = load_with_warnings(CASES["dh"], "lvsha.toml", "lb1")

    assert settings.services[0].service.scheduler == "dh"
    assert [problem.path for problem in warnings] == ["service[0].scheduler"]
