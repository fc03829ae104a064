"""The command `wfr-pde completion`: a script that completes commands, options and experiments in a shell."""

from __future__ import annotations

import argparse

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
    for file in experiments/[!_]*.py; do
        [[ -e $file ]] && compgen -W "$(basename "$file" .py)" -- "$1"
    done
}""",
        "zsh": """\
_wfr_pde_experiments() {
    local -a names
    names=(experiments/[^_]*.py(N:t:r))
    compadd -a names
    _files -g '*.py'
}""",
        "fish": """\
function __wfr_pde_experiments
    for file in experiments/*.py
        string match -qv '_*' (basename $file); and basename $file .py
    end
    __fish_complete_suffix .py
end""",
    },
}
IMPROVEMENTS = {  # of the scripts that shtab makes
    "bash": [("complete -o bashdefault ", "complete -o bashdefault -o default ")],  # where nothing is known, files
    "zsh": [
        ('"(*)::', '"*:'),  # each of several arguments is completed, not only the first
        ('"(*):', '"*:'),
        ("== eval ]]", "== (eval|file) ]]"),  # `source` as well as `eval`
    ],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print the script, made from the parsers of all commands."""
    import shtab

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
    for text, better in IMPROVEMENTS.get(args.shell, ()):
        script = script.replace(text, better)
    print(script)
    return DONE
