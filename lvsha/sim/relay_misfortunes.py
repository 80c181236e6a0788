"""What befalls the directors of the relay's swarm: one function a misfortune, which returns its line."""

from collections.abc import Callable

from lvsha.core.instant import MICROSECOND, MILLISECOND, to_seconds
from lvsha.sim.network import CALM, Weather
from lvsha.sim.relay_stage import Stage


def _weather(life: Stage) -> str:
    dice = life.dice
    life.weather = Weather(
        loss=dice.choice([0.0, 0.05, 0.2, 0.5]),
        duplication=dice.choice([0.0, 0.2]),
        delay_least=100 * MICROSECOND,
        delay_most=dice.choice([1, 5, 50]) * MILLISECOND,
    )
    return f"{life.weather}"


def _calm(life: Stage) -> str:
    life.weather = CALM
    life.cuts.clear()
    return "calm"


def _cut(life: Stage) -> str:
    one, other = life.dice.sample(life.nodes, 2)
    life.cuts.add((one.name, other.name))
    return f"cut {one.name} {other.name}"


def _partition(life: Stage) -> str:
    one, other = life.dice.sample(life.nodes, 2)
    life.cuts |= {(one.name, other.name), (other.name, one.name)}
    return f"partition {one.name} {other.name}"


def _crash(life: Stage) -> str:
    node = life.dice.choice(life.nodes)
    politely, reboot = life.dice.random() < 0.3, life.dice.random() < 0.5
    node.stop(politely=politely, reboot=reboot)
    return f"stop {node.name} politely={politely} reboot={reboot}"


def _start(life: Stage) -> str:
    for node in life.nodes:
        if not node.is_running:
            node.start()
            return f"start {node.name}"
    return "nothing"


def _restart(life: Stage) -> str:
    node = life.dice.choice(life.nodes)
    reboot = life.dice.random() < 0.3
    node.stop(politely=False, reboot=reboot)
    node.start()
    return f"restart {node.name} reboot={reboot}"


def _takeover(life: Stage) -> str:
    node = life.dice.choice(life.nodes)
    life.take_over(node)
    return f"takeover {node.name}"


def _split(life: Stage) -> str:
    """Two hold the addresses at once."""
    node = life.dice.choice(life.nodes)
    node.claim(frozenset(each.packed for each in life.virtuals))
    return f"split {node.name}"


def _rotate(life: Stage) -> str:
    """The next step of changing the keys by the book: the new one last everywhere, first, the old one out."""
    if not life.rotation:
        old, new = life.key, life.key + 1
        life.key = new % len(life.keys)
        for keys in ([old, life.key], [life.key, old], [life.key]):
            life.rotation += [(node, keys) for node in life.nodes]
    node, keys = life.rotation.pop(0)
    node.keys = keys
    if node.is_running:
        node.perform(node.relay.rekey(life.keyring(node.keys), life.world.now))
    return f"keys of {node.name} {node.keys}"


def _slow(life: Stage) -> str:
    node = life.dice.choice(life.nodes)
    node.install_delay = life.dice.choice([0, 1, 20, 300]) * MILLISECOND
    node.was_slow = True
    return f"{node.name} installs in {to_seconds(node.install_delay)}"


def _by_hand(life: Stage) -> str:
    node = life.dice.choice(life.nodes)
    if node.is_running:
        node.perform(node.relay.resync(life.world.now))
    return f"resync {node.name}"


MISFORTUNES: tuple[Callable[[Stage], str], ...] = (
    *(_weather, _weather, _calm, _cut, _partition, _crash, _start, _start, _restart, _restart),
    *(_takeover, _takeover, _split, _rotate, _rotate, _rotate, _slow, _by_hand),
)
