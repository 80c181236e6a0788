"""The kernel's IPVS time-outs follow the settings, and are put back."""

from dataclasses import fields
from io import StringIO
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.agent.timeouts import KernelTimeouts
from lvsha.config.settings import AgentSettings
from lvsha.ipvs.model import Timeouts

FOUND = Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300)


class Kernel:
    def __init__(self) -> None:
        self.now = FOUND
        self.writes = 0

    def timeouts(self) -> Timeouts:
        return self.now

    def set_timeouts(self, timeouts: Timeouts) -> None:
        self.writes += 1
        names = [field.name for field in fields(Timeouts)]
        self.now = Timeouts(**{name: getattr(timeouts, name) or getattr(self.now, name) for name in names})


def keeper(kernel: Kernel, folder: Path) -> KernelTimeouts:
    return KernelTimeouts(kernel, Journal("directord", AgentSettings(), stream=StringIO()), folder)


def test_what_is_set_is_written_once_and_the_rest_is_left(tmp_path: Path) -> None:
    kernel = Kernel()
    timeouts = keeper(kernel, tmp_path)

    timeouts.settle(Timeouts(udp_s=60))
    timeouts.settle(Timeouts(udp_s=60))

    assert kernel.now == Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=60)
    assert kernel.writes == 1


def test_nothing_is_written_where_nothing_is_set(tmp_path: Path) -> None:
    kernel = Kernel()

    keeper(kernel, tmp_path).settle(None)

    assert (kernel.now, kernel.writes) == (FOUND, 0)


def test_somebody_elses_change_is_put_right(tmp_path: Path) -> None:
    kernel = Kernel()
    timeouts = keeper(kernel, tmp_path)
    timeouts.settle(Timeouts(udp_s=60))

    kernel.now = Timeouts(tcp_s=1, tcp_fin_s=120, udp_s=1)
    timeouts.settle(Timeouts(udp_s=60))

    assert kernel.now == Timeouts(tcp_s=1, tcp_fin_s=120, udp_s=60), "tcp_s is not ours"


def test_a_setting_that_left_the_file_leaves_the_kernel(tmp_path: Path) -> None:
    kernel = Kernel()
    timeouts = keeper(kernel, tmp_path)
    timeouts.settle(Timeouts(udp_s=60))

    timeouts.settle(None)

    assert kernel.now == FOUND


def test_a_killed_directords_successor_puts_the_first_values_back(tmp_path: Path) -> None:
    kernel = Kernel()
    keeper(kernel, tmp_path).settle(Timeouts(udp_s=60))
    successor = keeper(kernel, tmp_path)
    successor.settle(Timeouts(udp_s=60))

    successor.restore()

    assert (kernel.now, kernel.writes) == (FOUND, 2)
    assert list(tmp_path.iterdir()) == []
