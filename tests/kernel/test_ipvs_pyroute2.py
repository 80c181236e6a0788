"""pyroute2 as an independent reader and writer, where it is right (IPv4, address services)."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from pyroute2 import IPVS, IPVSDest, IPVSService

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import AddDestination, AddService, Destination, ForwardingMethod, Service
from tests.io.ipvs_steps import GRE, MASQ, WEB
from tests.kernel.ipvs_netns import fresh_netns

pytestmark = pytest.mark.kernel

WRITTEN = (MASQ, Destination(address=ip_address("10.9.0.51"), port=80, weight=0), GRE)


@pytest.fixture
def ipvs() -> Iterator[IpvsSocket]:
    with fresh_netns(), IpvsSocket() as opened:
        yield opened


def test_pyroute2_reads_what_we_write(ipvs: IpvsSocket) -> None:
    ipvs.apply([AddService(Service(key=WEB, scheduler="wrr"))])
    ipvs.apply([AddDestination(WEB, destination) for destination in WRITTEN])

    with IPVS() as witness:
        services = list(witness.service("dump"))
        found = list(witness.dest("dump", service=IPVSService.from_message(services[0])))

    assert len(services) == 1
    service = services[0].get_attr("IPVS_CMD_ATTR_SERVICE")
    assert service.get_attr("IPVS_SVC_ATTR_ADDR") == "10.9.0.100"
    assert service.get_attr("IPVS_SVC_ATTR_PORT") == 80
    assert service.get_attr("IPVS_SVC_ATTR_PROTOCOL") == socket.IPPROTO_TCP
    assert service.get_attr("IPVS_SVC_ATTR_SCHED_NAME") == "wrr"
    assert service.get_attr("IPVS_SVC_ATTR_NETMASK") == "255.255.255.255"
    destinations = [message.get_attr("IPVS_CMD_ATTR_DEST") for message in found]
    assert {
        tuple(
            destination.get_attr(f"IPVS_DEST_ATTR_{name}")
            for name in ("ADDR", "PORT", "FWD_METHOD", "WEIGHT", "U_THRESH", "L_THRESH", "TUN_TYPE")
        )
        for destination in destinations
    } == {
        (
            str(destination.address),
            destination.port,
            int(destination.method),
            destination.weight,
            destination.upper_threshold,
            destination.lower_threshold,
            int(destination.tun_type),
        )
        for destination in WRITTEN
    }


def test_we_read_what_pyroute2_writes(ipvs: IpvsSocket) -> None:
    with IPVS() as witness:
        service = IPVSService(addr="10.9.0.100", port=80, protocol=socket.IPPROTO_TCP, sched_name="rr")
        witness.service("add", service=service)
        witness.dest(
            "add", service=service, dest=IPVSDest(addr="10.9.0.50", port=8080, weight=7, fwd_method=0)
        )

    assert ipvs.service(WEB).service == Service(key=WEB, scheduler="rr")
    assert [state.destination for state in ipvs.destinations(WEB).values()] == [
        Destination(address=ip_address("10.9.0.50"), port=8080, method=ForwardingMethod.MASQ, weight=7)
    ]
