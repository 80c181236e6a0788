"""How a session with a peer looks from outside."""

from lvsha.core.instant import Instant, earliest
from lvsha.sync.relay_outputs import PeerView
from lvsha.sync.relay_peer import PeerSession
from lvsha.sync.store import Store


def view_of(session: PeerSession, store: Store, now: Instant) -> PeerView:
    """Cheap: it is looked at many times a second."""
    waiting, window = session.outflow.waiting, session.outflow.window
    rows = len(store)
    missing = waiting.missing_count if waiting is not None else rows
    on_its_way = 0
    oldest = None
    if waiting is not None:
        if waiting.missing and window.flights:
            on_its_way = len(waiting.missing.intersection(window.flying))
        swept_since = waiting.sweeps[0].began if waiting.sweeps else None
        oldest = earliest(waiting.fresh.oldest, waiting.bulk.oldest, window.oldest, swept_since)
    return PeerView(
        peer=session.peer.director,
        name=session.peer.name,
        connected=session.connected,
        since=session.since,
        epoch=session.life.theirs,
        readiness=session.readiness,
        live=session.theirs.rows if session.theirs is not None else 0,
        missing=missing,
        coverage=max(0.0, 1 - missing / rows) if rows else 1.0,
        missing_here=session.theirs.missing if session.theirs is not None else None,
        resynced=session.resync.is_done,
        lag=max(0, now - oldest) if oldest is not None else 0,
        rtt=window.rtt,
        waiting=len(waiting) if waiting is not None else 0,
        in_flight=len(window.flights),
        in_flight_keys=window.key_count,
        on_its_way=on_its_way,
        sent_frames=session.outflow.frames,
        sent_bytes=session.outflow.bytes,
        received_frames=session.received_frames,
        received_bytes=session.received_bytes,
        resent=session.outflow.resent,
        key_id=session.key_id.hex(),
        uses_primary_key=session.key_id == session.keys.keyring.primary,
    )
