"""The stage of one run: topology, realservers, client, witness and a pair of directors.

A scenario is a function of a stage: it starts things, waits for what it wants to see, causes one fault or
several, and asks the client how it went. Everything measured is measured here, by the same means whatever
kind of director is on stage.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.lab import echo, probe, results, tables, watch
from lvsha.lab.errors import LabError
from lvsha.lab.fill import fill_table
from lvsha.lab.helper import Helper
from lvsha.lab.passage import Passages
from lvsha.lab.peers.base import Peer
from lvsha.lab.peers.keepalived import Keepalived
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import DirectorKind, RunSettings
from lvsha.lab.story import Story
from lvsha.lab.timeline import Timeline
from lvsha.lab.topology import DIRECTORS, PORT, Method, Topology

LAST_VIP_HEARTBEAT_MS = 10.0
"""Of the last of many VIPs: enough to see whether it is back later than the first."""

ROUND_TRIPS = 4
"""Of a new connection: the kernel synchronises it from its third packet on."""

CHECKED_A_SECOND = 500
"""Of connections, at least, where a busy guest asks all of them at once."""

READY_TIMEOUT_S = 60.0
NICE = -10
"""Of client, realservers and witness: the one CPU of a user-mode guest must not delay who measures."""
HEARTBEAT_PRIORITY = 20
"""Of who sends and answers heartbeats, in real time and before vrrpd (``io.realtime``): these are other
machines, which do not wait for a director's processor."""

SECOND = 1_000_000_000


def now() -> int:
    return time.monotonic_ns()


