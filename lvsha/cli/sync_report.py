"""An inspector's figures as one page of text or as one JSON object."""

import json
from typing import Any

from lvsha.cli.sync_format import address_text, endpoint
from lvsha.core.instant import Instant, to_seconds
from lvsha.sync.inspect import Inspector, Sender, ServiceFigures, ServiceId
from lvsha.wire.ipvs_sync.names import protocol_name, state_name

TOP = 10

Json = dict[str, Any]


def service_text(service: ServiceId) -> str:
    """``TCP 10.0.0.10:80``, ``fwmark 5``."""
    protocol, vaddr, vport = service
    if protocol == 0:
        return f"fwmark {int.from_bytes(vaddr[:4], 'big')}"
    return f"{protocol_name(protocol)} {endpoint(vaddr, vport)}"


class Meter:
    """Rates between two looks at counters that only grow."""

    def __init__(self, started: Instant | None = None) -> None:
        """``started``: when all counters were 0; None: nobody knows, and the first look has no rates."""
        self._last: dict[object, int] = {}
        self._at = started
        self._seen: dict[object, int] = {}
        self._seconds = 0.0

    def begin(self, now: Instant) -> None:
        """Another look."""
        self._seconds = 0.0 if self._at is None else max(to_seconds(now - self._at), 1e-9)
        self._at, self._last, self._seen = now, self._seen, {}

    def rate(self, name: object, count: int) -> float | None:
        """Per second since the look before this, or the start."""
        self._seen[name] = count
        if not self._seconds:
            return None
        return round((count - self._last.get(name, 0)) / self._seconds, 1)


def figures(inspector: Inspector, now: Instant | None = None, meter: Meter | None = None) -> Json:
    """All figures, for JSON; rates if ``now`` is given, else averages over the whole time."""
    started, last = inspector.started or 0, inspector.last or 0
    span = max(to_seconds(last - started), 1e-9)
    if now is None:
        rates = {
            "messages_per_s": inspector.messages / span,
            "entries_per_s": inspector.entries / span,
            "bytes_per_s": inspector.bytes / span,
        }
    else:
        rates = {
            "messages_per_s": inspector.message_rate.per_second(now),
            "entries_per_s": inspector.entry_rate.per_second(now),
            "bytes_per_s": inspector.byte_rate.per_second(now),
        }
    if meter is not None and now is not None:
        meter.begin(now)
    return {
        "duration_s": to_seconds((now or last) - started) if started else 0.0,
        "messages": inspector.messages,
        "entries": inspector.entries,
        "lost_entries": inspector.lost_entries,
        "bytes": inspector.bytes,
        **{name: round(rate, 1) if span > 1e-6 or now else None for name, rate in rates.items()},
        "nudges": inspector.nudges,
        "syncids": _syncids(inspector, meter),
        "senders": [_sender(sender, meter) for sender in inspector.senders.values()],
        "services": [_service(*item, meter) for item in _by_entries(inspector)],
        "transitions": [
            {
                "protocol": protocol_name(protocol),
                "from": state_name(protocol, before),
                "to": state_name(protocol, after),
                "count": count,
            }
            for (protocol, before, after), count in inspector.transitions.most_common()
        ],
        "top_clients": [
            {"client": address_text(client), "entries": count}
            for client, count in inspector.clients.most_common(TOP)
        ],
        "problems": {str(reason): count for reason, count in inspector.problems.most_common()},
        "findings": [
            {"kind": str(finding.kind), "subject": finding.subject, "text": finding.text}
            for finding in inspector.findings
        ],
        "forgotten": inspector.forgotten,
    }


def report_json(inspector: Inspector) -> str:
    """One line."""
    return json.dumps(figures(inspector)) + "\n"


def report(inspector: Inspector) -> str:
    """One page."""
    return page(figures(inspector))


