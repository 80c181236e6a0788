"""What the API needs of the director behind it. The agent has it; a test may pretend to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lvsha.config.settings import ServiceSettings, Settings

Json = dict[str, Any]


class Refused(Exception):
    """It was understood and will not be done; nothing has changed. ``answer`` says why."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.answer: Json = {"error": error, **more}


class Unavailable(Exception):
    """Nobody could do it now: vrrpd is away, there is no relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vital:
    """What the endpoints without a body answer by; cheap to make."""

    master: tuple[str, ...]
    """Virtual routers that are MASTER here."""
    backup: tuple[str, ...]
    routers_expected: bool
    vrrpd: bool
    """vrrpd answers, or is not needed."""
    services: bool
    """Every service has its quorum and is in the kernel."""
    in_sync: bool
    """What would be needed to take over, or be taken over from, without loss is there."""
    table_age_s: float | None
    """Since the kernel's table was last read; None: never."""
    table_limit_s: float
    """Older than this is not ready."""


class StatusParts(Protocol):
    """The status while it is made: dictionaries of moderate size, one after the other, others running
    between. ``head`` comes last."""

    def head(self) -> Json:
        """Everything but ``services``."""

    def service(self, settings: ServiceSettings) -> Json:
        """A service without ``destinations``."""

    def destinations(self, settings: ServiceSettings) -> Iterator[Json]:
        """Its realservers."""


class DirectorPort(Protocol):
    """What the API needs of directord."""

    @property
    def settings(self) -> Settings: ...

    async def status_parts(self) -> StatusParts: ...

    def vital(self) -> Vital: ...

    def history(self, query: Mapping[str, str]) -> Iterable[Json]: ...

    def explain(self, target: str, at: float | None) -> Json: ...

    # Orders. Each raises Refused or Unavailable.

    async def order(
        self,
        kind: str,
        target: str | None,
        *,
        owner: str,
        reason: str,
        weight: int | None = None,
        expires_s: float | None = None,
        deadline_s: float | None = None,
        services: Sequence[str] | None = None,
    ) -> Json:
        """``services``: the only ones that the caller may touch; None: all."""

    async def take_back(
        self,
        kinds: Sequence[str],
        target: str | None,
        *,
        owner: str,
        reason: str,
        services: Sequence[str] | None = None,
    ) -> Json: ...

    async def switchover(self, *, force: bool, owner: str, at: float | None = None) -> Json: ...

    async def cancel_switchover(self, *, owner: str) -> Json: ...

    async def resume(self, *, owner: str) -> Json: ...

    def resync(self) -> Json: ...

    async def ask_peer(self, name: str | None, question: Json, body: bytes) -> tuple[str, int, bytes]:
        """Another director's API, through the relay: its name, the status, the body.

        ``question``: ``method``, ``path``, and on whose behalf: ``name``, ``role``, ``services``.
        Raises Unavailable.
        """

    # Alerts

    def alerts(self) -> list[Json]:
        """Secrets masked."""

    async def test_alert(self, name: str, *, owner: str) -> Json:
        """``results``: of each channel ``ok`` and ``answer``. Raises Refused."""

    # The configuration

    def config(self) -> Json: ...

    async def check_config(self, text: str | None) -> Json: ...

    async def apply_config(self, text: str, *, within_s: float, owner: str, pair: bool) -> Json:
        """On trial for so long; ``pair``: the other director tries it too."""

    async def confirm_config(self, *, generation: str | None, owner: str) -> Json: ...

    async def roll_back_config(self, *, owner: str) -> Json: ...

    async def reload(self, *, owner: str) -> Json: ...
