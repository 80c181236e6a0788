"""How long a silence means that the MASTER is gone. RFC 9568 section 6.1, RFC 3768 section 6.1."""

from lvsha.core.instant import SECOND


def skew_time(*, version: int, priority: int, master_advert_interval: int) -> int:
    """The better the priority, the less a BACKUP waits: the best one takes over, and no two do.

    Version 3 scales it with the MASTER's interval, version 2 knows only seconds.
    """
    unit = master_advert_interval if version == 3 else SECOND
    return (256 - priority) * unit // 256


def master_down_interval(*, version: int, priority: int, master_advert_interval: int) -> int:
    """Active_Down_Interval: three adverts may be lost or late, not four."""
    return 3 * master_advert_interval + skew_time(
        version=version, priority=priority, master_advert_interval=master_advert_interval
    )
