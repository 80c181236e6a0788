"""``lvsha token``: make a token for the API over TCP."""

import hashlib
import json
import secrets

from lvsha.cli.parser import Parser

SUMMARY = "make a token for the API over TCP"


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha token",
        description="A new token of 256 random bits, and its entry in [api] token_file: only its hash.",
        epilog="example: lvsha token grafana --role read",
    )
    parser.add_argument("name", help="who will use it; shown as the owner of its orders")
    parser.add_argument("--role", choices=("read", "operate", "admin"), default="read")
    parser.add_argument("--service", action="append", metavar="NAME", help="may only operate on this; repeat")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args(argv)
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    entry = {"name": arguments.name, "role": arguments.role, "sha256": digest}
    if arguments.service:
        entry["services"] = arguments.service
    if arguments.json:
        print(json.dumps({"token": token, "entry": entry}))
        return 0
    # JSON's strings and lists of strings are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    print(f"token, shown only now: {token}\n\nfor the token file:\n\n[[token]]\n" + "\n".join(lines))
    return 0
