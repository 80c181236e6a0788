"""The kernel's IPVS tables as rows of numbers, for a program that starts, lists and ends.

``lvsha.io.ipvs_genl`` has the same tables as records; those take longer to import
than this takes to list 5,000 realservers.
"""

from _collections_abc import Callable, Sequence

from lvsha.io.netlink import GENERIC, NetlinkSocket
from lvsha.wire import genl_ipvs
from lvsha.wire.genl_ipvs import DestinationRow, ServiceRow, command
from lvsha.wire.netlink import Layouts

Failure = tuple[int, int, str]
"""Index of the request, errno, the kernel's words."""


class IpvsRows:
    """The IPVS tables of the network namespace in which it was made.

    Every method raises ``NetlinkError`` when the kernel refuses.
    """

    def __init__(self, connect: Callable[[], NetlinkSocket] | None = None) -> None:
        """Open, and find the family; ``connect`` makes the socket, for tests."""
        self._netlink = connect() if connect else NetlinkSocket(GENERIC)
        self._services = genl_ipvs.service_layouts()
        self._destinations = genl_ipvs.destination_layouts()
        self._plain = genl_ipvs.destination_layouts(counters=False)
        try:
            buffer, start, end = self._netlink.ask(genl_ipvs.CONTROLLER, genl_ipvs.family_request())
            self._family = genl_ipvs.family_number(buffer[start:end])
            self.info = genl_ipvs.info_row(*self._netlink.ask(self._family, command(genl_ipvs.GET_INFO)))
            """Version (0xMMmmpp) and size of the connection table."""
        except BaseException:
            self._netlink.close()
            raise

    def close(self) -> None:
        self._netlink.close()

    def services(self) -> list[ServiceRow]:
        answers = self._netlink.dump(self._family, command(genl_ipvs.GET_SERVICE))
        return [ServiceRow(self._services.read(*answer)) for answer in answers]

    def service(self, identity: bytes) -> ServiceRow:
        """One; ESRCH when there is none."""
        answer = self._netlink.ask(self._family, command(genl_ipvs.GET_SERVICE, identity))
        return ServiceRow(self._services.read(*answer))

    def destinations(self, service: ServiceRow) -> list[DestinationRow]:
        """In the kernel's order: the newest first."""
        return self._read(self._destinations, service)

    def plain_destinations(self, service: ServiceRow) -> list[DestinationRow]:
        """The same without counters: most lists show none, and thousands of rows are half as large."""
        return self._read(self._plain, service)

    def _read(self, layouts: Layouts, service: ServiceRow) -> list[DestinationRow]:
        request = command(genl_ipvs.GET_DEST, service.identity())
        return [layouts.read(*answer) for answer in self._netlink.each(self._family, request)]

    def timeouts(self) -> tuple[int, int, int]:
        """TCP, TCP after FIN, UDP, in seconds."""
        return genl_ipvs.timeouts_row(*self._netlink.ask(self._family, command(genl_ipvs.GET_CONFIG)))

    def daemons(self) -> list[tuple[int, str, int, int, bytes, int, int]]:
        answers = self._netlink.dump(self._family, command(genl_ipvs.GET_DAEMON))
        return [genl_ipvs.daemon_row(*answer) for answer in answers]

    def apply(self, payloads: Sequence[bytes]) -> list[Failure]:
        """Carry out all, in order and in batches; a failure does not stop the following ones."""
        return self._netlink.batch([(self._family, 0, payload) for payload in payloads])

    def stop_daemon(self, payload: bytes, state: int) -> None:
        """The kernel stops a daemon that was only just started without an answer: then ask for the list."""
        if not self._netlink.do_if_answered(self._family, payload) and any(
            row[0] == state for row in self.daemons()
        ):
            self._netlink.do(self._family, payload)
