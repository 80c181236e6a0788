"""What is shown loads again."""

import tomllib
from pathlib import Path

import pytest

from lvsha.checker.settings import OPTIONS_OF_KIND, CheckKind
from lvsha.config.load import loads
from lvsha.config.show import MASK, document, to_json, to_toml
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import SECOND
from tests.config.problem_cases import BASE, SERVICE

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.toml"))

EVERYTHING = (
    BASE
    + """\
version = 2
password = "sesame"
excluded_addresses = ["10.0.0.20/32", "fd00::1/64"]
unicast_peers = ["10.0.0.1", "10.0.0.2"]
advert_interval = "2s"
garp = { repeat = 2, refresh = 0, forms = ["reply"] }
[[service]]
name = "a b-free-name"
address = ["10.0.0.10:443", "10.0.0.20:443"]
method = "nat"
scheduler = "mh"
scheduler_flags = ["mh-port"]
persistence_timeout = "5m"
persistence_netmask = 20
quorum = 2
hysteresis = 1
minimum_pooled_percent = 30
slow_start = "1234567.891ms"
sorry = "10.0.0.99:444"
check = { type = "https", password = "sesame", username = "me", headers = { "X-A" = "sesame" }, status = 204 }
realservers = [
    { address = "10.0.0.11:8443", weight = 4 },
    { address = "10.0.0.12", on_failure = "remove", check = "ping" },
    { address = "10.0.0.14", checks = ["ping", { type = "tcp", port = 22 }], checks_needed = "any" },
    { address = "10.0.0.13", method = "tun", tunnel = { type = "gue", port = 6080 }, check = "on" },
]
[[service]]
fwmark = 7
family = 6
one_packet = true
persistence_timeout = 60
persistence_netmask = 64
persistence_engine = "sip"
check = { type = "udp", port = 5, payload = "hex:ff00", address = "fd00::5" }
realservers = ["fd00::2"]
[ipvs.timeouts]
udp = "10s"
[ipvs.sysctl]
sync_threshold = "2 50"
[agent]
log_format = "json"
"""
).replace('name = "a b-free-name"', 'name = "a-\\u007f\\"b"'.replace("\\u007f", "ü"))


@pytest.mark.parametrize(
    "text",
    [*(path.read_text() for path in EXAMPLES), EVERYTHING],
    ids=[*(path.stem for path in EXAMPLES), "all"],
)
@pytest.mark.parametrize("node", ["lb1", "lb2"])
def test_what_is_shown_loads_again_and_means_the_same(text: str, node: str) -> None:
    settings = loads(text, "lvsha.toml", node)

    shown = to_toml(document(settings, masked=False))

    assert loads(shown, "shown", node) == settings


@pytest.mark.parametrize("kind", CheckKind)
def test_a_check_of_every_kind_is_shown_in_full(kind: CheckKind) -> None:
    extra = {
        "exec": ', command = ["/bin/true"]',
        "file": ', path = "/a"',
        "radius": ', secret = "s"',
        "http-proxy": ', path = "http://a.example/"',
    }.get(kind, "")
    settings = loads(BASE + SERVICE.replace('"tcp"', f'{{ type = "{kind}"{extra} }}'), "lvsha.toml", "lb1")

    shown = to_toml(document(settings, masked=False))

    assert loads(shown, "shown", "lb1") == settings
    check = settings.services[0].realservers[0].check
    if check is not None:
        assert type(check.options) is (OPTIONS_OF_KIND[kind] or type(None))


def test_secrets_are_masked() -> None:
    settings = loads(EVERYTHING, "lvsha.toml", "lb1")

    for shown in (to_toml(document(settings)), to_json(document(settings))):
        assert "sesame" not in shown
        assert "bWU6" not in shown
        assert MASK in shown
    assert "sesame" in to_toml(document(settings, masked=False))
    assert "sesame" not in repr(settings)


def test_toml_and_json_say_the_same() -> None:
    tables = document(loads(EVERYTHING, "lvsha.toml", "lb1"))

    assert tomllib.loads(to_toml(tables)) == tables


def test_several_checks_belong_to_a_service_or_to_a_realserver() -> None:
    text = """[defaults.check]
interval = "3s"
[[service]]
address = "10.0.0.10:80"
checks = ["tcp", { type = "http", path = "/up" }, "on"]
realservers = ["10.0.0.11", { address = "10.0.0.12", check = "ping" },
    { address = "10.0.0.13", checks = ["ping", "tcp"], checks_needed = "any" },
    { address = "10.0.0.14", checks = ["ping", "on"], checks_needed = "any" }]
"""
    service = loads(text, "a", "lb1").services[0]
    kinds = [[str(check.kind) for check in realserver.checks] for realserver in service.realservers]

    assert kinds == [["tcp", "http"], ["ping"], ["ping", "tcp"], []]
    assert [str(realserver.needs) for realserver in service.realservers] == ["all", "all", "any", "all"]
    assert all(check.interval == 3 * SECOND for rs in service.realservers for check in rs.checks)


def test_check_and_checks_contradict_each_other() -> None:
    text = """[[service]]
address = "10.0.0.10:80"
check = "tcp"
checks = ["ping"]
realservers = ["10.0.0.11"]
"""
    with pytest.raises(ConfigErrors, match="contradicts check"):
        loads(text, "a", "lb1")
