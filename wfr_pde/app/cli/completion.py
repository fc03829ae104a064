"""The command `wfr-pde completion`: a script that completes commands, options and experiments in a shell."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any

from wfr_pde.app.exit_codes import DONE

NAME = "completion"
SUMMARY = "print a script that completes commands in bash, zsh or fish"
EXAMPLES = """\
examples:
  eval "$(wfr-pde completion bash)"                                         in this shell; in ~/.bashrc for all
  wfr-pde completion zsh > ~/.zfunc/_wfr-pde                                with fpath+=~/.zfunc before compinit
  wfr-pde completion fish > ~/.config/fish/completions/wfr-pde.fish"""
SHELLS = ("bash", "zsh", "fish")  # shells that there are scripts for
EXPERIMENTS = {  # what completes the name of an experiment, or the path of its file
    "bash": "_wfr_pde_experiments",
    "zsh": "_wfr_pde_experiments",
    "fish": "(__wfr_pde_experiments)",
    "preamble": {
        "bash": """\
_wfr_pde_experiments() {
    local file
    for file in experiments/[!_]*.py SHIPPED/[!_]*.py; do
        [[ -e $file ]] && compgen -W "$(basename "$file" .py)" -- "$1"
    done
}""",
        "zsh": """\
_wfr_pde_experiments() {
    local -a names
    names=(experiments/[^_]*.py(N:t:r) SHIPPED/[^_]*.py(N:t:r))
    compadd -a names
    _files -g '*.py'
}""",
        "fish": """\
function __wfr_pde_experiments
    for file in experiments/*.py SHIPPED/*.py
        string match -qv '_*' (basename $file); and basename $file .py
    end
    __fish_complete_suffix .py
end""",
    },
}
# completes the names after the first one, too, which the option itself does not
NAMES_IN_ZSH = '\n  "*:NAME:{ (( \\${words[(I)--only]} )) && _wfr_pde_experiments }"'
IMPROVEMENTS: dict[
    str, list[tuple[str, Any]]
] = {  # of the scripts that shtab makes: patterns, and what is put in their place
    "bash": [
        (r"complete -o bashdefault ", r"complete -o bashdefault -o default "),  # where nothing is known, files
        (r'("\$current_action_is_positional" = true )\)', r'\1|| "$current_action_nargs" = + )'),  # options after names
    ],
    "zsh": [
        (r'"\(\*\)::?', '"*:'),  # each of several arguments is completed, not only the first
        (r'^  "\*--only\[.*$', lambda option: option[0] + NAMES_IN_ZSH),
        (r'(?<!\*)(--[\w-]+)(\}"|)(?=\[[^]\n]*\]:(?!\*))', r"\1=\2"),  # --out=DIR as well as --out DIR
        (r"(?<=:)\([^()\n]*\)(?=\"$)", lambda choices: choices[0].replace(":", r"\:")),  # cpu:single is one word
        (r"== eval ]]", r"== (eval|file) ]]"),  # `source` as well as `eval`
    ],
    "fish": [
        (r'-xka "\(__fish_complete_path [^"]*\)"', "-rF"),  # --out=FILE as well as --out FILE
        (
            r"(complete -c wfr-pde -n '_shtab_wfr_pde_using all)' -l only (-x\S+ .*) -d .*",
            r"\g<0>\n\1; and __fish_seen_argument -l only' \2",  # each of several names
        ),
    ],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print the script, made from the parsers of all commands."""
    import shtab

    from wfr_pde.app.experiments.loading import SHIPPED

    for parser in args.parsers.values():
        for argument in parser.arguments:
            kind = str(argument.metavar)
            if kind == "NAME":
                argument.complete = EXPERIMENTS
            elif kind == "DIR":
                argument.complete = shtab.DIRECTORY
            elif kind in ("FILE", "SAMPLES") or kind.endswith((".nc", ".html")):
                argument.complete = shtab.FILE
    script = shtab.complete(args.parsers[""], args.shell)
    for pattern, better in IMPROVEMENTS[args.shell]:
        script = re.sub(pattern, better, script, flags=re.MULTILINE)
    print(script.replace("SHIPPED", shlex.quote(str(SHIPPED))))
    return DONE
