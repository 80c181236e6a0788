"""Reading the relay's key file."""

from pathlib import Path

from lvsha.config.relay_keys import parse_keys
from lvsha.io.key_file import read_key_text
from lvsha.wire.relay_seal import Keyring


def read_keyring(path: str | Path) -> Keyring:
    """The keys in the file.

    Raises:
        ConfigErrors: it cannot be read, others may read it, or what stands in it is wrong.
    """
    return parse_keys(read_key_text(path, "sync.relay.key_file"), str(path))
