"""The text of a key file: one key a line, the first is sent with, all are accepted."""

import binascii
from base64 import b64decode

from lvsha.core.errors import ConfigErrors, ConfigProblem
from lvsha.wire.keys import KEY_SIZE, MAX_KEYS

_MAKE = "head -c 32 /dev/urandom | base64"


def parse_key_lines(text: str, source: str) -> list[bytes]:
    """The keys in ``text``, 1 to 8 of 32 bytes. A message names a line and never what stands in it.

    Raises:
        ConfigErrors: no key, too many, two alike, or a line that is none.
    """
    keys: list[bytes] = []
    problems: list[ConfigProblem] = []

    def problem(line: int, message: str) -> None:
        problems.append(ConfigProblem(path="key", message=message, line=line or None, suggestion=_MAKE))

    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            key = b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            problem(number, "is not base64")
            continue
        if len(key) != KEY_SIZE:
            problem(number, f"is {len(key)} bytes, must be {KEY_SIZE}")
        elif len(set(key)) < KEY_SIZE // 4:
            problem(number, "is not random")
        elif key in keys:
            problem(number, "is in the file twice")
        else:
            keys.append(key)
    if not keys and not problems:
        problem(0, "there is none in the file")
    elif len(keys) > MAX_KEYS:
        problem(0, f"{len(keys)} keys, at most {MAX_KEYS}")
    if problems:
        raise ConfigErrors(source, problems)
    return keys
