"""``lvsha ipvs``: everything ipvsadm does, and beside it what ipvsadm lacks."""

from _collections_abc import Sequence

SUMMARY = "list and change the kernel's IPVS tables, as ipvsadm does, and more"

VERBS = {
    "diff": "ipvs_diff",
    "sysctl": "ipvs_sysctl",
    "top": "ipvs_top",
}
"""What is no option, and the module that does it."""
OPTIONS = frozenset(
    {
        "--json",
        "--watch",
        "--count",
        "--full",
        "--atomic",
        "--dry-run",
        "--vip",
        "--rs",
        "--state",
        "--client",
    }
)
"""That ipvsadm does not know; see ``lvsha.cli.ipvs_more``."""


def is_ours(argv: Sequence[str]) -> bool:
    """Whether ipvsadm would not understand it."""
    return bool(argv) and (
        argv[0] in VERBS or any(word.partition("=")[0] in OPTIONS for word in argv if word[:2] == "--")
    )


def main(argv: list[str]) -> int:
    """The ``lvsha ipvs`` command."""
    if not is_ours(argv):
        from lvsha.cli import ipvsadm

        return ipvsadm.run(argv, name="lvsha ipvs")
    from lvsha.cli import ipvs_more

    return ipvs_more.main(argv)
