"""A realserver that was dead comes back: it gets its share of new connections, nobody else's are touched."""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._realserver import DOOMED, SLACK_S, die, others
from lvsha.lab.scenarios._takeover import connect
from lvsha.lab.stage import SECOND, Stage, now
from lvsha.lab.timeline import milliseconds
from lvsha.lab.topology import DIRECTORS

SUMMARY = "a dead realserver comes back; how soon does it get its share again?"

NEW_CONNECTIONS = 10


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage, avoid=DOOMED)
    stage.wait_for_the_moment()
    found = die(stage)
    stage.pump(1.0)

    stage.story.say(f"{DOOMED} comes back")
    returned_at = now()
    stage.return_realserver(DOOMED)
    back = {
        node: milliseconds(stage.wait_for_weight(node, DOOMED, 1, 15.0) - returned_at) for node in DIRECTORS
    }
    slowest = max(value for value in back.values() if value is not None)
    stage.story.say(f"both directors have given {DOOMED} its weight back, {slowest:.0f} ms after it returned")
    count = stage.check_connections()
    established, survived = others(count)
    servers = stage.open_connections(NEW_CONNECTIONS)["servers"]

    settings = stage.settings
    # One check may have begun just before the return and must time out; the next one is good.
    limit_ms = (settings.check_interval_s + settings.check_timeout_s + SLACK_S) * 1000
    timely = slowest <= limit_ms
    parts = [
        f"{survived} of {established} connections to the other realservers went on all the time",
        f"{servers.get(DOOMED, 0)} of {NEW_CONNECTIONS} new ones go to {DOOMED}",
    ]
    if not timely:
        parts.append(f"its return was noticed too late: {slowest:.0f} ms, limit {limit_ms:.0f} ms")
    return Outcome(
        ok=survived == established and servers.get(DOOMED, 0) > 0 and timely,
        verdict="; ".join(parts),
        established=established,
        survived=survived,
        died=count["died"],
        extras=found
        | {
            "returned_ms": back,
            "return_limit_ms": milliseconds(round(limit_ms / 1000 * SECOND)),
            "revived_on_realserver": count["by_server"].get(DOOMED, {}).get("survived", 0),
            "new_connections": servers,
        },
    )
