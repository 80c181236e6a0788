"""When adverts are authenticated: a key says that all directors are lvsha."""

import pytest

from lvsha.config.load import loads
from lvsha.core.errors import ConfigErrors
from lvsha.vrrp.settings import Authentication, RouterSettings

BASE = """
[directors]
lb1 = { address = "10.0.0.1" }
lb2 = { address = "10.0.0.2", priority = 90 }
%s
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
%s
"""
RELAY = '[sync.relay]\nkey_file = "/etc/lvsha/relay.key"'


def router(rest: str = "", own: str = "") -> RouterSettings:
    return loads(BASE % (rest, own), "x.toml", "lb1").routers[0]


@pytest.mark.parametrize(
    ("rest", "own", "authentication", "key_file"),
    [
        ("", "", "none", None),
        (RELAY, "", "hmac", "/etc/lvsha/relay.key"),
        ("", 'key_file = "/k"', "hmac", "/k"),
        (RELAY, 'key_file = "/k"', "hmac", "/k"),
        (RELAY, 'authentication = "permissive"', "permissive", "/etc/lvsha/relay.key"),
        (RELAY, 'authentication = "none"', "none", None),
        ('[defaults.vrrp]\nkey_file = "/k"', "", "hmac", "/k"),
    ],
)
def test_a_key_file_makes_adverts_authentic_unless_that_is_refused(
    rest: str, own: str, authentication: str, key_file: str | None
) -> None:
    made = router(rest, own)

    assert (made.authentication, made.key_file) == (Authentication(authentication), key_file)


def test_authentication_without_any_key_is_an_error() -> None:
    with pytest.raises(ConfigErrors, match="needs a key_file"):
        router("", 'authentication = "hmac"')
