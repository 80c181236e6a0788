"""The key files of virtual routers, read when vrrpd starts and at each reload."""

from collections.abc import Iterable

from lvsha.config.key_lines import parse_key_lines
from lvsha.io.key_file import read_key_text
from lvsha.vrrp.settings import Authentication, RouterSettings
from lvsha.wire.vrrp_auth import AuthKeys


class AuthFiles:
    """Keys by file; routers that share a file share its keys."""

    def __init__(self) -> None:
        self._keys: dict[str, AuthKeys] = {}

    def read(self, routers: Iterable[RouterSettings]) -> None:
        """Read what these name, all or nothing, beside what is known already.

        Raises:
            ConfigErrors: a file is missing, open to others, or holds no keys; the old ones stay.
        """
        files = {
            router.key_file
            for router in routers
            if router.authentication is not Authentication.NONE and router.key_file is not None
        }
        self._keys |= {
            file: AuthKeys(parse_key_lines(read_key_text(file, "vrrp.key_file"), file)) for file in files
        }

    def keep(self, routers: Iterable[RouterSettings]) -> None:
        """Forget what none of these names."""
        files = {router.key_file for router in routers}
        self._keys = {file: keys for file, keys in self._keys.items() if file in files}

    def of(self, router: RouterSettings) -> AuthKeys | None:
        """None: its adverts are not authenticated."""
        if router.authentication is Authentication.NONE or router.key_file is None:
            return None
        return self._keys[router.key_file]
