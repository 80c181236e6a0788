"""What this process may do."""

from pathlib import Path

import pytest

from lvsha.io.capabilities import Capability, NotAllowed, parse_effective, require_capabilities

ALL = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n"
NO_ADMIN = ALL.replace("000001ffffffffff", "000001ffffffefff")


def test_only_the_effective_set_counts() -> None:
    assert parse_effective("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000002000\n") == 1 << 13
    assert parse_effective("no such line\n") == 0


def test_what_is_missing_is_named_with_a_remedy(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(NO_ADMIN)

    with pytest.raises(NotAllowed, match=r"^CAP_NET_ADMIN missing: .*--cap-add NET_ADMIN$"):
        require_capabilities(Capability.NET_ADMIN, Capability.NET_RAW, status=status)


def test_nothing_is_said_when_nothing_is_missing(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(ALL)

    require_capabilities(Capability.NET_ADMIN, Capability.NET_RAW, status=status)
