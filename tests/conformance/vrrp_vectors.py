"""Reads ``proto/vectors/vrrp.json``, ``arp.json`` and ``ndisc.json``."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.errors import DropReason
from lvsha.core.instant import MILLISECOND
from lvsha.vrrp.settings import RouterSettings
from lvsha.wire.arp import ArpPacket
from lvsha.wire.ndisc import NeighborAdvertisement
from lvsha.wire.vrrp import Advertisement, ChecksumForm

FOLDER = Path(__file__).resolve().parents[2] / "proto" / "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class VrrpVector:
    name: str
    data: bytes
    family: int
    source: Address
    destination: Address
    ttl: int
    advert: Advertisement | None
    checksum: ChecksumForm | None
    canonical: bool
    error: DropReason | None
    by_endpoint: bool
    """The decoder takes it, the endpoint does not."""
    router: RouterSettings | None
    own: frozenset[Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpVector:
    name: str
    data: bytes
    arp: ArpPacket | None
    is_gratuitous: bool
    is_probe: bool
    error: DropReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NdiscVector:
    name: str
    data: bytes
    source: IPv6Address
    destination: IPv6Address
    advert: NeighborAdvertisement | None
    canonical: bool
    error: DropReason | None


def _raw(name: str) -> list[dict[str, Any]]:
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert document["format"] == name
    vectors: list[dict[str, Any]] = document["vectors"]
    return vectors


def _error(raw: dict[str, Any]) -> DropReason | None:
    return DropReason(raw["error"]["reason"]) if "error" in raw else None


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def vrrp_vectors() -> list[VrrpVector]:
    found = [
        VrrpVector(
            name=raw["name"],
            data=bytes.fromhex(raw["hex"]),
            family=raw["family"],
            source=ip_address(raw["from"]),
            destination=ip_address(raw["to"]),
            ttl=raw["ttl"],
            advert=_advert(raw["advert"]) if "advert" in raw else None,
            checksum=ChecksumForm(raw["checksum"]) if "checksum" in raw else None,
            canonical=raw.get("canonical", False),
            error=_error(raw),
            by_endpoint=raw.get("error", {}).get("by") == "endpoint",
            router=_router(raw["router"]) if "router" in raw else None,
            own=frozenset(map(ip_address, raw.get("own", []))),
        )
        for raw in _raw("vrrp")
    ]
    assert len(found) > 40, "the vectors have been lost"
    return found


def _advert(raw: dict[str, Any]) -> Advertisement:
    fields = dict(raw)
    fields["addresses"] = tuple(map(ip_address, raw["addresses"]))
    if "auth_data" in raw:
        fields["auth_data"] = bytes.fromhex(raw["auth_data"])
    return Advertisement(**fields)


def _router(raw: dict[str, Any]) -> RouterSettings:
    return RouterSettings(
        name="r",
        interface="eth0",
        vrid=raw["vrid"],
        version=raw["version"],
        family=raw["family"],
        priority=raw["priority"],
        advert_interval=raw["advert_interval_ms"] * MILLISECOND,
        addresses=tuple(map(ip_interface, raw["addresses"])),
        password=raw.get("password"),
        strict_addresses=raw.get("strict_addresses", False),
        unicast_peers=tuple(map(ip_address, raw.get("unicast_peers", []))),
    )


def arp_vectors() -> list[ArpVector]:
    return [
        ArpVector(
            name=raw["name"],
            data=bytes.fromhex(raw["hex"]),
            arp=_arp(raw["arp"]) if "arp" in raw else None,
            is_gratuitous=raw.get("is_gratuitous", False),
            is_probe=raw.get("is_probe", False),
            error=_error(raw),
        )
        for raw in _raw("arp")
    ]


def _arp(raw: dict[str, Any]) -> ArpPacket:
    return ArpPacket(
        operation=raw["operation"],
        sender_mac=_mac(raw["sender_mac"]),
        sender_address=IPv4Address(raw["sender_address"]),
        target_mac=_mac(raw["target_mac"]),
        target_address=IPv4Address(raw["target_address"]),
    )


def ndisc_vectors() -> list[NdiscVector]:
    return [
        NdiscVector(
            name=raw["name"],
            data=bytes.fromhex(raw["hex"]),
            source=IPv6Address(raw["from"]),
            destination=IPv6Address(raw["to"]),
            advert=_neighbor(raw["advert"]) if "advert" in raw else None,
            canonical=raw.get("canonical", False),
            error=_error(raw),
        )
        for raw in _raw("ndisc")
    ]


def _neighbor(raw: dict[str, Any]) -> NeighborAdvertisement:
    return NeighborAdvertisement(
        target=IPv6Address(raw["target"]),
        router=raw["router"],
        solicited=raw["solicited"],
        override=raw["override"],
        mac=_mac(raw["mac"]) if raw["mac"] is not None else None,
    )
