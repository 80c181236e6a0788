"""A realserver's machine dies: it gets no new connections, and nobody else's are touched."""

from lvsha.lab.errors import LabError
from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._realserver import DOOMED, die, in_time, others
from lvsha.lab.scenarios._takeover import connect
from lvsha.lab.stage import Stage

SUMMARY = "a realserver dies; how soon is its weight 0, and who else notices?"

NEW_CONNECTIONS = 10


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage, avoid=DOOMED)
    stage.wait_for_the_moment()

    found = die(stage)
    count = stage.check_connections(timeout_s=1.5)
    established, survived = others(count)
    lost = count["established"] - established
    try:
        servers = stage.open_connections(NEW_CONNECTIONS)["servers"]
        new = "all new connections open"
    except LabError as error:
        servers = {DOOMED: 0}
        new = str(error)

    timely = in_time(found)
    parts = [
        f"{survived} of {established} connections to the living realservers go on",
        f"{lost} were on {DOOMED} and died with it",
        new,
    ]
    if not timely:
        parts.append(
            f"detected too late: {found['detected_ms']} ms, limit {found['detection_limit_ms']:.0f} ms"
        )
    return Outcome(
        ok=survived == established and DOOMED not in servers and timely,
        verdict="; ".join(parts),
        established=established,
        survived=survived,
        died=count["died"],
        extras=found | {"lost_with_realserver": lost, "new_connections": servers},
    )
