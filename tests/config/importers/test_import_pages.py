"""The how-to of each importer: its example gives the report that is printed below it."""

import re
from pathlib import Path

import pytest

from lvsha.config.importers.convert import FORMATS, detect, to_toml, verified
from lvsha.config.importers.report import Reader

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("keepalived", "keepalived.conf"),
        ("ldirectord", "ldirectord.cf"),
        ("ipvsadm", "rules"),
        ("lvs-conf", "lvs.conf"),
    ],
)
def test_the_example_of_a_page_gives_its_report(kind: str, name: str) -> None:
    page = (HOW_TO / f"convert-from-{kind}.md").read_text()
    fenced = re.findall(r"```(?:text|sh)\n(.*?)```", page, re.DOTALL)
    old = fenced[0]
    result = FORMATS[kind](name, old, Reader())
    report = [
        f"{'!' if each.matters else ' '} {each.place}: {each.fate}: {each.keyword}: {each.message}"
        for each in verified(result, to_toml(result), name)
    ]

    assert detect(old) == kind
    assert fenced[2].splitlines()[:-1] == report
    assert f"{kind}: {result.carried} of {result.statements} statements" in fenced[2]
