"""Pages and pictures that are made from the code are those that the code makes."""

import re
import sys
from pathlib import Path

import pytest

from lvsha.cli import main
from lvsha.cli.reference import PAGES
from lvsha.config.importers.keepalived_keywords import known
from tests.docs.layers import drawn

ROOT = Path(__file__).resolve().parents[2]


def committed(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


# argparse words its texts otherwise from version to version; the page is made by Debian 12's.
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the page has the help texts of Python 3.11")
def test_the_page_of_commands_is_current() -> None:
    assert committed("reference/commands.md") == PAGES["commands"](), (
        "run: python -m lvsha.cli.reference commands > docs/reference/commands.md"
    )


def test_the_page_of_commands_has_every_verb() -> None:
    page = committed("reference/commands.md")

    assert re.findall(r"^## lvsha ([a-z]+)$", page, re.MULTILINE) == list(main.VERBS)


def test_the_page_for_keepalived_users_is_current_and_has_every_keyword() -> None:
    page = committed("reference/for-keepalived-users.md")
    rows = page.partition("## Every keyword")[2]

    assert page == PAGES["for-keepalived-users"](), (
        "run: python -m lvsha.cli.reference for-keepalived-users > docs/reference/for-keepalived-users.md"
    )
    assert set(re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)) == known()


def test_the_picture_of_the_layers_is_current() -> None:
    assert committed("images/layers.svg") == drawn(), (
        "run: python -m tests.docs.layers > docs/images/layers.svg"
    )
