"""Log lines: which are written, and how they look."""

import json
from dataclasses import replace
from io import StringIO

from lvsha.agent.journal import Journal, level_of
from lvsha.config.settings import AgentSettings, LogFormat, LogLevel

SETTINGS = AgentSettings()


def test_an_event_is_one_line_with_its_name_and_fields() -> None:
    stream = StringIO()

    Journal("vrrpd", SETTINGS, stream=stream).write("vrrp.became_master", router="eth0-51", detail="a b")

    stamp, *words = stream.getvalue().splitlines()[0].split(" ", 2)
    assert stamp.count(":") == 2
    assert words == ["vrrpd", 'vrrp.became_master router=eth0-51 detail="a b"']


def test_what_is_less_important_than_log_level_gets_no_line_and_is_kept() -> None:
    stream = StringIO()
    journal = Journal("vrrpd", replace(SETTINGS, log_level=LogLevel.WARNING), stream=stream)

    journal.write("vrrp.became_backup")
    journal.write("vrrp.peer_disagrees")

    assert [entry["event"] for entry in journal.recent] == ["vrrp.became_backup", "vrrp.peer_disagrees"]
    assert len(stream.getvalue().splitlines()) == 1


def test_format_and_level_change_under_way() -> None:
    stream = StringIO()
    journal = Journal("vrrpd", replace(SETTINGS, log_level=LogLevel.ERROR), stream=stream)
    journal.write("vrrp.became_backup")

    journal.configure(replace(SETTINGS, log_format=LogFormat.JSON))
    journal.write("vrrp.became_backup")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["vrrp.became_backup"]


def test_an_unknown_event_is_information() -> None:
    assert level_of("something.new") is LogLevel.INFO
