"""`check` to the checker's settings: the nearest word for each key, and only keys that the type has."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lvsha.checker.combine import Needs
from lvsha.checker.problems import problems as check_problems
from lvsha.checker.settings import (
    OPTIONS_OF_KIND,
    PORTLESS_KINDS,
    CheckKind,
    CheckOptions,
    CheckSettings,
    DnsOptions,
    HttpOptions,
    Initial,
    TcpOptions,
    TlsOptions,
    UdpOptions,
    basic_authorization,
)
from lvsha.config import schema
from lvsha.config.context import Context
from lvsha.config.lines import Path
from lvsha.config.tables.values import parse_bytes
from lvsha.ipvs.model import (
    Destination,
    Protocol,
    ServiceKey,
)

OPTION_KEYS = {
    "status": "statuses",
    "command": "argv",
    "query_name": "name",
    "query_type": "type",
    "grpc_service": "service",
}
"""Keys of ``schema.Check`` whose field has another name in the checker's options."""
_COMMON = frozenset(
    name for name in schema.Check.model_fields if not schema.check_types_of(name) and name != "type"
)

Layer = tuple[Path, schema.Check]
"""A table of the file, and where it stands; the last layer is the nearest."""
Shared = tuple[int, CheckKind]
"""Which of a service's checks, and of which kind it is there."""


