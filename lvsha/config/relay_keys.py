"""The text of a key file as the relay's keys."""

from lvsha.config.key_lines import parse_key_lines
from lvsha.core.errors import ConfigErrors, ConfigProblem, StateError
from lvsha.wire.relay_seal import Keyring


def parse_keys(text: str, source: str) -> Keyring:
    """The keys in ``text``.

    Raises:
        ConfigErrors: no key, too many, two alike, or a line that is none.
    """
    keys = parse_key_lines(text, source)
    try:
        return Keyring(keys)
    except StateError as error:
        raise ConfigErrors(source, [ConfigProblem(path="key", message=str(error))]) from None
