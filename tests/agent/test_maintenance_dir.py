"""A file takes a realserver out, its end brings it back, and other orders are left alone."""

import io
from collections.abc import Sequence
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.agent.maintenance_dir import OWNER, MaintenanceDir
from lvsha.api.port import Refused
from lvsha.config.settings import AgentSettings


class Orders:
    """Knows rs1 and rs2."""

    def __init__(self) -> None:
        self.standing: dict[str, str] = {}
        self.asked: list[str | None] = []

    def maintained(self) -> dict[str, str]:
        return dict(self.standing)

    async def order(self, kind: str, target: str | None, *, owner: str, reason: str) -> None:
        self.asked.append(target)
        if target not in ("rs1", "rs2"):
            raise Refused(f"there is no {target}")
        self.standing[target] = owner

    async def take_back(self, kinds: Sequence[str], target: str | None, *, owner: str, reason: str) -> None:
        assert list(kinds) == ["maintenance"]
        del self.standing[str(target)]


async def test_files_are_orders_and_nothing_else_is(tmp_path: Path) -> None:
    orders = Orders()
    orders.standing["rs2"] = "ann"
    journal = Journal("directord", AgentSettings(), stream=io.StringIO())
    watched = MaintenanceDir(journal, orders)
    for name in ("rs1", "rs2", "typo", ".swp"):
        (tmp_path / name).touch()

    await watched.look(str(tmp_path))
    await watched.look(str(tmp_path))
    assert orders.standing == {"rs1": OWNER, "rs2": "ann"}
    assert orders.asked == ["rs1", "typo"], "what was refused is not asked again"
    assert [entry["event"] for entry in journal.recent] == ["director.maintenance_file_refused"]

    await watched.look(str(tmp_path / "absent"))
    assert orders.standing == {"rs1": OWNER, "rs2": "ann"}, "an unreadable directory brings nobody back"

    for name in ("rs1", "rs2"):
        (tmp_path / name).unlink()
    await watched.look(str(tmp_path))
    assert orders.standing == {"rs2": "ann"}