def page(data: Json) -> str:
    """``figures`` for people."""
    lines = [
        f"{data['messages']:,} messages, {data['entries']:,} entries, {data['bytes']:,} bytes"
        f" in {data['duration_s']:.1f} s"
        + (
            f": {data['messages_per_s']:,.1f} messages/s, {data['entries_per_s']:,.1f} entries/s, "
            f"{data['bytes_per_s']:,.0f} bytes/s"
            if data["messages_per_s"] is not None
            else ""
        )
    ]
    if data["lost_entries"]:
        lines.append(f"{data['lost_entries']:,} entries are not installed by a receiver")
    if data.get("capture_dropped"):
        lines.append(f"{data['capture_dropped']:,} frames came faster than they could be counted")
    lines += [f"! {finding['text']}" for finding in data["findings"]]
    lines += [
        "",
        f"{'SENDER':<24} {'SYNCID':>6} {'VERSION':>7} {'PORTS':<11} {'MESSAGES':>10} {'/S':>8} "
        f"{'ENTRIES':>11} {'/S':>9} {'LOST':>8} {'LONGEST':>8} {'SILENCE':>9}",
    ]
    for sender in data["senders"]:
        ports = sender["ports"]
        port_text = f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports[0])
        versions = ",".join(map(str, sender["versions"]))
        lines.append(
            f"{sender['source']:<24} {sender['syncid']:>6} {versions:>7} {port_text:<11} "
            f"{sender['messages']:>10,} {_rate(sender['messages_per_s']):>8} {sender['entries']:>11,} "
            f"{_rate(sender['entries_per_s']):>9} {sender['lost_entries']:>8,} "
            f"{sender['longest_message']:>8,} {sender['longest_silence_s']:>7.1f} s"
        )
    lines += ["", f"{'SERVICE':<32} {'ENTRIES':>11} {'/S':>9} {'TEMPLATES':>10}  STATES"]
    for service in data["services"][:TOP]:
        states = ", ".join(f"{name} {count:,}" for name, count in service["states"].items())
        lines.append(
            f"{service['service']:<32} {service['entries']:>11,} {_rate(service['entries_per_s']):>9} "
            f"{service['templates']:>10,}  {states}"
        )
    if len(data["services"]) > TOP:
        lines.append(f"and {len(data['services']) - TOP} more services")
    if data["transitions"]:
        lines += ["", "STATE CHANGES"]
        for change in data["transitions"][:TOP]:
            lines.append(f"{change['protocol']} {change['from']} -> {change['to']}: {change['count']:,}")
    if data["top_clients"]:
        shown = ", ".join(f"{top['client']} ({top['entries']:,})" for top in data["top_clients"])
        lines += ["", f"TOP CLIENTS  {shown}"]
    if data["problems"]:
        shown = ", ".join(f"{reason} {count:,}" for reason, count in data["problems"].items())
        lines += ["", f"PROBLEMS  {shown}"]
    return "\n".join(lines) + "\n"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.1f}"


def _syncids(inspector: Inspector, meter: Meter | None) -> list[Json]:
    sums: dict[int, list[int]] = {}
    for sender in inspector.senders.values():
        figures_of = sums.setdefault(sender.syncid, [0, 0, 0, 0])
        for at, count in enumerate((1, sender.messages, sender.entries, sender.bytes)):
            figures_of[at] += count
    return [
        {
            "syncid": syncid,
            "senders": senders,
            "messages": messages,
            "entries": entries,
            "bytes": size,
            "messages_per_s": _metered(meter, ("syncid", syncid), messages),
            "entries_per_s": _metered(meter, ("syncid entries", syncid), entries),
            "bytes_per_s": _metered(meter, ("syncid bytes", syncid), size),
        }
        for syncid, (senders, messages, entries, size) in sorted(sums.items())
    ]


def _metered(meter: Meter | None, name: object, count: int) -> float | None:
    return None if meter is None else meter.rate(name, count)


def _by_entries(inspector: Inspector) -> list[tuple[ServiceId, ServiceFigures]]:
    return sorted(inspector.services.items(), key=lambda item: -item[1].entries)


def _sender(sender: Sender, meter: Meter | None) -> Json:
    return {
        "source": sender.source,
        "syncid": sender.syncid,
        "versions": sorted(sender.versions),
        "ports": sorted(sender.ports),
        "messages": sender.messages,
        "entries": sender.entries,
        "lost_entries": sender.lost_entries,
        "bytes": sender.bytes,
        "messages_per_s": _metered(meter, (sender.source, sender.syncid), sender.messages),
        "entries_per_s": _metered(meter, (sender.source, sender.syncid, "entries"), sender.entries),
        "longest_message": sender.longest_message,
        "longest_silence_s": round(to_seconds(sender.longest_silence), 3),
    }


def _service(service: ServiceId, counted: ServiceFigures, meter: Meter | None) -> Json:
    states = {state_name(service[0], state): count for state, count in counted.states.most_common()}
    return {
        "service": service_text(service),
        "entries": counted.entries,
        "entries_per_s": _metered(meter, service, counted.entries),
        "templates": counted.templates,
        "states": states,
    }
