"""Where a connection stops, and why: the rules, and in which order they are asked."""

from typing import Final

from lvsha.trace import rules_later, rules_network, rules_stop
from lvsha.trace.world import Finding, Rule, World


def find(world: World) -> list[Finding]:
    """Everything that is wrong, each once."""
    found: list[Finding] = [*rules_network.neighbours(world), *rules_network.redirects(world)]
    for number, talk in enumerate(world.talks, 1):
        for rule in _RULES:
            first = next(rule(world, talk), None)
            if first is not None:
                id, what, evidence, host = first
                found.append(
                    Finding(
                        id=id,
                        what=what,
                        evidence=evidence,
                        host=host.name if host is not None else "",
                        connection=number,
                    )
                )
                if rule in _LAST_WORDS:
                    break
    return found


_LAST_WORDS: Final = frozenset(
    {
        rules_stop.unreachable,
        rules_stop.refused,
        rules_stop.past_director,
        rules_stop.not_passed_on,
        rules_stop.silent,
        rules_stop.unfinished,
    }
)
"""A connection stops at one place."""
_RULES: Final[tuple[Rule, ...]] = (
    rules_later.too_big,
    rules_later.retransmissions,
    rules_stop.past_director,
    rules_later.reset,
    rules_stop.unreachable,
    rules_stop.refused,
    rules_stop.not_passed_on,
    rules_stop.silent,
    rules_stop.unfinished,
)
