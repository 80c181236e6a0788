"""[[vrrp]] to the virtual routers of one director, and what shows only when directors are compared."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import Any, cast

from lvsha.config import schema
from lvsha.config.context import Context, pick
from lvsha.config.findings import did_you_mean
from lvsha.config.lines import Path
from lvsha.config.tables.values import duration_text
from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.vrrp.routes import Network, RouteSettings, RuleSettings
from lvsha.vrrp.settings import Authentication, GarpSettings, HeartbeatPath, RouterSettings
from lvsha.vrrp.settings import problems as router_problems
from lvsha.vrrp.track import TrackKind, TrackSettings
from lvsha.wire.arp import ArpForm
from lvsha.wire.vrrp import ChecksumForm

Prefix = IPv4Interface | IPv6Interface

DEFAULT_PRIORITY = 100
"""RFC 9568 section 5.2.4."""
DEFAULT_ADVERT_INTERVAL = {2: SECOND, 3: 100 * MILLISECOND}
FASTEST_CALM_ADVERT = 30 * MILLISECOND
"""Below this three lost ticks of a busy machine look like a dead director."""
SHORTEST_LOOK = 100 * MILLISECOND
"""At what is tracked."""
ADVERT_ADDRESSES_V6 = 88
"""What fits an IPv6 advert on an Ethernet of 1,500 bytes: (1500 - 40 - 8 - 32) / 16."""


class Routers:
    """The virtual routers of a document."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._findings = context.findings

    def of(self, node: str) -> list[tuple[int, RouterSettings]]:
        """Those of one director, each with its place in the file."""
        routers = []
        holders: dict[tuple[str, int, int], int] = {}
        names: dict[str, int] = {}
        addresses: dict[Address, int] = {}
        macvlans: dict[str, int] = {}
        for place, vrrp in zip(self._context.parts.vrrp, self._context.document.vrrp, strict=True):
            router = self._router(place, vrrp, node)
            if router is None:
                continue
            path: Path = ("vrrp", place)
            routers.append((place, router))
            key = (router.interface, router.family, router.vrid)
            if key in holders:
                self._findings.error(
                    (*path, "vrid"),
                    f"vrid {router.vrid} on {router.interface} is already that of vrrp[{holders[key]}]",
                    "every virtual router of a network needs its own",
                )
            elif router.name in names:
                self._findings.error(
                    (*path, "name"), f'"{router.name}" is already the name of vrrp[{names[router.name]}]'
                )
            holders.setdefault(key, place)
            names.setdefault(router.name, place)
            if router.vmac_interface is not None:
                first = macvlans.setdefault(router.vmac_interface, place)
                if first != place:
                    self._findings.error(
                        (*path, "vmac_interface"),
                        f'"{router.vmac_interface}" is already the vmac_interface of vrrp[{first}]',
                        f'vmac_interface = "vrrp{place}.{router.vrid}"',
                    )
            for at, prefix in self._prefixes(path, vrrp):
                if addresses.setdefault(prefix.ip, place) != place:
                    self._findings.error(
                        at, f"{prefix.ip} is already an address of vrrp[{addresses[prefix.ip]}]"
                    )
        return routers

    @staticmethod
    def _prefixes(path: Path, vrrp: schema.Vrrp) -> list[tuple[Path, Prefix]]:
        return [
            ((*path, key, number), prefix)
            for key in ("addresses", "excluded_addresses")
            for number, prefix in enumerate(getattr(vrrp, key))
        ]

    def _router(self, place: int, vrrp: schema.Vrrp, node: str) -> RouterSettings | None:
        defaults = self._context.document.defaults.vrrp
        path: Path = ("vrrp", place)

        def where(key: str) -> Path:
            inherited = key not in vrrp.model_fields_set and key in defaults.model_fields_set
            return ("defaults", "vrrp", key) if inherited else (*path, key)

        def by_node(key: str, default: Any = None) -> Any:
            return self._context.each(where(key), pick(vrrp, defaults, key), node, default)

        interface = self._context.each((*path, "interface"), vrrp.interface, node)
        if interface is None:
            return None
        family = vrrp.addresses[0].version
        version = pick(vrrp, defaults, "version")
        own = self._context.document.directors.get(node, schema.Director())
        priority = by_node("priority", own.priority or DEFAULT_PRIORITY)
        if priority is None:
            priority = own.priority or DEFAULT_PRIORITY
        says_preempt = "preempt" in vrrp.model_fields_set or "preempt" in defaults.model_fields_set
        preempts = by_node("preempt", False)
        preempt_delay = by_node("preempt_delay", 0)
        if priority == 255 and not says_preempt:
            preempts = True
        if preempt_delay and not preempts:
            self._findings.warning(
                where("preempt_delay"), "has no effect without preemption", "add preempt = true"
            )
        interval = pick(vrrp, defaults, "advert_interval")
        if interval is None:
            interval = DEFAULT_ADVERT_INTERVAL[version]
        elif version == 3 and 0 < interval < FASTEST_CALM_ADVERT:
            self._findings.warning(
                where("advert_interval"),
                f"{duration_text(interval)} lets a busy machine look like a dead one",
                "30 ms or more unless the daemon runs with real-time priority",
            )
        peers, source = self._unicast(path, vrrp, node, family)
        garp = pick(vrrp, defaults, "garp")
        authentication, key_file = self._authentication(vrrp, where)
        router = RouterSettings(
            name=vrrp.name or f"{interface}-{vrrp.vrid}",
            interface=interface,
            vrid=vrrp.vrid,
            family=family,
            version=version,
            priority=priority,
            advert_interval=interval,
            addresses=tuple(vrrp.addresses),
            excluded_addresses=tuple(vrrp.excluded_addresses),
            preempts=preempts,
            preempt_delay=preempt_delay,
            unicast_peers=peers,
            min_ttl=pick(vrrp, defaults, "min_ttl"),
            source_address=source,
            password=pick(vrrp, defaults, "password"),
            authentication=authentication,
            key_file=key_file,
            checksum=ChecksumForm(pick(vrrp, defaults, "checksum")),
            strict_addresses=pick(vrrp, defaults, "strict_addresses"),
            no_address_detection=pick(vrrp, defaults, "no_address_detection"),
            release_deadline=pick(vrrp, defaults, "release_deadline"),
            lease=pick(vrrp, defaults, "lease"),
            startup_delay=pick(vrrp, defaults, "startup_delay"),
            boot_delay=pick(vrrp, defaults, "boot_delay"),
            vmac_interface=self._vmac_interface(path, vrrp, node, family),
            accept=pick(vrrp, defaults, "accept"),
            hook=tuple(pick(vrrp, defaults, "hook")),
            hook_timeout=pick(vrrp, defaults, "hook_timeout"),
            hook_repeat=pick(vrrp, defaults, "hook_repeat"),
            track=self._tracks(where("track"), pick(vrrp, defaults, "track")),
            paths=self._paths(path, vrrp, node),
            routes=self._routes(path, vrrp, node, interface),
            rules=self._rules(path, vrrp),
            link_up_delay=pick(vrrp, defaults, "link_up_delay"),
            link_down_delay=pick(vrrp, defaults, "link_down_delay"),
            pre_hook=tuple(pick(vrrp, defaults, "pre_hook")),
            pre_hook_timeout=pick(vrrp, defaults, "pre_hook_timeout"),
            prove_to=self._prove_to(path, vrrp, node),
            group=vrrp.group,
            garp=GarpSettings(
                repeat=garp.repeat,
                interval=garp.interval,
                refresh=garp.refresh,
                packets_per_millisecond=garp.packets_per_millisecond,
                forms=tuple(ArpForm(form) for form in dict.fromkeys(garp.forms)),
            ),
        )
        self._check_router(path, vrrp, router, where)
        return router

    def _authentication(
        self, vrrp: schema.Vrrp, where: Callable[[str], Path]
    ) -> tuple[Authentication, str | None]:
        """Whoever has a key has directors that are all lvsha, and wants it used."""
        document = self._context.document
        wanted = pick(vrrp, document.defaults.vrrp, "authentication")
        own = pick(vrrp, document.defaults.vrrp, "key_file")
        key_file = own or document.sync.relay.key_file
        if wanted is None:
            wanted = Authentication.NONE if key_file is None else Authentication.HMAC
        elif wanted == Authentication.NONE:
            if own is not None:
                self._findings.warning(
                    where("key_file"), "has no effect without authentication", 'authentication = "hmac"'
                )
            key_file = None
        return Authentication(wanted), key_file

    def _vmac_interface(self, path: Path, vrrp: schema.Vrrp, node: str, family: int) -> str | None:
        named = vrrp.vmac_interface
        if not pick(vrrp, self._context.document.defaults.vrrp, "vmac"):
            if named is not None:
                self._findings.warning((*path, "vmac_interface"), "has no effect without vmac", "vmac = true")
            return None
        own = None if named is None else self._context.each((*path, "vmac_interface"), named, node)
        return own or f"vrrp{'' if family == 4 else 6}.{vrrp.vrid}"

    def _prove_to(self, path: Path, vrrp: schema.Vrrp, node: str) -> tuple[Address, ...] | None:
        if vrrp.prove_to is None:
            return None
        listed = self._context.each((*path, "prove_to"), vrrp.prove_to, node)
        return tuple(listed or ())

    def _network(self, path: Path, text: str) -> Network | None:
        try:
            return ip_network(text)
        except ValueError as error:
            self._findings.error(path, str(error), 'a network, such as "192.168.7.0/24"')
            return None

    def _paths(self, path: Path, vrrp: schema.Vrrp, node: str) -> tuple[HeartbeatPath, ...]:
        paths = []
        for number, table in enumerate(vrrp.paths):
            interface = self._context.each((*path, "paths", number, "interface"), table.interface, node)
            if interface is not None:
                paths.append(HeartbeatPath(interface=interface, peers=tuple(table.peers)))
        tracks = pick(vrrp, self._context.document.defaults.vrrp, "track")
        if paths and all(track.gateway is None and track.script is None for track in tracks):
            self._findings.warning(
                (*path, "paths"),
                "a MASTER whose own network is cut keeps the role: it is heard over the other path",
                'track = [{ gateway = "..." }]',
            )
        return tuple(paths)

    def _routes(self, path: Path, vrrp: schema.Vrrp, node: str, interface: str) -> tuple[RouteSettings, ...]:
        routes = []
        for number, table in enumerate(vrrp.routes):
            at: Path = (*path, "routes", number)
            to = self._network((*at, "to"), table.to)
            device = interface
            if table.interface is not None:
                device = self._context.each((*at, "interface"), table.interface, node) or interface
            if to is not None:
                routes.append(
                    RouteSettings(
                        to=to,
                        via=table.via,
                        interface=device,
                        source=table.source,
                        table=table.table,
                        metric=table.metric,
                    )
                )
        return tuple(routes)

    def _rules(self, path: Path, vrrp: schema.Vrrp) -> tuple[RuleSettings, ...]:
        rules = []
        for number, table in enumerate(vrrp.rules):
            at: Path = (*path, "rules", number)
            source, to = (
                self._network((*at, key), text) if (text := getattr(table, key)) is not None else None
                for key in ("source", "to")
            )
            if table.source is None and table.to is None and table.fwmark is None:
                self._findings.error(at, "matches every packet", "give source, to or fwmark")
            version = next((each.version for each in (source, to) if each is not None), None)
            rules.append(
                RuleSettings(
                    family=version or vrrp.addresses[0].version,
                    source=source,
                    to=to,
                    fwmark=table.fwmark,
                    table=table.table,
                    priority=table.priority,
                )
            )
        return tuple(rules)

    def _tracks(self, path: Path, tables: Sequence[schema.Track]) -> tuple[TrackSettings, ...]:
        """``track``; what names nothing, or two things, is an error and left out."""
        tracks = []
        for number, table in enumerate(tables):
            at = (*path, number)
            given = [kind for kind in TrackKind if getattr(table, kind) is not None]
            if len(given) != 1:
                self._findings.error(
                    at,
                    f"tracks {' and '.join(given) or 'nothing'}",
                    f"give one of {', '.join(TrackKind)}",
                )
                continue
            (kind,) = given
            value = getattr(table, kind)
            if kind is TrackKind.SERVICE:
                self._check_service((*at, "service"), value)
            target = value[0] if kind is TrackKind.SCRIPT else str(value)
            if kind is TrackKind.ROUTE:
                try:
                    target = str(ip_network(value))
                except ValueError as error:
                    self._findings.error((*at, "route"), str(error), 'a network, such as "0.0.0.0/0"')
            tracks.append(
                TrackSettings(
                    kind=kind,
                    target=target,
                    command=tuple(value) if kind is TrackKind.SCRIPT else (),
                    weight=table.weight,
                    interval=table.interval,
                    timeout=table.timeout,
                    rise=table.rise,
                    fall=table.fall,
                )
            )
            if table.interval < SHORTEST_LOOK:
                self._findings.error((*at, "interval"), "is below 100 ms", 'interval = "1s"')
        return tuple(tracks)

    def _check_service(self, path: Path, name: str) -> None:
        known = [service.name for service in self._context.document.service if service.name]
        if name not in known and all(service.name for service in self._context.document.service):
            self._findings.error(
                path,
                f'no service is called "{name}"',
                did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}",
            )

    def _check_router(self, path: Path, vrrp: schema.Vrrp, router: RouterSettings, where: Any) -> None:
        prefixes = self._prefixes(path, vrrp)
        for problem in router_problems(router):
            key = {"preempts": "preempt"}.get(problem.field, problem.field)
            at = where(key)
            if key == "addresses":
                # The engine names the address; the last mention is the one too many.
                at = next((at for at, prefix in reversed(prefixes) if str(prefix) in problem.message), at)
            message, _, suggestion = problem.message.partition("; ")
            self._findings.error(at, message, suggestion or None)
        if router.family == 6:
            if not any(prefix.is_link_local for prefix in vrrp.addresses):
                self._findings.warning(
                    (*path, "addresses"),
                    "none of them is link-local, and an IPv6 virtual router has one (RFC 9568 section 5.2.9)",
                    'add one like "fe80::10/64"',
                )
            if len(router.addresses) > ADVERT_ADDRESSES_V6:
                self._findings.warning(
                    (*path, "addresses"),
                    f"an advert with {len(router.addresses)} IPv6 addresses does not fit into 1500 bytes",
                    "move the rest to excluded_addresses",
                )
        if router.is_owner:
            return
        addresses = self._context.director_addresses
        for at, prefix in prefixes:
            if prefix.ip in addresses:
                self._findings.error(
                    at,
                    f"{prefix.ip} is {addresses[prefix.ip]}'s own address and would be taken from it",
                    "use an address of its own, or priority 255 on its owner",
                )

    def _unicast(
        self, path: Path, vrrp: schema.Vrrp, node: str, family: int
    ) -> tuple[tuple[Address, ...], Address | None]:
        """Whom the adverts go to (empty: the multicast group), and from where."""
        defaults = self._context.document.defaults.vrrp
        own = self._context.document.directors.get(node, schema.Director()).address
        source: Address | None = None
        if vrrp.source_address is not None:
            at: Path = (*path, "source_address")
            source = cast(Address | None, self._context.each(at, vrrp.source_address, node, is_needed=False))
        is_unicast = pick(vrrp, defaults, "unicast")
        if vrrp.unicast_peers is not None:
            listed = self._context.each((*path, "unicast_peers"), vrrp.unicast_peers, node) or []
            peers = tuple(dict.fromkeys(peer for peer in listed if peer not in (own, source)))
            at = (*path, "unicast_peers")
        elif is_unicast:
            peers = tuple(
                director.address
                for director in self._context.directors
                if director.name != node and director.address is not None
            )
            at = (*path, "unicast") if "unicast" in vrrp.model_fields_set else ("defaults", "vrrp", "unicast")
            for director in self._context.directors:
                if director.address is None:
                    self._findings.error(
                        at,
                        f"unicast needs the address of director {director.name}",
                        f'write {director.name} = {{ address = "..." }} in [directors]',
                    )
                elif director.address.version != family:
                    self._findings.error(
                        at,
                        f"director {director.name} has an IPv{director.address.version} address, "
                        f"the virtual router is IPv{family}",
                        "give unicast_peers",
                    )
        else:
            return (), source
        if not peers and len(self._context.directors) != 1:
            self._findings.error(at, "unicast has nobody to send to", "name the other directors")
        same_family = own is not None and own.version == family
        return tuple(peer for peer in peers if peer.version == family or at[-1] == "unicast_peers"), (
            source or (own if same_family else None)
        )

    def compare(self, routers: Mapping[str, Sequence[tuple[int, RouterSettings]]]) -> None:
        """What only shows when the directors are seen side by side."""
        if not self._context.document.vrrp and self._context.parts.vrrp_complete:
            self._findings.warning(
                ("vrrp",),
                "no virtual router: no address moves when a director dies",
                "add [[vrrp]] with interface, vrid and addresses",
            )
        by_place: dict[int, dict[str, RouterSettings]] = {}
        for node, resolved in routers.items():
            for place, router in resolved:
                by_place.setdefault(place, {})[node] = router
        for place, by_node in by_place.items():
            holders: dict[int, list[str]] = {}
            for node, router in by_node.items():
                holders.setdefault(router.priority, []).append(node)
            for priority, names in holders.items():
                if len(names) == 1:
                    continue
                path: Path = ("vrrp", place)
                vrrp = self._context.document.vrrp[self._context.parts.vrrp.index(place)]
                if "priority" in vrrp.model_fields_set:
                    path = ("vrrp", place, "priority")
                together = " and ".join(names)
                suggestion = "priority = { " + ", ".join(
                    f"{name} = {200 - 50 * number if number < 3 else 100 - number}"
                    for number, name in enumerate(names)
                )
                suggestion += " }"
                if priority == 255:
                    self._findings.error(path, f"{together} cannot both own the address (255)", suggestion)
                    continue
                preempting = [name for name in names if by_node[name].preempts]
                why = "; preemption has no effect between equals" if preempting else ""
                self._findings.warning(
                    path,
                    f"{together} have the same priority {priority}: the higher primary address decides{why}",
                    suggestion,
                )
