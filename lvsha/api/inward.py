"""A request of another director, put to our own Unix socket in the name of who asked there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from lvsha.api.roles import NOBODY, Identity, Role

AS = "Lvsha-As"
"""Header: on whose behalf. Only from the Unix socket, and only to be allowed less."""
_TIMEOUT_S = 125.0
_ROLES = {role.name.lower(): role for role in Role}
NOT_OF_PEERS = ("/v1/events", "/v1/peer")
"""What cannot be asked through another director: what has no end."""


async def ask_own(
    path: Path, method: str, target: str, body: bytes, *, identity: Mapping[str, Any]
) -> tuple[int, bytes]:
    """Status and body of ``method target``; 503 when our own API is not there."""
    if target.partition("?")[0] in NOT_OF_PEERS or not target.startswith("/"):
        return 400, b'{"error":"that cannot be asked through another director"}'
    headers = {AS: json.dumps(dict(identity)), "Content-Type": "application/json"}
    timeout = ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            ClientSession("http://lvsha", connector=UnixConnector(str(path)), timeout=timeout) as session,
            session.request(method, target, data=body or None, headers=headers) as answer,
        ):
            return answer.status, await answer.read()
    except (ClientError, OSError, TimeoutError, ValueError) as error:
        return 503, json.dumps({"error": f"its API does not answer: {error}"}).encode()


def on_behalf(header: str | None, asker: Identity) -> Identity:
    """Who is meant by ``Lvsha-As``: never more than ``asker``; nobody if it cannot be understood."""
    if header is None:
        return asker
    try:
        said = json.loads(header)
        name, services = said["name"], said["services"]
        role = min(_ROLES[said["role"]], asker.role)
        if services is not None and not all(isinstance(each, str) for each in services):
            return NOBODY
        return Identity(
            name=str(name)[:200], role=role, services=None if services is None else tuple(services)
        )
    except (ValueError, KeyError, TypeError):
        return NOBODY
