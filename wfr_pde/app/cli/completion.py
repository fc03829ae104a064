"""The command `wfr-pde completion`: a script that completes commands, options and experiments in a shell."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

SUMMARY = "print a script that completes commands in bash, zsh or fish"
EXAMPLES = """\
examples:
  eval "$(wfr-pde completion bash)"                                         in this shell; in ~/.bashrc for all
  wfr-pde completion zsh > ~/.zfunc/_wfr-pde                                with fpath+=~/.zfunc before compinit
  wfr-pde completion fish > ~/.config/fish/completions/wfr-pde.fish"""
SHELLS = ("bash", "zsh", "fish")
FILES = ("FILE", "DIR", "SAMPLES")  # metavars of files, as are those that end in .nc


@dataclass(frozen=True)
class _Option:
    """An option of a command."""

    names: tuple[str, ...]
    text: str
    takes_value: bool
    is_file: bool
    choices: tuple[str, ...]


@dataclass(frozen=True)
class _Command:
    """A command; `words` are the choices of its argument, `takes_experiment` says that this is an experiment."""

    name: str
    text: str
    options: tuple[_Option, ...]
    words: tuple[str, ...]
    takes_experiment: bool


def options(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell, made from the parser of all commands."""
    commands = _commands(parser)
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _commands(parser: argparse.ArgumentParser) -> list[_Command]:
    """What there is to complete."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                opts = tuple(_option(each) for each in sub._actions if each.option_strings)
                arguments = [each for each in sub._actions if not each.option_strings]
                words = tuple(str(word) for each in arguments for word in each.choices or ())
                is_named = any(each.metavar == "NAME" for each in arguments)
                found.append(_Command(name, summaries[name], opts, words, is_named))
    return found


def _option(action: argparse.Action) -> _Option:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return _Option(
        tuple(action.option_strings),
        (action.help or "") % vars(action),
        action.nargs != 0,
        metavar in FILES or metavar.endswith(".nc"),
        tuple(map(str, action.choices or ())),
    )


BASH = r"""# completion of wfr-pde for bash
_wfr_pde() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= words= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != -* ]]; then command=${COMP_WORDS[i]}; break; fi
    done
    case "$command $previous" in
@values@
    esac
    if [[ -z $words ]]; then
        case "$command" in
            "") words="@commands@" ;;
@options@
        esac
        if [[ -n $command && $current != -* ]]; then
            case "$command" in
@arguments@
                *) words= ;;
            esac
        fi
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
_wfr_pde_experiments() {
    local file
    for file in experiments/[!_]*.py; do
        [[ -e $file ]] && basename "$file" .py
    done
}
complete -o default -F _wfr_pde wfr-pde
"""


def _bash(commands: list[_Command]) -> str:
    """For bash: what is not completed here is taken for the name of a file."""
    values, opts, arguments = [], [], []
    for command in commands:
        names = [name for option in command.options for name in option.names if name.startswith("--")]
        opts.append(f'            {command.name}) words="{" ".join(names)}" ;;')
        for option in command.options:
            pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
            if option.choices:
                values.append(f'        {pattern}) words="{" ".join(option.choices)}" ;;')
            elif option.takes_value:
                values.append(f"        {pattern}) return ;;")
        if command.takes_experiment:
            arguments.append(f'                {command.name}) words="$(_wfr_pde_experiments)" ;;')
        elif command.words:
            arguments.append(f'                {command.name}) words="{" ".join(command.words)}" ;;')
    parts = {
        "values": "\n".join(values),
        "commands": " ".join(command.name for command in commands),
        "options": "\n".join(opts),
        "arguments": "\n".join(arguments),
    }
    return _filled(BASH, parts)


ZSH = r"""#compdef wfr-pde
# completion of wfr-pde for zsh
_wfr_pde_experiments() {
    local -a names
    names=(experiments/[^_]*.py(N:t:r))
    compadd -a names
    _files -g '*.py'
}
_wfr_pde() {
    local -a commands
    commands=(
@commands@
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
@options@
    esac
}
if [[ $funcstack[1] == _wfr-pde ]]; then
    _wfr_pde "$@"
else
    compdef _wfr_pde wfr-pde
fi
"""


def _zsh(commands: list[_Command]) -> str:
    """For zsh, as a file `_wfr-pde` in its fpath, or to be evaluated."""
    opts = []
    for command in commands:
        specs = [_zsh_option(name, option) for option in command.options for name in option.names]
        if command.takes_experiment:
            specs.append("'*:experiment:_wfr_pde_experiments'")
        elif command.words:
            specs.append(f"'*:argument:({' '.join(command.words)})'")
        else:
            specs.append("'*:file:_files'")
        lines = " \\\n                ".join(specs)
        opts.append(f"        {command.name})\n            _arguments \\\n                {lines} ;;")
    names = "\n".join(f"        '{command.name}:{_zsh_text(command.text)}'" for command in commands)
    return _filled(ZSH, {"commands": names, "options": "\n".join(opts)})


def _zsh_option(name: str, option: _Option) -> str:
    value = ""
    if option.choices:
        value = f":value:({' '.join(option.choices)})"
    elif option.takes_value:
        value = ":file:_files" if option.is_file else ":value: "
    return f"'{name}[{_zsh_text(option.text)}]{value}'"


def _zsh_text(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text.replace("'", "'\\''")


FISH = r"""# completion of wfr-pde for fish
function __wfr_pde_experiments
    for file in experiments/*.py
        string match -qv '_*' (basename $file); and basename $file .py
    end
end
complete -c wfr-pde -n __fish_use_subcommand -f
@lines@
"""


def _fish(commands: list[_Command]) -> str:
    """For fish."""
    lines = []
    for command in commands:
        lines.append(
            f"complete -c wfr-pde -n __fish_use_subcommand -f -a {command.name} -d '{_fish_text(command.text)}'"
        )
        seen = f"complete -c wfr-pde -n '__fish_seen_subcommand_from {command.name}'"
        if command.takes_experiment:
            lines.append(f"{seen} -a '(__wfr_pde_experiments)'")
        elif command.words:
            lines.append(f"{seen} -f -a '{' '.join(command.words)}'")
        lines += [f"{seen} {_fish_option(option)}" for option in command.options]
    return _filled(FISH, {"lines": "\n".join(lines)})


def _fish_option(option: _Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = ""
    if option.choices:
        value = f" -x -a '{' '.join(option.choices)}'"
    elif option.takes_value:
        value = " -r -F" if option.is_file else " -x"
    return f"{names}{value} -d '{_fish_text(option.text)}'"


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _filled(template: str, parts: dict[str, str]) -> str:
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    return template
