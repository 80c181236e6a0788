"""Reading a file of keys that nobody else may read."""

import os
import stat
from pathlib import Path

from lvsha.core.errors import ConfigErrors, ConfigProblem

_SIZE_MOST = 64 * 1024


def read_key_text(path: str | Path, setting: str) -> str:
    """What stands in the file that ``setting`` (such as ``sync.relay.key_file``) names.

    Raises:
        ConfigErrors: it cannot be read, or others may read it.
    """

    def refused(message: str, suggestion: str) -> ConfigErrors:
        return ConfigErrors(str(path), [ConfigProblem(path=setting, message=message, suggestion=suggestion)])

    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_SIZE_MOST)
    except OSError as error:
        hint = "head -c 32 /dev/urandom | base64, the same file on all directors"
        raise refused(f"cannot be read: {error.strerror}", hint) from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise refused("can be read by others than its owner", f"chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise refused("belongs to somebody else", f"chown root {path}")
    return text.decode("ascii", errors="replace")
