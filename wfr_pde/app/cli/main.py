"""The command line `wfr-pde`: the table of its commands, and what becomes of their errors.

Exit codes: 0 done, 1 a check of an experiment failed or a sampler is inconsistent, 2 bad input, 3 a device or an
optional package is missing, 4 numerical failure, 130 interrupted. An error of the program itself shows its
traceback, as the option `--traceback` does for all.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from wfr_pde._version import __version__
from wfr_pde.app.cli import all as all_
from wfr_pde.app.cli import compare, completion, figures, info, report, run, solve, sweep, truth, validate
from wfr_pde.app.cli import list as list_
from wfr_pde.app.cli.output import notes
from wfr_pde.app.cli.parser import Parser, join_values
from wfr_pde.app.exit_codes import DONE, INTERRUPTED, exit_code

EXAMPLES = """examples:
  wfr-pde list
  wfr-pde run galaxies --quick
  wfr-pde sweep splitting_order --quick --t-gaussian 0.25,0.5
  wfr-pde solve --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o out.nc
  wfr-pde COMMAND --help"""


class Command(Protocol):
    """Protocol of the module of a command: its name, summary, examples and functions."""

    NAME: str
    SUMMARY: str  # one line
    EXAMPLES: str  # printed below the options by --help

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command to its parser."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return the exit code."""


COMMANDS: tuple[Command, ...] = (
    list_, run, sweep, all_, figures, solve, truth, compare, validate, report, info, completion,
)  # fmt: skip
TAKE_KNOBS: tuple[Command, ...] = (run, sweep)  # options that they do not know are knobs of an experiment


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = join_values(sys.argv[1:] if argv is None else argv)
    _replace_what_cannot_be_printed()
    try:
        args, rest = parsers()[""].parse_known_args(words)
        if rest and args.command not in TAKE_KNOBS:
            raise ValueError(f"unknown argument {rest[0]!r} (see wfr-pde {args.command.NAME} --help)")
        args.rest = rest
        return _without_exit(args)
    except KeyboardInterrupt as error:
        print(f"wfr-pde: interrupted; {notes(error) or 'nothing was saved'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader, such as `head`, has seen enough; what is flushed at exit must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        code = exit_code(error)
        if code is None or "--traceback" in words:
            raise
        message = " ".join(f"{error} {notes(error)}".split()) or type(error).__name__
        print(f"wfr-pde: error: {message}", file=sys.stderr)
        return code


def _without_exit(args: argparse.Namespace) -> int:
    """Run the command; code of the user that ends the program does not pass for success."""
    try:
        return args.command.run(args)
    except SystemExit as error:
        raise ValueError(
            f"the code that was run ends the program (SystemExit with the code {error.code}) before there is a result: "
            "let it return, or raise an error"
        ) from error


def _replace_what_cannot_be_printed() -> None:
    """Make the streams print ? for characters that their encoding lacks: an error would come after the work is done."""
    for stream in (sys.stdout, sys.stderr):
        fails = ("strict", "surrogateescape")  # the latter where the locale is C
        if isinstance(stream, io.TextIOWrapper) and stream.errors in fails and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")


def parsers() -> dict[str, Parser]:
    """Return the parser of the whole command line, as "", and that of every command by its name."""
    whole = Parser(
        prog="wfr-pde",
        description="Ground-truth densities of Wasserstein-Fisher-Rao gradient flows on a grid.",
        epilog=EXAMPLES,
    )
    whole.add_argument("--version", action="version", version=f"wfr-pde {__version__}")
    found = {"": whole}
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        parser = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.SUMMARY,
            epilog=command.EXAMPLES,
            add_help=command not in TAKE_KNOBS,
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.add_argument("--traceback", action="store_true", help="show where in the program an error arose")
        command.add_arguments(parser)
        parser.set_defaults(command=command, parser=parser, parsers=found)
        found[command.NAME] = parser
    return found
