"""The command `wfr-pde sweep`: an experiment over a grid of knobs, in parallel."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.experiment import add_experiment_arguments, knob_texts, named_experiment
from wfr_pde.app.cli.output import duration_text, print_json, text_table
from wfr_pde.app.cli.parser import folder, whole
from wfr_pde.app.cli.written import make_folder
from wfr_pde.app.exit_codes import DONE, exit_code_of_runs
from wfr_pde.numerics.counted import counted

if TYPE_CHECKING:
    from wfr_pde.app.experiments.experiment import Experiment
    from wfr_pde.app.experiments.jobs import Outcome
    from wfr_pde.app.experiments.sweep import Plan

# most checks whose values are in a row of the table; with more of them it shows none, as it would be too wide
MAX_CHECKS = 4
LOG = logging.getLogger(__name__)
NAME = "sweep"
SUMMARY = "run an experiment over a grid of knobs, in parallel"
EXAMPLES = """\
Knobs are written as --name v1,v2,...; those with several values are swept. Numbers also as a range, start:stop:number,
0:1:5 for 0,0.25,0.5,0.75,1, and 1:1000:4:log for 1,10,100,1000. The values of a knob that is itself a list are
separated by semicolons, --sizes "1,2;3,4", as are texts with commas in them.

Every cell is a run of its own, in results/NAME/<hash of knobs>, just as `wfr-pde run` stores it. Cells that are done
are not run again, and those that were begun go on: a sweep that was stopped or killed goes on with the same command.
A cell that fails costs only itself. What all cells come to is in results/NAME/sweep-<hash of grid>: sweep.nc with
their scalar variables over the swept knobs, and the same as sweep.csv. All variables of all cells, curves among them,
are in the Dataset open_sweep("results/NAME/sweep-..."), from wfr_pde.app.experiments.opened_sweep, over those knobs.

examples:
  wfr-pde sweep splitting_order --t-gaussian 0.25,0.5,1            one process per processor
  wfr-pde sweep splitting_order --t-gaussian 0.25,0.5 --quick --jobs 2
  wfr-pde sweep rate_in_n --numbers "50,100,200;100,200,400"       lists are separated by semicolons
  wfr-pde sweep splitting_order --t-gaussian 0.25:1:200 --no-figures    two hundred values
  wfr-pde sweep NAME --seed 0,1,2,3 --dry-run                      the cells, and which are done
  wfr-pde sweep NAME --seed 0,1,2,3 --shard $SLURM_ARRAY_TASK_ID/4 one of four jobs of an array, numbered from 1
  wfr-pde sweep NAME --seed 0,1,2,3 --dask tcp://10.0.0.1:8786     on the workers of a Dask cluster

NAME is a file of Python whose code is run, for --help and --dry-run too. Give those you trust."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.usage = "wfr-pde sweep NAME --knob v1,v2,... [--knob ...] [options]"
    add_experiment_arguments(parser)
    add = parser.add_argument
    add("--dry-run", action="store_true", help="show the cells and which are done, and run nothing")
    add("--force", action="store_true", help="compute every cell anew, whatever is stored")
    add("--accept-other-code", action="store_true", help="take cells that other code of the package has computed")
    add("--no-figures", action="store_true", help="draw no figure of a cell; `wfr-pde figures NAME` draws them later")
    add("--jobs", type=whole, metavar="N", help="processes (default: one per processor)")
    add("--dask", metavar="ADDRESS", help="run on a Dask cluster: address of its scheduler, or its scheduler file")
    add("--shard", metavar="I/N", help="run only part I of N, I = 1, ..., N: every N-th cell")
    add("--out", type=folder, default="results", metavar="DIR", help="root of the results (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the sweep, and print what became of its cells."""
    experiment = named_experiment(args)
    if experiment is None:
        return DONE
    grid, outcomes = _sweep(args, experiment, knob_texts(args.rest, experiment.knobs))
    if args.dry_run:
        content = _dry_content(grid, args)
        if args.json:
            print_json(content)
            return DONE
        seconds = content["seconds"]
        time = "" if seconds is None else f"; about {duration_text(seconds)} for them"
        print(f"{text_table(_dry_rows(grid, content))}\n\n{counted(content['waiting'], 'cell')} to be run{time}")
        return DONE
    if args.json:
        print_json(_content(grid, outcomes))
    else:
        print(f"{text_table(_rows(grid, outcomes))}\n\n{grid.directory / 'sweep.nc'}, sweep.csv")
    for line in _complaints(grid, outcomes):
        LOG.error("a cell failed: %s", line)
    return exit_code_of_runs(outcomes)


def _sweep(args: argparse.Namespace, experiment: Experiment, texts: Mapping[str, str]) -> tuple[Plan, list[Outcome]]:
    """Make the sweep; with `--dry-run` only its plan.

    Raises
    ------
    ValueError
        For knobs and options that do not fit.
    """
    from wfr_pde.app.experiments.sweep import plan, sweep

    experiment.refuse_unknown(texts)
    grid = plan(
        experiment,
        {name: experiment.knobs[name].parse_several(text) for name, text in texts.items()},
        quick=args.quick,
        out=args.out,
    )
    shard = _shard(args.shard)
    grid.shard(*shard)
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {args.jobs}")
    if args.jobs is not None and args.dask is not None:
        raise ValueError("--jobs is for processes on this machine, --dask for a cluster: give one of them")
    if args.dry_run:
        return grid, []
    make_folder("--out", grid.out, grid.out)
    with _executor(args) as executor:
        return grid, sweep(
            grid,
            executor,
            shard=shard,
            force=args.force,
            accept_other_code=args.accept_other_code,
            figures=not args.no_figures,
        )


def _shard(text: str | None) -> tuple[int, int]:
    """Read the part I/N of a sweep as (I, N)."""
    try:
        i, n = (1, 1) if text is None else map(int, text.split("/"))
    except ValueError:
        raise ValueError(f"--shard must be I/N such as 1/4, got {text!r}") from None
    return i, n


@contextlib.contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor]:
    """Open the executor that cells run on: processes, or a Dask cluster."""
    from wfr_pde.app.experiments.executors import Processes, dask_executor

    with Processes(args.jobs) if args.dask is None else dask_executor(args.dask) as executor:
        yield executor


