"""The backup does not hear the master's adverts, the master hears the backup's; then the network is whole."""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._deafness import play_deaf
from lvsha.lab.stage import Stage

SUMMARY = (
    "the backup does not hear the master's adverts; the master hears the backup's; how soon is it healed?"
)

DEFAULTS = {"duration_s": 5.0}


def play(stage: Stage) -> Outcome:
    return play_deaf(stage, ("lb2",))
