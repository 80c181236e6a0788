"""The language of keepalived.conf, example by example of its manual page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.config.importers.keepalived_text import MAX_LINES, Statement, statements
from lvsha.config.importers.report import Notebook, Reader


def tree(text: str, **reader: object) -> list[object]:
    """Words, and (words, children) for blocks."""
    found = statements("k.conf", text, Reader(**reader), Notebook())  # type: ignore[arg-type]
    return [_plain(statement) for statement in found]


def _plain(statement: Statement) -> object:
    if statement.children is None:
        return list(statement.words)
    return list(statement.words), [_plain(child) for child in statement.children]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b # c\n! d\n", [["a", "b"]]),
        ("x \"a # b\" 'c ! d' # e", [["x", "a # b", "c ! d"]]),
        (r'x "a\tb\x41\101\cA\"" y', [["x", 'a\tbAA\x01"', "y"]]),
        ('abcd" efg h jkl "mnop', [["abcd efg h jkl mnop"]]),
        ("a b \\\n  c\nd", [["a", "b", "c"], ["d"]]),
        ("g { a\n b c }\nd", [(["g"], [["a"], ["b", "c"]]), ["d"]]),
        ("g\n{\n a\n}", [(["g"], [["a"]])]),
        ("t { eth0 }", [(["t"], [["eth0"]])]),
        ("a { b { c } }", [(["a"], [(["b"], [["c"]])])]),
        ('x "{" }', [["x", "{"]]),
        ("x ${NOBODY} $NOBODY", [["x", "${NOBODY}", "$NOBODY"]]),
        ("$A=1\nx ${A}2 $A\n$A=3\nx $A", [["x", "12", "1"], ["x", "3"]]),
        ("$A=10.${B}\n$B=0\nx ${A}.1\n$B=9\nx ${A}.1", [["x", "10.0.1"], ["x", "10.9.1"]]),
        ("x ${_HASH}a ${_BANG}b # c", [["x", "#a", "!b"]]),
        ("~SEQ(S, 0, 2) ip 10.0.${S}.1", [["ip", "10.0.0.1"], ["ip", "10.0.1.1"], ["ip", "10.0.2.1"]]),
        ("~SEQ(S, 2) a$S\n", [["a1"], ["a2"]]),
        ("~SEQ(S, -2) a${S}", [["a-1"], ["a-2"]]),
        ("~SEQ(S, 3, 1) a${S}", [["a3"], ["a2"], ["a1"]]),
        ("~SEQx(S, 0x90, 0x10, 0xb0) fe::${S}:1", [["fe::90:1"], ["fe::a0:1"], ["fe::b0:1"]]),
        ("~LST({A, B}, {1,2},{3,4}) ${A}.${B}", [["1.2"], ["3.4"]]),
        ("~LST(A, 1, 2) ~LST(B, 5,6) ${A}${B}", [["15"], ["16"], ["25"], ["26"]]),
        ("$I=@main\n$I x 1\ny", [["y"]]),
    ],
)
def test_the_language(text: str, expected: list[object]) -> None:
    assert tree(text) == expected


def test_conditions_ask_for_the_config_id() -> None:
    text = "@main x 1\n@backup x 2\n@^main x 3\n@main $P=240\n@backup $P=200\np $P"

    assert tree(text, config_id="main") == [["x", "1"], ["p", "240"]]
    assert tree(text, config_id="backup") == [["x", "2"], ["x", "3"], ["p", "200"]]


def test_definitions_of_several_lines_nest() -> None:
    text = r"""
$SERVER= \
real_server 10.0.0.${N} 80 { \
    weight 1 \

    @low inhibit_on_failure \
}
$SERVICE= \
virtual_server 10.0.1.${V} 80 { \
    $N=1 \
    $SERVER \
    $N=2 \
    $SERVER \
}
$V=4
$SERVICE
"""
    assert tree(text, config_id="high") == [
        (
            ["virtual_server", "10.0.1.4", "80"],
            [
                (["real_server", "10.0.0.1", "80"], [["weight", "1"]]),
                (["real_server", "10.0.0.2", "80"], [["weight", "1"]]),
            ],
        )
    ]


def test_includes_know_their_own_directory() -> None:
    files = {
        "conf.d/*.conf": [("/etc/k/conf.d/a.conf", "a ${_PWD}\ninclude b"), ("/etc/k/conf.d/c.conf", "c")]
    }
    asked = []

    def find(pattern: str, including: str) -> list[tuple[str, str]]:
        asked.append((pattern, including))
        return files.get(pattern, [])

    notebook = Notebook()
    found = statements("/etc/k/k.conf", "include conf.d/*.conf\nd", Reader(find), notebook)

    assert [statement.words for statement in found] == [("a", "/etc/k/conf.d"), ("c",), ("d",)]
    assert asked == [("conf.d/*.conf", "/etc/k/k.conf"), ("b", "/etc/k/conf.d/a.conf")]
    assert [remark.message for remark in notebook.remarks] == ["no file matches b"]
    assert found[0].place.file == "/etc/k/conf.d/a.conf"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$A=x${A}\n${A}", "a parameter stands for itself"),
        ("~SEQ(A,1,60000) ~SEQ(B,1,2) x", f"the file grows beyond {MAX_LINES} lines"),
        ("a {" * 40, "blocks are nested more than 32 deep"),
    ],
)
def test_what_would_not_end_is_cut(text: str, message: str) -> None:
    notebook = Notebook()

    statements("k.conf", text, Reader(), notebook)

    assert notebook.remarks[0].message.startswith(message)
    assert notebook.remarks[0].matters


def test_files_that_include_each_other_are_cut() -> None:
    notebook = Notebook()

    statements("k", "include k", Reader(lambda pattern, including: [("k", "include k\nx")]), notebook)

    assert any("in a circle" in remark.message for remark in notebook.remarks)


@pytest.mark.parametrize(("text", "word"), [("a {\nb", "not closed"), ("}", "closes no block")])
def test_braces_that_do_not_match_are_said(text: str, word: str) -> None:
    notebook = Notebook()

    statements("k.conf", text, Reader(), notebook)

    assert word in notebook.remarks[0].message


@given(st.text(alphabet="ab {}\"'\\\n#!@^$~SEQLST(),=10x_", max_size=80))
def test_any_text_has_a_tree(text: str) -> None:
    statements("k.conf", text, Reader(), Notebook())
