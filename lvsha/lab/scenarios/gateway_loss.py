"""The master director does not reach the client's side any more, its cable is fine and its adverts pass.

The client stands for the gateway: both directors track it. VRRP alone sees nothing here.
"""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the master director loses its gateway, and nothing else; who goes on?"


def play(stage: Stage) -> Outcome:
    topology = stage.topology
    gateway = topology.client_address()
    stage.peer.tracked = gateway
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1 hears nothing of its gateway any more")
    program = "iptables-legacy" if gateway.version == 4 else "ip6tables-legacy"
    topology.directors["lb1"].run([program, "-w", "-I", "INPUT", "-s", str(gateway), "-j", "DROP"])
    await_takeover(stage, "lb2")

    return judge(stage, new_master="lb2")
