"""Which router an advert is for, and whether it may have it. One per interface and family.

The checks of RFC 9568 section 7.1 and RFC 3768 section 7.1, in the order of the
code below: cheap ones and ones that cannot be forged from afar first. Every refusal
has a ``DropReason``, is counted, and now and then becomes an event whose text tells
the operator what to change. What is merely different, and legal, is reported too
(``PeerDisagrees``) and goes through.

Two of the rules are ours. An address list that differs is not a reason to drop
(unless ``strict_addresses``): during a rolling change of the list that would make
two MASTERs, and both RFCs leave the check to us. An owner hears others in version 3,
as erratum 8298 of RFC 9568 has it, so that two owners can settle who it is.
"""

import hmac
from dataclasses import dataclass

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason, StateError
from lvsha.core.instant import Instant, to_seconds
from lvsha.core.machine import Event
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.outputs import AdvertisementDropped, PeerDisagrees
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.settings import OWNER_PRIORITY, Authentication, RouterSettings
from lvsha.wire.vrrp import (
    TTL,
    Advertisement,
    AuthType,
    checksum_form,
    decode_advertisement,
)
from lvsha.wire.vrrp_auth import AuthKeys, Trailer, split


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of one packet."""

    router: str | None
    """Whose ``receive`` it is for; None: dropped."""
    advert: Advertisement | None
    events: tuple[Event, ...]


_Packet = tuple[bytes, bool, Address, Address, int]
"""Message, whether it has a trailer, source, destination, TTL."""


class _Refused(Exception):
    """Leaves ``_check`` with a reason; never leaves ``receive``."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Endpoint:
    def __init__(self, *, interface: str, family: int, guard: ReplayGuard | None = None) -> None:
        """``guard``: needed where adverts are authenticated."""
        self.interface = interface
        self.family = family
        self._guard = guard
        self.accepted = 0
        self._own_addresses: frozenset[Address] = frozenset()
        self._routers: dict[int, RouterSettings] = {}
        self._keys: dict[int, AuthKeys] = {}
        self._complaints = Complaints()
        self._flawless: dict[int, tuple[_Packet, Received]] = {}
        """By VRID, the last packet that nothing was wrong with: a MASTER sends the same message for
        years, and it passes in a tenth of the time. Its trailer is looked at each time."""

    @property
    def own_addresses(self) -> frozenset[Address]:
        """Of this host: what comes from them is our own, looped back."""
        return self._own_addresses

    @own_addresses.setter
    def own_addresses(self, addresses: frozenset[Address]) -> None:
        self._own_addresses = addresses
        self._flawless.clear()

    def put(self, settings: RouterSettings, keys: AuthKeys | None = None) -> None:
        """Add a router, or change one.

        Raises:
            StateError: another router has that VRID here, or what it authenticates with is missing.
        """
        if settings.authentication is not Authentication.NONE and (keys is None or self._guard is None):
            raise StateError(f"{settings.name} authenticates adverts and has no keys")
        if (settings.interface, settings.family) != (self.interface, self.family):
            raise StateError(f"{settings.name} is not of {self.interface} IPv{self.family}")
        other = self._routers.get(settings.vrid)
        if other is not None and other.name != settings.name:
            raise StateError(
                f"{other.name} and {settings.name} both have VRID {settings.vrid} on {self.interface}"
            )
        self._routers[settings.vrid] = settings
        self._keys.pop(settings.vrid, None)
        if keys is not None:
            self._keys[settings.vrid] = keys
        self._flawless.clear()

    def remove(self, name: str) -> None:
        for vrid, router in self._routers.items():
            if router.name == name:
                self._keys.pop(vrid, None)
        self._routers = {vrid: router for vrid, router in self._routers.items() if router.name != name}
        self._flawless.clear()

    def dropped(self) -> dict[str, int]:
        """Counts since the start, by reason."""
        totals: dict[str, int] = {}
        for key, count in self._complaints.totals().items():
            reason, _, _ = key.partition(" ")
            if reason in DropReason.__members__.values():
                totals[reason] = totals.get(reason, 0) + count
        return totals

    def receive(
        self, payload: bytes, *, source: Address, destination: Address, ttl: int, now: Instant
    ) -> Received:
        """One packet of IP protocol 112, without its IP header."""
        vrid = payload[1] if len(payload) > 1 else None
        settings = self._routers.get(vrid) if vrid is not None else None
        message, trailer = split(payload, family=self.family)
        packet = (message, trailer is None, source, destination, ttl)
        known = self._flawless.get(vrid) if vrid is not None else None
        try:
            if known is not None and settings is not None and known[0] == packet:
                self._authenticate(settings, message, trailer, source, destination, now)
                self.accepted += 1
                return known[1]
            advert = self._check(message, trailer, source=source, destination=destination, ttl=ttl, now=now)
        except DecodeError as error:
            return self._drop(error.reason, error.detail, source, vrid, settings, now)
        except _Refused as refused:
            return self._drop(refused.reason, refused.detail, source, vrid, settings, now)
        self.accepted += 1
        assert settings is not None, "what passed the checks has a router"
        differences = self._differences(advert, message, trailer, settings, source, destination)
        events = [
            PeerDisagrees(settings.name, source, what, detail, count)
            for what, detail in differences
            if (count := self._complaints.count(f"disagrees-{what} {settings.vrid}", now)) is not None
        ]
        received = Received(router=settings.name, advert=advert, events=tuple(events))
        if not differences:
            self._flawless[settings.vrid] = (packet, received)
        return received

    def _check(
        self,
        payload: bytes,
        trailer: Trailer | None,
        *,
        source: Address,
        destination: Address,
        ttl: int,
        now: Instant,
    ) -> Advertisement:
        if source in self._own_addresses:
            raise _Refused(DropReason.OWN_PACKET, f"our own address {source}: is another host using it?")
        settings = self._routers.get(payload[1]) if len(payload) > 1 else None
        min_ttl = TTL if settings is None or not settings.unicast_peers else settings.min_ttl
        if ttl < min_ttl:
            raise _Refused(
                DropReason.BAD_TTL,
                f"TTL {ttl}, expected {min_ttl}: it came through a router, which multicast VRRP must not; "
                "for unicast peers behind one, or that do not set it (keepalived 2.2 over IPv6), there is "
                "min_ttl",
            )
        advert = decode_advertisement(payload, family=self.family)
        if checksum_form(payload, source=source, destination=destination) is None:
            raise _Refused(
                DropReason.BAD_CHECKSUM, "damaged on the way, or another protocol on IP protocol 112"
            )
        if settings is None:
            known = ", ".join(str(vrid) for vrid in sorted(self._routers)) or "none"
            raise _Refused(
                DropReason.UNKNOWN_VRID,
                f"VRID {advert.vrid} is not configured on {self.interface} (configured: {known}); "
                "fine if another cluster shares this network",
            )
        if settings.unicast_peers and source not in settings.unicast_peers:
            raise _Refused(
                DropReason.UNKNOWN_PEER,
                f"{source} is not in unicast_peers; add it, or give that cluster another VRID",
            )
        self._authenticate(settings, payload, trailer, source, destination, now)
        if advert.version != settings.version:
            raise _Refused(
                DropReason.BAD_VERSION,
                f"peer speaks VRRPv{advert.version}, we speak VRRPv{settings.version}: "
                "set the same version on both, or there will be two MASTERs",
            )
        if advert.version == 2:
            self._check_v2(advert, settings)
        if settings.strict_addresses and advert.priority != OWNER_PRIORITY:
            difference = _address_difference(advert, settings)
            if difference:
                raise _Refused(DropReason.ADDRESS_MISMATCH, difference)
        return advert

    def _authenticate(
        self,
        settings: RouterSettings,
        message: bytes,
        trailer: Trailer | None,
        source: Address,
        destination: Address,
        now: Instant,
    ) -> None:
        """``proto/lvsha_vrrp_auth.md`` sections 2, 4 and 5."""
        if settings.authentication is Authentication.NONE:
            return
        if trailer is None:
            if settings.authentication is Authentication.PERMISSIVE:
                return
            raise _Refused(
                DropReason.UNAUTHENTICATED,
                "no trailer: forged, or a peer without our key_file; for a peer that is not lvsha set "
                'authentication = "none" on all',
            )
        assert self._guard is not None, "put asks for it"
        self._keys[settings.vrid].check(message, trailer, source=source, destination=destination)
        self._guard.check(
            interface=self.interface,
            vrid=settings.vrid,
            source=source,
            key_id=trailer.key_id,
            number=trailer.number,
            now=now,
        )

    def _check_v2(self, advert: Advertisement, settings: RouterSettings) -> None:
        """RFC 3768 section 7.1."""
        if settings.is_owner:
            raise _Refused(
                DropReason.WE_ARE_OWNER,
                "we own the address (priority 255) and another router advertises it: "
                "give one of them a priority below 255 and its own addresses",
            )
        expected = AuthType.NONE if settings.password is None else AuthType.SIMPLE
        if advert.auth_type != expected:
            raise _Refused(
                DropReason.BAD_AUTH_TYPE,
                f"authentication type {advert.auth_type}, expected {expected.value} ({expected.name}): "
                "set password on both or on neither",
            )
        if settings.password is not None and not hmac.compare_digest(
            advert.auth_data, settings.password.encode()
        ):
            raise _Refused(DropReason.AUTH_FAILED, "another password: set the same on both")
        if advert.advert_interval != settings.advert_interval:
            raise _Refused(
                DropReason.INTERVAL_MISMATCH,
                f"advert interval {to_seconds(advert.advert_interval):g} s, ours "
                f"{to_seconds(settings.advert_interval):g} s: VRRPv2 needs the same on both",
            )

    def _drop(
        self,
        reason: DropReason,
        detail: str,
        source: Address,
        vrid: int | None,
        settings: RouterSettings | None,
        now: Instant,
    ) -> Received:
        count = self._complaints.count(f"{reason} {vrid}", now)
        if count is None:
            return Received(router=None, advert=None, events=())
        event = AdvertisementDropped(
            interface=self.interface,
            family=self.family,
            reason=reason,
            source=source,
            vrid=vrid,
            router=settings.name if settings is not None else None,
            detail=detail,
            count=count,
        )
        return Received(router=None, advert=None, events=(event,))

    def _differences(
        self,
        advert: Advertisement,
        payload: bytes,
        trailer: Trailer | None,
        settings: RouterSettings,
        source: Address,
        destination: Address,
    ) -> list[tuple[str, str]]:
        """What is not as we have it and yet no reason to drop, and what to say about it."""
        found: list[tuple[str, str]] = []
        if advert.version == 3 and advert.advert_interval != settings.advert_interval:
            theirs, ours = to_seconds(advert.advert_interval), to_seconds(settings.advert_interval)
            found.append(
                ("advert_interval", f"theirs {theirs:g} s, ours {ours:g} s: a BACKUP follows its MASTER's")
            )
        if not settings.strict_addresses:
            difference = _address_difference(advert, settings)
            if difference:
                found.append(("addresses", difference))
        if advert.version == 3 and self.family == 4:
            form = checksum_form(payload, source=source, destination=destination)
            if form is not settings.checksum:
                found.append(
                    (
                        "checksum",
                        f'theirs covers "{form}", ours "{settings.checksum}": the peer may refuse ours',
                    )
                )
        if (trailer is None) is not (settings.authentication is Authentication.NONE):
            says = "theirs are not authenticated" if trailer is None else "theirs are authenticated"
            found.append(
                ("authentication", f"{says}, ours are {settings.authentication}: set the same on all")
            )
        if settings.is_owner:
            found.append(("owner", "we own the address (priority 255) and another router advertises it"))
        return found


def _address_difference(advert: Advertisement, settings: RouterSettings) -> str:
    """What only one side has; empty when the lists hold the same."""
    theirs = set(advert.addresses)
    ours: set[Address] = {prefix.ip for prefix in settings.addresses}
    if theirs == ours:
        return ""
    only_theirs = ", ".join(map(str, sorted(theirs - ours, key=int))) or "none"
    only_ours = ", ".join(map(str, sorted(ours - theirs, key=int))) or "none"
    return f"only theirs: {only_theirs}; only ours: {only_ours}; both need the same list"
