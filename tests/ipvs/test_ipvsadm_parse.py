"""ipvsadm's command line: what it means, and how ipvsadm 1.31 complains.

The complaints were read off the real one; the kernel tier compares thousands more.
"""

import pytest

from lvsha.ipvs.ipvsadm.command import Command, parse
from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.names import Names, leading_number, number
from lvsha.ipvs.ipvsadm.restoring import commands

NAMES = Names()
TRY = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."

COMPLAINTS = {
    "foo": (TRY, 255),
    "-n": (TRY, 255),
    "--sort -L": (TRY, 255),
    "--li -n": (TRY, 255),
    "-C=5": (TRY, 255),
    "--start-daemon": (TRY, 255),
    "-C5": ("-C5: unknown option", 255),
    "-A --foo": ("--foo: unknown option", 255),
    "-A -nq": ("-nq: unknown option", 255),
    "-A -w": ("-w: missing argument", 255),
    "-Ax": ("-Ax: missing argument", 255),
    "-L --num=5": ("--num=5: unknown option", 255),
    "-Ln=5": ("-Ln=5: option does not take an argument", 255),
    "--set 5 6 -7": ("-7: unknown option", 255),
    "-A -L": ("invalid option `-L'", 2),
    "-AL": ("invalid option `-AL'", 2),
    "--start-daemon master --stop-daemon backup": ("invalid option `backup'", 2),
    "-A --stop-daemon=backup": ("invalid option `--stop-daemon=backup'", 2),
    "-Lnn": ("multiple 'numeric' options specified", 2),
    "-A -t 10.0.0.4:80 -u 10.0.0.5:80": ("multiple 'service-address' options specified", 2),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -g -m": ("multiple 'forwarding-method' options specified", 2),
    "-A -t 10.0.0.7:80 foo bar": ("unexpected argument foo", 2),
    "-A -t 10.0.0.7:80 -b nonsense bar": ("unexpected argument bar", 2),
    "-A -w 5": ("You need to supply the 'service-address' option for the 'add-service' command", 2),
    "-A -w 5 -n": ("Illegal 'numeric' option with the 'add-service' command", 2),
    "-A -t 10.0.0.1:80 -s sh -b foo -n": ("invalid scheduler flag `foo'", 2),
    "-A -t 10.0.0.1:80 -b sh-port,foo": ("incompatible scheduler flag `sh-port'", 2),
    "-C -n": ("Illegal 'numeric' option with the 'flush' command", 2),
    "-a -t 10.0.0.1:80": ("You need to supply the 'real-server' option for the 'add-server' command", 2),
    "-L -c --timeout --daemon": (
        "The option 'timeout' conflicts with the 'connection' option in the 'list' command",
        2,
    ),
    "-L -s rr --daemon --timeout": ("Illegal 'scheduler' option with the 'list' command", 2),
    "-L -c --rate": ("options conflicts in the list command", 2),
    "-L --daemon --persistent-conn": ("options conflicts in the list command", 2),
    "-A -t 10.0.0.1:0 -o": ("Zero port specified for non-persistent service", 2),
    "-A -t 10.0.0.1:80 -o": ("One-Packet Scheduling is only for UDP virtual services", 2),
    "-A -t 10.0.0.1:99999": ("illegal virtual server address[:port] specified", 2),
    "-A -t 10.0.0.1:": ("illegal virtual server address[:port] specified", 2),
    "-A -t 10.0.0.1:80:90": ("illegal virtual server address[:port] specified", 2),
    "-A -t 10.0.0.1:80 -6": ("-6 used before -f\n", 2),
    "-A -f 0": ("invalid fwmark value `0' specified", 2),
    "-A -f 4294967296": ("invalid fwmark value `4294967296' specified", 2),
    "-A -t 10.0.0.4:80 -p 0": ("invalid timeout value `0' specified", 2),
    "-A -t 10.0.0.4:80 -p 2678401": ("invalid timeout value `2678401' specified", 2),
    "-A -t 10.0.0.4:80 -p -M abc": ("illegal virtual server persistent mask specified", 2),
    "-A -f 5 -6 -p -M 129": ("illegal ipv6 netmask specified", 2),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -w -1": ("illegal weight specified", 2),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -x 2147483648": ("illegal u_threshold specified", 2),
    "-a -f 5 -6 -r 10.0.0.2": ("Different address family is allowed only for tunneling servers", 2),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 --tun-csum": ("Tunnel options conflict with forward method", 2),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -i --tun-type gue": (
        "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        2,
    ),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -i --tun-port 5": (
        "Illegal 'tun-port' option with the 'ipip' tunnel type",
        2,
    ),
    "-a -t 10.0.0.1:80 -r 10.0.0.4 -i --tun-type gue --tun-port 5 --tun-remcsum --tun-csum": (
        "The option 'tun-remcsum' conflicts with the 'tun-csum' option in the 'gue' tunnel type",
        2,
    ),
    "--set 1 2": ("--set option requires 3 timeout values", 2),
    "--set 1 2 3 4": ("unexpected argument 4", 2),
    "--set 0 abc 0": ("invalid timeout value `abc' specified", 2),
    "--start-daemon foo": ("illegal start-daemon parameter specified", 2),
    "--stop-daemon foo": ("illegal start_daemon specified", 2),
    "--start-daemon backup --syncid 256": ("illegal syncid specified", 2),
    "--start-daemon backup --sync-maxlen 65508": ("illegal sync-maxlen specified", 2),
    "--start-daemon backup --mcast-group 10.0.0.1": ("invalid IPv4 mcast-group `10.0.0.1'", 2),
}


