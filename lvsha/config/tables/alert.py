"""``[[alert]]``: who is told when something happens."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator

from lvsha.config.tables.forms import Table
from lvsha.config.tables.values import Directory, Duration, Name, checked, text_schema
from lvsha.core.instant import SECOND


def _webhook(value: str) -> str:
    """The address is a secret: it is not said again."""
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not re.fullmatch(r"[!-~]+", value):
        raise ValueError("is not a URL like https://chat.example/hooks/NAME")
    return value


def parse_mail_server(value: object) -> tuple[str, int | None]:
    """``mail.example.net``, ``mail.example.net:587``, ``[fd00::25]:25``; without a port: None."""
    match = (
        re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", value)
        if isinstance(value, str)
        else None
    )
    port = int(match[3]) if match is not None and match[3] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise ValueError(f'{value!r} is not "host" or "host:port"')
    return match[1] or match[2], port


def _mailbox(value: str) -> str:
    if not re.fullmatch(r"[!#-';-=?A-Z^-~.*+/0-9-]{1,64}@[A-Za-z0-9.\[\]:_-]{1,255}", value):
        raise ValueError(f"{value!r} is not a mail address like ops@example.net")
    return value


Webhook = Annotated[str, checked(_webhook, "URL")]

Mailbox = Annotated[str, checked(_mailbox, "mail address")]

MailServer = Annotated[
    tuple[str, int | None],
    PlainValidator(parse_mail_server),
    text_schema("host[:port]", "mail.example.net", "mail.example.net:587", "[fd00::25]:25"),
]


class Mail(Table):
    """Whom an alert is mailed to, and by which server."""

    server: MailServer = Field(description="Port by default 25, 587 with `starttls`, 465 with `tls`.")
    to: list[Mailbox] = Field(min_length=1, max_length=20, description="Who gets it.")
    sender: Mailbox | None = Field(default=None, description="Default: `lvsha@` and the director's name.")
    security: Literal["none", "starttls", "tls"] = Field(
        default="none", description="`starttls` and `tls` check the server's certificate."
    )
    user: str | None = Field(default=None, max_length=200, description="Where the server wants a login.")
    password: str | None = Field(
        default=None,
        max_length=200,
        description="Of `user`; never sent without `starttls` or `tls`.",
        json_schema_extra={"secret": True},
    )


class Alert(Table):
    """Somebody who is told when something happens. See [alerts](alerts.md)."""

    name: Name = Field(description="Unique in the file; `lvsha alert test NAME`.")
    on: list[str] = Field(
        min_length=1,
        max_length=50,
        description=(
            "What to tell: topics like `role`, severities (`warning` is also `error`), events like"
            " `vrrp.became_master` or `vrrp.*`."
        ),
    )
    webhook: Webhook | None = Field(
        default=None,
        description="A URL that JSON is POSTed to. All but its host is a secret.",
        json_schema_extra={"secret": True},
    )
    token: str | None = Field(
        default=None,
        max_length=4096,
        pattern="^[!-~]+$",
        description="Sent to the webhook as `Authorization: Bearer`.",
        json_schema_extra={"secret": True},
    )
    mail: Mail | None = Field(default=None, description="Whom to mail it to.")
    exec: list[str] = Field(
        default=[],
        max_length=50,
        description=(
            "A program and its arguments, run with the JSON on its standard input and `LVSHA_ALERT`,"
            " `LVSHA_EVENT`, `LVSHA_SEVERITY`, `LVSHA_SUBJECT`, `LVSHA_TEXT`, `LVSHA_NODE`. 0: it was told."
        ),
    )
    ca_file: Directory | None = Field(
        default=None, description="Certificates, in PEM, to trust instead of the system's."
    )
    timeout: Duration = Field(default=10 * SECOND, description="Of one attempt; then it is ended. 100ms-60s.")
    retry_for: Duration = Field(
        default=900 * SECOND,
        description="An attempt that failed is made again after 1 s, 2 s, 4 s to a minute, for so long.",
    )
    repeat: Duration = Field(
        default=300 * SECOND,
        description=(
            "For so long the same event of the same thing is only counted; then the last one is told, with"
            " the number. `0`: each is told."
        ),
    )
    rate: int = Field(
        default=10,
        ge=1,
        le=600,
        description="Messages a minute; what is more comes as one message that counts them.",
    )
