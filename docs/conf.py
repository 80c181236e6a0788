"""The site: `./run docs` makes build/site/ of these pages, and a warning is an error.

The pages are written for whoever reads them in a checkout; nothing stands in them for the site's sake. What a
site needs besides is made here: the order of the pages is that of each folder's README.
"""

import re
import shutil
from pathlib import Path

from pygments.lexers import TextLexer
from sphinx.application import Sphinx
from sphinx.highlighting import lexers

from lvsha import __version__

project = "lvsha"
author = "The lvsha authors"
version = release = __version__

extensions = ["myst_parser"]
root_doc = "README"
exclude_patterns = ["conf.py"]
nitpicky = True

myst_heading_anchors = 4
"""Headings have names as on GitHub."""
myst_links_external_new_tab = False

html_theme = "alabaster"
html_theme_options = {"fixed_sidebar": True, "page_width": "75rem", "sidebar_width": "17rem"}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_copy_source = False
html_show_sphinx = False

_LISTED = re.compile(r"\]\(([\w/.-]+\.md)\)")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:README|proto|systemd|tests)\b[\w/.-]*)\)")
"""A link to a file of the checkout that is no page."""
_FOLDER = re.compile(r"\]\(((?:\.\./)?[\w-]+/)\)")
_TITLES = {
    "tutorials": "Tutorials",
    "how-to": "How-to guides",
    "reference": "Reference",
    "explanation": "Explanation",
    "failures": "When something is wrong",
    "decisions": "Decisions",
    "examples": "Examples",
}
"""The folders in the order of the navigation: learn, do, look up, understand."""


def _name_files(app: Sphinx, page: str, source: list[str]) -> None:
    """The site has pages alone: of other files it says where they are, and a folder is its README."""
    source[0] = _FOLDER.sub(r"](\1README.md)", source[0])
    source[0] = _OUTSIDE.sub(r"\1 (`\2`)", source[0])


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """A README is its folder's table of contents: the pages in the order in which it names them."""
    folder, _, name = page.rpartition("/")
    if name != "README":
        return
    if folder:
        named = dict.fromkeys(target for target in _LISTED.findall(source[0]) if "/" not in target)
        entries = [target.removesuffix(".md") for target in named]
    else:
        entries = [f"{title} <{each}/README>" for each, title in _TITLES.items()]
    source[0] += "\n".join(["", "```{toctree}", ":hidden:", *entries, "```", ""])


def _add_front_page(app: Sphinx, problem: Exception | None) -> None:
    """A web server, and a reader who opens the folder, look for index.html."""
    if problem is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    # A diagram's text is better than nothing: drawing it needs a script from elsewhere.
    lexers["mermaid"] = TextLexer(stripnl=False)
    app.connect("source-read", _name_files)
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_front_page)
