"""The lines that ``ipvsadm -R`` reads."""

from _collections_abc import Iterable, Iterator

_BLANKS = " \t\r\0"
_NAME = "ipvsadm"


def commands(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Number (from 1) and words of each line that has any.

    Words are parted by blanks only: there are neither quotes nor comments. The
    word ``ipvsadm`` is dropped wherever it stands, as ipvsadm does.
    """
    table = str.maketrans(_BLANKS, " " * len(_BLANKS))
    for number, line in enumerate(lines, start=1):
        words = [word for word in line.rstrip("\n").translate(table).split(" ") if word and word != _NAME]
        if words:
            yield number, words
