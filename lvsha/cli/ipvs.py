"""``lvsha ipvs``: everything ipvsadm does, and beside it what ipvsadm lacks."""

from lvsha.cli import ipvsadm

SUMMARY = "list and change the kernel's IPVS tables, as ipvsadm does, and more"


def main(argv: list[str]) -> int:
    return ipvsadm.main(argv, name="lvsha ipvs")
