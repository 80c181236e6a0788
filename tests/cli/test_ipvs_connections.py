"""Which connections a filter takes."""

from ipaddress import ip_address

import pytest

from lvsha.cli.ipvs_connections import Filter, connection_json, connection_line
from lvsha.cli.ipvs_more import Wrong, take
from lvsha.io.procfs import ConnectionRow
from lvsha.ipvs.ipvsadm.names import Names, Texts

ROW = ConnectionRow(
    6,
    ip_address("10.9.0.1"),
    40001,
    ip_address("192.0.2.1"),
    80,
    ip_address("10.1.0.1"),
    8080,
    "ESTABLISHED",
    899,
)


@pytest.mark.parametrize(
    ("option", "text", "taken"),
    [
        ("vip", "192.0.2.1", True),
        ("vip", "192.0.2.1:80", True),
        ("vip", "192.0.2.1:81", False),
        ("vip", "[fd00::1]:80", False),
        ("rs", "10.1.0.1:8080", True),
        ("rs", "10.1.0.2", False),
        ("client", "10.9.0.1", True),
        ("client", "10.9.0.0/16", True),
        ("client", "fd00::/64", False),
        ("state", "established", True),
        ("state", "TIME_WAIT", False),
    ],
)
def test_filter(option: str, text: str, taken: bool) -> None:
    assert Filter().with_option(option, text).takes(ROW) is taken


def test_a_state_that_no_connection_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no connection is in state 'open'; states are .*ESTABLISHED, "):
        Filter().with_option("state", "open")


def test_all_conditions_must_hold() -> None:
    both = Filter().with_option("state", "ESTABLISHED").with_option("rs", "10.1.0.9")

    assert not both.takes(ROW)


def test_a_connection_is_shown_as_ipvsadm_shows_it() -> None:
    line = connection_line(ROW, Texts(Names(), numeric=True))

    assert line == "TCP 14:59  ESTABLISHED 10.9.0.1:40001     192.0.2.1:80       10.1.0.1:8080"
    assert connection_json(ROW)["daddr"] == "10.1.0.1"


def test_our_options_are_taken_out_of_the_line() -> None:
    extras, rest = take(["-Lnc", "--vip", "192.0.2.1", "--json", "--client=10.9.0.0/16"])

    assert rest == ["-Lnc"]
    assert extras.given == {"vip", "json", "client"}
    assert extras.only.takes(ROW)


@pytest.mark.parametrize("words", [["--vip"], ["--vip", "x"], ["--watch=0"], ["--json=1"], ["--count", "-1"]])
def test_bad_arguments_are_told(words: list[str]) -> None:
    with pytest.raises(Wrong):
        take(["-L", *words])
