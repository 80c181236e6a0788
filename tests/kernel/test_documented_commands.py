"""Commands of the documentation that need a kernel: each page's, in its order, in a namespace of its own.

Which these are, ``tests/docs/classes.py`` says. ``/etc`` and ``/run/lvsha`` are folders of the test, mounted
for the length of a block. A running pair answers the few that ask an agent.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from socket import create_server

import pytest

from lvsha.lab.netns import Namespace, ip_batch
from tests.docs.classes import GUEST, class_of
from tests.docs.pages import Block, pages
from tests.kernel.director_rig import Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

BLOCKS = [
    block
    for page in pages()
    for block in page.blocks
    if block.language in ("sh", "console") and class_of(block.page, block.first) == GUEST
]
HERE = "10.0.0.11/24"
NEED_AN_AGENT = ("lvsha drain", "lvsha undrain", "lvsha reload", "curl --unix-socket")

CONFIG = """
directors = { lb1 = { address = "10.0.0.1" }, lb2 = { address = "10.0.0.2" } }
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
[[service]]
name = "web"
address = "10.0.0.10:80"
realservers = ["10.0.0.11", "10.0.0.12"]
[sync]
syncid = 51
interface = "eth0"
"""
RULES = """-A -t 10.0.0.10:80 -s wlc
-a -t 10.0.0.10:80 -r 10.0.0.11:80 -g -w 1
-a -t 10.0.0.10:80 -r 10.0.0.12:80 -g -w 1
"""
CHANGED = (
    CONFIG.replace(', "10.0.0.12"', "")
    .replace('address = "10.0.0.10:80"', 'address = "10.0.0.10:80"\nscheduler = "mh"')
    .replace("syncid = 51", "syncid = 7")
)


class Desk:
    """Where a reader sits: a folder, an /etc, and a network."""

    def __init__(self, folder: Path, space: Namespace, run_dir: Path) -> None:
        self.folder, self.space, self.run_dir = folder, space, run_dir
        self.etc = folder / "etc"
        self.etc.mkdir()
        for name in ("passwd", "group", "hosts", "nsswitch.conf", "protocols", "services", "ld.so.cache"):
            if (found := Path("/etc", name)).exists():
                shutil.copy(found, self.etc)
        shutil.copytree("/etc/alternatives", self.etc / "alternatives", symlinks=True)
        for name in ("lvsha", "keepalived", "ha.d", "sysctl.d"):
            (self.etc / name).mkdir()
        (self.etc / "lvsha/lvsha.toml").write_text(CONFIG)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def shell(self, script: str) -> "subprocess.CompletedProcess[str]":
        mounts = f"mkdir -p /run/lvsha; mount --bind {self.etc} /etc; mount --bind {self.run_dir} /run/lvsha"
        with self.space.entered():
            return subprocess.run(
                ["unshare", "--mount", "sh", "-c", f'{mounts}\nexec sh -c "$1"', "sh", script],
                cwd=self.folder,
                env={
                    "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
                    "HOME": str(self.folder),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )

    def setup(self, script: str) -> None:
        done = self.shell(f"set -e\n{script}")
        assert done.returncode == 0, done.stdout + done.stderr

    def do(self, block: Block) -> None:
        """Every line of the block has to succeed, and print what the page says."""
        script = block.text
        if block.language == "console":
            script = "".join(line[2:] for line in block.text.splitlines(keepends=True) if line[:2] == "$ ")
        # Nobody sits at a terminal here.
        done = self.shell("set -e\n" + script.replace("realserver apply", "realserver apply --yes"))
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        if block.language == "console":
            said = "".join(line for line in block.text.splitlines(keepends=True) if line[:2] != "$ ")
            assert done.stdout == said, str(block)


LOST = re.compile(r"quorum_down|SERVER_DEFAULT_GW|emailalert")


def filled(desk: Desk) -> None:
    desk.write("rules", RULES)
    desk.setup("ipvsadm -R <rules")


def old_files(desk: Desk) -> None:
    filled(desk)
    for page, name in (
        ("keepalived", "keepalived/keepalived.conf"),
        ("ldirectord", "ha.d/ldirectord.cf"),
        ("lvs-conf", "lvs.conf"),
    ):
        (first, *_) = next(
            each for each in pages() if each.name == f"docs/how-to/convert-from-{page}.md"
        ).blocks
        # What matters to traffic and is not carried would end the conversion with status 1.
        lines = [line for line in first.text.splitlines(keepends=True) if not LOST.search(line)]
        (desk.etc / name).write_text("".join(lines))


def as_keepalived(desk: Desk) -> None:
    """The kernel has what the converted file says."""
    old_files(desk)
    desk.setup(
        "lvsha config convert /etc/keepalived/keepalived.conf >lvsha.toml; cp lvsha.toml /etc/lvsha;"
        " ipvsadm -C; lvsha config convert --to ipvsadm lvsha.toml 2>err | ipvsadm -R"
    )


def realserver(desk: Desk) -> None:
    desk.write("lvsha.toml", CONFIG)


def of_lvs_conf(desk: Desk) -> None:
    old_files(desk)
    desk.setup("ip address add 10.1.1.2/24 dev eth0; lvsha config convert /etc/lvs.conf -o lvsha.toml")


PREPARED: dict[str, Callable[[Desk], None]] = {
    "docs/how-to/check-a-configuration.md": lambda desk: desk.write("new.toml", CHANGED),
    "docs/how-to/convert-a-configuration.md": old_files,
    "docs/how-to/convert-from-keepalived.md": as_keepalived,
    "docs/how-to/convert-from-lvs-conf.md": of_lvs_conf,
    "docs/how-to/prepare-a-realserver.md": realserver,
    "docs/how-to/replace-ipvsadm.md": filled,
    "docs/tutorials/from-keepalived.md": as_keepalived,
}
"""What a page's reader has before the first command."""


@contextmanager
def desk_of(folder: Path) -> Iterator[Desk]:
    """A machine with one interface, and somebody who listens at port 80."""
    with ExitStack() as stack:
        space = Namespace("page")
        ip_batch([f"netns add {space.name}"])
        stack.callback(ip_batch, [f"netns del {space.name}"])
        space.batch(
            ["link add eth0 type dummy", "link set lo up", "link set eth0 up", f"address add {HERE} dev eth0"]
        )
        with space.entered():
            stack.enter_context(create_server(("", 80)))
        (folder / "run").mkdir()
        yield Desk(folder, space, folder / "run")


PAGES = [
    (name, mine)
    for name, blocks in groupby(BLOCKS, key=lambda block: block.page)
    if (mine := [block for block in blocks if not block.first.startswith(NEED_AN_AGENT)])
]


@pytest.mark.parametrize(("page", "blocks"), PAGES, ids=[Path(name).stem for name, _ in PAGES])
def test_commands_do_what_the_page_says(page: str, blocks: list[Block], tmp_path: Path) -> None:
    with desk_of(tmp_path) as desk:
        if page in PREPARED:
            PREPARED[page](desk)
        for block in blocks:
            desk.do(block)


ALERT = """
[[alert]]
name = "oncall"
on = ["role"]
exec = ["/bin/true"]
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("pages"), lambda text: text + ALERT) as rig:
        rig.roles()
        yield rig


def test_commands_about_a_running_director_do_what_the_pages_say(rig: Rig, tmp_path: Path) -> None:
    desk = Desk(tmp_path, rig.namespace("lb1"), rig.run_dir("lb1"))
    blocks = [block for block in BLOCKS if block.first.startswith(NEED_AN_AGENT)]

    assert len(blocks) >= 4
    for block in blocks:
        desk.do(block)