def _dry_content(grid: Plan, args: argparse.Namespace) -> dict[str, Any]:
    """Say what a sweep would do: its cells, which are done, and the time of the others, judged by those."""
    from wfr_pde.app.experiments.executors import processors

    cells = grid.shard(*_shard(args.shard))
    done = [grid.experiment.done(cell, grid.out) for cell in cells]
    begun = [grid.experiment.begun(cell, grid.out).count() for cell in cells]
    times = [float(content["wall_time"]) for content in done if content]
    jobs = args.jobs or processors()
    waiting = len(cells) if args.force else len(cells) - len(times)
    known = bool(times) and args.dask is None
    return {
        "command": grid.command,
        "directory": str(grid.directory),
        "cells": [
            {
                "knobs": cell,
                "directory": str(grid.experiment.directory(cell, grid.out)),
                "done": content is not None,
                "parts": parts,
            }
            for cell, content, parts in zip(cells, done, begun, strict=True)
        ],
        "waiting": waiting,
        "seconds": sum(times) / len(times) * waiting / min(jobs, max(waiting, 1)) if known else None,
    }


def _dry_rows(grid: Plan, content: dict[str, Any]) -> list[tuple[str, ...]]:
    """Write the cells of a dry run as rows of a table."""
    rows = [(*grid.axes, "", "directory")]
    for cell in content["cells"]:
        begun = f"begun, {counted(cell['parts'], 'part')}" if cell["parts"] else "to be run"
        rows.append((*grid.swept(cell["knobs"]).values(), "done" if cell["done"] else begun, cell["directory"]))
    return rows


def _content(grid: Plan, outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the result in plain types, for JSON."""
    return {
        "experiment": grid.experiment.name,
        "command": grid.command,
        "directory": str(grid.directory),
        "cells": [outcome.plain() for outcome in outcomes],
    }


def _rows(grid: Plan, outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    """Write the result as rows of a table: swept knobs, values of checks if they are few, what became of the cell."""
    checks = list(grid.experiment.checks)
    shown = checks if len(checks) <= MAX_CHECKS else []
    table = [(*grid.axes, *shown, "checks", "time", "directory")]
    for outcome in outcomes:
        found = outcome.content.get("checks", {})
        values = [f"{float(found[name]['value']):.6g}" if name in found else "" for name in shown]
        table.append((*grid.swept(outcome.cell.knobs).values(), *values, *outcome.row, outcome.cell.directory.name))
    return table


def _complaints(grid: Plan, outcomes: list[Outcome]) -> list[str]:
    """Write a line for every cell that failed."""
    return [
        f"{' '.join(f'{name}={text}' for name, text in grid.swept(outcome.cell.knobs).items())}: {outcome.error}"
        for outcome in outcomes
        if outcome.error
    ]
