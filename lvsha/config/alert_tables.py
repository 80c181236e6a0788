"""[[alert]]: who is told when something happens."""

import re
from urllib.parse import urlsplit

from lvsha.config import schema
from lvsha.config.alerts import SEVERITIES, TOPICS, AlertSettings, MailSecurity, MailSettings, masked_url
from lvsha.config.context import Context
from lvsha.config.findings import did_you_mean
from lvsha.config.lines import Path
from lvsha.core.instant import MILLISECOND, SECOND

_PORTS = {MailSecurity.NONE: 25, MailSecurity.STARTTLS: 587, MailSecurity.TLS: 465}
_EVENT = re.compile(r"(agent|alert|change|checker|director|hook|ipvs|relay|sync|vrrp)\.([a-z_]+|\*)")
_WORDS = (*TOPICS, *SEVERITIES[1:])


class Alerts:
    """Every ``[[alert]]`` of a document."""

    def __init__(self, context: Context) -> None:
        self._document = context.document
        self._findings = context.findings

    def of(self, node: str) -> tuple[AlertSettings, ...]:
        names: set[str] = set()
        found = []
        for place, alert in enumerate(self._document.alert):
            path: Path = ("alert", place)
            if alert.name in names:
                self._findings.error((*path, "name"), f'there is an alert "{alert.name}" already')
            names.add(alert.name)
            found.append(self._one(alert, path, node))
        return tuple(found)

    def _one(self, alert: schema.Alert, path: Path, node: str) -> AlertSettings:
        for number, word in enumerate(alert.on):
            if word not in _WORDS and not _EVENT.fullmatch(word):
                hint = did_you_mean(word, _WORDS) or f"topics: {', '.join(_WORDS)}; or an event's name"
                self._findings.error((*path, "on", number), f'nothing is called "{word}"', hint)
        if alert.webhook is None and alert.mail is None and not alert.exec:
            self._findings.error(path, "tells nobody", "it needs webhook, mail or exec")
        if alert.webhook is not None and urlsplit(alert.webhook).scheme == "http":
            self._findings.warning(
                (*path, "webhook"), f"goes to {masked_url(alert.webhook)} in the clear", "https:// hides it"
            )
        if alert.token is not None and alert.webhook is None:
            self._findings.warning((*path, "token"), "does nothing without webhook")
        for key, shortest, longest in (("timeout", 100 * MILLISECOND, 60 * SECOND),):
            if not shortest <= getattr(alert, key) <= longest:
                self._findings.error((*path, key), "is not from 100ms to 60s", '"10s"')
        for key in ("retry_for", "repeat"):
            if getattr(alert, key) > 86400 * SECOND:
                self._findings.error((*path, key), "is longer than a day")
        return AlertSettings(
            name=alert.name,
            on=tuple(alert.on),
            webhook=alert.webhook,
            token=alert.token,
            mail=None if alert.mail is None else self._mail(alert.mail, (*path, "mail"), node),
            exec=tuple(alert.exec),
            ca_file=alert.ca_file,
            timeout=alert.timeout,
            retry_for=alert.retry_for,
            repeat=alert.repeat,
            rate=alert.rate,
        )

    def _mail(self, mail: schema.Mail, path: Path, node: str) -> MailSettings:
        security = MailSecurity(mail.security)
        server, port = mail.server
        if mail.password is not None and (mail.user is None or security is MailSecurity.NONE):
            self._findings.error(
                (*path, "password"), "needs user, and starttls or tls", 'security = "starttls"'
            )
        return MailSettings(
            server=server,
            port=port or _PORTS[security],
            security=security,
            sender=mail.sender or f"lvsha@{node}",
            to=tuple(mail.to),
            user=mail.user,
            password=mail.password,
        )
