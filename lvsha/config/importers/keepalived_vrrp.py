"""``vrrp_instance`` to ``[[vrrp]]``."""

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

from lvsha.config.importers.keepalived_hooks import Notifies, hook_of
from lvsha.config.importers.keepalived_routes import Rules, take_routes, take_rules
from lvsha.config.importers.keepalived_scope import (
    duration,
    number,
    read_block,
    refuse,
    seconds,
    truth,
    whole,
)
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.keepalived_track import Trackers
from lvsha.config.importers.report import Block, Notebook, Place


class Globals:
    """What ``global_defs`` says that concerns other blocks."""

    def __init__(self) -> None:
        self.vrrp_version: int | None = None
        self.default_interface = "eth0"
        self.strict = False
        self.garp: dict[str, Any] = {}
        self.sync: dict[str, Any] | None = None
        self.sync_instance: str | None = None
        self.sync_place: Place | None = None
        self.timeouts: dict[str, str] = {}
        self.exclusive = False
        self.script_user: str | None = None
        self.startup_delay: float = 0.0
        self.boot_delay: float = 0.0
        self.script_security = False
        self.rules = Rules()
        self.link_delays: dict[str, tuple[float, float]] = {}
        """Seconds until an interface counts as down, and as up."""
        self.link_delay_places: dict[str, Place] = {}


