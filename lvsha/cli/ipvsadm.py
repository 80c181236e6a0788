"""``lvsha-ipvsadm``: ipvsadm's command line, on one netlink socket.

The words, the texts and the exit statuses are ``lvsha.ipvs.ipvsadm``'s; here the
kernel is asked. Start-up is most of what a list costs, so this module and what it
imports stay away from dataclasses, enums, argparse and ``collections``, and import
what only some commands need when they need it.
"""

import gc
import os
import sys
from _collections_abc import Callable, Iterable, Iterator, Sequence

from lvsha.io.ipvs_rows import IpvsRows
from lvsha.io.names import SystemNames
from lvsha.io.netlink import NetlinkError
from lvsha.ipvs.ipvsadm import requests
from lvsha.ipvs.ipvsadm.command import Command, parse
from lvsha.ipvs.ipvsadm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lvsha.ipvs.ipvsadm.names import Names

CONNECTIONS = "/proc/thread-self/net/ip_vs_conn"
_READ_AT_ONCE = 1 << 16
"""Bytes. The file says 1,024, and the kernel begins at the head of the table with every read."""
_INPUT_AT_ONCE = 1 << 15
"""Bytes. Python's own buffer is an eighth of it, and takes a lock and the time with every read."""
_WRITTEN_AT_ONCE = 1000
"""Lines."""
BATCH = 400
"""Requests of ``-R`` that wait to be sent together: as many as fit into one send."""
REFUSED = 255
CALLED = "LVSHA_IPVSADM_NAME"
"""Set by ``lvsha/native/lvsha-ipvsadm.c``: by which name it was called, where a script knows only its own."""


class Program:
    """One run: where it reads, writes and complains, and the kernel it talks to."""

    def __init__(
        self,
        *,
        name: str,
        connect: Callable[[], IpvsRows] = IpvsRows,
        names: "Names | None" = None,
        stdin: Iterable[str] = (),
        out: Callable[[str], object] | None = None,
        err: Callable[[str], object] | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._names = names or SystemNames()
        self._stdin = stdin
        self._out = out or sys.stdout.write
        self._err = err or sys.stderr.write
        self._progress = progress
        """Where a long ``-R`` says how far it is; None: nowhere."""
        self._kernel: IpvsRows | None = None
        self._queue: list[tuple[bytes, str, int, str]] = []
        """Requests of ``-R`` that wait: payload, command, and the line's number and text."""

    def run(self, arguments: Sequence[str]) -> int:
        """Carry out one command line; the exit status."""
        try:
            self._kernel = self._connect()
        except (NetlinkError, OSError) as error:
            wanted = next(iter(arguments), "")
            if wanted not in ("-h", "--help", "-v", "--version"):
                self._complain(_no_ipvs(error))
                return 2
        try:
            return self._command(parse(arguments, self._names, program=self._name))
        except UsageError as error:
            self._complain(error.message)
            return error.status
        finally:
            if self._kernel is not None:
                self._kernel.close()

    def _complain(self, message: str) -> None:
        self._err(f"{message}\n")

    def _opened(self) -> IpvsRows:
        assert self._kernel is not None, "run() opens"
        return self._kernel

    def _write(self, lines: Iterable[str]) -> None:
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) >= _WRITTEN_AT_ONCE:
                self._out("\n".join(waiting) + "\n")
                waiting.clear()
        if waiting:
            self._out("\n".join(waiting) + "\n")

    # -- one command --------------------------------------------------------------

    def _command(self, command: Command) -> int:
        if command.verb == "restore":
            return self._restore()
        if command.verb in ("list", "save", "help", "version"):
            return self._tell(command)
        payload = requests.payload(command)
        assert payload is not None, "all other commands change something"
        try:
            if command.verb == "stop-daemon":
                self._opened().stop_daemon(payload, requests.STATES[command.daemon])
            else:
                failures = self._opened().apply([payload])
                if failures:
                    raise NetlinkError(*failures[0][1:])
        except NetlinkError as error:
            self._complain(_refusal(command.verb, error.errno))
            return REFUSED
        return 0

    def _tell(self, command: Command) -> int:
        try:
            match command.verb:
                case "help":
                    from lvsha.cli.ipvsadm_help import help_text

                    self._out(help_text(self._name))
                case "version":
                    from lvsha.cli.ipvsadm_help import version_text

                    self._out(version_text())
                case "save":
                    self._save(command)
                case _:
                    self._list(command)
        except NetlinkError as error:
            raise UsageError(_refusal("list", error.errno), 1) from None
        return 0

    def _save(self, command: Command) -> None:
        from lvsha.ipvs.ipvsadm.saving import Saving

        kernel = self._opened()
        self._write(Saving(command.given, self._names).lines(kernel.services(), kernel.plain_destinations))

    def _list(self, command: Command) -> None:
        kernel = self._opened()
        if command.has("connection"):
            from lvsha.ipvs.ipvsadm import connections

            engine, numeric = command.has("persistent-conn"), command.has("numeric")
            with open(CONNECTIONS, "rb", buffering=_READ_AT_ONCE) as table:
                self._write(connections.lines(table, self._names, numeric=numeric, engine=engine))
            return
        from lvsha.ipvs.ipvsadm import listing

        if command.has("timeout"):
            self._write([listing.timeouts_line(*kernel.timeouts())])
        elif command.has("daemon"):
            self._write(listing.daemon_lines(kernel.daemons(), self._names))
        else:
            one = command.has("service-address")
            services = [kernel.service(requests.identity(command))] if one else kernel.services()
            lister = listing.Listing(command.given, self._names)
            version = None if one else kernel.info
            destinations = kernel.destinations if lister.counts else kernel.plain_destinations
            self._write(lister.lines(services, destinations, version=version))

    # -- many commands --------------------------------------------------------------

    def _restore(self) -> int:
        """Each line as a command line of its own.

        Lines that change something are sent in batches; the kernel carries them
        out in their order, and what fails is told with its line.
        """
        from lvsha.ipvs.ipvsadm import restoring

        status = 0
        repeats = restoring.Repeats(self._names)
        for number, line in enumerate(self._stdin, start=1):
            try:
                request = repeats.request(line)
                if request is None:
                    words = restoring.words_of(line)
                    if not words:
                        continue
                    command = parse(words, self._names, program=self._name, nested=True)
                    payload = requests.payload(command)
                    if payload is None or command.verb == "stop-daemon":
                        self._send()
                        status = self._command(command)
                        continue
                    repeats.remember(line, command, payload)
                    request = command.verb, payload
                self._queue.append((request[1], request[0], number, line))
                status = 0
                if len(self._queue) >= BATCH:
                    status = self._send()
                    if self._progress is not None:
                        self._progress(f"\r{number:,} lines\r")
            except UsageError as error:
                self._send()
                self._complain(error.message + _place(number, line))
                status = error.status
                if error.ends:
                    return status
        return self._send() if self._queue else status

    def _send(self) -> int:
        """What waits; the exit status of the last of it."""
        queue, self._queue = self._queue, []
        if not queue:
            return 0
        status = 0
        for index, errno, _ in self._opened().apply([waiting[0] for waiting in queue]):
            _, verb, number, line = queue[index]
            self._complain(_refusal(verb, errno) + _place(number, line))
            if index == len(queue) - 1:
                status = REFUSED
        return status


