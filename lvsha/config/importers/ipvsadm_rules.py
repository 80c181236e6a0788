"""The rules that ``ipvsadm -S -n`` saves, to lvsha's own configuration. Source: ipvsadm(8)."""

import shlex
from ipaddress import ip_address
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import duration, refuse, whole
from lvsha.config.importers.keepalived_services import endpoint
from lvsha.config.importers.report import Block, Imported, Notebook, Place, Reader

_PROTOCOLS: Final = {
    "-t": "tcp",
    "--tcp-service": "tcp",
    "-u": "udp",
    "--udp-service": "udp",
    "--sctp-service": "sctp",
}
_METHODS: Final = {
    "-g": "dr",
    "--gatewaying": "dr",
    "-i": "tun",
    "--ipip": "tun",
    "-m": "nat",
    "--masquerading": "nat",
}
_FLAGS: Final = {"flag-1": "fallback", "flag-2": "port"}
_LONGEST: Final = 4096
_Key = tuple[str, str]


def convert_ipvsadm(name: str, text: str, reader: Reader) -> Imported:
    """Services and realservers; nothing is known of checks, so every realserver is taken as up."""
    notebook = Notebook()
    services: dict[_Key, tuple[dict[str, Any], Place]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        place = Place(file=name, line=number)
        notebook.statements += 1
        try:
            if len(line) > _LONGEST:
                refuse(f"{len(line)} characters: no line of ipvsadm's")
            words = shlex.split(line)
            if words[0] in ("ipvsadm", "/sbin/ipvsadm"):
                del words[0]
            _read(words, place, services, reader)
        except (ValueError, IndexError) as error:
            said = str(error) if isinstance(error, ValueError) and str(error) else "a value is missing"
            notebook.suspicious(place, line.split()[0][:40], f"{said}: left out", matters=True)
        else:
            notebook.take()
    blocks = [Block(header="sync", table={"enabled": False}, many=False, notes=(_NO_SYNC,))]
    for table, place in services.values():
        blocks.append(Block(header="service", table=_with_method(table), place=place, notes=(_NO_CHECK,)))
    return Imported(
        format="ipvsadm",
        blocks=tuple(blocks),
        remarks=tuple(notebook.remarks),
        statements=notebook.statements,
        carried=notebook.carried,
    )


_NO_SYNC: Final = (
    "the saved rules name no sync daemon and no VRRP: add [directors] and a [[vrrp]] for a pair."
)
_NO_CHECK: Final = 'ipvsadm checks nothing. Leave the line out and lvsha checks with "tcp" (or "ping").'


def _with_method(table: dict[str, Any]) -> dict[str, Any]:
    """The method that all realservers share, once; realservers last."""
    servers = table.pop("realservers")
    methods = {server["method"] for server in servers}
    if len(methods) == 1:
        table["method"] = methods.pop()
        servers = [{key: value for key, value in server.items() if key != "method"} for server in servers]
    return table | {"check": "on", "realservers": servers}


def _read(
    words: list[str], place: Place, services: dict[_Key, tuple[dict[str, Any], Place]], reader: Reader
) -> None:
    verb = words.pop(0)
    if verb in ("-A", "--add-service", "-E", "--edit-service"):
        key, who = _service(words)
        services[key] = (who | _service_options(words) | {"realservers": []}, place)
    elif verb in ("-a", "--add-server", "-e", "--edit-server"):
        key, who = _service(words)
        if key not in services:
            refuse("its service was not added before")
        table = services[key][0]
        table["realservers"].append(_server(words, table, reader))
    elif verb in ("-C", "--clear"):
        services.clear()
    else:
        refuse(f"{verb} is not -A or -a")


def _service(words: list[str]) -> tuple[_Key, dict[str, Any]]:
    for at, word in enumerate(words):
        if word in _PROTOCOLS:
            target = words[at + 1]
            del words[at : at + 2]
            host, _, port = target.rpartition(":")
            address = ip_address(host.strip("[]"))
            protocol = _PROTOCOLS[word]
            return (protocol, target), {
                "address": endpoint(address, whole(port, 0, 65535)),
                "protocol": protocol,
            }
        if word in ("-f", "--fwmark-service"):
            mark = words[at + 1]
            del words[at : at + 2]
            is_ipv6 = "-6" in words or "--ipv6" in words
            words[:] = [each for each in words if each not in ("-6", "--ipv6")]
            return ("fwmark", f"{mark}/{is_ipv6}"), {
                "fwmark": whole(mark, 1, 2**32 - 1),
                "family": 6 if is_ipv6 else 4,
            }
    raise ValueError("names no service (-t, -u, --sctp-service, -f)")


def _service_options(words: list[str]) -> dict[str, Any]:
    table: dict[str, Any] = {"scheduler": "wlc"}
    flags = ""
    while words:
        word = words.pop(0)
        if word in ("-s", "--scheduler"):
            table["scheduler"] = words.pop(0)
        elif word in ("-p", "--persistent"):
            has_value = bool(words) and words[0].isdecimal()
            table["persistence_timeout"] = duration(whole(words.pop(0), 1, 2**31) if has_value else 300)
        elif word in ("-M", "--netmask"):
            mask = words.pop(0)
            table["persistence_netmask"] = int(mask) if mask.isdecimal() else mask
        elif word in ("-o", "--ops"):
            table["one_packet"] = True
        elif word == "--pe":
            table["persistence_engine"] = words.pop(0)
        elif word in ("-b", "--sched-flags"):
            flags = words.pop(0)
        else:
            refuse(f"cannot read {word!r}")
    owner = table["scheduler"]
    if flags and owner in ("sh", "mh"):
        names = [_FLAGS.get(each, each.removeprefix(f"{owner}-")) for each in flags.split(",")]
        table["scheduler_flags"] = [f"{owner}-{each}" for each in names if each in _FLAGS.values()]
    return table


def _server(words: list[str], service: dict[str, Any], reader: Reader) -> dict[str, Any]:
    table: dict[str, Any] = {"method": "dr"}
    tunnel: dict[str, Any] = {}
    address: Any = None
    port = 0
    while words:
        word = words.pop(0)
        if word in ("-r", "--real-server"):
            target = words.pop(0)
            host, _, port_text = target.rpartition(":")
            if not host or (":" in host and not target.startswith("[")):
                host, port_text = target, "0"  # no port
            address, port = ip_address(host.strip("[]")), whole(port_text, 0, 65535)
        elif word in _METHODS:
            table["method"] = _METHODS[word]
        elif word in ("-w", "--weight"):
            table["weight"] = whole(words.pop(0), 0, 65535)
        elif word in ("-x", "--u-threshold"):
            table["upper_threshold"] = whole(words.pop(0), 0, 2**31 - 1)
        elif word in ("-y", "--l-threshold"):
            table["lower_threshold"] = whole(words.pop(0), 0, 2**31 - 1)
        elif word == "--tun-type":
            tunnel["type"] = words.pop(0)
        elif word == "--tun-port":
            tunnel["port"] = whole(words.pop(0), 1, 65535)
        elif word in ("--tun-nocsum", "--tun-csum", "--tun-remcsum"):
            tunnel["checksum"] = {"--tun-nocsum": "none"}.get(word, word.removeprefix("--tun-"))
        elif word not in ("-6", "--ipv6"):
            refuse(f"cannot read {word!r}")
    if address is None:
        refuse("names no realserver (-r)")
    own_port = service.get("address", ":0").rpartition(":")[2]
    keeps_port = table["method"] == "nat" and port and str(port) != own_port
    return (
        {"address": endpoint(address, port) if keeps_port else str(address)}
        | table
        | ({"tunnel": tunnel} if tunnel else {})
    )
