"""How ipvsadm gives up, and how it says it."""


class UsageError(Exception):
    """The command line cannot be carried out: what ipvsadm prints, and its exit status.

    ``ends`` says whether it ends the whole program, or (as a word that is no
    option does) only one line of ``-R``.
    """

    def __init__(self, message: str, status: int = 2, *, ends: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.ends = ends
