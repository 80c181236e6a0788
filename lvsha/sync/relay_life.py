"""Which life of a peer is spoken to, and whether it speaks to ours: hello and welcome.

A director draws its epoch at random, so only an answer to our challenge tells a new
life from a replayed old one. Here is what is asked, when, and what counts as an answer;
the session sends it.

Source: ``proto/lvsha_relay_v1.md`` section 4.
"""

from typing import Final

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.wire.relay import Hello, Welcome

HELLO_LEAST: Final = 50 * MILLISECOND
HELLO_SOON: Final = 200 * MILLISECOND
HELLO_LATER: Final = SECOND
HELLOS_SOON: Final = 10
WELCOME_LEAST: Final = 20 * MILLISECOND
UNKNOWN_EPOCHS_MOST: Final = 1000
"""Frames of epochs that are not accepted, in a second: each costs a key derivation."""


class Life:
    """One peer's, as we know it."""

    def __init__(self, epoch: int, now: Instant) -> None:
        self.epoch = epoch
        """Ours."""
        self.theirs = 0
        """The peer's epoch, by an answer to our challenge; 0: none."""
        self.hears_us = False
        """It speaks to our epoch."""
        self.hello_at: Instant | None = now
        """When to ask again; None while the session is up."""
        self._challenge = 1
        self._is_asking = True
        self._hellos = 0
        self._hello_last: Instant | None = None
        self._welcome_last: Instant | None = None
        self._unknown_budget = UNKNOWN_EPOCHS_MOST
        self._unknown_until = now

    @property
    def is_mutual(self) -> bool:
        """Both sides have proven that they live."""
        return self.hears_us and bool(self.theirs)

    def settle(self) -> None:
        """The session is up: nothing more to ask."""
        self.hello_at = None
        self._hellos = 0

    def look_for(self, now: Instant) -> None:
        """The session is lost: ask from now on."""
        self.hears_us = False
        self._hellos = 0
        self.hello_at = now

    def may_ask_again(self, now: Instant) -> bool:
        """Somebody speaks whom we do not know, or not to us."""
        return self._hello_last is None or now - self._hello_last >= HELLO_LEAST

    def hello(self, now: Instant) -> Hello:
        """To be sent now."""
        if not self._is_asking:
            # One challenge until it is answered, however long the answer takes; never one twice.
            self._is_asking = True
            self._challenge += 1
        self._hello_last = now
        self._hellos += 1
        if self.hello_at is not None:
            self.hello_at = after(now, HELLO_SOON if self._hellos <= HELLOS_SOON else HELLO_LATER)
        return Hello(challenge=self._challenge)

    def welcome(self, hello: Hello, epoch: int, now: Instant) -> Welcome | None:
        """The answer to a peer of this epoch; None: it had one a moment ago."""
        if self._welcome_last is not None and now - self._welcome_last < WELCOME_LEAST:
            return None
        self._welcome_last = now
        return Welcome(epoch=epoch, challenge=hello.challenge)

    def is_answer(self, welcome: Welcome) -> bool:
        """Whether it answers what we ask just now."""
        return self._is_asking and (welcome.epoch, welcome.challenge) == (self.epoch, self._challenge)

    def answered(self, epoch: int) -> bool:
        """The peer has answered from this epoch; True: it is another one than before."""
        self._is_asking = False
        if epoch == self.theirs:
            return False
        self.theirs = epoch
        self.hears_us = False
        return True

    def allows_unknown(self, now: Instant) -> bool:
        """Whether a frame of an epoch that is not accepted may cost a try to open it."""
        if now >= self._unknown_until:
            self._unknown_budget = UNKNOWN_EPOCHS_MOST
            self._unknown_until = after(now, SECOND)
        self._unknown_budget -= 1
        return self._unknown_budget >= 0
