"""The arguments of commands that take an experiment and its knobs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wfr_pde.app.cli.output import text_table

if TYPE_CHECKING:
    from wfr_pde.app.experiments.experiment import Experiment
    from wfr_pde.app.experiments.knobs import Knob


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of an experiment, and a help of the command's own, which shows the experiment's knobs."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="an experiment of `wfr-pde list`, or the path of a file")
    add("-h", "--help", action="store_true", help="show this message, and the knobs of NAME")
    add("--quick", action="store_true", help="start from the experiment's quick knobs")


def named_experiment(args: argparse.Namespace) -> Experiment | None:
    """Load the experiment that is named; None where its help was asked for and has been printed."""
    from wfr_pde.app.experiments.loading import load_experiment

    if args.name is None:
        if args.help:
            args.parser.print_help()
            return None
        raise ValueError(f"{args.command.NAME} needs the NAME of an experiment (see wfr-pde list)")
    experiment = load_experiment(args.name)
    if args.help:
        print(_knobs_help(args.parser, experiment))
        return None
    return experiment


def knob_texts(words: list[str], knobs: Mapping[str, Knob]) -> dict[str, str]:
    """Read `--n 64 --t-end=0.5 --flag` as name -> text.

    Raises
    ------
    ValueError
        If a word is no value of a knob, or a knob has none, or is given twice.
    """
    found: dict[str, str] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            _refuse_without_value(name, knobs)
            name, equals, text = word[2:].partition("=")
            name = name.replace("-", "_")
            if name in found:
                raise ValueError(f"{word.partition('=')[0]} is given twice: give it once")
            found[name] = text if equals else "true"
            name = None if equals else name
        elif name is not None:
            found[name], name = word, None
        else:
            raise ValueError(f"unknown argument {word!r}: knobs are written as --name value")
    _refuse_without_value(name, knobs)
    return found


def _refuse_without_value(name: str | None, knobs: Mapping[str, Knob]) -> None:
    """Refuse a knob without a value that is no flag."""
    knob = None if name is None else knobs.get(name)
    if knob is not None and knob.kind is not bool:
        raise ValueError(f"{knob.option} needs a value, such as {knob.option} {knob.text(knob.default)}")


def _knobs_help(parser: argparse.ArgumentParser, experiment: Experiment) -> str:
    """Describe the experiment and its knobs, then the command."""
    rows = [
        (
            "  " + knob.option,
            knob.text(knob.default),
            knob.text(experiment.quick.get(name, knob.default)),
            knob.words,
        )
        for name, knob in experiment.knobs.items()
    ]
    knobs = text_table([("  knob", "default", "quick", "is"), *rows])
    return f"{experiment.name}: {experiment.description}\n\n{knobs}\n\n{parser.format_help()}"
