"""A persistent client must not come back to a realserver of weight 0.

IPVS ties a client to a realserver by a template, and follows it also to one whose weight is
0, for as long as the client keeps coming: a drain would never end, and a dead realserver
would keep its clients. With ``net.ipv4.vs.expire_quiescent_template`` such a template is
given up at the client's next connection; connections that exist stay. It is set while a
service is persistent, unless ``[ipvs.sysctl]`` says otherwise, and put back at a planned stop.
"""

import json
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.config.settings import Settings
from lvsha.io.sysctl import SavedSysctl, change_sysctls, restore_sysctls

NAME = "net.ipv4.vs.expire_quiescent_template"
_SHORT = NAME.rpartition(".")[2]


class QuiescentTemplates:
    """Level-triggered, by a change of the settings."""

    def __init__(self, journal: Journal, run_dir: Path) -> None:
        self._journal = journal
        self._path = run_dir / "templates.json"
        self._saved = self._load()
        self._settled: Settings | None = None

    def settle(self, settings: Settings) -> None:
        """Have the kernel as these settings need it."""
        if settings is self._settled:
            return
        self._settled = settings
        is_persistent = any(each.service.persistence_timeout_s is not None for each in settings.services)
        if not is_persistent or _SHORT in settings.sysctls:
            return
        saved, failures = change_sysctls({NAME: "1"})
        for error in failures:
            self._journal.write("sync.sysctl_failed", error=str(error))
        if saved:
            self._journal.write("director.templates_expire", sysctl=NAME, before=saved[0].before, after="1")
            if self._saved is None:
                self._saved = saved[0]
                self._path.write_text(json.dumps(saved[0].before))

    def restore(self) -> None:
        """As it was found."""
        if self._saved is not None:
            restore_sysctls([self._saved])
            self._saved = None
            self._path.unlink(missing_ok=True)

    def _load(self) -> SavedSysctl | None:
        try:
            return SavedSysctl(name=NAME, before=str(json.loads(self._path.read_text())), ours="1")
        except (OSError, ValueError):
            return None
