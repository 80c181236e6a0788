"""What befalls directors and their network: one function a misfortune, which returns its line."""

from collections.abc import Callable

from lvsha.core.instant import MICROSECOND, MILLISECOND, Instant, to_seconds
from lvsha.sim.director import Director, Trap
from lvsha.sim.network import CALM, Datagram, Weather
from lvsha.sim.stage import Stage

Misfortune = Callable[[Stage, Director], str]


def _weather(stage: Stage, _: Director) -> str:
    dice = stage.dice
    most = dice.choice([1, 5, 50]) * MILLISECOND
    stage.network.weather = Weather(
        loss=dice.choice([0.0, 0.1, 0.3, 0.7]),
        duplication=dice.choice([0.0, 0.2]),
        delay_least=100 * MICROSECOND,
        delay_most=most,
    )
    return f"{stage.network.weather}"


def _calm(stage: Stage, _: Director) -> str:
    stage.network.weather = CALM
    stage.network.heal()
    return "calm"


def _cut(stage: Stage, director: Director) -> str:
    """One way."""
    other = stage.dice.choice([each for each in stage.directors if each is not director])
    stage.network.cut(director.name, other.name)
    return f"cut {director.name} {other.name}"


def _partition(stage: Stage, director: Director) -> str:
    stage.network.isolate(director.name)
    return f"isolate {director.name}"


def _power(stage: Stage, director: Director) -> str:
    director.power_off()
    return f"power_off {director.name}"


def _kill(stage: Stage, director: Director) -> str:
    director.kill()
    return f"kill {director.name}"


def _start(stage: Stage, director: Director) -> str:
    stage.boot(director)
    return f"start {director.name}"


def _restart(stage: Stage, director: Director) -> str:
    director.kill()
    stage.boot(director)
    return f"kill and start {director.name}"


def _stall(stage: Stage, director: Director) -> str:
    return f"freeze {director.name} for {to_seconds(stage.freeze(director)):.3f}s"


def _amid(stage: Stage, director: Director) -> str:
    """Its next transition is not carried out to the end, or not at once: a crash at any of the steps."""
    steps = stage.dice.randrange(7)
    how = stage.dice.choice(["kill", "power_off", "freeze"])
    if how == "freeze":
        director.trap = Trap(steps, lambda: stage.freeze(director))
    else:
        director.trap = Trap(steps, director.kill if how == "kill" else director.power_off)
    return f"trap {director.name} {how} after {steps} steps"


def _lag(stage: Stage, director: Director) -> str:
    """A busy machine: always so late."""
    interval = stage.interval
    director.lag = stage.dice.choice([0, 0, interval // 2, interval, 2 * interval])
    return f"lag {director.name} {to_seconds(director.lag):g}s"


def _link(stage: Stage, director: Director) -> str:
    director.set_link(not director.link_up)
    return f"link {director.name} {'up' if director.link_up else 'down'}"


def _refuse(stage: Stage, director: Director) -> str:
    what = stage.dice.choice(["bind", "unbind", "send"])
    value = stage.dice.choice([0, 1])
    setattr(director.kernel, f"{what}_errno", value)
    return f"refuse {director.name} {what} {value}"


def _release(stage: Stage, director: Director) -> str:
    director.release()
    return f"release {director.name}"


def _resume(stage: Stage, director: Director) -> str:
    director.resume()
    return f"resume {director.name}"


def _priority(stage: Stage, director: Director) -> str:
    priority = stage.dice.choice([1, 50, 100, 200, 254])
    director.set_priority(priority)
    return f"priority {director.name} {priority}"


def _tamper(stage: Stage, director: Director) -> str:
    if not director.is_running or director.is_frozen:
        return "nothing"
    prefix = stage.dice.choice(director.settings[0].addresses)
    bound = stage.dice.random() < 0.5
    director.tamper(prefix, bound=bound)
    return f"{'bind' if bound else 'unbind'} {director.name} {prefix}"


def _record(stage: Stage, director: Director) -> str:
    """An attacker begins, or ends, to write down what passes; with authentication only: else it would win."""
    if not stage.authenticates:
        return "nothing"
    stage.network.tap = None if stage.network.tap else stage.record
    return f"the attacker {'listens' if stage.network.tap else 'has heard enough'}"


def _replay(stage: Stage, director: Director) -> str:
    """All that was written down is sent again, as fast as it came or at once, or many times: a flood."""
    pause = stage.dice.choice([0, stage.interval])
    times = stage.dice.choice([1, 1, 1, 10])
    boots = stage.boots

    def say(datagram: Datagram) -> None:
        if stage.boots == boots:
            stage.network.forge(datagram)

    for number, datagram in enumerate(times * stage.recorded):
        stage.world.at(Instant(stage.world.now + number * pause), say, datagram)
    return f"the attacker sends {len(stage.recorded)} recorded adverts again, {times} times"


def _clock(stage: Stage, director: Director) -> str:
    """Its wall clock is wrong when it starts the next time."""
    director.wall_error = stage.dice.choice([0, -3600, -1_000_000_000, 50, 3600]) * 1_000_000
    return f"clock {director.name} {director.wall_error // 1_000_000} s"


MISFORTUNES: tuple[Misfortune, ...] = (
    *(_weather, _calm, _calm, _cut, _partition, _power, _kill, _start, _start, _start, _restart),
    *(_stall, _stall, _amid, _amid, _lag, _link, _link, _refuse, _refuse, _release, _resume, _resume),
    *(_priority, _tamper, _record, _replay, _replay, _clock),
)
