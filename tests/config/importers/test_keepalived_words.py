"""No keyword of the installed keepalived is unknown to us: the program itself is asked."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lvsha.config.importers.keepalived_keywords import CARRIED, REASONS, known

PROGRAM = shutil.which("keepalived", path="/usr/sbin:/usr/bin")
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "convert-from-keepalived.md"

_REAL_SERVER = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nreal_server 10.0.0.2 80 {\n"
_CHECKERS = (
    "HTTP_GET SSL_GET TCP_CHECK SMTP_CHECK DNS_CHECK UDP_CHECK PING_CHECK MISC_CHECK FILE_CHECK BFD_CHECK"
)
PLACES = {
    "root": "",
    "global_defs": "global_defs {\n",
    "vrrp_instance": "vrrp_instance A {\n",
    "authentication": "vrrp_instance A {\nauthentication {\n",
    "vrrp_sync_group": "vrrp_sync_group G {\n",
    "vrrp_script": "vrrp_script S {\n",
    "vrrp_track_process": "vrrp_track_process P {\n",
    "vrrp_track_file": "vrrp_track_file F {\n",
    "track_file": "track_file F {\n",
    "garp_group": "garp_group {\n",
    "track_group": "track_group T {\n",
    "bfd_instance": "bfd_instance B {\n",
    "SSL": "SSL {\n",
    "virtual_server": "virtual_server 10.0.0.1 80 {\nprotocol TCP\n",
    "real_server": _REAL_SERVER,
    "url": _REAL_SERVER + "HTTP_GET {\nurl {\n",
    "host": _REAL_SERVER + "SMTP_CHECK {\nhost {\n",
} | {name: _REAL_SERVER + name + " {\n" for name in _CHECKERS.split()}


def candidates(program: Path) -> set[str]:
    """Every word in the program that could be a keyword and that we do not know.

    Linkers keep a string that is another one's end only once: ends count as well, from each ``_`` on.
    """
    words = set()
    for found in re.finditer(rb"([A-Za-z][A-Za-z0-9_]*(?:-[a-z0-9]+)*)\0", program.read_bytes()):
        word = found[1].decode()
        words |= {word, *(word[at.end() :] for at in re.finditer("[_-]", word))}
    return {word for word in words if 1 < len(word) < 48} - known()


@pytest.mark.interop
@pytest.mark.skipif(PROGRAM is None, reason="keepalived is not installed")
def test_the_program_knows_no_keyword_that_we_do_not(tmp_path: Path) -> None:
    assert PROGRAM is not None
    file = tmp_path / "keepalived.conf"
    asked = candidates(Path(PROGRAM))
    taken = {}
    for place, head in PLACES.items():
        file.write_text(head + "\n".join(sorted(asked)) + "\n" + "}\n" * head.count("{"))
        done = subprocess.run(
            [PROGRAM, "-t", "-f", str(file)], capture_output=True, text=True, errors="replace", timeout=60
        )
        refused = set(re.findall(r"Unknown keyword '([^']*)'", done.stdout + done.stderr))
        assert refused, f"{place}: {done.stdout + done.stderr}"
        if left := asked - refused:
            taken[place] = sorted(left)

    assert len(asked) > 1000
    assert not taken


def test_the_page_tells_how_many_keywords() -> None:
    carried = frozenset[str]().union(*CARRIED.values())
    left_out = set(REASONS) - carried

    assert carried | left_out == known()
    assert (
        f"{len(known())} keywords are known by name: {len(carried)} are carried over, each of the other"
        f" {len(left_out)} has its reason"
    ) in " ".join(PAGE.read_text().split())
