"""The site is built without a warning, and asks nobody elsewhere for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

_FROM_ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]*"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `./run docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-j", "auto"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}

    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_the_site_works_offline(site: Path) -> None:
    found = {
        f"{path.relative_to(site)}: {match[0]}"
        for path in site.rglob("*.html")
        for match in _FROM_ELSEWHERE.finditer(path.read_text(encoding="utf-8"))
    }

    assert found == set()
