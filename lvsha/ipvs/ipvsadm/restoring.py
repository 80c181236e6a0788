"""The lines that ``ipvsadm -R`` reads."""

from _collections_abc import Iterable, Iterator, Sequence

from lvsha.ipvs.ipvsadm import requests
from lvsha.ipvs.ipvsadm.command import MASQ, Command
from lvsha.ipvs.ipvsadm.names import Names, parse_endpoint

_BLANKS = " \t\r\0"
_NAME = "ipvsadm"
_SERVICES = ("-t", "-u", "-f", "--sctp-service")
_REMEMBERED = 1024
"""Shapes of lines: a service's are read one after the other."""


def commands(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Number (from 1) and words of each line that has any.

    Words are parted by blanks only: there are neither quotes nor comments. The
    word ``ipvsadm`` is dropped wherever it stands, as ipvsadm does.
    """
    table = str.maketrans(_BLANKS, " " * len(_BLANKS))
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\n")
        words = (text if text.isprintable() else text.translate(table)).split(" ")
        if "" in words or _NAME in words:
            words = [word for word in words if word and word != _NAME]
        if words:
            yield number, words


class Repeats:
    """The requests of lines that are like one before, but for the realserver.

    A large table is saved as ``-a SERVICE -r SERVER ...``, thousands of times, with SERVER alone different.
    Such a line is read once as any other; of its likes only SERVER is read.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[tuple[str, ...], tuple[Command, bytes]] = {}

    def remember(self, words: Sequence[str], command: Command, payload: bytes) -> None:
        """A line that is good, what it says and what it asks of the kernel."""
        if command.verb in ("add-server", "edit-server") and words[1] in _SERVICES and "-r" in words:
            # The service stands before the server, which is read by its protocol and port.
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[_shape(words)] = command, payload[: -len(requests.destination(command))]

    def request(self, words: Sequence[str]) -> tuple[str, bytes] | None:
        """Command and payload of such a line; None: read it as any other."""
        if "-r" not in words or (known := self._known.get(_shape(words))) is None:
            return None
        command, head = known
        try:
            text = words[words.index("-r") + 1]
            family, address, port = parse_endpoint(text, command.protocol, self._names)
        except (ValueError, IndexError):
            return None
        if family != command.server_family:
            return None
        command.server = address
        if command.method == MASQ or command.fwmark:
            command.server_port = command.port if port is None else port
        return command.verb, head + requests.destination(command)


def _shape(words: Sequence[str]) -> tuple[str, ...]:
    at = words.index("-r")
    return (*words[: at + 1], *words[at + 2 :])
