"""Reference pages of the command line: ``python -m lvsha.cli.reference PAGE > docs/reference/PAGE.md``."""

import os
import sys

from lvsha.cli import helps, main
from lvsha.config.importers.keepalived_keywords import CARRIED, REASONS

WIDTH = 100
"""Columns of the help texts in the page."""

_COMMANDS = f"""\
# Every command

<!-- Made by `python -m lvsha.cli.reference commands`; a test compares. -->

What each says with `--help`. Exit status: 0 good, 1 a finding or a refusal, 2 wrong usage.

```text
{main.usage()}
```
"""

_TYPED = (
    ("check a file", "`keepalived -t`", "`lvsha config check`; all problems at once, with their lines"),
    ("see what a reload would do", "–", "`lvsha reload --plan`, `lvsha config diff`"),
    ("reload", "`systemctl reload keepalived`", "`lvsha reload`; a bad file changes nothing"),
    ("see whether all is well", "`kill -USR1`, then `/tmp/keepalived.data`", "`lvsha status`"),
    ("read the kernel's table", "`ipvsadm -Ln`", "`lvsha ipvs -Ln`; the same words, the same output"),
    (
        "see the sync daemons",
        "`ipvsadm -L --daemon`",
        "`lvsha status`; `lvsha sync watch` looks at what they send",
    ),
    ("know what a takeover would lose", "–", "`lvsha status` says how many connections, of which service"),
    (
        "make the other director MASTER",
        "edit priorities, reload",
        "`lvsha switchover`; refused while connections would be lost",
    ),
    ("stay out of VRRP", "stop keepalived", "`lvsha pause`, `lvsha resume`"),
    (
        "take a realserver out",
        "`ipvsadm -e … -w 0`, until the next check",
        "`lvsha drain rs1 --deadline 10m`; no reset, kept across restarts",
    ),
    ("change a weight by hand", "edit, reload", '`lvsha weight rs1 5 --reason "new disk"`'),
    ("know why a weight is what it is", "read the log", "`lvsha explain rs1`"),
    ("know what happened", "read the log", "`lvsha history`, `lvsha events --follow`"),
    ("ask a realserver as the check does", "`genhash`, `curl`", "`lvsha check run http://10.0.0.11/up`"),
    (
        "be told",
        "`notify_*`, `smtp_alert`",
        "`hook` for roles, `[[alert]]` for everything; `lvsha alert test oncall`",
    ),
    ("measure", "SNMP", "`/metrics` of [the API](api.md), [with alert rules](metrics.md)"),
    ("find a fault of the set-up", "–", "`lvsha doctor`, `lvsha trace`"),
    ("try a takeover", "on the pair", "`lvsha lab run crash`, on a laptop"),
)
"""To what end, with keepalived, here."""

_USERS = """\
# lvsha for keepalived users

<!-- Made by `python -m lvsha.cli.reference for-keepalived-users`; a test compares. -->

[From keepalived in ten minutes](../tutorials/from-keepalived.md) moves a pair;
[the how-to](../how-to/convert-from-keepalived.md) has an example, what the words of keepalived.conf become,
and where the two differ. This page is for looking up.

## What you do, and what you do here

| to | with keepalived | with lvsha |
|---|---|---|
"""

_KEYWORDS = """
## Every keyword

"carried" is read by `lvsha config convert` and by `lvsha agent -f keepalived.conf`. What is not carried has
its reason; **!** marks what matters to traffic and makes the conversion's exit status 1.

| keyword | | what becomes of it |
|---|---|---|
"""


def commands() -> str:
    """Each command's help."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH + 2)  # argparse leaves two free
    try:
        parts = [_COMMANDS]
        for words, text in helps.every_help():
            level = "##" if len(words) == 1 else "###"
            parts.append(f"{level} lvsha {' '.join(words)}\n\n```text\n{text.strip()}\n```\n")
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(parts)


def for_keepalived_users() -> str:
    """Every keyword that the importer knows, below what people type."""
    rows = {keyword: ("", "carried") for words in CARRIED.values() for keyword in words}
    rows |= {
        keyword: ("!" if reason.matters else "", _cell(reason.text)) for keyword, reason in REASONS.items()
    }
    lines = [f"| `{keyword}` | {mark} | {text} |" for keyword, (mark, text) in sorted(rows.items())]
    typed = [f"| {' | '.join(row)} |" for row in _TYPED]
    return _USERS + "\n".join([*typed, ""]) + _KEYWORDS + "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


PAGES = {"commands": commands, "for-keepalived-users": for_keepalived_users}

if __name__ == "__main__":
    print(PAGES[sys.argv[1]](), end="")
