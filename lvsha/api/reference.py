"""``docs/reference/metrics.md`` and ``api.md``, made of the tables that are served."""

import sys

from lvsha.api.families import FAMILIES
from lvsha.api.roles import Role
from lvsha.api.routes import ROUTES

_METRICS = """\
# Metrics

<!-- Made by `python -m lvsha.api.reference metrics`; change lvsha/api/families.py instead. -->

`GET /metrics` of the [API](api.md), in the text format 0.0.4. Names follow the
[conventions](https://prometheus.io/docs/practices/naming/): base units, `_total` for what only grows.
Labels are names of the configuration and words of lvsha, so their number is bounded by the configuration.
A family without a value is left out: a realserver that has been drained has no `lvsha_realserver_weight`,
which says more than 0.

Alert rules: [alerts.yml](../examples/monitoring/alerts.yml). A dashboard for Grafana:
[grafana.json](../examples/monitoring/grafana.json). What a scrape costs: [benchmarks](benchmarks-api.md).

| metric | type | labels | |
|---|---|---|---|
"""

_API = """\
# The API of a director

<!-- Made by `python -m lvsha.api.reference api`; change lvsha/api/ instead. -->

HTTP on the Unix socket `directord.sock` in `[agent] run_dir`, mode 0660, for root and the group of
[`[api]`](config.md); and over TCP with TLS where `[api] listen` says so
([how to](../how-to/secure-the-api.md)). Every verb of the command line that concerns a running director uses
it, so what `lvsha` can do, a program can.

```sh
curl --unix-socket /run/lvsha/directord.sock http://lvsha/v1/status
```

## Who may do what

Whoever may open the Unix socket is an administrator; the kernel says who it is, and that is the owner of its
orders. Over TCP a request carries `Authorization: Bearer TOKEN`, or comes with a client certificate. Roles:
`read`, `operate` (orders), `admin` (configuration). Each may do what the ones before it may. A token may be
for some services only: then it orders nothing else, and nothing about the director itself. Routes of the role
`nobody` are open, because they tell nothing but their status code.

## What comes back

JSON. What went wrong has a sentence under `error`:

| status | |
|---|---|
| 400 | not understood; the sentence says which field |
| 401 | no token, or one that is not known |
| 403 | the role does not allow it |
| 404 | there is no such route, or nothing of this name |
| 409 | understood, and refused: nothing has changed |
| 413 | more than 5 MiB |
| 429 | too often; `Retry-After` says when again. 2,000 a second on the Unix socket, `[api] rate` over TCP |
| 503 | nobody could do it now, or 16 large answers are being read; of a route of the role `nobody`: no |

`/v1/status` of more than 200 realservers is made in a thread, at most twice a second, and may be 1.5 s old;
`at` says when it was made, `table_age_s` how old the kernel's table was.
An answer of more than 256 KiB is sent at the pace of its reader, who is cut off after 20 s.

## Events

`/v1/events` is a stream of server-sent events:

| event | data |
|---|---|
| `change` | a change with its causes, as in `/v1/history` |
| `journal` | a line of the log of directord or vrrpd: `at`, `event`, `process` and fields |
| `gap` | events were lost: ask for the status and the history |

Ids are `LIFE-NUMBER`. A client that comes again with `Last-Event-ID` gets what it missed, of the last 10,000;
what is not kept any more, or was said by a former life of the process, is a `gap`. Whoever reads nothing for
5 s is let go. At most 1,200 listeners.

## Changes

`id`, `at`, `what` (`weight`, `service`, `kernel`, `role`, `address`), `subject`, `service`, `realserver`,
`before`, `after`, `causes`: the decisive one first, each with `kind`, `text` and `evidence`. A weight of
`null` is a realserver that is not in the table. Kinds of causes: `probe`, `unproven`, `check_weight`, `ramp`,
`brake`, `quorum`, `override`, `drain`, `config`, `foreign`, `repair`, `start`, `adopted`, `takeover`, `peer`,
`order`, `fault`, `lease`, `track`, `unseen` (it happened while one of the two processes was away).

The last 10,000 are kept, and are in `history.jsonl` under `[agent] state_dir`: 8 MiB, and as much before it.

## Orders

An order that is answered with 200 is on disk (`orders.json` under `[agent] state_dir`) and in the kernel.
It holds on every director that the relay connects, and outlives their restarts; under `peers` the answer
says who has said within a second that it has it. A director that is away takes it when it is back. Of two
orders of one kind for one target the one wins whose director had seen more orders; no clocks are compared.
Maintenance and pause of a director itself, and a planned switchover, stay there.

Without a relay an order holds where it was given: give it to both (`lvsha drain … --url https://lb2:9443`).

## Through another director

`POST /v1/peer` puts a request to another director, over the relay; its status and body come back as they
are, its name under `Lvsha-Peer`. `lvsha VERB --peer` does that. The asker's role is checked here and there,
and is there at most `[api] peer_role`. 503: it is not connected, older, or did not answer (then an order
may have been carried out all the same). `/v1/events` cannot be asked so.

## Configuration on trial

`POST /v1/config/apply` runs by another text until `confirm_within_s` is over; `confirm` puts it into the
agent's file (or, where that is read-only, keeps it in its place), `rollback` ends it at once. In `GET
/v1/status`, `config` has `generation` (of the text), `shared` (of what directors must have alike) and
`trial`; `peers` has each peer's `generation` (its `shared`), `version`, `same_config` and `same_orders`,
`null` while it has not said.

The weight in force: the operator's weight stands where the configured one stood; health makes of it what it
makes of a configured weight; any drain, disable or maintenance makes it 0.

## Routes

[`/v1/openapi.json`](https://spec.openapis.org/oas/v3.1.0) describes them for programs; a test holds it to
this table.

| | role | | words of the query |
|---|---|---|---|
"""


def metrics() -> str:
    """The page of the metrics."""
    rows = []
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |\n")
    return _METRICS + "".join(rows)


def api() -> str:
    """The page of the API."""
    rows = []
    for route in ROUTES:
        query = ", ".join(f"`{each.name}`" for each in route.parameters if each.place == "query")
        role = "nobody" if route.role is Role.NOBODY else route.role.name.lower()
        summary = route.summary.replace("|", "\\|")
        if route.body is not None and route.body.model_fields:
            summary += " Body: " + ", ".join(f"`{name}`" for name in route.body.model_fields) + "."
        rows.append(f"| `{route.method} {route.path}` | {role} | {summary} | {query} |\n")
    return _API + "".join(rows)


if __name__ == "__main__":
    print({"metrics": metrics, "api": api}[sys.argv[1]](), end="")
