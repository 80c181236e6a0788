"""What VRRP and the sync daemons say while we listen, summed up by who says what."""

import select
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from lvsha.core.errors import DecodeError, KernelError
from lvsha.doctor.facts import HeardAdvert, HeardSync
from lvsha.io.wiretap import VRRP, Wiretap
from lvsha.wire.ip import Ipv4Packet, decode_ipv4
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.vrrp import CENTISECOND, decode_advertisement

FIRST_PORT: Final = 8848
LAST_PORT: Final = 8863
"""The default port, and one for each thread of ``sync_ports``."""
MAX_KINDS: Final = 256
"""Of adverts and of messages; more are not told apart any more."""


class Ear:
    """Open it early, let other work go on, then ``hear`` what has come until its time is over."""

    def __init__(self, interfaces: Iterable[str], seconds: float, ports: Iterable[int] = ()) -> None:
        self.refused: list[str] = []
        self._end = time.monotonic() + seconds
        self.seconds = seconds
        wanted = [FIRST_PORT, LAST_PORT, *ports]
        self._taps: list[tuple[str, Wiretap]] = []
        for interface in interfaces if seconds else ():
            try:
                tap = Wiretap(interface, first_port=min(wanted), last_port=max(wanted))
            except KernelError as error:
                self.refused.append(str(error))
            else:
                self._taps.append((interface, tap))
        self._adverts: dict[Any, HeardAdvert] = {}
        self._sync: dict[Any, HeardSync] = {}
        self._passwords: dict[bytes, int] = {b"": 0}
        self._numbers: Counter[str] = Counter()

    def hear(self) -> tuple[tuple[HeardAdvert, ...], tuple[HeardSync, ...]]:
        """Waits for the end of the time and closes."""
        by_file = {tap.fileno(): (interface, tap) for interface, tap in self._taps}
        while self._taps:
            left = self._end - time.monotonic()
            ready = select.select(list(by_file), [], [], max(0.0, left))[0]
            for file in ready:
                interface, tap = by_file[file]
                for packet, is_own in tap.receive():
                    self._take(interface, packet, is_own)
            if left <= 0:
                break
        for _, tap in self._taps:
            tap.close()
        return tuple(self._adverts.values()), tuple(self._sync.values())

    def _take(self, interface: str, packet: bytes, is_own: bool) -> None:
        try:
            if packet[0] >> 4 != 4:
                return
            ip = decode_ipv4(packet)
            if ip.protocol == VRRP:
                self._advert(interface, ip, is_own)
            else:
                port = int.from_bytes(ip.payload[2:4], "big")
                payload = ip.payload[8:]
                version = 1 if len(payload) > 5 and payload[0] == 0 and payload[5] == 1 else 0
                if not payload or (version == 0 and decode_message(payload).problems):
                    return
                key = (interface, ip.source, ip.destination, port, payload[1], version)
                before = self._sync.get(key)
                if before is None and len(self._sync) >= MAX_KINDS:
                    return
                self._sync[key] = HeardSync(
                    interface=interface,
                    source=ip.source,
                    is_own=is_own,
                    group=ip.destination,
                    port=port,
                    syncid=payload[1],
                    version=version,
                    longest=max(len(payload), before.longest if before else 0),
                    count=before.count + 1 if before else 1,
                )
        except (DecodeError, IndexError):
            return  # no business of ours, or forged: the agents count those

    def _advert(self, interface: str, ip: Ipv4Packet, is_own: bool) -> None:
        advert = decode_advertisement(ip.payload)
        self._numbers[interface] += 1
        group = self._passwords.setdefault(advert.auth_data, len(self._passwords))
        key = (
            *(interface, ip.source, ip.ttl, advert.version, advert.vrid, advert.addresses),
            *(advert.advert_interval, advert.auth_type, group),
        )
        before = self._adverts.get(key)
        if before is None and len(self._adverts) >= MAX_KINDS:
            return
        self._adverts[key] = HeardAdvert(
            interface=interface,
            source=ip.source,
            is_own=is_own,
            is_multicast=ip.destination.is_multicast,
            ttl=ip.ttl,
            version=advert.version,
            vrid=advert.vrid,
            interval_cs=advert.advert_interval // CENTISECOND,
            addresses=advert.addresses,
            auth_type=advert.auth_type,
            auth_group=group,
            priority=advert.priority,
            count=before.count + 1 if before else 1,
            first=before.first if before else self._numbers[interface],
            last=self._numbers[interface],
        )
