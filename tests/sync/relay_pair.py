"""Two relays and a wire between them that a test can hold up, cut and read."""

from collections.abc import Callable
from ipaddress import IPv4Address

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.core.machine import Event, Output
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import Install, InstallEntries, PeerView, SendDatagram
from lvsha.sync.relay_settings import RelayPeer, RelaySettings, director_id
from lvsha.sync.store import Store
from lvsha.wire.relay_seal import Keyring

A, B = director_id("a"), director_id("b")
ADDRESSES = {A: IPv4Address("10.0.0.1"), B: IPv4Address("10.0.0.2")}
ONE, OTHER = bytes(range(32)), bytes(range(100, 132))


def entry(number: int, state: int = 1) -> bytes:
    """An established TCP connection of client port 1024 + number."""
    ports = (1024 + number).to_bytes(2, "big") + bytes.fromhex("00500050")
    head = bytes.fromhex("0006002400000000") + state.to_bytes(2, "big")
    return head + ports + bytes.fromhex("00000000000003840a0900010a0900640a090032")


class Pair:
    """Datagrams take 1 ms; installations are answered at once unless ``installs`` is False."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self.now = Instant(0)
        self.limit = limit
        self.stores: dict[int, Store] = {}
        self.relays: dict[int, Relay] = {}
        self.events: list[tuple[int, Event]] = []
        self.installs: list[tuple[int, Install]] = []
        self.owed: list[tuple[int, InstallEntries]] = []
        self.is_installing = True
        self.passes: Callable[[int, bytes], bool] = lambda sender, data: True
        self.wire: list[tuple[Instant, int, int, bytes]] = []
        self.seen: list[tuple[int, int, bytes]] = []
        """Sender, receiver and datagram, all that were ever sent."""
        for director in (A, B):
            self.make(director, epoch=director)

    def make(self, director: int, *, epoch: int, keys: tuple[bytes, ...] = (ONE,)) -> None:
        """A director that starts, with nothing."""
        other = A + B - director
        peer = RelayPeer(name="ab"[other == B], director=other, address=ADDRESSES[other])
        settings = RelaySettings(director=director, peers=(peer,), key_file="")
        self.stores[director] = Store(director=director, limit=self.limit)
        self.relays[director] = Relay(settings, self.stores[director], Keyring(keys), epoch=epoch)

    def start(self, *directors: int) -> None:
        for director in directors or (A, B):
            self.perform(director, self.relays[director].start(self.now))

    def observe(self, director: int, *entries: bytes) -> None:
        for each in entries:
            self.stores[director].observe(each, self.now)
        self.perform(director, self.relays[director].on_changes(self.now))

    def run(self, duration: int) -> None:
        end = self.now + duration
        while self.now < end:
            self.now = Instant(self.now + MILLISECOND)
            due = [each for each in self.wire if each[0] <= self.now]
            self.wire = [each for each in self.wire if each[0] > self.now]
            for _, sender, receiver, data in due:
                self.deliver(sender, receiver, data)
            for director, relay in self.relays.items():
                while (deadline := relay.deadline) is not None and deadline <= self.now:
                    self.perform(director, relay.on_deadline(self.now))

    def deliver(self, sender: int, receiver: int, data: bytes) -> list[Output]:
        outputs = self.relays[receiver].receive(data, (ADDRESSES[sender], 8849), self.now)
        self.perform(receiver, outputs)
        return outputs

    def perform(self, director: int, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendDatagram):
                self.seen.append((director, output.peer, output.data))
                if self.passes(director, output.data):
                    self.wire.append((Instant(self.now + MILLISECOND), director, output.peer, output.data))
            elif isinstance(output, InstallEntries):
                self.installs += ((director, each) for each in output.entries)
                if self.is_installing:
                    self.answer(director, output)
                else:
                    self.owed.append((director, output))
            elif isinstance(output, Event):
                self.events.append((director, output))

    def answer(self, director: int, output: InstallEntries) -> None:
        self.perform(director, self.relays[director].installed(output.peer, output.token, self.now))

    def view(self, director: int) -> PeerView:
        """How this director sees the other."""
        (view,) = self.relays[director].peers(self.now)
        return view

    def said(self, director: int, kind: type[Event]) -> list[Event]:
        return [event for who, event in self.events if who == director and isinstance(event, kind)]