def command(line: str, names: Names = NAMES) -> Command:
    return parse(line.split(), names)


@pytest.mark.parametrize("line", COMPLAINTS)
def test_complaint_is_ipvsadms(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        command(line)

    assert (caught.value.message, caught.value.status) == COMPLAINTS[line]


def test_words_may_stand_in_any_order_and_run_together() -> None:
    one = command("-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 5 -x 9")
    other = command("-a -mw5 -x=9 --tcp-service=10.0.0.1:80 -r10.0.0.2:8080")

    for name in ("address", "port", "server", "server_port", "method", "weight", "upper", "given"):
        assert getattr(one, name) == getattr(other, name), name


def test_no_words_list() -> None:
    assert parse([], NAMES).verb == "list"


def test_only_nat_sends_to_another_port() -> None:
    ports = {
        line: command(f"-a -t 10.0.0.1:90 {line}").server_port
        for line in (
            "-r 10.0.0.2",
            "-r 10.0.0.2:80",
            "-r 10.0.0.2 -m",
            "-r 10.0.0.2:80 -m",
            "-r 10.0.0.2:0 -m",
        )
    }

    assert list(ports.values()) == [90, 90, 90, 80, 0]


def test_a_server_named_before_its_nat_service_has_port_0() -> None:
    assert command("-a -r 10.0.0.2 -t 10.0.0.1:90 -m").server_port == 0


def test_an_ipv4_prefix_length_is_read_as_a_mask() -> None:
    """ipvsadm's trap: ``-M 24`` is 0.0.0.24."""

    class Loose(Names):
        def loose_ip4(self, text: str) -> bytes | None:
            return bytes([0, 0, 0, 24]) if text == "24" else self.ip4(text)

    assert command("-A -t 10.0.0.1:80 -p -M 24", Loose()).netmask == 24


def test_a_netmask_before_its_ipv6_service_is_forgotten() -> None:
    assert command("-A -M 255.0.0.0 -f 7 -6 -p").netmask == 128
    assert command("-A -f 7 -6 -M 64 -p").netmask == 64


def test_persistence_without_seconds_is_360() -> None:
    assert command("-A -t 10.0.0.1 -p").timeout == 360


@pytest.mark.parametrize(
    ("text", "value"), [(" +5", 5), ("010", 10), ("0x10", None), ("5x", None), ("", None)]
)
def test_numbers_are_read_as_strtol_does(text: str, value: int | None) -> None:
    assert number(text, 0, 100) == value


@pytest.mark.parametrize(("text", "value"), [("64x", 64), ("+64", 64), ("0x40", 0), ("", 0), ("-", 0)])
def test_prefix_lengths_are_read_as_atoi_does(text: str, value: int) -> None:
    assert leading_number(text) == value


def test_lines_of_restore_know_neither_quotes_nor_comments() -> None:
    text = ["ipvsadm -A -t 10.0.0.1:80\n", "\n", "  \t\r\n", "-s 'w rr'\r\n", "# x\n", "-A ipvsadm -f\0 5"]

    assert list(commands(text)) == [
        (1, ["-A", "-t", "10.0.0.1:80"]),
        (4, ["-s", "'w", "rr'"]),
        (5, ["#", "x"]),
        (6, ["-A", "-f", "5"]),
    ]


def test_restore_within_restore_is_no_command() -> None:
    with pytest.raises(UsageError, match="Try"):
        parse(["-R"], NAMES, nested=True)