class Stage:
    """Everything of one run; ``with`` it, since it must be cleared whatever happens."""

    def __init__(self, settings: RunSettings, folder: Path, story: Story) -> None:
        self.settings = settings
        self.folder = folder
        self.story = story
        self.topology = Topology(settings.topology)
        self.timeline = Timeline()
        self.peer: Peer = {DirectorKind.LVSHA: Lvsha, DirectorKind.KEEPALIVED: Keepalived}[settings.director](
            self.topology, settings, folder / "directors"
        )
        self.vip = str(self.topology.vips[0].ip)
        self.fault_at: int | None = None
        """When the (first) fault happened."""
        self.fault_after_s: float | None = None
        """From the last new connection to the fault, as it turned out."""
        self.last_connection_at: int | None = None
        self._opened = 0
        """Connections in all."""
        self._helpers: dict[str, Helper] = {}
        self._capture: subprocess.Popen[bytes] | None = None
        self._passages: Passages | None = None
        self._heartbeat_on = False
        self.beats: dict[str, Any] | None = None
        """The heartbeat's report, once it has been stopped."""

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    # Setting up

    def build(self) -> None:
        """Everything but the directors."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.topology.build()
        self.topology.mark(self.settings.fwmark)
        if self.settings.is_persistent:
            self.topology.be_many()
        if self.settings.distance_ms:
            self.topology.move_away(self.settings.distance_ms)
        if self.settings.capture and shutil.which("tcpdump"):
            self._capture = self._start_capture()
        for name in self.topology.realservers:
            self.start_realserver(name)
        self._spawn("connections", probe.drive_connections, "client")
        self._spawn("heartbeat", probe.drive_heartbeat, "client", realtime=HEARTBEAT_PRIORITY)
        addresses = [self.vip]
        if self.topology.gateway is not None:
            addresses.append(str(self.topology.gateway.ip))
        self._spawn("witness", lambda: watch.watch(DIRECTORS, addresses, "br0"))
        self.wait("the witness watches", lambda: bool(self.timeline.events))

    def _spawn(
        self, name: str, work: Callable[[], None], where: str | None = None, *, realtime: int = 0
    ) -> Helper:
        namespaces = {"client": self.topology.client, **self.topology.realservers}
        namespace = namespaces[where] if where is not None else None
        log = self.folder / f"{name}.log"
        helper = Helper(name, work, namespace=namespace, log=log, nice=NICE, realtime=realtime)
        self._helpers[name] = helper
        return helper

    def _start_capture(self) -> "subprocess.Popen[bytes]":
        # Not the heartbeat: a thousand packets a second that say nothing.
        words = ["tcpdump", "-i", "br0", "-s", "200", "-Z", "root", "-w", str(self.folder / "br0.pcap")]
        return subprocess.Popen(
            [*words, f"not (udp port {PORT})"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_realserver(self, name: str) -> None:
        addresses = [str(self.topology.realserver_address(name))]
        if not self.topology.is_nat:
            addresses += [str(address) for address in self.topology.service_addresses]
        datagrams = partial(echo.serve_datagrams, name, PORT, addresses)
        for helper in (
            self._spawn(f"{name}-datagrams", datagrams, name, realtime=HEARTBEAT_PRIORITY),
            self._spawn(name, partial(echo.serve_lines, name, PORT, addresses[0]), name),
        ):
            if helper.line(10.0) != b"ready":
                raise LabError(f"the echo service of {name} did not start: see {helper.name}.log")

    def start_director(self, node: str) -> None:
        self.peer.start(node)

    def start_pair(self) -> None:
        """Start lb1, let it become MASTER, start lb2, and wait until both are as they should be."""
        began = now()
        self.start_director(DIRECTORS[0])
        self.wait_for_holder(DIRECTORS[0])
        self.start_director(DIRECTORS[1])
        self.wait_until_ready(*DIRECTORS)
        self.wait(
            "they know each other's connections",
            lambda: all(self.peer.knows_connections(node) for node in DIRECTORS),
        )
        self.story.say(
            f"{DIRECTORS[0]} is MASTER of {self.vip}, {DIRECTORS[1]} is BACKUP; both know "
            f"{len(self.topology.realservers)} healthy realservers "
            f"({(now() - began) / SECOND:.1f} s to get there)"
        )

    def wait_until_ready(self, *nodes: str) -> None:
        """Every realserver has weight, the sync daemon's and VRRP's sockets are open, on all of these."""
        for node in nodes:
            self.wait(
                f"{node} has healthy realservers in its table",
                partial(self._has_all_weights, node),
                node=node,
            )
            kernel, networks = self.topology.directors[node], len(self.topology.ports(node))
            self.wait(f"{node} runs a sync daemon", partial(tables.syncs, kernel), node=node)
            self.wait(f"{node} listens to VRRP", partial(tables.hears_vrrp, kernel, networks), node=node)

    def _has_all_weights(self, node: str) -> bool:
        """Of the TCP and the UDP service on each address that offers them; a mark's service has both."""
        table = self.timeline.weights.get(node, {})
        ends = [f">{self.destination(name)}" for name in self.topology.realservers]
        good = [weight for end in ends for key, weight in table.items() if key.endswith(end) and weight > 0]
        services = 1 if self.settings.fwmark else 2
        return len(good) == services * len(self.peer.served) * len(ends)

    # The client

    def open_connections(
        self, count: int | None = None, *, rounds: int = ROUND_TRIPS, address: str = ""
    ) -> dict[str, Any]:
        """Open connections through a VIP, the first; all must open. Each makes some round trips at once."""
        wanted = self.settings.connections if count is None else count
        client = self._helpers["connections"]
        order = {"address": address or self.vip, "port": PORT, "count": wanted, "rounds": rounds}
        client.send({"do": "open", "timeout_s": 2.0} | order | self._kind_of_connection())
        answer = client.receive(60.0 + wanted)
        self.last_connection_at = int(answer["at"])
        self._opened += answer["opened"]
        if answer["opened"] != wanted:
            raise LabError(f"only {answer['opened']} of {wanted} connections opened: {answer['errors']}")
        return answer

    def check_connections(self, timeout_s: float = 3.0) -> dict[str, Any]:
        """One more round trip on all connections; with many sockets it takes longer to come to the last."""
        client = self._helpers["connections"]
        timeout_s = max(timeout_s, self._opened / CHECKED_A_SECOND)
        client.send({"do": "check", "timeout_s": timeout_s})
        return client.receive(timeout_s + 30.0)

    def start_load(self, rate: int) -> None:
        """Begin to open so many connections a second, of which each makes one round trip and stays open."""
        client = self._spawn("load", probe.drive_connections, "client")
        order = {"do": "load", "address": self.vip, "port": PORT, "rate": rate}
        client.send(order | self._kind_of_connection())

    def _kind_of_connection(self) -> dict[str, Any]:
        """A persistent service takes every address for one client, so there are many of them."""
        persistent = self.settings.is_persistent
        sources = [str(each) for each in self.topology.client_addresses()] if persistent else []
        return {"protocol": self.settings.protocol, "sources": sources}

    def stop_load(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """How it went, and how many of the opened go on: a further round trip on each."""
        client = self._helpers["load"]
        client.send({"do": "check", "timeout_s": timeout_s})
        opened = client.receive(60.0)
        check = client.receive(60.0)
        client.kill()
        return opened | {"check": check}

    def rows(self, node: str) -> set[tables.Row]:
        """See ``tables.connections``."""
        return tables.connections(self.topology.directors[node])

    def counted(self, node: str, address: Address) -> int:
        """The connections that a director's kernel counts for the services of an address."""
        mark = self.topology.marks(self.settings.fwmark).get(address)
        return tables.counted(self.topology.directors[node], f"fwmark {mark}" if mark else str(address))

    def fill(self, node: str, entries: int) -> None:
        """Put rows into the kernel of a director that does not run yet, as of so many clients.

        They come as another kernel's sync messages would, and are bound to no realserver: nobody could open
        so many sockets here.
        """
        fill_table(self.topology, self.settings, node, entries)

    def connections_by_age(self, at: int, ages_ms: list[float]) -> dict[str, Any]:
        """What became of the connections by their age at an instant, in milliseconds; ask after a check."""
        client = self._helpers["connections"]
        client.send({"do": "by_age", "at": at, "ages_ms": ages_ms})
        return client.receive(10.0)

    def renew_client(self) -> None:
        """A client without connections takes the place of the one there is."""
        self._helpers["connections"].kill()
        self._spawn("connections", probe.drive_connections, "client")

    def forget_dead_connections(self) -> int:
        client = self._helpers["connections"]
        client.send({"do": "forget_dead"})
        return int(client.receive(10.0)["forgotten"])

    def start_heartbeat(self, *, avoid: str = "", on_the_wire: bool = False) -> None:
        """Begin to measure silence; not on a flow of realserver ``avoid``.

        ``on_the_wire``: follow the beats through the directors as well, in direct routing.
        """
        if on_the_wire and self.settings.method is Method.DR and shutil.which("tcpdump"):
            path = self.folder / "beats.pcap"
            self._passages = Passages("br0", self.topology.client_address(), path)
        client = self._helpers["heartbeat"]
        first, *last = [str(address) for address in self.peer.served]
        flows = [[first, self.settings.beat_ms], *([address, LAST_VIP_HEARTBEAT_MS] for address in last)]
        client.send({"flows": flows, "port": PORT, "avoid": avoid})
        client.receive(15.0)
        self._heartbeat_on = True

    def stop_heartbeat(self) -> None:
        if self._heartbeat_on:
            self._heartbeat_on = False
            self._helpers["heartbeat"].send({})
            self.beats = self._helpers["heartbeat"].receive(30.0)

    # Faults

    def wait_for_the_moment(self) -> None:
        """Until ``crash_after_s`` has passed since the last connection, and the phase is as asked."""
        assert self.last_connection_at is not None, "connections come before the fault"
        moment = self.last_connection_at + round(self.settings.crash_after_s * SECOND)
        self.pump_until(moment)
        if self.settings.phase is None:
            return
        source = str(self.topology.director_address(DIRECTORS[0]))
        known = self.timeline.adverts.get(source) if self.settings.family == 4 else None
        known = known or max(self.timeline.adverts.values(), default=None)
        if known is None:
            return
        interval = round(self.settings.advert_s * SECOND)
        target = known + round(self.settings.phase * interval)
        while target < now():
            target += interval
        self.pump_until(target)

    def mark_fault(self, text: str) -> int:
        """The fault is about to happen: time is counted from here."""
        at = now()
        if self.fault_at is None:
            self.fault_at = at
            if self.last_connection_at is not None:
                self.fault_after_s = round((at - self.last_connection_at) / SECOND, 3)
        self.story.say(text)
        return at

    def forget_fault(self) -> None:
        """The next fault is the one that counts."""
        self.fault_at = None

    def crash(self, node: str) -> None:
        """Pull a director's cables: it neither sends nor hears anything from now on."""
        self.topology.set_link(node, up=False)

    def clear_table(self, node: str) -> None:
        """What a hand does: every service is gone."""
        self.topology.directors[node].run(["ipvsadm", "-C"])

    def settle(self, extra_s: float = 0.5) -> None:
        """Longer than any takeover takes: three adverts, the skew, and then some."""
        self.pump(4.2 * self.settings.advert_s + extra_s)

    # Waiting

    def pump(self, duration_s: float) -> None:
        self.pump_until(now() + round(duration_s * SECOND))

    def pump_until(self, instant: int) -> None:
        """Let time pass, listening to the witness."""
        while (left := instant - now()) > 0:
            self._hear(left / SECOND)
        while self._hear(0.0):
            pass

    def wait(
        self, what: str, condition: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S, *, node: str = ""
    ) -> int:
        """Let time pass until ``condition`` holds; returns when.

        Raises:
            LabError: it did not in time, or the director that it is about has ended.
        """
        end = now() + round(timeout_s * SECOND)
        while self._hear(0.0):
            pass
        while not condition():
            if now() > end:
                raise LabError(f"waited {timeout_s:.0f} s in vain until {what}. {self._why(node)}")
            if node and self.peer.has_ended(node):
                raise LabError(f"waited until {what}, but {self.peer.why_not(node)}")
            self._hear(0.02)
        return now()

    def wait_for_holder(self, node: str, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Until this director holds the VIP (and the gateway, in NAT)."""
        wanted = [self.vip] + ([str(self.topology.gateway.ip)] if self.topology.gateway else [])
        return self.wait(
            f"{node} holds {' and '.join(wanted)}",
            lambda: all(node in self.timeline.holders.get(address, ()) for address in wanted),
            timeout_s,
            node=node,
        )

    def wait_for_weight(self, node: str, realserver: str, weight: int, timeout_s: float) -> int:
        """Until a realserver has this weight in every service of a director (0 is also: not in the table)."""
        destination = self.destination(realserver)

        def holds() -> bool:
            rows = self.timeline.weights.get(node, {})
            values = [value for key, value in rows.items() if key.endswith(f">{destination}")]
            return all(value == weight for value in values) and (bool(values) or weight == 0)

        return self.wait(f"{realserver} has weight {weight} on {node}", holds, timeout_s, node=node)

    def wait_until_table_is_back(self, node: str, cleared_at: int, timeout_s: float) -> int:
        """Until a cleared table has all weights again."""
        self.wait(
            f"the table of {node} is as before",
            lambda: self._has_all_weights(node) and self._was_seen_empty(node, cleared_at),
            timeout_s,
            node=node,
        )
        events = [event for event in self.timeline.events if event["event"] == "weights"]
        return int(next(event["at"] for event in reversed(events) if event["director"] == node))

    def _was_seen_empty(self, node: str, after: int) -> bool:
        return any(
            event["event"] == "weights"
            and event["director"] == node
            and event["at"] >= after
            and len(event["weights"]) < 2
            for event in self.timeline.events
        )

    def destination(self, realserver: str) -> str:
        address = self.topology.realserver_address(realserver)
        port = 0 if self.settings.fwmark else PORT
        return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"

    def _hear(self, timeout_s: float) -> bool:
        line = self._helpers["witness"].line(max(0.0, timeout_s))
        if line is None:
            return False
        self.timeline.add(json.loads(line))
        return True

    def _why(self, node: str) -> str:
        nodes = [node] if node else list(DIRECTORS)
        return "; ".join(self.peer.why_not(each) for each in nodes)

    def silence(self, start: int | None = None, end: int | None = None) -> dict[str, Any]:
        """See ``results.silence``; once the heartbeat was stopped. None: from the fault, to the end."""
        assert self.beats is not None
        start = self.fault_at if start is None else start
        assert start is not None, "silence is counted from something"
        found = results.silence(self.beats, start, end)
        if self._passages is not None:
            found |= self._passages.delays(start, int(self.beats["at"]) if end is None else end)
        return found

    def holders(self) -> dict[str, Any]:
        """See ``results.holders``."""
        return results.holders(self.timeline, self.vip, fault_at=self.fault_at, end=now())

    # Clearing

    def kill_realserver(self, name: str) -> None:
        """The machine is gone: its cable is pulled."""
        self.topology.set_link(name, up=False)

    def return_realserver(self, name: str) -> None:
        self.topology.set_link(name, up=True)

    def stop_capture(self) -> None:
        if self._capture is not None:
            self._capture.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._capture.wait(3.0)
            self._capture.kill()
            self._capture.wait()
            self._capture = None

    def clear(self) -> None:
        """End every process and delete every namespace of this run."""
        self.peer.stop()
        for helper in self._helpers.values():
            helper.kill()
        self._helpers.clear()
        if self._passages is not None:
            self._passages.stop()
        self.stop_capture()
        self.topology.remove()
