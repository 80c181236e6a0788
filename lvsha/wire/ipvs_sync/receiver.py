"""Which kernel is listening: what a verdict depends on besides the bytes."""

from dataclasses import dataclass
from typing import Final, Literal

from lvsha.wire.ipvs_sync.names import STATE_COUNT, ConnFlag, TemplateState

ANY_ENGINE: Final[frozenset[bytes] | None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A backup daemon. The default is the most permissive: what any kernel could take."""

    syncid: int = 0
    """0 takes every syncid; over 255 takes none."""
    maxlen: int = 65507
    """A longer datagram arrives cut, so that its length no longer is its size field."""
    inet6: bool = True
    """Built with CONFIG_IP_VS_IPV6."""
    engines: frozenset[bytes] | None = ANY_ENGINE
    """Persistence engines whose module is loaded, as ``frozenset({b"sip"})``. None: any name will do."""
    refuses_template_state: bool = False
    """Kernels of mid-2026 drop a template in a state past ASSURED; older ones install it."""
    byteorder: Literal["little", "big"] = "little"
    """Of v0 sequence data, which travels in its sender's order."""

    def accepts_state(self, protocol: int, flags: int, state: int) -> bool:
        """Whether the state is in range; the protocol must be known unless it is a template."""
        if flags & ConnFlag.TEMPLATE:
            return state < len(TemplateState) or not self.refuses_template_state
        return state < STATE_COUNT.get(protocol, 0)

    def has_engine(self, pe_name: bytes) -> bool:
        """Whether that engine is loaded; the kernel compares up to the first NUL."""
        return self.engines is None or pe_name.partition(b"\0")[0] in self.engines


ANYONE: Final = Receiver()
