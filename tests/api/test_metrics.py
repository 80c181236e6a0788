"""The scrape is what the status says, in Prometheus's words."""

import json
import re
from pathlib import Path

from lvsha.api.families import FAMILIES
from lvsha.api.metrics import exposition
from lvsha.api.reference import api, metrics
from lvsha.api.snapshot import make
from tests.api.pretended import SETTINGS, Parts, Pretended, serving

_LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+)')


async def test_every_family_has_its_help_and_its_type_before_its_samples(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, _):
        response = await session.get("/metrics")
        text = await response.text()

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    seen: set[str] = set()
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in seen
            seen.add(current)
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2:] in ([current, "gauge"], [current, "counter"])
        else:
            match = _LINE.fullmatch(line)
            assert match is not None, line
            assert match[1] == current
    assert 'lvsha_realserver_weight{service="web",realserver="rs12"} 10\n' in text
    assert 'lvsha_vrrp_state{router="eth0-51",state="MASTER"} 1\n' in text
    assert 'lvsha_vrrp_advertisements_dropped_total{reason="bad_ttl"} 2\n' in text
    assert re.search(r"process_resident_memory_bytes [0-9]{7,}\n", text)


def test_names_follow_the_conventions() -> None:
    """prometheus.io/docs/practices/naming: base units, _total for counters alone."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert re.fullmatch(r"(lvsha|process)_[a-z_]+", family.name)
        assert family.name.endswith("_total") is (family.kind == "counter")
        assert not re.search(r"_(ms|milliseconds|percent|kb)(_|$)", family.name)
        assert family.help.endswith(".")
        assert len(family.labels) <= 3


async def test_a_name_with_quotes_and_newlines_stays_one_label() -> None:
    _, status, pictures = await make(Parts(Pretended().bench), SETTINGS.services)
    status["services"][0]["name"] = 'a"b\\c\nd'

    text = b"".join(exposition(status, pictures)).decode()

    assert 'lvsha_service_in_kernel{service="a\\"b\\\\c\\nd"} 1\n' in text


async def test_what_is_not_there_has_no_sample() -> None:
    """A realserver that was drained away has no weight in the kernel; 0 would say something else."""
    port = Pretended()
    port.bench.order("drain", "web/rs12")
    port.bench.advance(10**10)
    _, status, pictures = await make(Parts(port.bench), SETTINGS.services)

    text = b"".join(exposition(status, pictures)).decode()

    assert 'lvsha_realserver_weight{service="web",realserver="rs12"}' not in text
    assert 'lvsha_realserver_ordered_out{service="web",realserver="rs12"} 1\n' in text


ROOT = Path(__file__).parents[2]


def test_the_committed_reference_pages_are_current() -> None:
    for name, text in (("metrics", metrics()), ("api", api())):
        assert (ROOT / f"docs/reference/{name}.md").read_text() == text, (
            f"run: python -m lvsha.api.reference {name} > docs/reference/{name}.md"
        )


def test_alert_rules_and_the_dashboard_know_only_metrics_that_there_are() -> None:
    known = {family.name for family in FAMILIES}
    for name in ("alerts.yml", "grafana.json"):
        text = (ROOT / "docs/examples/monitoring" / name).read_text()
        used = set(re.findall(r"\b(?:lvsha|process)_[a-z_]+\b", text))
        assert used
        assert used <= known, used - known
    json.loads((ROOT / "docs/examples/monitoring/grafana.json").read_text())
