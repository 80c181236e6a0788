"""[sync.relay]: when entries go by the relay, what that needs, and what its key file may hold."""

import os
import stat
from base64 import b64encode
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lvsha.config.load import loads
from lvsha.config.relay_keys import parse_keys
from lvsha.config.settings import Settings
from lvsha.config.show import document, to_toml
from lvsha.core.errors import ConfigErrors
from lvsha.io.relay_keys import read_keyring
from lvsha.sync.relay_settings import director_id
from lvsha.sync.settings import SyncSettings, Transport

ONE, OTHER = b64encode(bytes(range(32))).decode(), b64encode(bytes(range(100, 132))).decode()
DIRECTORS = """
[directors]
lb1 = { address = "10.0.0.1" }
lb2 = { address = "10.0.0.2" }
[[vrrp]]
interface = "eth0"
vrid = 51
priority = { lb1 = 200, lb2 = 100 }
addresses = ["10.0.0.10/24"]
"""
KEY = '[sync.relay]\nkey_file = "/etc/lvsha/relay.key"\n'


def sync_of(text: str) -> SyncSettings:
    settings = loads(text, "test.toml", "lb1")
    assert isinstance(settings, Settings)
    assert settings.sync is not None
    return settings.sync


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as refused:
        loads(text, "test.toml", "lb1")
    return [problem.path for problem in refused.value.problems]


def test_a_key_and_another_director_make_it_the_relay() -> None:
    sync = sync_of(DIRECTORS + KEY)

    assert sync.transport is Transport.RELAY
    assert sync.relay is not None
    assert sync.relay.director == director_id("lb1")
    assert sync.relay.address == IPv4Address("10.0.0.1")
    (peer,) = sync.relay.peers
    assert (peer.name, peer.director, peer.address, peer.port) == (
        "lb2",
        director_id("lb2"),
        IPv4Address("10.0.0.2"),
        8849,
    )


@pytest.mark.parametrize("more", ["", KEY + '[sync]\ntransport = "multicast"\n'])
def test_without_a_key_or_by_request_the_kernels_talk_themselves(more: str) -> None:
    sync = sync_of(DIRECTORS + more)

    assert sync.transport is Transport.MULTICAST
    assert sync.relay is None


def test_the_relay_needs_a_key_and_somebody_to_talk_to() -> None:
    assert complaints(DIRECTORS + '[sync]\ntransport = "relay"\n') == ["sync.relay.key_file"]
    alone = DIRECTORS.replace('lb2 = { address = "10.0.0.2" }\n', "").replace(
        "{ lb1 = 200, lb2 = 100 }", "200"
    )
    assert complaints(alone + KEY + '[sync]\ntransport = "relay"\n') == ["sync.transport"]
    assert complaints(DIRECTORS.replace('{ address = "10.0.0.2" }', "{}") + KEY) == ["directors.lb2"]


def test_what_is_shown_means_the_same() -> None:
    text = DIRECTORS + KEY + 'address = { lb1 = "10.1.0.1", lb2 = "10.1.0.2" }\ncoverage_target = 0.99\n'
    settings = loads(text, "test.toml", "lb1")

    assert loads(to_toml(document(settings)), "shown", "lb1").sync == settings.sync


def test_a_key_file_gives_keys_in_their_order() -> None:
    keyring = parse_keys(f"# new\n{ONE}  # since spring\n\n{OTHER}\n", "keys")

    assert keyring.ids == (parse_keys(ONE, "keys").primary, parse_keys(OTHER, "keys").primary)
    assert keyring.primary == keyring.ids[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is none"),
        ("?", "line 1: key: is not base64"),
        (ONE + "\n" + b64encode(b"short").decode(), "line 2: key: is 5 bytes"),
        (ONE + "\n" + ONE, "line 2: key: is in the file twice"),
        (b64encode(bytes(32)).decode(), "is not random"),
        ("\n".join(b64encode(bytes(range(n, n + 32))).decode() for n in range(9)), "9 keys, at most 8"),
    ],
)
def test_a_bad_key_file_is_refused_without_telling_the_keys(text: str, says: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        parse_keys(text, "keys")

    assert says in str(refused.value)
    for word in text.split():
        assert len(word) < 8 or word not in str(refused.value)


def test_a_keyring_shows_no_key() -> None:
    assert bytes(range(32)).hex() not in repr(parse_keys(ONE, "keys"))
    assert ONE not in repr(parse_keys(ONE, "keys"))


def test_roots_key_file_may_be_read_by_its_group_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "relay.key"
    path.write_text(ONE)
    path.chmod(0o640)
    is_root = path.stat().st_uid == 0

    if is_root:
        assert read_keyring(path).primary == parse_keys(ONE, "keys").primary
        os.chown(path, 65534, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(ConfigErrors, match="chmod 600"):
        read_keyring(path)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.key"
    path.write_text(ONE)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert read_keyring(path).primary == parse_keys(ONE, "keys").primary

    for mode in (0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(ConfigErrors, match="chmod 600"):
            read_keyring(path)
    with pytest.raises(ConfigErrors, match="cannot be read"):
        read_keyring(tmp_path / "none")
