"""The command `wfr-pde run`: data, figures and checks of an experiment."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.experiment import add_experiment_arguments, knob_texts, named_experiment
from wfr_pde.app.cli.output import bytes_text, duration_text, print_json, text_table
from wfr_pde.app.cli.parser import folder
from wfr_pde.app.cli.written import make_folder
from wfr_pde.app.complaints import notes
from wfr_pde.app.exit_codes import CHECK_FAILED, DONE
from wfr_pde.numerics.counted import counted

if TYPE_CHECKING:
    from wfr_pde.app.experiments.experiment import Experiment
    from wfr_pde.app.experiments.runner import Result

NAME = "run"
SUMMARY = "run an experiment: data, figures and checks into results/"
EXAMPLES = """examples:
  wfr-pde run galaxies                         data, figures and checks into results/galaxies/<hash of knobs>
  wfr-pde run galaxies --help                  its knobs and their defaults
  wfr-pde run galaxies --quick                 the same in seconds, W not so far
  wfr-pde run splitting_order --t-gaussian 0.3
  wfr-pde run my/experiment.py --dry-run
  wfr-pde run NAME --seed 3                    where the experiment has a knob of that name

Data that are stored for the same knobs, by the same code and version, are taken as they are. Without them, a run that
was stopped or killed goes on after the last part that it stored, if the experiment stores its parts; to the same
numbers as if it had not been stopped.

NAME is a file of Python whose code is run, for --help and --dry-run too. Give those you trust."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.usage = "wfr-pde run NAME [--knob value ...] [options]"
    add_experiment_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="show knobs and directory, and run nothing")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was begun, and begin none (default: as said below)"
    )
    parser.add_argument(
        "--force", action="store_true", help="start anew, whatever is stored; old data stay until the new are complete"
    )
    parser.add_argument(
        "--accept-other-code",
        action="store_true",
        help="go on with parts that other code of the package has stored, and say so in the result",
    )
    parser.add_argument(
        "--out", type=folder, default="results", metavar="DIR", help="root of the results (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the experiment and print what came of it."""
    from wfr_pde.app.experiments.runner import run_experiment

    experiment = named_experiment(args)
    if experiment is None:
        return DONE
    knobs = experiment.parse(knob_texts(args.rest, experiment.knobs))
    if args.dry_run:
        return _dry_run(args, experiment, knobs)
    make_folder("--out", Path(args.out), Path(args.out))
    try:
        # what an experiment prints must not mix with JSON
        with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
            result = run_experiment(
                experiment,
                knobs,
                quick=args.quick,
                out=args.out,
                force=args.force,
                resume=args.resume,
                accept_other_code=args.accept_other_code,
            )
    except KeyboardInterrupt as error:
        if not notes(error):
            error.add_note(f"no data of {experiment.name} with these knobs were stored")
        raise
    if args.json:
        also = {"reused": result.reused, "by_other_code": bool(result.other_hashes)}
        print_json({**result.content(), "directory": str(result.directory), **also})
    else:
        print(_summary(result))
    return DONE if result.passed else CHECK_FAILED


def _dry_run(args: argparse.Namespace, experiment: Experiment, knobs: dict[str, Any]) -> int:
    """Print what would be run, where, and what it would cost."""
    values = experiment.values(knobs, args.quick)
    directory = experiment.directory(values, args.out)
    stored = experiment.stored(values, args.out)
    seconds = None if stored is None else float(stored.attrs["wall_time"])
    parts = experiment.begun(values, args.out).count()
    is_reused = stored is not None and not args.force
    costs = {} if is_reused or experiment.costs is None else experiment.costs(**values)
    if args.json:
        print_json(
            {
                "knobs": values,
                "directory": str(directory),
                "stored": stored is not None,
                "parts": parts,
                "wall_time": seconds,
                "costs": {name: dataclasses.asdict(cost) for name, cost in costs.items()},
            }
        )
        return DONE
    print(f"{experiment.name}: {experiment.description}")
    print("  knobs      " + _knobs_text(experiment, values))
    print(f"  directory  {directory}")
    begun = 0 if args.force else parts
    computed = f"would be computed, after the {counted(begun, 'part')} stored before" if begun else "would be computed"
    print(f"  data       {'stored already, would be re-used' if is_reused else computed}")
    if seconds is not None:
        print(f"  time       {duration_text(seconds)} when they were computed")
    if costs:
        rows = [(f"  {name}", duration_text(cost.seconds), bytes_text(cost.memory)) for name, cost in costs.items()]
        whole = duration_text(sum(cost.seconds for cost in costs.values()))
        most = bytes_text(max(cost.memory for cost in costs.values()))
        print("\n" + text_table([("  solution", "time", "memory"), *rows, ("  all", whole, f"{most} at most")]))
    return DONE


def _knobs_text(experiment: Experiment, values: dict[str, Any]) -> str:
    """Write knobs on one line."""
    return " ".join(f"{name}={experiment.knobs[name].text(value)}" for name, value in values.items()) or "none"


def _summary(result: Result) -> str:
    """Describe a result: its knobs, files and checks."""
    from wfr_pde.storage.source_hash import by_other_code

    how = "stored data, re-used (--force computes them again)" if result.reused else "computed"
    took = duration_text(float(result.data.attrs["wall_time"]))
    lines = [
        f"{result.experiment.name}: {result.experiment.description}",
        "  knobs   " + _knobs_text(result.experiment, result.knobs),
        f"  data    {result.directory / 'data.nc'}: {how}, {took}",
        f"  figure  {result.directory / 'figure.png'}, figure.pdf, figure.csv",
    ]
    if result.experiment.is_quick(result.knobs):
        lines.insert(2, "  note    quick knobs: a small version, whose figure and checks are not those of the full run")
    if result.other_hashes:
        lines.insert(3, f"  note    {by_other_code(result.other_hashes)}: --force computes them anew")
    if result.checks:
        rows = [
            (f"  {check.name}", f"{check.value:.6g}", f"{check.expected:.6g} ± {check.tolerance:.2g}",
             "pass" if check.passed else "FAIL")
            for check in result.checks
        ]  # fmt: skip
        lines += ["", text_table([("  check", "value", "expected", ""), *rows])]
    return "\n".join(lines)
