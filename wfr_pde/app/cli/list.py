"""The command `wfr-pde list`: the experiments that there are."""

from __future__ import annotations

import argparse

from wfr_pde.app.cli.output import print_json
from wfr_pde.app.exit_codes import DONE

NAME = "list"
SUMMARY = "the experiments, one line each"
EXAMPLES = """\
Those of wfr_pde, and yours: the files in the folder `experiments` of the working directory. A name that both have means
yours.

examples:
  wfr-pde list
  wfr-pde list --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Print the experiments."""
    from wfr_pde.app.experiments.loading import description, find_experiments, tell_of_replaced

    found = {name: (path, description(path)) for name, path in find_experiments().items()}
    if args.json:
        print_json([{"name": name, "description": text, "path": str(path)} for name, (path, text) in found.items()])
        return DONE
    width = max(map(len, found), default=0)
    for name, (_, text) in found.items():
        print(f"{name:{width}}  {text}")
    tell_of_replaced(found)
    return DONE
