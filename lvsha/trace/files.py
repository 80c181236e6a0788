"""Captures from files into a gatherer; a bad one is said, and the others go on."""

from collections.abc import Iterable
from pathlib import Path

from lvsha.io.capture import CaptureError, CaptureFile, Frame, open_input
from lvsha.trace.decode import Decoder
from lvsha.trace.gather import Gatherer, Place


def read(gathered: Gatherer, name: str, *, hint: str = "") -> None:
    """One capture, ``-`` for standard input; what is wrong with it is noted in its place.

    Raises:
        OSError: it cannot be opened.
    """
    with open_input(None if name == "-" else Path(name)) as file:
        place = gathered.place("standard input" if name == "-" else name.rpartition("/")[2], hint=hint)
        capture = CaptureFile(file)
        try:
            feed(gathered, place, capture)
        except CaptureError as error:
            place.problem = str(error)
        except OSError as error:
            place.problem = f"it cannot be read to its end: {error.strerror or error}"
        if capture.is_cut and not place.problem:
            place.problem = "it ends in the middle of a frame: read up to there"


def feed(gathered: Gatherer, place: Place, frames: Iterable[Frame]) -> None:
    """Frames of one place, in their order."""
    decoder = Decoder()
    decode, add = decoder.decode, gathered.add
    number = place.frames
    try:
        for frame in frames:
            number += 1
            place.size += frame.length
            if not place.first_ns:
                place.first_ns = frame.time_ns
            place.last_ns = frame.time_ns
            made = decode(frame.link, frame.data, frame.time_ns, number)
            if made is not None:
                add(place, made)
    finally:
        place.frames = number
        place.undecoded += decoder.undecoded
