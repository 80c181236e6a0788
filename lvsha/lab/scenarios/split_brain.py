"""Neither director hears the other's adverts; then the network is whole again."""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._deafness import play_deaf
from lvsha.lab.stage import Stage

SUMMARY = "neither director hears the other's adverts; how soon is it healed?"

DEFAULTS = {"duration_s": 5.0}


def play(stage: Stage) -> Outcome:
    return play_deaf(stage, ("lb1", "lb2"))
