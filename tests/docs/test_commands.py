"""The commands of the documentation: understood by their parsers, and run where they can be."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from tests.docs.classes import CLASSES, class_of
from tests.docs.pages import ROOT, Block, pages
from tests.docs.parsers import commands, complaint

PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]
BLOCKS = [block for page in PAGES for block in page.blocks if block.language in ("sh", "console")]

PLACEHOLDER = re.compile(r"…|\.\.\.|[A-Z]{2,}|[|<\[]")
"""``lvsha check run TARGET``, ``lvsha sync watch|decode``: a pattern, not a command."""
INCOMPLETE = re.compile(r"arguments? (is|are) required|expected (one|at least one) argument|tells more\.$")
"""Prose may say `lvsha config convert` and leave the file to the reader."""


def script_of(block: Block) -> str:
    if block.language == "sh":
        return block.text
    return "".join(f"{line[2:]}\n" for line in block.text.splitlines() if line.startswith("$ "))


# Understood


def test_every_command_in_a_block_is_understood() -> None:
    wrong = [
        f"{block}: lvsha {' '.join(words)}: {error}"
        for block in BLOCKS
        for words in commands(script_of(block))
        if (error := complaint(words))
    ]

    assert not wrong


def test_every_command_in_the_text_is_understood() -> None:
    """Between backquotes. A part of a command is fine, a wrong option or verb is not."""
    wrong = []
    for page in PAGES:
        for line, span in page.spans():
            if not re.match(r"(\.venv/bin/)?lvsha [a-z]", span) or PLACEHOLDER.search(span):
                continue
            for words in commands(span):
                error = complaint(words)
                if error and not INCOMPLETE.search(error):
                    wrong.append(f"{page.name}:{line}: `{span}`: {error}")

    assert not wrong


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("lvsha darin 10.0.0.11", "no verb"),
        ("lvsha drain 10.0.0.11 --dedline 10m", "unrecognized arguments: --dedline"),
        ("ipvsadm -Sn | lvsha config convert --form ipvsadm - >lvsha.toml", "unrecognized arguments: --form"),
        ("lvsha config chek lvsha.toml", "invalid choice: 'chek'"),
        ("lvsha ipvs -A --tpc 10.0.0.1:80", "--tpc"),
        ("lvsha lab exec --bare -- lvsha sync dcode x.pcap", "no command 'dcode'"),
    ],
)
def test_a_wrong_word_is_found(script: str, says: str) -> None:
    assert [error for words in commands(script) if (error := complaint(words)) and says in error]


def test_lists_name_blocks_that_there_are() -> None:
    """A line that no block begins with is left over from one that has changed."""
    firsts = {
        page.name: [block.first for block in page.blocks if block.language in ("sh", "console")]
        for page in PAGES
    }
    left = [
        f"{name}: {beginning}"
        for name, listed in CLASSES.items()
        for beginning in listed
        if not any(first.startswith(beginning) for first in firsts.get(name, ()))
    ]

    assert not left


# Run

HERE = [block for block in BLOCKS if class_of(block.page, block.first) is None]

FINDINGS = {"lvsha trace nat-one-network-direct.*.pcap"}
"""Blocks whose last command finds something: exit status 1."""


def text_blocks(page: str) -> list[str]:
    return [block.text for each in PAGES if each.name == page for block in each.blocks]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


MISTAKES = """directors = { lb1 = { address = "10.0.0.1" }, lb2 = { address = "10.0.0.2" } }


[[vrrp]]
interface = "eth0"
addresses = ["10.0.0.10/24"]
vrid = 510

[[service]]
name = "web"
address = "10.0.0.10:80"
check = { type = "http", pth = "/" }
realservers = ["10.0.0.11:8080"]
"""


def first_block(name: str) -> Callable[[Path, str], None]:
    """The page's first block is a file of that name."""
    return lambda folder, page: write(folder, name, text_blocks(page)[0])


def readme(folder: Path, page: str) -> None:
    (sound,) = [text for text in text_blocks(page) if text.startswith("directors =")]
    write(folder, "lvsha.toml", sound.replace("vrid", "vird"))


def captures(folder: Path, page: str) -> None:
    for path in (ROOT / "tests/trace/captures").glob("nat-one-network-direct.*"):
        shutil.copy(path, folder)
    for role, name in (("client", "client"), ("lb", "lb1"), ("rs", "rs1")):
        shutil.copy(ROOT / f"tests/trace/captures/dr.{role}.pcap", folder / f"{name}.pcap")
    shutil.copy(folder / "client.pcap", folder / "big.pcap")
    subprocess.run(["gzip", "-k", "big.pcap"], cwd=folder, check=True)


def sync_capture(folder: Path, page: str) -> None:
    shutil.copy(ROOT / "proto/captures/v1_tcp_nat.pcap", folder / "sync.pcap")


NEEDS: dict[str, Callable[[Path, str], None]] = {
    "README.md": readme,
    "docs/how-to/check-a-configuration.md": lambda folder, _: write(folder, "lvsha.toml", MISTAKES),
    "docs/how-to/convert-from-ipvsadm.md": first_block("rules"),
    "docs/how-to/convert-from-keepalived.md": first_block("keepalived.conf"),
    "docs/how-to/convert-from-ldirectord.md": first_block("ldirectord.cf"),
    "docs/how-to/convert-from-lvs-conf.md": first_block("lvs.conf"),
    "docs/how-to/is-my-sync-working.md": sync_capture,
    "docs/how-to/trace-a-connection.md": captures,
    "docs/tutorials/from-keepalived.md": lambda folder, _: write(
        folder, "etc/keepalived/keepalived.conf", text_blocks("docs/how-to/convert-from-keepalived.md")[0]
    ),
}
"""What a page's reader has before the first command."""


@pytest.mark.parametrize(
    ("page", "blocks"),
    [(name, list(blocks)) for name, blocks in groupby(HERE, key=lambda block: block.page)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_commands_do_what_the_page_says(page: str, blocks: list[Block], tmp_path: Path) -> None:
    """In the order of the page, in one folder; ``/etc`` is a folder below it."""
    (tmp_path / "etc/lvsha").mkdir(parents=True)
    if page in NEEDS:
        NEEDS[page](tmp_path, page)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for block in blocks:
        script = script_of(block).replace("/etc/", f"{tmp_path}/etc/")
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if block.language == "console":
            printed = "".join(
                line for line in block.text.splitlines(keepends=True) if not line.startswith("$ ")
            )
            assert done.stdout + done.stderr == printed, str(block)
        else:
            status = 1 if block.first in FINDINGS else 0
            assert done.returncode == status, f"{block}: {done.returncode}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr, str(block)
