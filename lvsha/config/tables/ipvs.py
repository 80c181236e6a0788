"""``[ipvs]``: the kernel's time-outs and settings."""

from pydantic import Field

from lvsha.config.tables.forms import Table
from lvsha.config.tables.values import Duration, SysctlValue


class Timeouts(Table):
    """How long IPVS keeps an idle connection. Left out: as the kernel has it."""

    tcp: Duration | None = Field(
        default=None,
        description="Established TCP; the kernel's is 15 m. Longer than your longest idle connection.",
    )
    tcp_fin: Duration | None = Field(default=None, description="TCP after a FIN; the kernel's is 2 m.")
    udp: Duration | None = Field(default=None, description="UDP; the kernel's is 5 m.")


class Ipvs(Table):
    """Settings of the kernel's IPVS, for all services."""

    timeouts: Timeouts = Field(default=Timeouts(), description="Idle time-outs of connections.")
    sysctl: dict[str, SysctlValue] = Field(
        default={},
        description=(
            "`net.ipv4.vs.*` by short name, set while the agent runs and put back when it stops, "
            'over the agent\'s own choices. `""` leaves one alone.'
        ),
    )


SYSCTLS: dict[str, tuple[int, int] | None] = {
    "am_droprate": (1, 1 << 20),
    "amemthresh": (0, 1 << 30),
    "backup_only": (0, 1),
    "cache_bypass": (0, 1),
    "conn_reuse_mode": (0, 3),
    "conntrack": (0, 1),
    "drop_entry": (0, 3),
    "drop_packet": (0, 3),
    "est_nice": (-20, 19),
    "expire_nodest_conn": (0, 1),
    "expire_quiescent_template": (0, 1),
    "ignore_tunneled": (0, 1),
    "nat_icmp_send": (0, 1),
    "pmtu_disc": (0, 1),
    "run_estimation": (0, 1),
    "schedule_icmp": (0, 1),
    "secure_tcp": (0, 3),
    "sloppy_sctp": (0, 1),
    "sloppy_tcp": (0, 1),
    "snat_reroute": (0, 1),
    "sync_persist_mode": (0, 1),
    "sync_ports": (1, 64),
    "sync_qlen_max": (1, 1 << 31),
    "sync_refresh_period": (0, 1 << 20),
    "sync_retries": (0, 3),
    "sync_sock_size": (0, 1 << 30),
    "sync_threshold": None,
    "sync_version": (0, 1),
}
"""What may stand in ``[ipvs.sysctl]``, with its range; ``sync_threshold`` is two numbers."""
