"""``lvsha completion``: what a shell needs to complete our command line."""

import argparse
from collections.abc import Iterable

from lvsha.cli import helps
from lvsha.cli import main as command
from lvsha.cli.parser import Parser

SUMMARY = "print the completion of bash, zsh or fish"

_BASH = """\
# lvsha's completion for bash; made by `lvsha completion bash`.
_lvsha() {
    local word=${COMP_WORDS[COMP_CWORD]} path="" each
    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $each in -*) ;; *) path="${path:+$path }$each" ;; esac
    done
    local words=""
    case $path in
@CASES@
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$word")
}
complete -o filenames -F _lvsha lvsha
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lvsha completion",
        description="Print what a shell needs to complete verbs and options.",
        epilog="example: lvsha completion bash > /etc/bash_completion.d/lvsha",
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def main(argv: list[str]) -> int:
    shell = _parser().parse_args(argv).shell
    commands = list(helps.every_help())
    if shell == "fish":
        print("\n".join(_fish(commands)))
        return 0
    if shell == "zsh":
        print("#compdef lvsha\nautoload -U +X bashcompinit && bashcompinit")
    print(_bash(commands), end="")
    return 0


def _bash(commands: Iterable[tuple[tuple[str, ...], str]]) -> str:
    cases = [f'        "") words="{" ".join(command.VERBS)} --help --version" ;;']
    deep: list[str] = []
    for words, text in commands:
        following = [*helps.verbs_of(text), *helps.options_of(text)]
        # Below the last verb stand arguments; a verb with verbs is complete in itself.
        star = "" if helps.verbs_of(text) else "*"
        path = '"' + " ".join(words) + '"' + star
        (deep if len(words) > 1 else cases).append(f'        {path}) words="{" ".join(following)}" ;;')
    # The longer paths first: `"sync"*` would take `sync decode`.
    return _BASH.replace("@CASES@", "\n".join([*deep, *cases]))


def _fish(commands: Iterable[tuple[tuple[str, ...], str]]) -> Iterable[str]:
    yield "# lvsha's completion for fish; made by `lvsha completion fish`."
    for verb, summary in command.VERBS.items():
        quoted = summary.replace("'", "\\'")
        yield f"complete -c lvsha -f -n __fish_use_subcommand -a {verb} -d '{quoted}'"
    for words, text in commands:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        for below in helps.verbs_of(text):
            yield f"complete -c lvsha -n '{seen}' -a {below}"
        for option in helps.options_of(text):
            yield f"complete -c lvsha -n '{seen}' -l {option.removeprefix('--')}"
