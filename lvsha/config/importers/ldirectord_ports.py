"""Endpoints as ldirectord writes them, and the services it knows by their port."""

from typing import Final

from lvsha.config.importers.keepalived_scope import refuse, whole

SERVICE_OF_PORT: Final = {
    21: "ftp",
    25: "smtp",
    53: "dns",
    80: "http",
    110: "pop",
    119: "nntp",
    143: "imap",
    389: "ldap",
    443: "https",
    587: "submission",
    636: "ldaps",
    993: "imaps",
    995: "pops",
    1521: "oracle",
    1812: "radius",
    3128: "http_proxy",
    3306: "mysql",
    5060: "sip",
    5432: "pgsql",
}
"""What ``checktype = negotiate`` speaks when ``service`` is not given."""


def has_port(text: str) -> bool:
    return text.startswith("[") or text.count(":") == 1


def split_endpoint(text: str) -> tuple[str, str]:
    """Host and port of ``a:80``, ``[v6]:80``, ``a``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.lstrip(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def port_number(text: str) -> int:
    if not text:
        return 0
    if text.isdecimal():
        return whole(text, 0, 65535)
    names = {name: number for number, name in SERVICE_OF_PORT.items()} | {
        "www": 80,
        "domain": 53,
        "pop3": 110,
    }
    if text not in names:
        refuse(f"{text} is no port")
    return names[text]
