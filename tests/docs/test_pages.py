"""Pages hang together: blocks say what they are, links and anchors lead somewhere, every page is listed."""

import re
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lvsha.config.load import check
from lvsha.core.errors import ConfigErrors, ConfigProblem
from tests.docs.pages import DOCS, LANGUAGES, ROOT, Page, pages, read, slug

PAGES = pages()


def test_every_block_says_what_it_is() -> None:
    """``sh`` and ``console`` are run or listed (``test_commands.py``), ``toml`` is checked below."""
    unknown = [
        f"{block}: ```{block.language}: write one of {', '.join(sorted(LANGUAGES))}"
        for page in PAGES
        for block in page.blocks
        if block.language not in LANGUAGES
    ]

    assert not unknown


def test_blocks_stand_between_fences() -> None:
    """One that is only indented says nothing about itself."""
    indented = [
        f"{page.name}:{number}: {line.strip()}"
        for page in PAGES
        for (_, before), (number, line) in pairwise(page.prose)
        if line.startswith("    ") and not before.strip()
    ]

    assert not indented


def test_no_command_hides_in_a_block_of_text() -> None:
    """Output may begin with our name, a command may not be called output."""
    hidden = [
        f"{block}: {block.first}"
        for page in PAGES
        for block in page.blocks
        if block.language == "text" and re.match(r"(\$ |sudo |lvsha [a-z]+( |$))", block.first)
        if not re.match(r"lvsha \w+:", block.first)
    ]

    assert not hidden


def problems_of_links(page: Page, known: dict[Path, set[str]]) -> list[str]:
    found = []
    for line, target in page.links():
        name, _, anchor = target.partition("#")
        file = (page.path.parent / name).resolve() if name else page.path
        if not file.exists():
            found.append(f"{page.name}:{line}: there is no {name}")
        elif anchor and file.suffix == ".md" and anchor not in known.get(file, set()):
            found.append(f"{page.name}:{line}: {file.name} has no heading #{anchor}")
    return found


def test_links_and_anchors_lead_somewhere() -> None:
    known = {page.path: page.anchors() for page in PAGES}

    assert [problem for page in PAGES for problem in problems_of_links(page, known)] == []


def test_a_wrong_link_and_a_wrong_anchor_are_found(tmp_path: Path) -> None:
    page = replace(
        read(ROOT / "README.md"),
        prose=((1, "[a](nowhere.md) [b](#nothing) [c](#one-heading) `[d](code)`"), (2, "## One heading")),
    )

    assert problems_of_links(page, {page.path: page.anchors()}) == [
        "README.md:1: there is no nowhere.md",
        "README.md:1: README.md has no heading #nothing",
    ]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("How it works", "how-it-works"),
        ("`[alert]`: who", "alert-who"),
        ("a - b", "a---b"),
        ("0.1 s", "01-s"),
    ],
)
def test_anchors_are_made_as_github_makes_them(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_every_page_is_listed_by_its_folder() -> None:
    """A page that no index names is found by nobody."""
    for folder in (path for path in DOCS.iterdir() if path.is_dir()):
        names = sorted(page.name for page in folder.glob("*.md") if page.name != "README.md")
        index = (folder / "README.md").read_text(encoding="utf-8") if names else ""
        assert [name for name in names if f"({name})" not in index] == [], folder


SOUND = """
directors = { lb1 = { address = "10.0.0.1" }, lb2 = { address = "10.0.0.2" } }
"""
"""What a fragment leaves out, each under the name of its table."""
VRRP = '[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = ["10.0.0.10/24"]\n'
SERVICE = '[[service]]\naddress = "10.0.0.10:80"\ncheck = "tcp"\nrealservers = ["10.0.0.11"]\n'


def completed(text: str) -> str:
    """A fragment with the tables that it leaves out, or in the table that its keys belong to."""
    keys = tomllib.loads(text)
    if "checks" in keys:
        text = f'[[service]]\naddress = "10.0.0.10:80"\nrealservers = ["10.0.0.11"]\n{text}'
    if "advert_interval" in keys:
        text = VRRP + text
    if set(keys.get("vrrp", [{}])[0]) == {"track", "paths"}:
        text = text.replace("[[vrrp]]\n", VRRP)
    keys = tomllib.loads(text)
    lacks = [part for name, part in (("vrrp", VRRP), ("service", SERVICE)) if name not in keys]
    return "\n".join([SOUND if "directors" not in keys else "", text, *lacks])


TABLES = [block for page in PAGES for block in page.blocks if block.language == "toml"]


@pytest.mark.parametrize("block", TABLES, ids=str)
def test_a_configuration_in_a_page_is_sound(block: object) -> None:
    assert problems_of(str(getattr(block, "text", ""))) == ()


def problems_of(text: str) -> tuple[ConfigProblem, ...]:
    try:
        check(completed(text), "page")
    except ConfigErrors as refusal:
        return refusal.problems
    return ()


def test_a_wrong_key_in_a_page_is_found() -> None:
    assert [problem.path for problem in problems_of(SERVICE.replace("check =", "chekc ="))] == [
        "service[0].chekc"
    ]
