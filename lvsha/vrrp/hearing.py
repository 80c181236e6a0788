"""Has everything that came for us been read? To be asked before a silence is believed.

What the network card or the other end of a wire hands over lies in a queue of the kernel until
its network thread has carried it to a socket. On a busy machine that thread (``ksoftirqd``) waits for
a processor like everybody else, while a real-time process does not: so a BACKUP comes to its
deadline on time, finds its socket empty, and the adverts of a second lie in the queue
(recorded: docs/decisions/0129-ask-before-silence-is-believed.md). Think of a letter box
that nobody has emptied: before you conclude that nobody writes, you post a letter to yourself.

The shell posts one (``CatchUp``) and says ``VirtualRouter.caught_up`` when it has come; what came
before it has been read then. An answer that takes longer than half an advert says that the
queue is long, and is asked for anew. Whoever cannot receive could not serve the addresses either, so
a BACKUP waits for that, for ``PATIENCE`` at most.
"""

from lvsha.core.instant import SECOND, Instant

PATIENCE = 3 * SECOND
"""As long as a lease by default: whoever stands still as long has lost its addresses."""


class Hearing:
    """One per virtual router."""

    def __init__(self) -> None:
        self.since: Instant | None = None
        """When it was asked; None: it is not, or has been answered and used."""
        self.asked_at = Instant(0)
        """The last time; an answer that is long in coming is asked for anew."""
        self.was_slow = False
        self.is_sure = False
        """It was answered: what is not heard now was not sent."""

    @property
    def is_asked(self) -> bool:
        return self.since is not None and not self.is_sure

    def ask(self, now: Instant, *, patience: int = PATIENCE) -> bool:
        """Whether to ask (again) and wait; False: it is answered, or not to be waited for any longer."""
        if self.since is None:
            self.since = self.asked_at = now
        return not self.is_sure and now - self.since < patience

    def ask_anew(self, now: Instant) -> bool:
        """The answer took long: other packets have come to lie behind it. False: enough is enough."""
        self.was_slow = True
        self.asked_at = now
        return self.since is not None and now - self.since < PATIENCE

    def forget(self) -> None:
        """Something was heard, or is different: the next silence is another one."""
        self.since = None
        self.was_slow = False
        self.is_sure = False
