"""``HTTP_GET``, ``TCP_CHECK`` … to a ``check`` table."""

import re
import shlex
from ipaddress import ip_address
from typing import Any

from lvsha.config.importers.keepalived_scope import (
    duration,
    number,
    read_block,
    refuse,
    seconds,
    truth,
    whole,
)
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

CHECKERS = {
    "TCP_CHECK": "tcp",
    "HTTP_GET": "http",
    "SSL_GET": "https",
    "SMTP_CHECK": "smtp",
    "DNS_CHECK": "dns",
    "UDP_CHECK": "udp",
    "PING_CHECK": "ping",
    "MISC_CHECK": "exec",
}


class Timers:
    """delay_loop and its kin, which checks inherit from realservers and these from services."""

    def __init__(self, parent: "Timers | None" = None) -> None:
        self.values: dict[str, float] = dict(parent.values) if parent else {}
        self.alpha: bool = parent.alpha if parent else False
        self.virtualhost: str | None = parent.virtualhost if parent else None

    def handlers(self) -> dict[str, Any]:
        def keep(name: str) -> Any:
            return lambda s: self.values.__setitem__(name, seconds(s))

        return {
            "delay_loop": keep("delay_loop"),
            "connect_timeout": keep("connect_timeout"),
            "delay_before_retry": keep("delay_before_retry"),
            "retry": lambda s: self.values.__setitem__("retry", number(s, 0, 10_000)),
            "nb_get_retry": lambda s: self.values.__setitem__("retry", number(s, 0, 10_000)),
            "alpha": lambda s: setattr(self, "alpha", truth(s)),
            "virtualhost": lambda s: setattr(self, "virtualhost", s.values[0]),
        }

    def table(self, kind: str) -> dict[str, Any]:
        """As lvsha's keys, keepalived's defaults written out."""
        delay = self.values.get("delay_loop", 60.0) or 1.0
        default_retry = {"dns": 3, "exec": 0}.get(kind, 1)
        before_retry = {"http": 3.0, "https": 3.0, "dns": delay}.get(kind, 1.0)
        return {
            "interval": duration(delay),
            "fast_interval": duration(
                max(min(self.values.get("delay_before_retry", before_retry), delay), 0.001)
            ),
            "timeout": duration(self.values.get("connect_timeout", 5.0) or 5.0),
            "fall": int(self.values.get("retry", default_retry)) + 1,
            "rise": 1,
            "initial": "down" if self.alpha else "up",
        }


def read_checks(
    statement: Statement, parent: Timers, script_user: str | None, notebook: Notebook
) -> list[dict[str, Any]]:
    """One checker block: a check for each ``url`` or ``host``, and all of them have to pass."""
    return _Check(statement, parent, script_user, notebook).tables()


