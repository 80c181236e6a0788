"""What of a configuration the directors of a pair must have alike, as a hash."""

import hashlib
import json
import tomllib


def shared_generation(text: str) -> str:
    """12 hex digits of what a TOML file says, comments and order of keys aside.

    Left out is what belongs to one machine: ``[agent]``, ``[api]``, and where the relay's key lies.
    """
    document = tomllib.loads(text)
    for machine in ("agent", "api"):
        document.pop(machine, None)
    sync = document.get("sync")
    relay = sync.get("relay") if isinstance(sync, dict) else None
    if isinstance(relay, dict):
        relay.pop("key_file", None)
    canonical = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
