"""The lines that ``ipvsadm -R`` reads."""

from _collections_abc import Iterable, Iterator, Sequence

from lvsha.ipvs.ipvsadm.command import MASQ, Command
from lvsha.ipvs.ipvsadm.names import Names, parse_endpoint
from lvsha.wire.genl_ipvs import destination_request

_BLANKS = " \t\r\0"
_TO_BLANKS = str.maketrans(_BLANKS, " " * len(_BLANKS))
_NAME = "ipvsadm"
_SERVICES = ("-t", "-u", "-f", "--sctp-service")
_REMEMBERED = 1024
"""Shapes of lines: a service's are read one after the other."""


def words_of(line: str) -> list[str]:
    """The words of a line.

    They are parted by blanks only: there are neither quotes nor comments. The
    word ``ipvsadm`` is dropped wherever it stands, as ipvsadm does.
    """
    text = line.rstrip("\n")
    words = (text if text.isprintable() else text.translate(_TO_BLANKS)).split(" ")
    if "" in words or _NAME in words:
        return [word for word in words if word and word != _NAME]
    return words


def commands(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Number (from 1) and words of each line that has any."""
    for number, line in enumerate(lines, start=1):
        words = words_of(line)
        if words:
            yield number, words


class Repeats:
    """The requests of lines that are like one before, but for the realserver.

    A large table is saved as ``-a SERVICE -r SERVER ...``, thousands of times, with SERVER alone different.
    Such a line is read once as any other; of its likes only SERVER is read.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[tuple[str, str], tuple[Command, Sequence[bytes]]] = {}
        """By what stands before and behind SERVER."""

    def remember(self, line: str, command: Command, payload: bytes) -> None:
        """A line that is good, what it says and what it asks of the kernel."""
        parted = _parted(line)
        words = line.split(" ", 2)
        if command.verb in ("add-server", "edit-server") and parted is not None and words[1] in _SERVICES:
            # The service stands before the server, which is read by its protocol and port.
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            front, _, end = parted
            self._known[front, end] = command, destination_request(payload)

    def request(self, line: str) -> tuple[str, bytes] | None:
        """Command and payload of such a line; None: read it as any other."""
        if (parted := _parted(line)) is None:
            return None
        front, server, end = parted
        if (known := self._known.get((front, end))) is None:
            return None
        command, (before, between, behind) = known
        try:
            family, address, port = parse_endpoint(server, command.protocol, self._names)
        except ValueError:
            return None
        if family != command.server_family:
            return None
        if port is None or (command.method != MASQ and not command.fwmark):
            port = command.port
        return command.verb, b"".join(
            (before, address.ljust(16, b"\0"), between, port.to_bytes(2, "big"), behind)
        )


def _parted(line: str) -> tuple[str, str, str] | None:
    """What stands before the first ``-r``, its argument, and what stands behind that; None: not so plain."""
    front, _, rest = line.partition(" -r ")
    server, _, end = rest.rstrip("\n").partition(" ")
    return (front, server, end) if server and server != _NAME and server.isprintable() else None
