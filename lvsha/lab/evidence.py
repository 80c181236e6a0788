"""What explains a run that did not go as it should: copied out of the guest before everything is cleared."""

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lvsha.lab.errors import LabError

if TYPE_CHECKING:
    from lvsha.lab.stage import Stage

_IPVS = (("-Ln", "table"), ("-Lnc", "connections"), ("-Ln --stats", "stats"))


def keep(stage: "Stage", target: Path) -> None:
    """Logs, configurations, tables, connections, what the witness saw, the wire."""
    target.mkdir(parents=True, exist_ok=True)
    for name, namespace in stage.topology.directors.items():
        for option, file in _IPVS:
            with contextlib.suppress(LabError):
                text = namespace.run(["ipvsadm", *option.split()], check=False)
                (target / f"{name}-ipvsadm-{file}.txt").write_text(text)
        with contextlib.suppress(LabError):
            (target / f"{name}-addresses.txt").write_text(namespace.run(["ip", "-br", "address"]))
        for path in stage.peer.node_folder(name).iterdir():
            if path.is_file():
                shutil.copy(path, target / f"{name}-{path.name}")
    stage.stop_capture()
    for path in [*stage.folder.glob("*.log"), *stage.folder.glob("*.pcap")]:
        if path.stat().st_size:
            shutil.copy(path, target / path.name)
    lines = (str(event) for event in stage.timeline.events if event["event"] != "advert")
    (target / "witness.txt").write_text("\n".join(lines) + "\n")
