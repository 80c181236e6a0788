"""The lines of ``-R``: what is read from its like is what is read by itself."""

import random

import pytest

from lvsha.ipvs.ipvsadm import requests, restoring
from lvsha.ipvs.ipvsadm.command import parse
from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.names import Names
from lvsha.ipvs.ipvsadm.restoring import Repeats, commands, words_of

NAMES = Names()
SERVICES = ("-t 10.0.0.1:80", "-u 10.0.0.2:53", "-f 5", "-f 6 -6", "--tcp-service 10.0.0.1:80", "-t 10.0.0.1")
SERVERS = (
    "10.1.0.1",
    "ipvsadm",
    "10.1.0.6\t-m",
    "ff::1",
    "10.1.0.2:80",
    "10.1.0.3:8080",
    "10.1.0.4:0",
    "10.1.0.5:x",
    "nobody",
    "-r",
    "",
    "9",
)
ENDS = (
    *("", "-m", "-g -w 3", "-i --tun-type gue --tun-port 6080", "-m -w 0 -x 5 -y 2"),
    *("-m -q", "-w", "-m -r 10.1.0.9"),
)


def by_itself(words: list[str]) -> object:
    try:
        command = parse(words, NAMES, nested=True)
    except UsageError as error:
        return error.message
    return command.verb, requests.payload(command), command


def test_a_line_means_the_same_after_a_line_like_it() -> None:
    rng = random.Random(7)
    repeats = Repeats(NAMES)
    hits = 0

    for _ in range(6000):
        front, end = rng.choice(SERVICES), rng.choice(ENDS)
        if rng.random() < 0.2:
            front, end = end, front
        line = f"{rng.choice(('-a', '-e', '-d', '-A'))} {front} -r {rng.choice(SERVERS)} {end}"
        line = line.rstrip(" ") + "\n"
        if rng.random() < 0.1:
            line = rng.choice((line.rstrip("\n"), f"ipvsadm {line}", f" {line}", line.replace(" ", "\t", 3)))
        wanted = by_itself(words_of(line))

        found = repeats.request(line)

        if found is not None:
            hits += 1
            assert isinstance(wanted, tuple), line
            assert found == wanted[:2], line
        elif isinstance(wanted, tuple):
            repeats.remember(line, wanted[2], wanted[1])
    assert hits > 200


def test_shapes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_REMEMBERED", 3)
    repeats = Repeats(NAMES)
    for mark in range(1, 11):
        line = f"-a -f {mark} -r 10.1.0.1 -m"
        command = parse(line.split(), NAMES, nested=True)
        repeats.remember(line, command, requests.payload(command) or b"")

    known = [mark for mark in range(1, 11) if repeats.request(f"-a -f {mark} -r 10.1.0.2 -m")]
    assert known == [10]


def test_words_are_parted_by_blanks_and_the_programs_name_is_dropped() -> None:
    lines = ["ipvsadm -A\t-f 1\n", "\n", "  -C \0 \r\n", "-a -f 1 ipvsadm -r 1\x0b2\n"]

    assert list(commands(lines)) == [
        (1, ["-A", "-f", "1"]),
        (3, ["-C"]),
        (4, ["-a", "-f", "1", "-r", "1\x0b2"]),
    ]
