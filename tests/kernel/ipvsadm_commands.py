"""Command lines for ipvsadm and for ours: sensible ones, wrong ones, and every pair of options.

A sequence is some steps on an empty table; the seed alone decides what comes out.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from lvsha.ipvs.ipvsadm.words import ARGUMENTS, COMMANDS


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the program."""

    argv: tuple[str, ...]
    stdin: str = ""


Sequence = tuple[Step, ...]

SERVICES = (
    ("-t", "192.0.2.1:80"),
    ("-t", "192.0.2.1:443"),
    ("-t", "10.0.0.1:80"),
    ("-t", "200.0.0.1:http"),
    ("-t", "192.0.2.9:0"),
    ("-t", "127.0.0.1:80"),
    ("-t", "localhost:8080"),
    ("-u", "192.0.2.1:53"),
    ("-u", "192.0.2.1:domain"),
    ("-u", "192.0.2.2:5060"),
    ("--sctp-service", "192.0.2.1:2905"),
    ("-t", "[2001:db8::80]:80"),
    ("-t", "[fd00::1]:443"),
    ("-u", "[2001:db8:1:2:3:4:5:6]:53"),
    ("--sctp-service", "[fd00::7]:2905"),
    ("-t", "[::1]:0"),
    ("-t", "[::ffff:192.0.2.7]:80"),
    ("-f", "1"),
    ("-f", "1", "-6"),
    ("-f", "7"),
    ("-f", "4294967295"),
    ("-f", "2147483648", "-6"),
)

SERVERS = (
    "10.1.0.1",
    "10.1.0.1:80",
    "10.1.0.2:8080",
    "10.1.0.3:http",
    "10.1.0.4:0",
    "127.0.0.1",
    "200.1.0.1:80",
    "250.1.0.1",
    "224.0.0.1:80",
    "localhost:80",
    "[fd00::a]:80",
    "[fd00:1::b]:8080",
    "[2001:db8::c]:0",
    "[fe80::d]:80",
    "fd00::e",
    "::1",
)

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh")
FLAGS = (
    "sh-port",
    "sh-fallback",
    "sh-fallback,sh-port",
    "mh-port",
    "mh-fallback,mh-port",
    "flag-1",
    "flag-2,flag-3",
    "flag-1,flag-2,flag-3",
    "flag-3",
    "nonsense",
    "",
    ",flag-1,",
)
NUMBERS: tuple[str, ...] = (
    "0",
    "1",
    "5",
    "100",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-1",
    "+7",
    " 8",
    "010",
    "0x10",
)
NUMBERS += ("5x", "", "abc", "2678400", "2678401", "255", "256", "99999999999999999999")
NETMASKS: tuple[str, ...] = (
    "255.255.255.255",
    "255.255.0.0",
    "255.0.255.0",
    "24",
    "64",
    "128",
    "129",
    "0",
    "255.255",
    "abc",
    "",
)
NETMASKS += ("64x", "0xffffff00")
HOSTS: tuple[str, ...] = (
    "192.0.2.5",
    "10.1",
    "010.0.0.1",
    "256.0.0.1",
    "1.2.3.4.5",
    "localhost",
    "no.such.host",
    "",
    " ",
    "*",
)
HOSTS += (
    "[192.0.2.6]",
    "[localhost]",
    "[::1]",
    "[::1",
    "::1]",
    "::1",
    "[]",
    "[[::1]]",
    "0.0.0.0",
    "fe80::1%lo",
)
PORTS: tuple[str, ...] = (
    ":80",
    "",
    ":",
    ":0",
    ":65535",
    ":65536",
    ":http",
    ":domain",
    ":tftp",
    ":nosuch",
    ":+80",
    ": 80",
    ":80x",
)
PORTS += (":080", ":-1", ":80:81", "::80", "80")
GROUPS = (
    "224.0.0.99",
    "239.255.255.255",
    "10.0.0.1",
    "ff02::99",
    "fd00::1",
    "[ff02::1]",
    "foo",
    "",
    "224.0.0",
)

