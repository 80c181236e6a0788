"""How often a client may ask: a token bucket each, and a bound on how many are remembered."""

from lvsha.core.bounded import BoundedDict

_REMEMBERED = 4096
"""Clients; who was not heard longest is forgotten, and begins with a full bucket."""


class RateLimit:
    """``rate`` requests a second, ``burst`` at once."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: BoundedDict[str, tuple[float, float]] = BoundedDict(_REMEMBERED)

    def wait_s(self, client: str, now: float, *, cost: float = 1.0) -> float:
        """0: go on, it is counted. Else how many seconds until it may; nothing is counted."""
        level, at = self._buckets.get(client) or (self._burst, now)
        level = min(self._burst, level + (now - at) * self._rate)
        if level < cost:
            return (cost - level) / self._rate
        self._buckets.put(client, (level - cost, now))
        return 0.0
