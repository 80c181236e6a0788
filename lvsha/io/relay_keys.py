"""Reading a relay key file."""

import os
import stat
from pathlib import Path

from lvsha.config.relay_keys import parse_keys
from lvsha.core.errors import ConfigErrors, ConfigProblem
from lvsha.wire.relay_seal import Keyring

_SIZE_MOST = 64 * 1024


def read_keyring(path: str | Path) -> Keyring:
    """The keys in the file.

    Raises:
        ConfigErrors: it cannot be read, others may read it, or what stands in it is wrong.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_SIZE_MOST)
    except OSError as error:
        hint = "head -c 32 /dev/urandom | base64, the same file on all directors"
        raise _refused(path, f"cannot be read: {error.strerror}", hint) from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _refused(path, "can be read by others than its owner", f"chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise _refused(path, "belongs to somebody else", f"chown root {path}")
    return parse_keys(text.decode("ascii", errors="replace"), str(path))


def _refused(path: str | Path, message: str, suggestion: str) -> ConfigErrors:
    return ConfigErrors(
        str(path), [ConfigProblem(path="sync.relay.key_file", message=message, suggestion=suggestion)]
    )
