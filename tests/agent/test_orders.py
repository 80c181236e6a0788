"""What operators ordered, and what came of it, survives the process."""

import io
import json
from pathlib import Path

import pytest

from lvsha.agent.chronicle import Chronicle
from lvsha.agent.journal import Journal
from lvsha.agent.orders import OrdersFile, Standing, override_of
from lvsha.config.settings import AgentSettings
from lvsha.director.cause import Cause, CauseKind
from lvsha.director.drain import Phase
from lvsha.director.overrides import Ended, Override, OverrideKind, Target
from lvsha.director.status import override_document

DRAIN = Override(
    kind=OverrideKind.DRAIN,
    target=Target(service="web", realserver="rs1"),
    owner="ann",
    reason="new disk",
    node="lb1",
    set_at=1.5,
    deadline_at=61.5,
    version=4,
)
STANDING = Standing(
    overrides=(DRAIN, Override(kind=OverrideKind.PAUSE, target=Target(), expires_at=9.0)),
    ended={("web", "rs1"): Phase.DRAINED},
    over=(
        Ended(
            kind=OverrideKind.DISABLE,
            target=Target(realserver="rs2"),
            version=3,
            node="lb2",
            owner="bob",
            reason="done",
        ),
    ),
    switchover_at=77.0,
    switchover_owner="ann",
)
ROUTER = {"name": "eth0-51", "state": "BACKUP", "holds_addresses": False, "addresses": ["10.0.0.10/24"]}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    file = OrdersFile(tmp_path / "state" / "orders.json")

    file.save(STANDING)

    assert OrdersFile(tmp_path / "state" / "orders.json").load() == STANDING
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["orders.json"]


def test_a_file_of_before_orders_were_shared_is_read(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    OrdersFile(path).save(STANDING)
    document = json.loads(path.read_text())
    del document["over"]
    for row in document["overrides"]:
        del row["version"]
    path.write_text(json.dumps(document))

    found = OrdersFile(path).load()

    assert found.over == ()
    assert [each.version for each in found.overrides] == [0, 0]
    assert found.overrides[0].owner == "ann"


def test_without_an_order_there_is_no_file(tmp_path: Path) -> None:
    file = OrdersFile(tmp_path / "orders.json")

    file.save(Standing())

    assert list(tmp_path.iterdir()) == []
    assert file.load() == Standing()
    assert file.complaint == ""


def test_taking_the_last_order_back_is_saved_as_well(tmp_path: Path) -> None:
    file = OrdersFile(tmp_path / "orders.json")
    file.save(STANDING)

    file.save(Standing())

    assert file.load() == Standing()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 2}', '{"version": 1}', "\x00\xff"])
def test_a_file_that_cannot_be_used_is_kept_beside_and_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "orders.json"
    path.write_text(text)
    file = OrdersFile(path)

    assert file.load() == Standing()

    assert "orders.json.bad" in file.complaint
    assert (tmp_path / "orders.json.bad").read_text() == text


def test_an_override_of_another_shape_is_refused() -> None:
    good = override_document(DRAIN)
    assert override_of(json.loads(json.dumps(good))) == DRAIN

    for change in ({"kind": "dance"}, {"weight": "x"}, {"service": 7}, {"set_at": "soon"}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            override_of({**good, **change})


def chronicle(folder: Path) -> tuple[Chronicle, io.StringIO]:
    stream = io.StringIO()
    return Chronicle(Journal("directord", AgentSettings(), stream=stream), folder / "history.jsonl"), stream


def test_changes_are_logged_told_and_read_again(tmp_path: Path) -> None:
    first, stream = chronicle(tmp_path)
    heard: list[int] = []
    first.listeners.append(lambda row: heard.append(row["id"]))
    first.on_routers([ROUTER])
    first.on_order(Cause(kind=CauseKind.ORDER, text="switchover by ann"))
    first.on_vrrp_event({"event": "vrrp.became_master", "router": "eth0-51", "reason": "master_left"})
    first.on_routers([{**ROUTER, "state": "MASTER", "holds_addresses": True}])
    first.close()

    second, _ = chronicle(tmp_path)
    kept = second.history.changes()

    assert heard == [1, 2, 3]
    assert [(change.what, change.after) for change in kept] == [
        ("role", "BACKUP"),
        ("role", "MASTER"),
        ("address", "10.0.0.10/24"),
    ]
    assert kept[1].causes[0].text == "switchover by ann"
    assert "change.role id=2 subject=eth0-51 before=BACKUP after=MASTER cause=order" in stream.getvalue()
    second.on_routers([ROUTER])
    second.close()
    assert second.history.changes()[-1].number == 4


def test_a_torn_line_costs_that_line_alone(tmp_path: Path) -> None:
    first, _ = chronicle(tmp_path)
    first.on_routers([ROUTER])
    first.on_routers([{**ROUTER, "state": "FAULT"}])
    first.close()
    text = (tmp_path / "history.jsonl").read_text()
    (tmp_path / "history.jsonl").write_text("{torn\n" + text + '{"id": 9, "at"')

    second, _ = chronicle(tmp_path)

    assert [change.after for change in second.history.changes()] == ["BACKUP", "FAULT"]


def test_a_history_that_cannot_be_written_costs_no_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken, stream = chronicle(tmp_path / "file" / "below")

    broken.on_routers([ROUTER])

    assert len(broken.history.changes()) == 1
    assert "change.role" in stream.getvalue()
