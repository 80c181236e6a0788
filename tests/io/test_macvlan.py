"""The bytes that make a macvlan, by hand: linux/if_link.h, linux/rtnetlink.h."""

import errno

import pytest

from lvsha.core.errors import KernelError
from lvsha.io.macvlan import MacvlanSocket, encode_flags, encode_macvlan
from lvsha.io.rtnl import decode_link

MAC = bytes.fromhex("00005e000133")


def test_a_created_macvlan_reads_back_as_the_kernel_would_list_it() -> None:
    payload = encode_macvlan("vrrp.51", MAC, 7)

    link = decode_link(payload, 0, len(payload))

    assert link is not None
    assert (link.name, link.mac, link.kind, link.parent, link.up) == ("vrrp.51", MAC, "macvlan", 7, False)
    # IFLA_INFO_DATA { IFLA_MACVLAN_MODE = VEPA }: a private one would take the peer's adverts away.
    assert payload.endswith(bytes.fromhex("0c000200 08000100 02000000"))


def test_setting_an_interface_up_changes_that_flag_alone() -> None:
    assert encode_flags(9, up=True).hex() == "00000000 09000000 01000000 01000000".replace(" ", "")
    assert encode_flags(9, up=False).hex() == "00000000 09000000 00000000 01000000".replace(" ", "")


class Answers:
    """A netlink socket that refuses everything with one errno."""

    def __init__(self, code: int) -> None:
        self.code = code

    def batch(self, requests: list[object]) -> list[tuple[int, int, str]]:
        return [(0, self.code, "")] * len(requests)


def test_a_kernel_without_macvlan_is_told_in_words() -> None:
    socket = MacvlanSocket(Answers(errno.EOPNOTSUPP))  # type: ignore[arg-type]  # the part that is used

    with pytest.raises(KernelError, match="load the module"):
        socket.create("vrrp.51", mac=MAC, parent=7)


def test_deleting_one_that_is_gone_is_no_error() -> None:
    MacvlanSocket(Answers(errno.ENODEV)).delete("vrrp.51", 9)  # type: ignore[arg-type]  # as above
