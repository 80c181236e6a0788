"""The records of ``lvsha.ipvs.model``."""

from ipaddress import ip_address

import pytest

from lvsha.core.addr import AF_INET, AF_INET6
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Destination,
    EditDestination,
    EditService,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceKey,
    netmask_of_prefix,
)

WEB = ServiceKey.of(6, ip_address("10.0.0.1"), 80)
RS = Destination(address=ip_address("fd00::1"), port=80)


@pytest.mark.parametrize(
    ("family", "length", "netmask"),
    [(AF_INET, 24, 0xFFFFFF00), (AF_INET, 1, 0x80000000), (AF_INET6, 64, 64)],
)
def test_netmask_of_a_prefix_length(family: int, length: int, netmask: int) -> None:
    assert netmask_of_prefix(family, length) == netmask


@pytest.mark.parametrize(("family", "length"), [(AF_INET, 32), (AF_INET6, 128)])
def test_the_whole_address_is_no_netmask(family: int, length: int) -> None:
    assert netmask_of_prefix(family, length) is None


@pytest.mark.parametrize(("family", "length"), [(AF_INET, 0), (AF_INET, 33), (AF_INET6, 0), (AF_INET6, 129)])
def test_a_prefix_length_that_does_not_fit_is_refused(family: int, length: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        netmask_of_prefix(family, length)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (AddService(Service(key=WEB)), "add service TCP 10.0.0.1:80"),
        (EditService(Service(key=WEB)), "edit service TCP 10.0.0.1:80"),
        (RemoveService(WEB), "remove service TCP 10.0.0.1:80"),
        (AddDestination(WEB, RS), "add destination [fd00::1]:80 to TCP 10.0.0.1:80"),
        (EditDestination(WEB, RS), "edit destination [fd00::1]:80 of TCP 10.0.0.1:80"),
        (RemoveDestination(WEB, RS.key), "remove destination [fd00::1]:80 of TCP 10.0.0.1:80"),
    ],
)
def test_an_operation_tells_itself_in_words(operation: object, words: str) -> None:
    assert str(operation) == words
