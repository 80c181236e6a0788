"""Rules for ``ipvsadm -R``."""

from typing import Final

from lvsha.config.exporters.words import FLAG_NAMES, Exported, netmask_text, word_of
from lvsha.config.services import METHODS, PROTOCOLS, TUNNEL_FLAGS, TUNNEL_TYPES
from lvsha.config.settings import Settings
from lvsha.core.addr import AF_INET, endpoint_text
from lvsha.ipvs.model import Destination, Service, ServiceFlags, ServiceKey

_SERVICE_OPTION: Final = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_METHOD_OPTION: Final = {"dr": "-g", "nat": "-m", "tun": "-i"}


def to_ipvsadm(settings: Settings) -> Exported:
    """Rules as ``ipvsadm -S -n`` writes them, each realserver with its full weight."""
    lines = []
    lost = [f"vrrp {router.name}: ipvsadm moves no addresses" for router in settings.routers]
    for service in settings.services:
        key = service.service.key
        lines.append(" ".join(["-A", *_key_words(key), *_service_words(service.service)]))
        for realserver in service.realservers:
            lines.append(" ".join(["-a", *_key_words(key), *_server_words(realserver.destination, key)]))
            if realserver.check is not None:
                lost.append(f"{service.name} {realserver.name}: ipvsadm checks nothing")
        if service.sorry is not None:
            lost.append(f"{service.name}: ipvsadm knows no sorry server")
    return "".join(f"{line}\n" for line in lines), tuple(lost)


def _key_words(key: ServiceKey) -> list[str]:
    if key.address is None:
        return ["-f", str(key.fwmark), *([] if key.family == AF_INET else ["-6"])]
    return [_SERVICE_OPTION[word_of(PROTOCOLS, key.protocol)], endpoint_text(key.address, key.port)]


def _service_words(service: Service) -> list[str]:
    words = ["-s", service.scheduler]
    if service.persistence_timeout_s is not None:
        words += ["-p", str(service.persistence_timeout_s)]
        if service.netmask is not None:
            words += ["-M", netmask_text(service)]
    if service.pe_name is not None:
        words += ["--pe", service.pe_name]
    if ServiceFlags.ONE_PACKET in service.flags:
        words.append("-o")
    flags = [f"{service.scheduler}-{name}" for flag, name in FLAG_NAMES if flag in service.flags]
    return [*words, "-b", ",".join(flags)] if flags else words


def _server_words(destination: Destination, key: ServiceKey) -> list[str]:
    method = word_of(METHODS, destination.method)
    where = endpoint_text(destination.address, destination.port or key.port)
    words = ["-r", where, _METHOD_OPTION[method], "-w", str(destination.weight)]
    if destination.upper_threshold:
        words += ["-x", str(destination.upper_threshold)]
    if destination.lower_threshold:
        words += ["-y", str(destination.lower_threshold)]
    if method == "tun" and (kind := word_of(TUNNEL_TYPES, destination.tun_type)) != "ipip":
        words += ["--tun-type", kind]
        if destination.tun_port:
            words += ["--tun-port", str(destination.tun_port)]
        words.append(
            {"none": "--tun-nocsum"}.get(
                flag := word_of(TUNNEL_FLAGS, destination.tun_flags), f"--tun-{flag}"
            )
        )
    return words