VALUES: dict[str, tuple[str, ...]] = {
    "scheduler": (*SCHEDULERS, "nosuch", ""),
    "persistent": NUMBERS,
    "netmask": NETMASKS,
    "pe": ("sip", "sip", "nosuch", ""),
    "sched-flags": FLAGS,
    "real-server": SERVERS,
    "tun-type": ("ipip", "gue", "gre", "gue", "gre", "foo", ""),
    "tun-port": ("6080", "1", *NUMBERS),
    "weight": NUMBERS,
    "u-threshold": NUMBERS,
    "l-threshold": NUMBERS,
    "syncid": NUMBERS,
    "sync-maxlen": ("1000", "1472", "65507", "65508", *NUMBERS),
    "mcast-interface": ("lo", "dummy0", "nosuch", "", "abcdefghijklmnopq"),
    "mcast-group": GROUPS,
    "mcast-port": NUMBERS,
    "mcast-ttl": NUMBERS,
    "tcp-service": tuple(name for option, name, *_ in SERVICES if option == "-t"),
    "udp-service": tuple(name for option, name, *_ in SERVICES if option == "-u"),
    "sctp-service": tuple(name for option, name, *_ in SERVICES if option == "--sctp-service"),
    "fwmark-service": ("1", "7", "0", "-1", "abc", "4294967295", "4294967296"),
}
PLAIN: dict[str, str] = {
    "scheduler": "rr",
    "persistent": "60",
    "netmask": "255.255.0.0",
    "pe": "sip",
    "sched-flags": "flag-1",
    "real-server": "10.1.0.1:80",
    "tun-type": "gue",
    "tun-port": "6080",
    "syncid": "5",
    "mcast-interface": "lo",
    "mcast-group": "224.0.0.99",
    "tcp-service": "192.0.2.1:80",
    "udp-service": "192.0.2.1:53",
    "sctp-service": "192.0.2.1:2905",
    "fwmark-service": "7",
}
"""The argument of an option among pairs; 7 where nothing is said."""

LISTS = (
    *("-L", "-Ln", "-ln", "-L -n --stats", "-Ln --rate", "-Ln --thresholds", "-Ln --persistent-conn"),
    *("-Ln --tun-info", "-Ln --nosort", "-Ln --exact --stats", "-Ln --timeout", "-Ln --daemon", "-Lnc"),
    *("-Lnc --persistent-conn", "-L --tun-info", "-S", "-Sn", "-Sn", "--list --numeric", "--save -n", ""),
    *("-L --stats --rate", "-Ln --thresholds --exact", "-Lc"),
)


def _word(name: str, dice: random.Random) -> str:
    short = next((short for long, short, _ in (*COMMANDS, *ARGUMENTS) if long == name), "")
    return f"-{short}" if short and dice.random() < 0.7 else f"--{name}"


def _option(name: str, dice: random.Random, value: str | None = None) -> list[str]:
    takes = next(takes for long, _, takes in ARGUMENTS if long == name)
    word = _word(name, dice)
    if not takes or (takes == 2 and value is None and dice.random() < 0.3):
        return [word]
    argument = value if value is not None else dice.choice(VALUES[name])
    style = dice.random()
    if style < 0.1:
        return [f"{word}={argument}"]
    if style < 0.2 and not word.startswith("--") and argument and argument[0] != "=":
        return [word + argument]
    return [word, argument]


