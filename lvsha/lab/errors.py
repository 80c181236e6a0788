"""What can be wrong with a lab, said so that the reader knows what to do next."""

from lvsha.core.errors import LvshaError


class LabError(LvshaError):
    """The lab cannot do what was asked; the text is one line that says what to do."""


class GuestTimeout(LabError):
    """The guest was still running at its time limit and has been ended."""
