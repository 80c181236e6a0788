"""keepalived.conf to lvsha's own configuration."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from lvsha.config.importers.keepalived_routes import look_at_static
from lvsha.config.importers.keepalived_scope import (
    duration,
    leave_out,
    number,
    read_block,
    refuse,
    seconds,
    truth,
    whole,
)
from lvsha.config.importers.keepalived_services import Group, VirtualServer, read_group
from lvsha.config.importers.keepalived_text import Statement, statements
from lvsha.config.importers.keepalived_track import Trackers
from lvsha.config.importers.keepalived_vrrp import Globals, Instance
from lvsha.config.importers.report import Block, Imported, Notebook, Reader


def convert_keepalived(name: str, text: str, reader: Reader) -> Imported:
    """Everything that can be carried over, and a remark for each thing that cannot."""
    notebook = Notebook()
    tree = statements(name, text, reader, notebook)
    known = Globals()
    groups: dict[str, Group] = {}
    blocks: list[Block] = []
    instances: list[Instance] = []
    for statement in tree:
        if statement.keyword in ("global_defs", "net_namespace", "net_namespace_ipvs", "instance"):
            if statement.keyword == "global_defs":
                notebook.take()
                read_block(statement, _global_handlers(known, notebook), notebook)
            else:
                leave_out(statement, notebook)
        elif statement.keyword == "interface_up_down_delays":
            _link_delays(statement, known, notebook)
        elif statement.keyword == "virtual_server_group":
            group = read_group(statement, notebook)
            groups[group.name] = group
    for statement in tree:
        if statement.keyword in ("static_routes", "static_rules"):
            look_at_static(statement, known.rules, notebook)
    trackers = Trackers(notebook, has_script_security=known.script_security)
    defined = [statement for statement in tree if trackers.define(statement)]
    for statement in tree:
        if statement.keyword == "vrrp_sync_group":
            trackers.group(statement)
    for statement in tree:
        if statement.keyword == "vrrp_instance":
            notebook.take()
            instances.append(Instance(statement, known, trackers, notebook))
    _say_lost_delays(known, instances, notebook)
    routers = [(instance, block) for instance in instances if (block := instance.block())]
    blocks += [block for _, block in routers]
    blocks += _sync(known, [instance for instance, _ in routers], notebook)
    if known.timeouts:
        blocks.append(Block(header="ipvs.timeouts", table=known.timeouts, many=False))
    if known.exclusive:
        blocks.append(Block(header="agent", table={"exclusive": True}, many=False))
    ssl = _ssl(tree, notebook)
    for statement in tree:
        if statement.keyword == "virtual_server":
            server = VirtualServer(statement, groups, known.script_user, notebook)
            blocks += [_with_client_certificate(block, ssl) for block in server.blocks()]
    handled = {
        "interface_up_down_delays",
        *("global_defs", "net_namespace", "net_namespace_ipvs", "instance", "virtual_server_group"),
        *("vrrp_instance", "vrrp_sync_group", "virtual_server", "SSL"),
    }
    for statement in tree:
        if statement.keyword not in handled and statement not in defined:
            leave_out(statement, notebook)
    return Imported(
        format="keepalived",
        blocks=tuple(blocks),
        remarks=tuple(sorted(notebook.remarks, key=lambda remark: (remark.place.file, remark.place.line))),
        statements=notebook.statements,
        carried=min(notebook.carried, notebook.statements),
    )


def _global_handlers(known: Globals, notebook: Notebook) -> dict[str, Any]:
    def flush(statement: Statement) -> None:
        known.exclusive = True
        notebook.changed(
            statement.place,
            "lvs_flush",
            "exclusive = true: services that the file does not name are removed, and those it names stay",
        )

    def strict(statement: Statement) -> None:
        known.strict = truth(statement)
        if known.strict:
            notebook.suspicious(
                statement.place,
                "vrrp_strict",
                "makes keepalived drop every packet to a virtual address: no ping, no connection to the"
                " director itself; lvsha has no such rule",
            )

    def secure(statement: Statement) -> None:
        known.script_security = True

    def ignore(statement: Statement) -> None:
        notebook.take()

    return {
        "router_id": ignore,
        "vrrp_version": lambda s: setattr(known, "vrrp_version", number(s, 2, 3)),
        "default_interface": lambda s: setattr(known, "default_interface", s.values[0]),
        "vrrp_garp_master_repeat": lambda s: known.garp.update(repeat=number(s, 1, 100)),
        "vrrp_garp_master_refresh": lambda s: known.garp.update(refresh=duration(seconds(s))),
        "vrrp_garp_master_delay": ignore,
        "vrrp_garp_interval": ignore,
        "vrrp_strict": strict,
        "vrrp_check_unicast_src": ignore,
        "vrrp_skip_check_adv_addr": ignore,
        "vrrp_iptables": ignore,
        "nftables": ignore,
        "vrrp_startup_delay": lambda s: setattr(known, "startup_delay", seconds(s)),
        "vrrp_delay_after_boot": lambda s: setattr(known, "boot_delay", seconds(s)),
        "lvs_sync_daemon": lambda s: _sync_daemon(s, known),
        "lvs_timeouts": lambda s: _timeouts(s, known),
        "lvs_flush": flush,
        "lvs_flush_on_stop": ignore,
        "lvs_flush_onstop": ignore,
        "enable_script_security": secure,
        "script_user": lambda s: setattr(known, "script_user", s.values[0]),
    }


def _link_delays(statement: Statement, known: Globals, notebook: Notebook) -> None:
    """``interface down_delay [up_delay]``; one delay counts for both."""
    notebook.take()
    for line in statement:
        try:
            words = [seconds(Statement(words=(line.keyword, word), place=line.place)) for word in line.values]
            known.link_delays[line.keyword] = (words[0], words[1] if len(words) > 1 else words[0])
        except (ValueError, IndexError) as error:
            message = str(error) if str(error) and isinstance(error, ValueError) else "its delay is missing"
            notebook.suspicious(line.place, line.keyword, f"{message}: left out", matters=True)
        else:
            known.link_delay_places[line.keyword] = line.place


def _say_lost_delays(known: Globals, instances: list[Instance], notebook: Notebook) -> None:
    used = {instance.interface for instance in instances}
    for interface, place in known.link_delay_places.items():
        if interface in used:
            notebook.take()
        else:
            notebook.lost(
                place,
                "interface_up_down_delays",
                f"no vrrp_instance is on {interface}; for a tracked interface: link_down_delay and"
                " link_up_delay of the [[vrrp]] that tracks it",
            )


def _timeouts(statement: Statement, known: Globals) -> None:
    words = list(statement.values)
    keys = {"tcp": "tcp", "tcpfin": "tcp_fin", "udp": "udp"}
    while words:
        word = words.pop(0)
        if word not in keys or not words:
            refuse(f"{word!r} is not tcp, tcpfin or udp with its seconds")
        known.timeouts[keys[word]] = duration(whole(words.pop(0), 1, 31 * 86400))


def _sync_daemon(statement: Statement, known: Globals) -> None:
    words = list(statement.values)
    table: dict[str, Any] = {"interface": words.pop(0)}
    limits = {"maxlen": (1, 65507), "port": (1, 65535), "ttl": (1, 255)}
    instance = None
    while words:
        word = words.pop(0)
        if word in ("inst", "id", "group", *limits) and not words:
            refuse(f"{word} lacks its value")
        if word == "id":
            table["syncid"] = whole(words.pop(0), 0, 255)
        elif word in limits:
            table[word] = whole(words.pop(0), *limits[word])
        elif word == "group":
            table["group"] = str(ip_address(words.pop(0)))
        else:
            instance = words.pop(0) if word == "inst" else word
    known.sync, known.sync_instance, known.sync_place = table, instance, statement.place


def _sync(known: Globals, instances: list[Instance], notebook: Notebook) -> list[Block]:
    legacy = next((each for each in instances if each.sync_interface is not None), None)
    if known.sync is None and legacy is not None:
        assert legacy.sync_interface is not None, "just looked for"
        known.sync = {"interface": legacy.sync_interface.values[0]}
        known.sync_instance, known.sync_place = legacy.name, legacy.sync_interface.place
        notebook.suspicious(
            legacy.sync_interface.place,
            "lvs_sync_daemon_interface",
            "is deprecated in keepalived since 1.2.19 (lvs_sync_daemon in global_defs)",
        )
    if known.sync is None:
        if not instances:
            return [Block(header="sync", table={"enabled": False}, many=False)]
        note = (
            "keepalived did not synchronise connections, so that every takeover reset them; lvsha does."
            " `enabled = false` leaves it as it was."
        )
        return [Block(header="sync", table={"enabled": True}, many=False, notes=(note,))]
    table = dict(known.sync)
    place = known.sync_place
    assert place is not None, "a daemon stands somewhere"
    vrids = {each.name: each.vrid for each in instances}
    if not table.get("syncid"):
        had_zero = table.pop("syncid", None) == 0
        vrid = vrids.get(known.sync_instance or "") or next((each.vrid for each in instances), None)
        table["syncid"] = vrid or 1
        if had_zero or known.sync_instance is None:
            notebook.suspicious(
                place,
                "lvs_sync_daemon",
                f"syncid 0 accepts the entries of every cluster: {table['syncid']} instead, set it on the"
                " peer too",
                matters=True,
            )
    if known.sync_instance is not None and known.sync_instance not in vrids:
        notebook.suspicious(
            place, "lvs_sync_daemon", f"there is no vrrp_instance {known.sync_instance}", matters=True
        )
    return [Block(header="sync", table=table, place=place, many=False)]


def _ssl(tree: tuple[Statement, ...], notebook: Notebook) -> dict[str, str]:
    """The files of the ``SSL`` block: the client certificate of every SSL_GET."""
    files: dict[str, str] = {}
    for statement in tree:
        if statement.keyword == "SSL":
            notebook.take()
            read_block(
                statement,
                {
                    "ca": lambda s: files.update(ca_file=s.values[0]),
                    "certificate": lambda s: files.update(certificate_file=s.values[0]),
                    "key": lambda s: files.update(key_file=s.values[0]),
                },
                notebook,
            )
    return files


def _with_client_certificate(block: Block, files: dict[str, str]) -> Block:
    if not files:
        return block

    def added(check: Any) -> Any:
        if isinstance(check, dict) and check.get("type") == "https":
            return check | {"tls": check.get("tls", {}) | files}
        return check

    def with_them(table: Mapping[str, Any]) -> dict[str, Any]:
        changed = dict(table)
        if "check" in changed:
            changed["check"] = added(changed["check"])
        if "checks" in changed:
            changed["checks"] = [added(check) for check in changed["checks"]]
        return changed

    table = with_them(block.table)
    table["realservers"] = [with_them(server) for server in table.get("realservers", [])]
    return Block(header=block.header, table=table, place=block.place, many=block.many, notes=block.notes)