class Maker:
    """Sequences out of one seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def sequence(self) -> Sequence:
        kind = self._dice.random()
        if kind < 0.45:
            return self._session()
        if kind < 0.60:
            return (self._soup(),)
        if kind < 0.70:
            return (self._endpoint_step(), Step(("-Sn",)))
        if kind < 0.90:
            return (self._restore(), Step(tuple(self._dice.choice(LISTS).split())))
        return self._daemons()

    def _service(self) -> list[str]:
        return list(self._dice.choice(SERVICES))

    def _some(self, names: tuple[str, ...], chance: float) -> list[str]:
        chosen = [name for name in names if self._dice.random() < chance]
        self._dice.shuffle(chosen)
        return [word for name in chosen for word in _option(name, self._dice)]

    def _add_service(self, service: list[str]) -> list[str]:
        dice = self._dice
        words = [_word(dice.choice(("add-service",) * 4 + ("edit-service",)), dice)]
        scheduler = dice.choice(SCHEDULERS)
        options = [service]
        if dice.random() < 0.7:
            options.append(_option("scheduler", dice, scheduler))
        if dice.random() < 0.3:
            options.append(_option("persistent", dice, dice.choice((None, "1", "300", "2678400"))))
        if dice.random() < 0.15:
            options.append(_option("netmask", dice))
        if dice.random() < 0.15 or scheduler in ("sh", "mh"):
            flags = [text for text in FLAGS if text.startswith((scheduler, "flag"))]
            options.append(_option("sched-flags", dice, dice.choice(flags)))
        if dice.random() < 0.1:
            options.append(_option("pe", dice, "sip"))
        if dice.random() < 0.1:
            options.append([_word("ops", dice)])
        dice.shuffle(options)
        return words + [word for option in options for word in option]

    def _add_server(self, service: list[str]) -> list[str]:
        dice = self._dice
        verb = dice.choice(("add-server",) * 4 + ("edit-server", "delete-server"))
        options = [service, _option("real-server", dice)]
        if verb != "delete-server":
            if dice.random() < 0.8:
                options.append([dice.choice(("-g", "-i", "-m", "-m", "-i", "--ipip"))])
            for name, values in (
                ("weight", ("0", "1", "100", "2147483647")),
                ("u-threshold", ("0", "100", "70000")),
                ("l-threshold", ("0", "50")),
            ):
                if dice.random() < 0.3:
                    options.append(_option(name, dice, dice.choice(values)))
            if dice.random() < 0.3:
                options.append(_option("tun-type", dice))
                if dice.random() < 0.6:
                    options.append(_option("tun-port", dice, "6080"))
                if dice.random() < 0.5:
                    options.append([dice.choice(("--tun-csum", "--tun-nocsum", "--tun-remcsum"))])
        dice.shuffle(options)
        return [_word(verb, dice), *[word for option in options for word in option]]

    def _other(self, service: list[str]) -> list[str]:
        dice = self._dice
        return dice.choice(
            (
                ["-D", *service],
                ["-Z", *service],
                ["-Z"],
                ["-C"],
                ["-Ln", *service],
                ["-L", *service, "--stats"],
                ["--set", *[dice.choice(("0", "5", "900", "2678400")) for _ in range(3)]],
                ["--set", *[dice.choice(NUMBERS) for _ in range(dice.randrange(5))]],
            )
        )

    def _line(self, services: list[list[str]]) -> list[str]:
        kind = self._dice.random()
        service = self._dice.choice(services)
        if kind < 0.35:
            return self._add_service(service)
        return self._add_server(service) if kind < 0.85 else self._other(service)

    def _session(self) -> Sequence:
        dice = self._dice
        services = [self._service() for _ in range(dice.randint(1, 3))]
        steps = [Step(tuple(self._line(services))) for _ in range(dice.randint(1, 3))]
        steps.append(Step(tuple(dice.choice(LISTS).split())))
        return tuple(steps)

    def _soup(self) -> Step:
        dice = self._dice
        command = _word(dice.choice(COMMANDS)[0], dice)
        words = [command]
        if command.startswith(("--start", "--stop")):
            words.append(dice.choice(("master", "backup", "MASTER", "")))
        words += self._some(tuple(name for name, _, _ in ARGUMENTS), 0.1)
        if dice.random() < 0.15:
            words.insert(
                dice.randrange(len(words) + 1), dice.choice(("foo", "-", "--", "-q", "--num", "-A", "-lC"))
            )
        return Step(tuple(words))

    def _endpoint_step(self) -> Step:
        dice = self._dice
        text = dice.choice(HOSTS) + dice.choice(PORTS)
        option = dice.choice(("-t", "-u", "--sctp-service"))
        if dice.random() < 0.7:
            return Step(("-A", option, text, *dice.choice(((), ("-p",)))))
        lines = (
            f"-A {option} 192.0.2.1:80\n-a {option} 192.0.2.1:80 -r {text} {dice.choice(('-m', '-i', ''))}\n"
        )
        return Step(("-R",), lines)

    def _restore(self) -> Step:
        dice = self._dice
        services = [self._service() for _ in range(dice.randint(1, 3))]
        lines = []
        for _ in range(dice.randint(1, 8)):
            words = self._line(services)
            if dice.random() < 0.05:
                words = dice.choice(
                    (["-Ln"], ["-Sn"], ["foo"], ["#", "comment"], ["-R"], ["-w"], ["-A", "-q"])
                )
            text = dice.choice((" ", " ", "  ", "\t")).join(words)
            lines.append(
                dice.choice(("", "", "", "ipvsadm ", "  ", "/sbin/ipvsadm " if dice.random() < 0.1 else ""))
                + text
            )
            if dice.random() < 0.1:
                lines.append(dice.choice(("", "   ", "ipvsadm", "\r")))
        return Step(("-R",), "\n".join(lines) + dice.choice(("\n", "\n", "")))

    def _daemons(self) -> Sequence:
        dice = self._dice
        steps = []
        for _ in range(dice.randint(1, 2)):
            role = dice.choice(("master", "backup"))
            words = ["--start-daemon", role, *_option("mcast-interface", dice, dice.choice(("lo", "dummy0")))]
            words += self._some(("syncid", "sync-maxlen", "mcast-group", "mcast-port", "mcast-ttl"), 0.25)
            steps.append(Step(tuple(words)))
        if dice.random() < 0.3:
            steps.append(Step(("--stop-daemon", dice.choice(("master", "backup")))))
        return (*steps, Step(("-L", "--daemon")))


def plain_lists(count: int, seed: int) -> Iterator[Sequence]:
    """So many tables of lines that are nearly all good, each listed."""
    dice = random.Random(seed)
    for _ in range(count):
        lines: list[str] = []
        rare = dice.choice(("", "", "", "-p 7 -M 64", "-b flag-1", "-p 9 --pe sip"))
        for option, name, *six in dice.sample(SERVICES, 5):
            service = " ".join((option, name, *six))
            more = [
                rare or dice.choice(("", "-p 50")),
                "-o" if option == "-u" and dice.random() < 0.5 else "",
            ]
            if name.endswith(":0") and not more[0]:
                more[0] = "-p"
            lines.append(f"-A {service} -s {dice.choice(SCHEDULERS)} {' '.join(more)}")
            rare = ""
            for server in dice.sample(SERVERS, 6):
                # Only tunnels lead to another family.
                same = option != "-f" and ("::" in name) == ("::" in server)
                method = dice.choice("gim") if same else "i"
                lines.append(f"-a {service} -r {server} -{method} -w {dice.choice((0, 1, 2147483647))}")
        yield Step(("-R",), "\n".join(lines)), Step(("-Ln",))


def sequences(count: int, seed: int) -> Iterator[Sequence]:
    """So many out of a seed."""
    maker = Maker(seed)
    for _ in range(count):
        yield maker.sequence()


PAIRS_TABLE = "-A -t 192.0.2.1:80", "-a -t 192.0.2.1:80 -r 10.1.0.9:80 -m", "-A -f 7"


def option_pairs() -> Iterator[Sequence]:
    """Every command with every pair of options, in both orders; on ``PAIRS_TABLE``."""
    options = [[f"--{name}"] + ([PLAIN.get(name, "7")] if takes else []) for name, _, takes in ARGUMENTS]
    seen = set()
    for name, _, takes in COMMANDS:
        if name in seen or name in ("help", "version"):
            continue
        seen.add(name)
        command = [f"--{name}"]
        if takes:
            command.append("master")
        if name == "set":
            command += ["7", "8", "9"]
        for one, other in itertools.permutations(options, 2):
            yield (Step((*command, *one, *other)),)


def _step(line: str) -> Step:
    return Step(tuple(line.split()))


MAN_PAGE: tuple[Sequence, ...] = (
    (
        Step(("-A", "-t", "207.175.44.110:80", "-s", "rr")),
        *(Step(("-a", "-t", "207.175.44.110:80", "-r", f"192.168.10.{n}:80", "-m")) for n in range(1, 6)),
        Step(("-L",)),
        Step(("-Sn",)),
    ),
    (
        Step(
            ("-R",),
            "\n-A -t 207.175.44.110:80 -s rr\n"
            + "".join(f"-a -t 207.175.44.110:80 -r 192.168.10.{n}:80 -m\n" for n in range(1, 6))
            + "\n",
        ),
        Step(("-Ln",)),
    ),
    (
        Step(("-A", "-f", "1", "-s", "rr")),
        *(Step(("-a", "-f", "1", "-r", f"192.168.10.{n}:0", "-m")) for n in range(1, 6)),
        Step(("-Ln",)),
        Step(("-S",)),
    ),
    (
        Step(("-A", "-t", "207.175.44.110:80", "-s", "rr")),
        *(
            _step(f"-a -t 207.175.44.110:80 -r {server} -i --tun-type gue --tun-port {rest}")
            for server, rest in (
                ("192.168.10.1:80", "6080 --tun-nocsum"),
                ("192.168.10.2:80", "6080 --tun-csum"),
                ("192.168.10.3:80", "6080 --tun-remcsum"),
                ("192.168.10.4:80", "6078"),
                ("192.168.10.5:80", "6079"),
            )
        ),
        Step(("-L", "--tun-info")),
        Step(("-Sn",)),
    ),
    (
        Step(("-A", "-t", "10.0.0.1:80", "-s", "rr")),
        _step("-a -t 10.0.0.1:80 -r 192.168.11.1:80 -i --tun-type gre --tun-csum"),
        Step(("-Ln", "--tun-info")),
    ),
    (
        _step("-A -t [2001:db8::80]:80 -s rr"),
        _step("-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -m"),
        Step(("-L",)),
        Step(("-Ln", "-t", "[2001:db8::80]:80")),
    ),
)
"""The examples of ipvsadm(8)."""
