"""Reading a file of keys that nobody else may read.

Ours, or root's; root's may be readable for a group, so that an agent that is not root can
use its keys and not change them.
"""

import errno
import grp
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
        if error.errno == errno.EACCES:
            hint = f"chown root:{_our_group()} {path} && chmod 640 {path}"
        raise refused(f"cannot be read: {error.strerror}", hint) from None
    others = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == 0:
        others &= ~stat.S_IRGRP
    if status.st_mode & others:
        raise refused("can be read by others than its owner", f"chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise refused("belongs to somebody else", f"chown root {path}")
    return text.decode("ascii", errors="replace")


def _our_group() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
