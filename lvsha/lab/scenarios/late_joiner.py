"""A director that was away comes back while connections are up, and then has to take over at once.

The kernel tells a newcomer of a connection only when that connection has traffic, so without help a director
that joins late knows nothing of the quiet ones.
"""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the backup is started after the connections, then the master crashes"


def play(stage: Stage) -> Outcome:
    stage.start_director("lb1")
    stage.wait_for_holder("lb1")
    stage.wait_until_ready("lb1")
    stage.story.say("lb1 is MASTER and alone")
    connect(stage)

    stage.start_director("lb2")
    stage.wait_until_ready("lb2")
    stage.story.say("lb2 has joined as BACKUP")
    stage.wait_for_the_moment()
    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    return judge(stage, new_master="lb2")
