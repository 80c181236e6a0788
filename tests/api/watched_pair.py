"""The guest's half of a takeover that a browser outside watches: ``python -m tests.api.watched_pair FOLDER``.

A guest has no network to its host, but the host's files and a standard output. So bytes of a browser's
connection come as files ``CONNECTION.NUMBER`` in the folder (an empty one: it ended), and what lb2's API
answers leaves as lines of JSON. The file ``crash`` pulls lb1's cables, ``quit`` ends it all.
"""

import base64
import json
import os
import selectors
import socket
import sys
import tempfile
from pathlib import Path

from tests.kernel.director_rig import Rig, running_pair

_CHUNK = 48 << 10


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


class Tunnel:
    """Browser connections by their number, each a connection to the Unix socket."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder, self._path = folder, path
        self._selector = selectors.DefaultSelector()
        self._open: dict[str, socket.socket] = {}

    def take(self) -> set[str]:
        """Pass on what has come from outside; the names that are no connection's."""
        words = set()
        for name in sorted(os.listdir(self._folder)):
            if name.startswith("."):
                continue  # it is being written
            file = self._folder / name
            data = file.read_bytes()
            file.unlink()
            number, dot, _ = name.partition(".")
            if not dot:
                words.add(name)
                continue
            if number not in self._open and data:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(self._path))
                self._selector.register(sock, selectors.EVENT_READ, number)
                self._open[number] = sock
            if number in self._open:
                if data:
                    self._open[number].sendall(data)
                else:
                    self._close(number)
        return words

    def give(self, timeout_s: float) -> None:
        """Pass on what the API says, for at most so long where it says nothing."""
        for key, _ in self._selector.select(timeout_s):
            data = self._open[key.data].recv(_CHUNK)
            say(connection=key.data, data=base64.b64encode(data).decode())
            if not data:
                self._close(key.data)

    def _close(self, number: str) -> None:
        sock = self._open.pop(number)
        self._selector.unregister(sock)
        sock.close()


def serve(rig: Rig, folder: Path) -> None:
    tunnel = Tunnel(folder, rig.run_dir("lb2") / "directord.sock")
    say(ready=True)
    while True:
        words = tunnel.take()
        if "crash" in words:
            rig.stage.crash("lb1")
            say(crashed=True)
        if "quit" in words:
            return
        tunnel.give(0.02)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own, running_pair(Path(own)) as running:
        assert running.roles() == ("lb1", "lb2")
        serve(running, Path(sys.argv[1]))
