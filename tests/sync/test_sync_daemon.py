"""Which kernel daemons should run, and what it takes to get there."""

from dataclasses import replace

import pytest

from lvsha.sync.daemon import (
    DEFAULT_SYSCTLS,
    DaemonRole,
    StartSyncDaemon,
    StopSyncDaemon,
    SyncDaemonRepaired,
    desired_daemons,
    desired_sysctls,
    plan_daemons,
)
from lvsha.sync.settings import SyncSettings

SETTINGS = SyncSettings(interface="eth0", syncid=51)


def test_both_roles_run_and_the_backup_starts_first() -> None:
    steps = plan_daemons(desired_daemons(SETTINGS), [])

    roles = [step.daemon.role for step in steps if isinstance(step, StartSyncDaemon)]
    assert roles == [DaemonRole.BACKUP, DaemonRole.MASTER]


def test_what_runs_as_it_should_is_left_alone() -> None:
    wanted = desired_daemons(SETTINGS)

    assert plan_daemons(wanted, wanted) == []


def test_a_backup_never_takes_less_than_a_plain_kernel_master_sends() -> None:
    backup, master = desired_daemons(SETTINGS)

    assert master.maxlen == 44
    assert backup.maxlen == 1472
    assert [daemon.maxlen for daemon in desired_daemons(replace(SETTINGS, backup_maxlen=9188))] == [9188, 44]


@pytest.mark.parametrize(
    ("field", "value"), [("syncid", 7), ("interface", "eth1"), ("port", 9999), ("ttl", 3), ("maxlen", 1400)]
)
def test_a_daemon_that_differs_is_stopped_before_it_is_started(field: str, value: object) -> None:
    backup, master = desired_daemons(SETTINGS)
    found = replace(master, **{field: value})  # type: ignore[arg-type]

    steps = plan_daemons([backup, master], [backup, found])

    assert [type(step) for step in steps] == [SyncDaemonRepaired, StopSyncDaemon, StartSyncDaemon]
    assert isinstance(steps[0], SyncDaemonRepaired)
    assert field in steps[0].reason


def test_daemons_of_a_recreated_interface_are_restarted_though_they_look_right() -> None:
    wanted = desired_daemons(SETTINGS)

    steps = plan_daemons(wanted, wanted, stale=True)

    assert sum(isinstance(step, StopSyncDaemon) for step in steps) == 2
    assert sum(isinstance(step, StartSyncDaemon) for step in steps) == 2


def test_a_role_that_nobody_wants_is_stopped() -> None:
    backup, master = desired_daemons(SETTINGS)

    assert plan_daemons([backup], [backup, master]) == [StopSyncDaemon(DaemonRole.MASTER)]


def test_a_kernel_default_matches_whatever_the_kernel_chose() -> None:
    wanted = desired_daemons(replace(SETTINGS, maxlen=None))
    found = [replace(daemon, maxlen=1472) for daemon in wanted]

    assert plan_daemons(wanted, found) == []


def test_the_operators_sysctls_win_and_empty_leaves_one_alone() -> None:
    settings = replace(SETTINGS, sysctls={"sync_refresh_period": "5", "expire_nodest_conn": ""})

    wanted = desired_sysctls(settings)

    assert wanted["sync_refresh_period"] == "5"
    assert "expire_nodest_conn" not in wanted
    assert wanted["sync_threshold"] == DEFAULT_SYSCTLS["sync_threshold"]