class _Check:
    def __init__(
        self, statement: Statement, parent: Timers, script_user: str | None, notebook: Notebook
    ) -> None:
        self._statement = statement
        self._kind = CHECKERS[statement.keyword]
        self._timers = Timers(parent)
        self._notebook = notebook
        self._table: dict[str, Any] = {}
        self._places: list[dict[str, Any]] = []
        """What each ``url`` or ``host`` says."""
        self._has_sni = False
        if self._kind == "exec" and script_user:
            self._table["user"] = script_user
        read_block(statement, self._handlers(self._table), notebook)

    def _handlers(self, table: dict[str, Any]) -> dict[str, Any]:
        handlers = {
            **self._timers.handlers(),
            "connect_ip": lambda s: table.update(address=str(ip_address(s.values[0]))),
            "connect_port": lambda s: table.update(port=number(s, 1, 65535)),
            "bindto": lambda s: table.update(bind_address=str(ip_address(s.values[0]))),
            "bind_port": lambda s: table.update(bind_port=number(s, 1, 65535)),
            "bind_if": lambda s: table.update(bind_interface=s.values[0]),
            "fwmark": lambda s: table.update(fwmark=number(s, 0, 2**32 - 1)),
        }
        extra: dict[str, dict[str, Any]] = {
            "http": {"url": self._url, "http_protocol": self._http_protocol},
            "smtp": {"helo_name": lambda s: table.update(helo_name=s.values[0]), "host": self._host},
            "dns": {
                "type": lambda s: table.update(query_type=s.values[0].upper()),
                "name": lambda s: table.update(query_name=s.values[0]),
            },
            "udp": {
                "payload": lambda s: table.update(payload="hex:" + _hex("".join(s.values))[0]),
                "require_reply": self._require_reply,
                "min_reply_length": lambda s: table.update(minimum_reply=number(s, 0, 65535)),
                "max_reply_length": lambda s: table.update(maximum_reply=number(s, 0, 65535)),
            },
            "exec": {
                "misc_path": self._misc_path,
                "misc_timeout": lambda s: self._timers.values.__setitem__("connect_timeout", seconds(s)),
                "misc_dynamic": lambda s: table.update(weight_from_exit=truth(s)),
                "user": self._user,
            },
        }
        extra["https"] = {
            **extra["http"],
            "enable_sni": lambda s: setattr(self, "_has_sni", truth(s)),
            "sni_name": lambda s: table.update(tls={"verify": False, "server_name": s.values[0]}),
        }
        return handlers | extra.get(self._kind, {})

    def tables(self) -> list[dict[str, Any]]:
        place, keyword = self._statement.place, self._statement.keyword
        if self._kind in ("http", "https") and not self._places:
            self._notebook.suspicious(place, keyword, "has no url: / is asked for")
        if self._kind == "https":
            self._notebook.changed(
                place,
                keyword,
                "keepalived never verifies a certificate, so verify = false; without that line it is"
                " verified",
            )
        return [self._one(own) for own in self._places or [{}]]

    def _one(self, own: dict[str, Any]) -> dict[str, Any]:
        table = {"type": self._kind, **self._table, **own}
        place, keyword = self._statement.place, self._statement.keyword
        if self._kind in ("http", "https"):
            table.setdefault("version", "1.0")
            if self._timers.virtualhost is not None:
                table.setdefault("host", self._timers.virtualhost)
        if self._kind == "https":
            table.setdefault("tls", {"verify": False})
        if self._kind == "exec":
            if "command" not in table:
                self._notebook.suspicious(place, keyword, "has no misc_path: always up", matters=True)
                return {"type": "on"}
            self._timers.values.setdefault("connect_timeout", self._timers.values.get("delay_loop", 60.0))
        if self._kind == "dns":
            table.setdefault("port", 53)
        if self._kind == "udp" and "require_reply" in table:
            table.setdefault("maximum_reply", 255)
        if self._kind == "ping":
            table.pop("port", None)
        return table | self._timers.table(self._kind)

    def _url(self, statement: Statement) -> None:
        table: dict[str, Any] = {}
        patterns: dict[str, Any] = {"text": None, "absent": False}
        self._notebook.take()
        read_block(
            statement,
            {
                "path": lambda s: table.update(path=s.values[0]),
                "digest": lambda s: table.update(digest=_digest(s.values[0])),
                "status_code": lambda s: table.update(status=[_status(word) for word in s.values]),
                "virtualhost": lambda s: table.update(host=s.values[0]),
                "regex": lambda s: patterns.update(text=_pattern(s.values[0])),
                "regex_no_match": lambda s: patterns.update(absent=True),
            },
            self._notebook,
        )
        if patterns["text"] is not None:
            table["body_regex_absent" if patterns["absent"] else "body_regex"] = patterns["text"]
        self._places.append(table)

    def _http_protocol(self, statement: Statement) -> None:
        word = statement.values[0].upper()
        if word not in ("1.0", "1.0C", "1.1"):
            refuse(f"{word} is not 1.0, 1.0C or 1.1")
        self._table["version"] = word.rstrip("C")

    def _host(self, statement: Statement) -> None:
        table: dict[str, Any] = {}
        self._notebook.take()
        read_block(statement, self._handlers(table), self._notebook)
        self._places.append(table)

    def _require_reply(self, statement: Statement) -> None:
        self._table["require_reply"] = True
        if statement.values:
            text, mask = _hex("".join(statement.values))
            self._table["expect"] = "hex:" + text
            if set(mask) != {"f"}:
                self._table["expect_mask"] = "hex:" + mask

    def _misc_path(self, statement: Statement) -> None:
        try:
            command = shlex.split(" ".join(statement.values))
        except ValueError as error:
            refuse(f"{error}")
        if not command:
            refuse("is empty")
        self._table["command"] = command

    def _user(self, statement: Statement) -> None:
        self._table["user"] = statement.values[0]
        if len(statement.values) > 1:
            self._notebook.lost(statement.place, "user", "the group is the user's own", matters=False)


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        refuse("a digest has 32 hexadecimal digits")
    return text.lower()


def _status(text: str) -> int | str:
    if "-" in text:
        low, high = (whole(word, 100, 999) for word in text.split("-", 1))
        return f"{low}-{high}"
    return whole(text, 100, 999)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        refuse(f"Python cannot read this expression ({error})")
    return text


def _hex(text: str) -> tuple[str, str]:
    """Digits and mask; X is a digit that does not count."""
    digits = re.sub(r"\s", "", text).lower()
    if not re.fullmatch(r"[0-9a-fx]+", digits):
        refuse(f"{text!r} is not hexadecimal")
    digits = digits if len(digits) % 2 == 0 else "0" + digits
    return digits.replace("x", "0"), "".join("0" if digit == "x" else "f" for digit in digits)
