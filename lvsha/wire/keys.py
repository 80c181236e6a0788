"""The keys of a key file: what both that sign adverts and that seal the relay ask of them."""

from collections.abc import Callable, Iterable
from typing import Final

from lvsha.core.errors import StateError

KEY_SIZE: Final = 32
MAX_KEYS: Final = 8


def by_id(keys: Iterable[bytes], identify: Callable[[bytes], bytes], *, name: str) -> dict[bytes, bytes]:
    """Each key under its id, in the order of the file: the first is sent with, all are accepted.

    Args:
        name: what an error calls one of them.

    Raises:
        StateError: none or more than ``MAX_KEYS``, a key that is not ``KEY_SIZE`` bytes, or two alike.
    """
    listed = list(keys)
    if not 1 <= len(listed) <= MAX_KEYS:
        raise StateError(f"{len(listed)} {name}s: there must be 1 to {MAX_KEYS}")
    if any(len(key) != KEY_SIZE for key in listed):
        raise StateError(f"a {name} is {KEY_SIZE} bytes")
    found = {identify(key): key for key in listed}
    if len(found) != len(listed):
        raise StateError(f"two {name}s are the same")
    return found