class Checks:
    """The checks of one service; a realserver without a ``check`` of its own shares the service's."""

    def __init__(
        self, context: Context, path: Path, service: schema.Service, key: ServiceKey, node: str
    ) -> None:
        self._context = context
        self._findings = context.findings
        self._key = key
        self._node = node
        self._defaults: Layer = (("defaults", "check"), context.document.defaults.check)
        own = [((*path, "check"), service.check)] if service.check is not None else []
        self._layers: list[Layer] = [self._defaults, *own]
        self._service = service
        self._path = path
        self._shared: dict[Shared, tuple[dict[str, Any], CheckOptions | None]] = {}
        self._sound: set[tuple[Shared, int, int]] = set()
        self._refuse_both(path, service)

    def of(
        self, at: Path, table: schema.RealServer, destination: Destination
    ) -> tuple[tuple[CheckSettings, ...], Needs]:
        """The checks of one realserver, none where it is not checked; and how many have to pass."""
        self._refuse_both(at, table)
        needed = table.checks_needed or self._service.checks_needed
        needs = Needs(needed) if needed is not None else Needs.ALL
        found: list[CheckSettings | None]
        if table.checks:
            found = [
                self._one(at, [self._defaults, ((*at, "checks", number), check)], destination)
                for number, check in enumerate(table.checks)
            ]
        elif table.check is not None:
            found = [self._one(at, [*self._layers, ((*at, "check"), table.check)], destination)]
        elif self._service.checks:
            found = [
                self._one(
                    at, [self._defaults, ((*self._path, "checks", number), check)], destination, shared=number
                )
                for number, check in enumerate(self._service.checks)
            ]
        else:
            found = [self._one(at, self._layers, destination, shared=0)]
        checks = tuple(dict.fromkeys(check for check in found if check is not None))
        if needs is Needs.ANY and None in found:
            return (), Needs.ALL  # one of them always passes
        return checks, needs if len(checks) > 1 else Needs.ALL

    def _refuse_both(self, at: Path, table: schema.Service | schema.RealServer) -> None:
        if table.check is not None and table.checks:
            self._findings.error((*at, "checks"), "contradicts check", "write all of them in checks")

    def _one(
        self, at: Path, layers: Sequence[Layer], destination: Destination, *, shared: int | None = None
    ) -> CheckSettings | None:
        """``shared``: which of the checks it is that all realservers have; None: one of its own."""
        said = next(
            ((path, each.through) for path, each in reversed(layers) if each.through is not None), None
        )
        path_at = (*said[0], "through") if said is not None and said[1] == "path" else None
        own_port = 0 if path_at is not None else destination.port
        port = next(
            (layer.port for _, layer in reversed(layers) if layer.port is not None),
            own_port or self._key.port,
        )
        kind = self._kind(at, layers, port)
        if kind is CheckKind.ON:
            return None
        if shared is not None:
            if (shared, kind) not in self._shared:
                self._shared[shared, kind] = self._merge(layers, kind)
            common, options = self._shared[shared, kind]
        else:
            common, options = self._merge(layers, kind)
        if path_at is not None:
            common = self._through_path(path_at, kind, common)
        settings = CheckSettings(
            kind=kind,
            port=0 if kind in PORTLESS_KINDS else port,
            options=options,
            **{"address": destination.address, **common},
        )
        if shared is None:
            self._check(layers, settings, at)
        elif (known := ((shared, kind), settings.port, settings.address.version)) not in self._sound:
            self._check(layers, settings, at)
            self._sound.add(known)
        return settings

    def _through_path(self, at: Path, kind: CheckKind, common: dict[str, Any]) -> dict[str, Any]:
        """``common`` with the virtual address and our own one; mark and ports come from ``path_slots``."""
        if kind in PORTLESS_KINDS:
            self._findings.error(
                at, f"a {kind} check has no path through IPVS", 'type = "tcp", or through = "address"'
            )
        for key in ("fwmark", "bind_port"):
            if key in common:
                self._findings.error((*at[:-1], key), "is chosen by through", f"remove {key}")
        target = common.get("address", self._key.address)
        if target is None:
            self._findings.error(
                at, "a firewall mark has no address of its own", "add address, the one that clients use"
            )
            return common
        directors = {each.name: each.address for each in self._context.directors}
        source = common.get("bind_address", directors.get(self._node))
        if source is None or source.version != target.version:
            self._findings.error(
                at,
                f"asks from an IPv{target.version} address of this director, which [directors] does not say",
                'add bind_address = { lb1 = "10.0.0.1", lb2 = "10.0.0.2" }',
            )
        return {**common, "address": target, "bind_address": source, "through_path": True}

    def _kind(self, at: Path, layers: Sequence[Layer], port: int) -> CheckKind:
        for _, layer in reversed(layers):
            if layer.type is not None:
                return CheckKind(layer.type)
        if port and self._key.protocol in (Protocol.TCP, 0):
            return CheckKind.TCP
        self._findings.warning(
            self._path,
            "no check was chosen: a ping only proves that the machine answers, not the service",
            'check = "ping" says that this is enough; others: "http", "dns", "udp", "sip", "exec" ...',
        )
        return CheckKind.PING

    def _merge(self, layers: Sequence[Layer], kind: CheckKind) -> tuple[dict[str, Any], CheckOptions | None]:
        """The common fields and the options of ``kind``, the nearest layer's word first."""
        common: dict[str, Any] = {}
        given: dict[str, Any] = {}
        in_force: CheckKind | None = None
        for path, layer in layers:
            in_force = CheckKind(layer.type) if layer.type is not None else in_force
            for key in layer.model_fields_set - {"type", "port", "through"}:
                value = getattr(layer, key)
                if key in _COMMON:
                    common[key] = value
                    if key in ("bind_address", "bind_interface") and value is not None:
                        common[key] = self._context.each((*path, key), value, self._node)
                    if key == "initial":
                        common[key] = Initial(value)
                    continue
                types = schema.check_types_of(key)
                effective = in_force or (kind if path[0] != "defaults" else None)
                if effective is not None and effective not in types:
                    self._findings.error(
                        (*path, key),
                        f"does not belong to a {effective} check",
                        f'type = "{types[0]}"' if len(types) == 1 else f"it is for {', '.join(types)}",
                    )
                elif kind in types:
                    given[key] = (path, value)
        for key in ("address", "bind_address", "bind_interface"):
            if key in common and common[key] is None:
                del common[key]
        return common, self._options(kind, given)

    def _options(self, kind: CheckKind, given: dict[str, tuple[Path, Any]]) -> CheckOptions | None:
        options = OPTIONS_OF_KIND[kind]
        if options is None:
            return None
        known = {each.name for each in fields(options)}
        values: dict[str, Any] = {}
        for key, (path, value) in given.items():
            name = OPTION_KEYS.get(key, key)
            if key == "tls":
                if value is not None:
                    values[name] = self._tls((*path, key), value)
                elif kind is CheckKind.HTTPS:
                    self._findings.error((*path, key), "https speaks TLS", 'type = "http"')
                continue
            if value is None or name not in known:
                continue
            if key == "expect" and options is not DnsOptions:
                try:
                    value = parse_bytes(value)
                except ValueError as error:
                    self._findings.error((*path, key), str(error))
                    continue
            elif key == "headers":
                value = tuple(value.items())
            elif isinstance(value, list):
                value = tuple(value)
            values[name] = value
        if options is HttpOptions:
            self._authorize(given, values)
        if options is UdpOptions:
            self._check_mask(given, values)
        elif options is TcpOptions and values.get("expect") is not None and values.get("expect_regex"):
            self._findings.error(
                (*given["expect_regex"][0], "expect_regex"), "contradicts expect", "give one"
            )
        return options(**values)

    def _authorize(self, given: Mapping[str, tuple[Path, Any]], values: dict[str, Any]) -> None:
        if "username" not in given and "password" not in given:
            return
        path = given.get("username", given.get("password", ((), None)))[0]
        if "authorization" in given:
            self._findings.error((*path, "authorization"), "contradicts username and password", "give one")
        username = given.get("username", (path, None))[1]
        if username is None:
            self._findings.error((*path, "password"), "has no username", "add username")
            return
        values["authorization"] = basic_authorization(username, given.get("password", (path, ""))[1] or "")

    def _check_mask(self, given: Mapping[str, tuple[Path, Any]], values: Mapping[str, Any]) -> None:
        mask, expect = values.get("expect_mask"), values.get("expect")
        if mask is not None and len(mask) != len(expect or b""):
            self._findings.error(
                (*given["expect_mask"][0], "expect_mask"),
                f"has {len(mask)} bytes, expect has {len(expect or b'')}",
            )
        if values.get("minimum_reply", 0) > values.get("maximum_reply", 65535):
            key = "minimum_reply" if "minimum_reply" in given else "maximum_reply"
            self._findings.error((*given[key][0], key), "the least reply is longer than the longest one")

    def _tls(self, path: Path, tls: schema.Tls) -> TlsOptions:
        if (tls.key_file is None) != (tls.certificate_file is None):
            lacking = "key_file" if tls.key_file is None else "certificate_file"
            self._findings.error(path, f"a certificate and its key come together: no {lacking}")
        if tls.ca_file is not None and not tls.verify:
            self._findings.warning(
                (*path, "ca_file"), "has no effect: the certificate is not verified", "remove verify = false"
            )
        return TlsOptions(
            verify=tls.verify,
            server_name=tls.server_name,
            ca_file=tls.ca_file,
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
            alpn=tuple(tls.alpn),
            expiry_warning=tls.expiry_warning,
        )

    def _check(self, layers: Sequence[Layer], settings: CheckSettings, at: Path) -> None:
        keys = {name: key for key, name in OPTION_KEYS.items()}
        for name, message in check_problems(settings):
            key = keys.get(name, name)
            if key not in schema.Check.model_fields:
                key = name
            path = next(
                (path for path, layer in reversed(layers) if key in layer.model_fields_set), layers[-1][0]
            )
            if path[0] == "defaults" and key not in layers[0][1].model_fields_set:
                path = at
            self._findings.error((*path, key), message)