def _place(number: int, line: str) -> str:
    from lvsha.ipvs.ipvsadm.restoring import words_of

    return f" (line {number}: {' '.join(words_of(line))})"


def _refusal(verb: str, errno: int) -> str:
    from lvsha.ipvs.ipvsadm import messages

    return messages.refusal(verb, errno, os.strerror(errno))


def _no_ipvs(error: NetlinkError | OSError) -> str:
    import errno

    from lvsha.ipvs.ipvsadm import messages

    # ipvsadm asks the old socket options when the family is not there, and tells their answer.
    reasons = {errno.EPERM: messages.MAY_NOT, errno.ENOENT: "Protocol not available"}
    reason = reasons.get(error.errno or 0) or os.strerror(error.errno or 0)
    return messages.NO_IPVS.format(reason=reason)


def _input() -> Iterator[str]:
    """The lines of the standard input; it is touched by whoever asks for the first."""
    if sys.stdin is None:
        return
    with open(sys.stdin.fileno(), "rb", buffering=_INPUT_AT_ONCE, closefd=False) as lines:
        for line in lines:
            yield line.decode(errors="surrogateescape")


def run(arguments: Sequence[str], *, name: str) -> int:
    """Carry out one command line of ipvsadm's."""
    progress = sys.stderr.write if sys.stderr.isatty() else None
    return _written(lambda: Program(name=name, stdin=_input(), progress=progress).run(arguments), name)


def _written(command: Callable[[], int], name: str) -> int:
    """The command's status once all that it printed is written, else why not."""
    try:
        status = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter's last flush has nobody to hear it
        return 141
    except OSError as error:
        print(f"{name}: the output could not be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """The ``lvsha-ipvsadm`` command."""
    from lvsha.cli.ipvs import is_ours

    arguments = list(sys.argv[1:] if argv is None else argv)
    name = os.environ.pop(CALLED, sys.argv[0])
    if is_ours(arguments):
        from lvsha.cli import ipvs_more

        return _written(lambda: ipvs_more.main(arguments), name)
    gc.disable()  # one command makes no garbage worth collecting
    return run(arguments, name=name)


def script() -> None:
    """``main`` as a process that ends without cleaning up."""
    status = main()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
