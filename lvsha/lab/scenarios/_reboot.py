"""The parts that scenarios with a director that comes back share."""

from lvsha.lab.reboot import forget_everything
from lvsha.lab.settings import Process
from lvsha.lab.stage import Stage
from lvsha.lab.topology import DIRECTORS


def other(node: str) -> str:
    return next(name for name in DIRECTORS if name != node)


def die(stage: Stage, node: str) -> None:
    """The machine is gone at once: its cables first, then its processes and its memory."""
    stage.crash(node)
    stage.peer.kill(node, Process.ALL)
    addresses = [str(vip.ip) for vip in stage.topology.vips]
    if stage.topology.gateway is not None:
        addresses.append(str(stage.topology.gateway.ip))
    forget_everything(stage.topology.directors[node], tuple(addresses))


def come_back(stage: Stage, node: str) -> None:
    """The machine has booted: cables and agent are there, and nothing else."""
    stage.topology.set_link(node, up=True)
    stage.start_director(node)
    stage.wait_until_ready(node)
    stage.story.say(f"{node} has booted and is ready")
