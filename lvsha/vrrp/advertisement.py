"""The advert that a MASTER sends: its settings as a record of the wire."""

from lvsha.core.instant import SECOND
from lvsha.vrrp.settings import RouterSettings
from lvsha.wire.vrrp import CENTISECOND, Advertisement, AuthType


def advertisement(settings: RouterSettings, *, priority: int, promised_interval: int) -> Advertisement:
    """``promised_interval`` in nanoseconds: named in version 3 only, which has room for it."""
    addresses = [address.ip for address in settings.addresses]
    # Section 5.2.9: the first IPv6 address is the link-local one.
    addresses.sort(key=lambda address: not address.is_link_local if address.version == 6 else False)
    if settings.version == 2:
        return Advertisement(
            version=2,
            vrid=settings.vrid,
            priority=priority,
            addresses=tuple(addresses),
            advertisement_interval_s=settings.advert_interval // SECOND,
            auth_type=AuthType.NONE if settings.password is None else AuthType.SIMPLE,
            auth_data=(settings.password or "").encode(),
        )
    return Advertisement(
        version=3,
        vrid=settings.vrid,
        priority=priority,
        addresses=tuple(addresses),
        max_advertise_interval_cs=promised_interval // CENTISECOND,
    )
