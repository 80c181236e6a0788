"""What an alert may be asked for: topics, severities, names of events. And who is told, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from lvsha.core.instant import SECOND

MASK = "********"

TOPICS: dict[str, tuple[str, ...]] = {
    "role": ("change.role", "vrrp.duplicate_master"),
    "address": ("change.address", "vrrp.address_conflict"),
    "realserver": ("checker.check_fell", "checker.check_rose"),
    "realserver-down": ("checker.check_fell",),
    "realserver-up": ("checker.check_rose",),
    "quorum": ("checker.quorum_lost", "checker.quorum_gained"),
    "quorum-lost": ("checker.quorum_lost",),
    "quorum-gained": ("checker.quorum_gained",),
    "weight": ("change.weight",),
    "kernel": ("change.kernel", "sync.sync_daemon_repaired", "vrrp.addresses_repaired"),
    "coverage": ("alert.coverage_low", "alert.coverage_restored"),
    "peer": ("relay.peer_lost", "relay.peer_connected"),
    "peer-lost": ("relay.peer_lost",),
    "config-refused": ("agent.reload_refused", "agent.last_good_used", "director.reload_refused"),
    "order": ("director.override_set", "director.override_removed", "director.override_expired"),
    "process": ("agent.worker_died", "agent.worker_silent", "director.vrrpd_gone", "director.started"),
}
"""What operators call it, and the events that it is. The words are stable."""

SEVERITIES = ("debug", "info", "warning", "error")
"""Of the log, the least first."""


class Channel(StrEnum):
    """How somebody is told."""

    WEBHOOK = "webhook"
    MAIL = "mail"
    EXEC = "exec"


class MailSecurity(StrEnum):
    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """A server that takes mail, and whom it is for."""

    server: str
    port: int
    security: MailSecurity
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """One ``[[alert]]``. Defaults carry their reason in ``config.schema``."""

    name: str
    on: tuple[str, ...]
    webhook: str | None = field(default=None, repr=False)
    """Who knows the address may write there: a secret, all but its host."""
    token: str | None = field(default=None, repr=False)
    mail: MailSettings | None = None
    exec: tuple[str, ...] = ()
    ca_file: str | None = None
    timeout: int = 10 * SECOND
    """Of one attempt."""
    retry_for: int = 900 * SECOND
    """From the first attempt; then the message is given up."""
    repeat: int = 300 * SECOND
    """So long the same news of the same thing is not told again, but counted. 0: it is told always."""
    rate: int = 10
    """Messages a minute; what is more becomes one message of counts."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        found = {Channel.WEBHOOK: self.webhook, Channel.MAIL: self.mail, Channel.EXEC: self.exec}
        return tuple(channel for channel, value in found.items() if value)


def matches(on: Sequence[str], event: str, severity: str) -> bool:
    """Whether an event is one of those asked for; a severity asks for itself and what is worse."""
    for word in on:
        if word in TOPICS:
            if event in TOPICS[word]:
                return True
        elif word in SEVERITIES:
            if SEVERITIES.index(severity) >= SEVERITIES.index(word):
                return True
        elif event == word or (word.endswith(".*") and event.startswith(word[:-1])):
            return True
    return False


def masked_url(url: str) -> str:
    """``https://hooks.example/********``: who it is for, without what opens the door."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}/{MASK}"
