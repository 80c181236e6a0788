"""Who asks, and what they may.

Whoever may open the Unix socket is its administrator: the file's owner and group are the
access control, and the kernel says who it is. Over TCP a request carries a token or comes
with a client certificate; the token file says which role each has.
"""

import hashlib
import hmac
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from lvsha.core.errors import ConfigErrors, ConfigProblem

_MAX_ENTRIES = 1000


class Role(IntEnum):
    """Each may do what the ones before it may."""

    NOBODY = 0
    """Only the endpoints whose answer is a status code."""
    READ = 1
    OPERATE = 2
    """Drain, weight, disable, maintenance, switchover, resync."""
    ADMIN = 3
    """Reload; see and check configurations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks."""

    name: str
    role: Role
    services: tuple[str, ...] | None = None
    """The only services that it may operate on; None: all, and the director itself."""


NOBODY = Identity(name="nobody", role=Role.NOBODY)


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: Identity
    digest: bytes
    """SHA-256 of the token; empty: it is a certificate's."""


class Credentials:
    """The token file: tokens by their SHA-256, certificates by their common name.

    ::

        [[token]]
        name = "grafana"
        role = "read"                     # read, operate or admin
        sha256 = "…64 hex digits…"        # `lvsha token` prints both
        services = ["web"]                # optional

        [[certificate]]
        name = "ops.example.net"          # the subject's common name
        role = "admin"

    SHA-256 without a salt or stretching is enough, because a token is 256 random bits.
    """

    def __init__(self, text: str = "", name: str = "token_file") -> None:
        """Raises: ConfigErrors."""
        self._tokens: tuple[_Entry, ...] = ()
        self._certificates: dict[str, Identity] = {}
        problems: list[ConfigProblem] = []
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigErrors(name, [ConfigProblem(path="TOML", message=str(error))]) from None
        for key in document.keys() - {"token", "certificate"}:
            problems.append(ConfigProblem(path=key, message="is no key of a token file"))
        self._tokens = tuple(_entries(document, "token", problems))
        self._certificates = {
            entry.identity.name: entry.identity for entry in _entries(document, "certificate", problems)
        }
        if problems:
            raise ConfigErrors(name, problems)

    @classmethod
    def read(cls, path: str) -> "Credentials":
        """Raises: ConfigErrors, also when the file cannot be read or others may."""
        file = Path(path)
        try:
            if file.stat().st_mode & 0o007:
                message = f"others may read {path}: chmod o-rwx {path}"
                raise ConfigErrors(path, [ConfigProblem(path="token_file", message=message)])
            return cls(file.read_text(), path)
        except (OSError, UnicodeDecodeError) as error:
            message = f"{path} cannot be read: {error}"
            raise ConfigErrors(path, [ConfigProblem(path="token_file", message=message)]) from None

    def of_token(self, token: str) -> Identity | None:
        """Every digest is compared, each in constant time: how long it takes tells nothing."""
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        found = None
        for entry in self._tokens:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.identity
        return found

    def of_certificate(self, peercert: dict[str, Any]) -> Identity | None:
        """By the common name of a certificate that TLS has verified."""
        for part in peercert.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return self._certificates.get(value)
        return None


def _entries(document: dict[str, Any], kind: str, problems: list[ConfigProblem]) -> Sequence[_Entry]:
    entries: list[_Entry] = []
    rows = document.get(kind, [])
    if not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
        problems.append(ConfigProblem(path=kind, message=f"is a list of at most {_MAX_ENTRIES} tables"))
        return entries
    for number, row in enumerate(rows):
        path = f"{kind}[{number}]"
        known = {"name", "role", "services"} | ({"sha256"} if kind == "token" else set())
        if not isinstance(row, dict):
            problems.append(ConfigProblem(path=path, message="is a table"))
            continue
        for key in row.keys() - known:
            problems.append(ConfigProblem(path=f"{path}.{key}", message="is no key of it"))
        role = {"read": Role.READ, "operate": Role.OPERATE, "admin": Role.ADMIN}.get(str(row.get("role")))
        if role is None:
            problems.append(ConfigProblem(path=f"{path}.role", message="is read, operate or admin"))
        name = row.get("name")
        if not isinstance(name, str) or not name:
            problems.append(ConfigProblem(path=f"{path}.name", message="is missing"))
        services = row.get("services")
        if services is not None and not (
            isinstance(services, list) and all(isinstance(each, str) for each in services)
        ):
            problems.append(ConfigProblem(path=f"{path}.services", message="is a list of names"))
            services = None
        digest = b""
        if kind == "token":
            try:
                digest = bytes.fromhex(row.get("sha256", ""))
            except (TypeError, ValueError):
                digest = b""
            if len(digest) != 32:
                problems.append(
                    ConfigProblem(path=f"{path}.sha256", message="is 64 hex digits; `lvsha token` makes them")
                )
        identity = Identity(
            name=str(name),
            role=role or Role.NOBODY,
            services=tuple(services) if services is not None else None,
        )
        entries.append(_Entry(identity, digest))
    return entries
