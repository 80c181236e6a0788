"""A realserver: echoes TCP lines and UDP datagrams with its name in front.

TCP listens on every address; UDP on each given address by itself, because an answer must leave with the
address that was asked, which in DR mode is the VIP.
"""

import contextlib
import resource
import selectors
import socket
from collections.abc import Sequence


def serve_datagrams(server: str, port: int, addresses: Sequence[str]) -> None:
    """Echo for ever; prints ``ready`` when it listens."""
    name = server.encode()
    selector = selectors.EpollSelector()
    for address in addresses:
        datagrams = socket.socket(_family(address), socket.SOCK_DGRAM)
        datagrams.bind((address, port))
        selector.register(datagrams, selectors.EVENT_READ)
    print("ready", flush=True)

    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            data, peer = sock.recvfrom(2048)
            with contextlib.suppress(OSError):  # the way back is cut: that is what is being measured
                sock.sendto(name + b" " + data, peer)


def serve_lines(server: str, port: int, address: str) -> None:
    """Echo for ever on every address of the family of this one; prints ``ready`` when it listens."""
    name = server.encode()
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (65_536, 65_536))
    selector = selectors.EpollSelector()
    listener = socket.socket(_family(address), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(1024)
    selector.register(listener, selectors.EVENT_READ, "accept")
    print("ready", flush=True)

    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if key.data == "accept":
                connection, _peer = sock.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, "line")
            else:
                try:
                    data = sock.recv(2048)
                    if data:
                        sock.send(b"".join(name + b" " + line for line in data.splitlines(keepends=True)))
                        continue
                except OSError:
                    pass
                selector.unregister(sock)
                sock.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
