"""vrrpd as a program of its own: ``python -m lvsha.agent.vrrpd_main FD STAMP``.

A process that is forked from the supervisor carries all that the supervisor has loaded,
pydantic above all, and touches every page of it (``agent.supervisor``). One that is executed
has what vrrpd needs: 25 MB instead of 42. It gets warm, waits for ``go``, and is vrrpd.

``STAMP`` says which version of the code the supervisor has. If there is another one on the
disk by now, half an upgrade, it ends before anybody counts on it, and is forked instead.
"""

import socket
import sys

from lvsha.agent.control import ControlEnd, await_go, code_stamp
from lvsha.agent.vrrpd import process
from lvsha.core.errors import LvshaError
from lvsha.io.realtime import get_ready

OTHER_CODE = 75
"""Exit status: the code on the disk is not the supervisor's."""


def main(argv: list[str]) -> int:
    fd, stamp = argv
    if stamp != code_stamp():
        return OTHER_CODE
    control = ControlEnd(socket.socket(fileno=int(fd)))
    get_ready()
    control.send("warm")
    settings = await_go(control)
    if settings is None:
        return 0
    try:
        return process.main(settings, control)
    except LvshaError as error:
        print(f"lvsha vrrpd: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
