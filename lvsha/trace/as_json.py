"""An explanation for programs; docs/reference/trace.md says what each key means."""

from typing import Any

from lvsha.trace.conversation import Conversation, began
from lvsha.trace.explain import Explanation
from lvsha.trace.gather import Place
from lvsha.trace.hosts import Host
from lvsha.trace.packet import PROTOCOL_NAMES, Endpoint, address_text, endpoint_text, mac_text
from lvsha.trace.rules_later import resent
from lvsha.trace.story import Event, Step, sentence, tell
from lvsha.trace.world import Finding


def as_json(explanation: Explanation) -> dict[str, Any]:
    """All of it."""
    gathered = explanation.gathered
    return {
        "ok": explanation.is_well,
        "captures": [_capture(explanation, place) for place in gathered.places],
        "hosts": [_host(explanation, host) for host in explanation.hosts.all()],
        "neighbours": neighbours(explanation),
        "connections": [
            _connection(explanation, talk, number) for number, talk in enumerate(explanation.talks, 1)
        ],
        "findings": [finding_json(finding) for finding in explanation.findings],
        "limits": {
            "other_connections": explanation.others,
            "connections_not_followed": gathered.connections_not_followed,
            "packets_not_followed": gathered.packets_not_followed,
            "packets_left_out": sum(bucket.left_out for bucket in gathered.buckets.values()),
            "neighbours_left_out": gathered.neighbours_left_out,
        },
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "id": finding.id,
        "severity": finding.severity,
        "what": finding.what,
        "evidence": finding.evidence,
        "host": finding.host or None,
        "connection": finding.connection,
        "page": f"docs/failures/{finding.id}.md",
    }


def neighbours(explanation: Explanation) -> list[dict[str, Any]]:
    """Who asked for which address by ARP or neighbour discovery, and who answered."""
    rows: dict[bytes, dict[str, Any]] = {}
    for _, each in explanation.gathered.neighbours:
        about = each.sender if each.is_answer else each.target
        host = explanation.hosts.of(each.sender_mac)
        row = rows.setdefault(about, {"address": address_text(about), "asked_by": [], "answered_by": []})
        name = host.name if host is not None else ""
        if not each.is_answer:
            if name and name not in row["asked_by"]:
                row["asked_by"].append(name)
        else:
            answer = {"host": name, "mac": mac_text(each.sender_mac)}
            if answer not in row["answered_by"]:
                row["answered_by"].append(answer)
    return [rows[address] for address in sorted(rows)]


def _capture(explanation: Explanation, place: Place) -> dict[str, Any]:
    offset = explanation.clocks.get(place.index)
    host = next((host for host in explanation.hosts.all() if place.index in host.places), None)
    return {
        "name": place.name,
        "host": host.name if host is not None else None,
        "frames": place.frames,
        "bytes": place.size,
        "not_decoded": place.undecoded,
        "first_ns": place.first_ns,
        "last_ns": place.last_ns,
        "clock_offset_us": None if offset is None else offset.ns / 1000,
        "clock_error_us": None if offset is None or offset.error_ns is None else offset.error_ns / 1000,
        "shared_packets": 0 if offset is None else offset.packets,
        "problem": place.problem or None,
    }


def _host(explanation: Explanation, host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "role": host.role.value,
        "macs": [mac_text(mac) for mac in sorted(host.macs)],
        "answers_for": [address_text(each) for each in sorted(host.answers_for)],
        "addresses": [address_text(each) for each in host.addresses],
        "captures": [explanation.gathered.places[place].name for place in sorted(host.places)],
    }


def _connection(explanation: Explanation, talk: Conversation, number: int) -> dict[str, Any]:
    story = tell(explanation, number)
    times = [began(way, explanation.clocks) for way in talk.ways]
    return {
        "number": number,
        "protocol": PROTOCOL_NAMES.get(talk.protocol, str(talk.protocol)),
        "client": endpoint_text(talk.client),
        "virtual": _endpoint(talk.virtual),
        "realserver": _endpoint(talk.realserver),
        "method": talk.method.value,
        "tunnel": talk.tunnel or None,
        "client_host": _name(talk.client_host),
        "director_host": _name(talk.director_host),
        "realserver_host": _name(talk.server_host),
        "outcome": talk.outcome.value,
        "ok": talk.is_well and not explanation.of(number),
        "packets": len(talk.ways),
        "bytes_to_server": sum(way.packet.size for way in talk.requests),
        "bytes_to_client": sum(way.packet.size for way in talk.answers),
        "retransmissions": resent(talk),
        "duration_ms": (max(times) - min(times)) / 1e6 if times else 0.0,
        "headline": story.headline,
        "events": [_event(event, story.start_ns) for event in story.events],
        "events_left_out": story.events_left_out,
        "packets_left_out": talk.left_out,
        "findings": [finding.id for finding in explanation.of(number)],
    }


def _event(event: Event, start_ns: int) -> dict[str, Any]:
    return {
        "at_ms": (event.time_ns - start_ns) / 1e6,
        "kind": event.kind,
        "times": event.times,
        "bytes": event.size,
        "text": sentence(event),
        "hops": [_step(step) for step in event.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "from": _name(step.source),
        "to": _name(step.target),
        "packet": step.label,
        "header": step.header,
        "change": step.kind or None,
        "change_text": step.change or None,
        "seen_in": list(step.seen),
    }


def _name(host: Host | None) -> str | None:
    return host.name if host is not None else None


def _endpoint(endpoint: Endpoint | None) -> str | None:
    return endpoint_text(endpoint) if endpoint is not None else None
