"""``lvsha config apply | push | confirm | rollback``: another configuration, tried before it stays.

Whatever happens between, to this command, to its terminal or to the network: a director that
is not told to keep a configuration goes back to the one before by itself.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options, owner
from lvsha.cli.words import clock, duration

Json = dict[str, Any]

VERBS = {
    "apply": "Run a director by this file, on trial: the old one runs again unless it is confirmed in time.",
    "push": "Check a file on every director, show what it changes there, and try it on all or on none.",
    "confirm": "Keep the configuration that is on trial, on every director that tries it.",
    "rollback": "End the trial now, on every director that tries it.",
}
EXAMPLES = {
    "apply": "lvsha config apply new.toml --confirm-within 5m && lvsha config confirm",
    "push": "lvsha config push /etc/lvsha/lvsha.toml --plan",
    "confirm": "lvsha config confirm",
    "rollback": "lvsha config rollback",
}
_TRIAL_S = 120.0
_WAIT_S = 60.0


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb in ("apply", "push"):
        parser.add_argument("file", help="- is stdin")
        parser.add_argument("--plan", action="store_true", help="show what would change; change nothing")
        parser.add_argument(
            "--confirm-within",
            type=duration,
            default=_TRIAL_S,
            metavar="TIME",
            help="how long the trial is: 90s, 10m (default 2m); 0: keep it at once, on all or on none",
        )
    else:
        parser.add_argument(
            "--here", action="store_true", help="this director alone, also where the pair tries it"
        )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_agent_options(parser)


class _Directors:
    """Who is asked, by name; the one on this machine last, because it is the way to the others."""

    def __init__(self, agent: Agent) -> None:
        status = agent.ask("GET", "/v1/status")
        self.here = str(status["node"])
        self.trial: Json | None = status["config"].get("trial")
        self.peers = [str(peer["name"]) for peer in status["peers"]]
        self._agents = {name: replace(agent, peer=name) for name in self.peers} | {self.here: agent}

    def ask(self, name: str, path: str, body: Json) -> Json:
        """Raises: AgentRefused, AgentUnreachable."""
        return dict(self._agents[name].ask("POST", path, body=body, timeout_s=_WAIT_S))


def main(arguments: argparse.Namespace) -> int:
    agent = Agent.of(arguments)
    try:
        directors = _Directors(agent)
    except (AgentRefused, AgentUnreachable) as error:
        print(f"lvsha config {arguments.verb}: {error}", file=sys.stderr)
        return 1
    if arguments.verb in ("apply", "push"):
        return _try(arguments, directors)
    return _end(arguments, directors)


def _say(arguments: argparse.Namespace, error: str, found: Json) -> int:
    if arguments.json:
        print(json.dumps(found))
    print(f"lvsha config {arguments.verb}: {error}", file=sys.stderr)
    return 1


def _try(arguments: argparse.Namespace, directors: _Directors) -> int:
    from lvsha.cli.config_file import read

    text = read(arguments.file)
    names = [*directors.peers, directors.here] if arguments.verb == "push" else [directors.here]
    if arguments.verb == "push" and not directors.peers:
        return _say(arguments, "there is no other director: `lvsha config apply` is for one", {})
    found: Json = {"ok": False, "directors": {}}
    # Every director says what it thinks of it before any is changed.
    for name in names:
        try:
            plan = directors.ask(name, "/v1/config/diff", {"text": text})
        except (AgentRefused, AgentUnreachable) as error:
            found["directors"][name] = {"error": str(error)}
            return _say(arguments, f"{name}: {error}; nothing has changed anywhere", found)
        found["directors"][name] = plan
        if not arguments.json:
            print(_plan(name, plan))
        if not plan["ok"]:
            return _say(arguments, f"{name} refuses it; nothing has changed anywhere", found)
    if arguments.plan:
        if arguments.json:
            print(json.dumps(found | {"ok": True}))
        return 0
    within_s = arguments.confirm_within or _TRIAL_S
    tried: list[str] = []
    for name in names:
        body = {
            "text": text,
            "confirm_within_s": within_s,
            "pair": arguments.verb == "push",
            "owner": owner(),
        }
        try:
            found["directors"][name] |= directors.ask(name, "/v1/config/apply", body)
        except (AgentRefused, AgentUnreachable) as error:
            found["directors"][name]["error"] = str(error)
            back = _each(directors, tried, "/v1/config/rollback", {"owner": owner()})
            found["directors"] = {key: row | back.get(key, {}) for key, row in found["directors"].items()}
            says = f"{name}: {error}"
            if tried:
                good = all("error" not in row for row in back.values())
                says += f"; {', '.join(tried)} {'is rolled back' if good else 'rolls back by itself'}"
            return _say(arguments, says, found)
        tried.append(name)
    if not arguments.confirm_within:
        return _keep(arguments, directors, names, found)
    found["ok"] = True
    if arguments.json:
        print(json.dumps(found))
    else:
        last = min(found["directors"][name]["until"] for name in names)
        where = "on both" if len(names) == 2 else f"on {', '.join(names)}"
        generation = found["directors"][names[0]]["applied"]
        print(
            f"configuration {generation} runs {where}, on trial until {clock(last)}: "
            "`lvsha config confirm` keeps it, else what ran before runs again"
        )
    return 0


def _end(arguments: argparse.Namespace, directors: _Directors) -> int:
    """Keep it, or not: where the pair tries it, on all of it."""
    if directors.trial is None:
        return _say(arguments, "no configuration is on trial here", {"ok": False, "directors": {}})
    pair = directors.trial["pair"] and not arguments.here
    names = [*directors.peers, directors.here] if pair else [directors.here]
    if arguments.verb == "confirm":
        return _keep(arguments, directors, names, {"ok": False, "directors": {}})
    back = _each(directors, names, "/v1/config/rollback", {"owner": owner()})
    bad = [name for name, row in back.items() if "error" in row]
    found = {"ok": not bad, "directors": back}
    if bad:
        says = "; ".join(f"{name}: {back[name]['error']}" for name in bad)
        return _say(arguments, f"{says}; a trial ends by itself too", found)
    print(json.dumps(found) if arguments.json else f"rolled back: {', '.join(names)}")
    return 0


def _keep(arguments: argparse.Namespace, directors: _Directors, names: Sequence[str], found: Json) -> int:
    """The peers first: one that cannot be told goes back, and then this one must go back as well."""
    for place, name in enumerate(names):
        try:
            kept = directors.ask(name, "/v1/config/confirm", {"owner": owner()})
        except (AgentRefused, AgentUnreachable) as error:
            found["directors"].setdefault(name, {})["error"] = str(error)
            done = ", ".join(names[:place])
            says = f"{name}: {error}; " + (
                f"{done} keeps it" if done else "nothing is kept: the trial ends by itself"
            )
            if len(names) > 1 and not done:
                says += "; --here keeps it on this one alone"
            return _say(arguments, says, found)
        found["directors"].setdefault(name, {}).update(kept)
        if not arguments.json:
            where = f"{name}: {kept['file']} has it"
            if not kept["written"]:
                where = (
                    f"{name}: it stays, but {kept['file']} could not be written from there: copy it there, "
                    "or it is lost when that file is edited"
                )
            print(where)
    found["ok"] = True
    if arguments.json:
        print(json.dumps(found))
    return 0


def _each(directors: _Directors, names: Sequence[str], path: str, body: Json) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name in names:
        try:
            found[name] = directors.ask(name, path, body)
        except (AgentRefused, AgentUnreachable) as error:
            found[name] = {"error": str(error)}
    return found


def _plan(name: str, plan: Json) -> str:
    if not plan["ok"]:
        return "\n".join([f"{name}:", *(f"  {problem}" for problem in plan["problems"])])
    lines = [f"  warning: {warning}" for warning in plan["warnings"]]
    lines += [f"  {change['text']}" for change in plan["changes"]]
    return "\n".join([f"{name}:", *(lines or ["  nothing changes"])])