class Instance:
    """One vrrp_instance, read statement by statement."""

    def __init__(self, statement: Statement, known: Globals, trackers: Trackers, notebook: Notebook) -> None:
        self.name = statement.values[0] if statement.values else ""
        self.place = statement.place
        self.vrid: int | None = None
        self.interface = known.default_interface
        self.has_interface = False
        self.sync_interface: Statement | None = None
        self._globals = known
        self._notebook = notebook
        self._version = known.vrrp_version
        self._advert: float | None = None
        self._priority = 100
        self._is_master = False
        self._no_preempt: Place | None = None
        self._preempt_delay: float | None = None
        self._auth_type = ""
        self._password: str | None = None
        self._addresses: list[IPv4Interface | IPv6Interface] = []
        self._excluded: list[IPv4Interface | IPv6Interface] = []
        self._peers: list[str] = []
        self._source: str | None = None
        self._min_ttl: int | None = None
        self._garp = dict(known.garp)
        self._strict = known.strict
        self._notes: list[str] = []
        self._extra: dict[str, Any] = {}
        self._trackers = trackers
        self._tracks: list[dict[str, Any]] = []
        self._routes: list[dict[str, Any]] = []
        self._rules: list[dict[str, Any]] = []
        self._notifies = Notifies("INSTANCE", self.name, notebook)
        read_block(statement, self._handlers(), notebook)

    def _handlers(self) -> dict[str, Any]:
        return {
            "state": self._state,
            "interface": self._set_interface,
            "virtual_router_id": lambda s: setattr(self, "vrid", number(s, 1, 255)),
            "priority": lambda s: setattr(self, "_priority", number(s, 1, 255)),
            "advert_int": lambda s: setattr(self, "_advert", seconds(s)),
            "version": self._set_version,
            "native_ipv6": lambda s: None,
            "authentication": self._authentication,
            "virtual_ipaddress": lambda s: self._take_addresses(s, self._addresses),
            "virtual_ipaddress_excluded": lambda s: self._take_addresses(s, self._excluded),
            "unicast_peer": self._unicast_peer,
            "unicast_src_ip": self._set_source,
            "mcast_src_ip": self._set_source,
            "nopreempt": lambda s: setattr(self, "_no_preempt", s.place),
            "preempt": lambda s: setattr(self, "_no_preempt", None),
            "preempt_delay": lambda s: setattr(self, "_preempt_delay", seconds(s)),
            "garp_master_repeat": lambda s: self._garp.update(repeat=number(s, 1, 100)),
            "garp_master_refresh": lambda s: self._garp.update(refresh=duration(seconds(s))),
            "garp_master_delay": self._garp_delay,
            "strict_mode": lambda s: setattr(self, "_strict", truth(s)),
            "skip_check_adv_addr": lambda s: None,
            "accept": lambda s: self._extra.pop("accept", None),
            "no_accept": lambda s: self._extra.update(accept=False),
            "use_vmac": self._use_vmac,
            "v3_checksum_as_v2": lambda s: self._extra.update(checksum="message") if truth(s) else None,
            "virtual_routes": lambda s: take_routes(s, self._routes, self._notebook),
            "virtual_rules": lambda s: take_rules(s, self._globals.rules, self._rules, self._notebook),
            "lvs_sync_daemon_interface": lambda s: setattr(self, "sync_interface", s),
            **self._notifies.handlers(),
        } | self._trackers.handlers(self._tracks)

    # Statements

    def _state(self, statement: Statement) -> None:
        word = statement.values[0].upper()
        if word not in ("MASTER", "BACKUP"):
            refuse(f"{statement.values[0]!r} is neither MASTER nor BACKUP")
        self._is_master = word == "MASTER"
        if self._is_master:
            self._notebook.changed(
                statement.place,
                "state",
                "every director starts as BACKUP and listens first; the priority decides",
            )

    def _set_interface(self, statement: Statement) -> None:
        self.interface = statement.values[0]
        self.has_interface = True

    def _use_vmac(self, statement: Statement) -> None:
        self._extra["vmac"] = True
        names = [word for word in statement.values if ":" not in word]
        if names:
            self._extra["vmac_interface"] = names[0]
        if len(names) < len(statement.values):
            message = "the hardware address is RFC 9568's, made of the VRID"
            self._notebook.lost(statement.place, "use_vmac", message)

    def _set_version(self, statement: Statement) -> None:
        self._version = number(statement, 2, 3)

    def _set_source(self, statement: Statement) -> None:
        self._source = str(ip_address(statement.values[0]))

    def _garp_delay(self, statement: Statement) -> None:
        self._notebook.changed(
            statement.place, "garp_master_delay", "announcements are repeated every garp.interval instead"
        )

    def _authentication(self, statement: Statement) -> None:
        def take_type(inner: Statement) -> None:
            self._auth_type = inner.values[0].upper()
            if self._auth_type not in ("PASS", "AH"):
                refuse(f"{inner.values[0]!r} is neither PASS nor AH")

        def take_password(inner: Statement) -> None:
            self._password = inner.values[0]
            if len(self._password.encode()) > 8:
                self._notebook.suspicious(
                    inner.place, "auth_pass", "VRRP carries 8 bytes: the rest of the password never left"
                )
                self._password = self._password.encode()[:8].decode(errors="ignore")

        self._notebook.take()
        read_block(statement, {"auth_type": take_type, "auth_pass": take_password}, self._notebook)

    def _take_addresses(self, statement: Statement, into: list[Any]) -> None:
        self._notebook.take()
        for line in statement:
            try:
                address = self._address(line)
                if address in (*self._addresses, *self._excluded):
                    refuse(f"{address} is there already")
                into.append(address)
            except (ValueError, IndexError) as error:
                self._notebook.suspicious(
                    line.place, line.words[0], f"{error}: this address is left out", matters=True
                )
            else:
                self._notebook.take()

    def _address(self, line: Statement) -> IPv4Interface | IPv6Interface:
        address = ip_interface(line.words[0])  # without a prefix: /32 or /128, as keepalived
        words = list(line.words[1:])
        while words:
            word = words.pop(0)
            if word == "dev":
                device = words.pop(0)
                if device != self.interface:
                    self._notebook.lost(
                        line.place,
                        "dev",
                        f"{address} is bound to {self.interface}, not to {device}:"
                        f" give it a [[vrrp]] of its own on {device}",
                    )
            elif word in ("scope", "label", "brd", "peer", "preferred_lft", "track_group"):
                value = words.pop(0) if words else ""
                self._notebook.lost(
                    line.place, word, f"{word} {value} of {address} is not set", matters=word == "peer"
                )
            else:
                self._notebook.lost(line.place, word, f"is not set for {address}", matters=False)
        return address

    def _unicast_peer(self, statement: Statement) -> None:
        self._notebook.take()
        for line in statement:
            try:
                self._peers.append(str(ip_address(line.words[0])))
                words = list(line.words[1:])
                while words:
                    word = words.pop(0)
                    if word == "min_ttl":
                        ttl = whole(words.pop(0), 0, 255)
                        self._min_ttl = min(ttl or 1, self._min_ttl or 255)
                    elif word == "max_ttl":
                        words.pop(0)
            except (ValueError, IndexError) as error:
                self._notebook.suspicious(line.place, "unicast_peer", f"{error}: left out", matters=True)
            else:
                self._notebook.take()

    # Result

    def block(self) -> Block | None:
        """The ``[[vrrp]]``; None (and a remark) when what it needs is missing."""
        notebook, place = self._notebook, self.place
        if self.vrid is None:
            notebook.lost(place, "vrrp_instance", f"{self.name} has no virtual_router_id")
            return None
        if not self._addresses and self._excluded:
            self._addresses, self._excluded = self._excluded, []
        if not self._addresses:
            notebook.lost(place, "vrrp_instance", f"{self.name} has no virtual_ipaddress")
            return None
        family = self._addresses[0].version
        others = [each for each in self._addresses if each.version != family]
        if others:
            notebook.suspicious(
                place,
                "virtual_ipaddress",
                "addresses of both families: the second one's are excluded_addresses",
            )
        version = 3 if family == 6 else self._version or 2
        if family == 6 and self._version == 2:
            notebook.suspicious(place, "version", "IPv6 has VRRP version 3 only")
        if not self.has_interface:
            notebook.suspicious(
                place, "interface", f"{self.name} names none: {self.interface} is assumed", matters=True
            )
        table: dict[str, Any] = {
            "name": self.name,
            "interface": self.interface,
            "vrid": self.vrid,
            "version": version,
            "priority": self._priority,
            "advert_interval": self._advert_interval(version),
            "addresses": [str(each) for each in self._addresses if each.version == family],
        }
        excluded = [*others, *self._excluded]
        if excluded:
            table["excluded_addresses"] = [str(each) for each in excluded]
        table["preempt"] = self._no_preempt is None
        if self._no_preempt is not None and (self._is_master or self._priority == 255):
            notebook.suspicious(
                self._no_preempt,
                "nopreempt",
                "keepalived ignores it with state MASTER and for an owner; here it holds",
            )
        if self._preempt_delay:
            table["preempt_delay"] = duration(self._preempt_delay)
        if self._peers:
            table |= {"unicast": True, "unicast_peers": self._peers}
            if self._min_ttl is not None:
                table["min_ttl"] = self._min_ttl
        if self._source is not None:
            table["source_address"] = self._source
        self._add_password(table, version)
        table["authentication"] = "none"
        if self._strict:
            notebook.changed(
                place, "vrrp_strict", "nothing drops packets to the virtual addresses: they answer"
            )
        if self._garp:
            table["garp"] = self._garp
        if self._globals.startup_delay:
            table["startup_delay"] = duration(self._globals.startup_delay)
        if self._globals.boot_delay:
            table["boot_delay"] = duration(self._globals.boot_delay)
        self._add_link_delays(table)
        if self._routes:
            table["routes"] = self._routes
        if self._rules:
            table["rules"] = self._rules
        table |= hook_of([self._notifies, *self._trackers.notifies_of(self.name)])
        group, tracks = self._trackers.of_group(self.name)
        if group is not None:
            table["group"] = group
        if tracks := [*self._tracks, *(each for each in tracks if each not in self._tracks)]:
            table["track"] = tracks
        notes = (
            "preempt: a returning director takes the role back and resets the connections that it missed;"
            " false is lvsha's default."
            if self._no_preempt is None
            else "",
            "version 3 with 100 ms adverts takes over ten times faster, once both directors speak it."
            if version == 2
            else "",
            "authentication: keepalived takes no advert with a code. Once all directors are lvsha and share a"
            " key file, remove that line: adverts are authenticated then.",
        )
        return Block(
            header="vrrp", table=table | self._extra, place=place, notes=tuple(note for note in notes if note)
        )

    def _add_link_delays(self, table: dict[str, Any]) -> None:
        down, up = self._globals.link_delays.get(self.interface, (0.0, 0.0))
        if down:
            table["link_down_delay"] = duration(down)
        if up:
            table["link_up_delay"] = duration(up)

    def _advert_interval(self, version: int) -> str:
        value = 1.0 if self._advert is None else self._advert
        low, high = (1, 255) if version == 2 else (0.01, 40.95)
        kept = min(max(value, low), high)
        if version == 2:
            kept = round(kept)
        if kept != value:
            self._notebook.suspicious(
                self.place,
                "advert_int",
                f"{value:g} s does not fit version {version}: {kept:g} s",
                matters=True,
            )
        return duration(kept)

    def _add_password(self, table: dict[str, Any], version: int) -> None:
        if self._auth_type == "AH":
            self._notebook.lost(
                self.place,
                "auth_type",
                "AH was withdrawn by RFC 3768 and is not spoken; this router and its peers would not"
                " understand each other: use PASS on the peers, or change both at once",
            )
        elif self._password is not None and version == 3:
            self._notebook.suspicious(self.place, "authentication", "VRRP version 3 has none: left out")
        elif self._password is not None:
            table["password"] = self._password
