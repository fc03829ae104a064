"""The command `wfr-pde all`: every experiment, or some, in parallel, and the report of them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.output import print_json, text_table
from wfr_pde.app.cli.parser import folder, whole
from wfr_pde.app.cli.report import summary, write_page
from wfr_pde.app.cli.written import made_sure_of, make_folder, page_path
from wfr_pde.app.exit_codes import DONE, exit_code_of_runs
from wfr_pde.app.experiments.experiment import OUT

if TYPE_CHECKING:
    from wfr_pde.app.experiments.jobs import Cell, Outcome

LOG = logging.getLogger(__name__)
NAME = "all"
SUMMARY = "run every experiment, in parallel, and write the report"
EXAMPLES = """\
Every experiment in the folder `experiments` of the working directory or, where there is no such folder, every one of
wfr_pde, is run as `wfr-pde run` runs it, one process per processor; then the report of all results is written, and the
versions of all libraries, as constraints.txt beside the results. What is done is not done again, so that a run that was
stopped goes on with the same command. One that fails, or that cannot be loaded, costs only itself. Experiments are
files of Python, whose code is run.

examples:
  wfr-pde all --quick                      all experiments with their quick knobs, and report.html
  wfr-pde all                              in full
  wfr-pde all --only galaxies barrier      two of them
  wfr-pde all --dry-run                    which are done, and how long they took
  wfr-pde all --out elsewhere --report elsewhere/report.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--only", nargs="+", action="extend", metavar="NAME", help="these experiments, and no others")
    add("--quick", action="store_true", help="with the experiments' quick knobs")
    add("--dry-run", action="store_true", help="show which are done, and run nothing")
    add("--force", action="store_true", help="compute everything anew, whatever is stored")
    add("--accept-other-code", action="store_true", help="go on with parts that other code of the package has stored")
    add("--no-figures", action="store_true", help="draw no figures; `wfr-pde figures` draws them later")
    add("--jobs", type=whole, metavar="N", help="processes (default: one per processor)")
    add("--out", type=folder, default=OUT, metavar="DIR", help="root of the results (default: %(default)s)")
    add("--report", default="report.html", metavar="FILE.html", help="the page to write (default: %(default)s)")
    add("--experiments", type=folder, metavar="DIR", help="where the experiments are (default: as said below)")


def run(args: argparse.Namespace) -> int:
    """Run every experiment, and print what became of them."""
    planned, broken = _planned(args)
    if args.dry_run:
        print(text_table(_dry_rows(planned)))
        _complain({name: each["error"] for name, each in broken.items()})
        return DONE
    outcomes, report = _run_all(args, planned)
    if args.json:
        print_json(_content(outcomes, broken, report))
    else:
        print(f"{text_table(_rows(outcomes))}\n\n{summary(report)}")
    _complain({name: each["error"] for name, each in broken.items()})
    _complain({outcome.cell.experiment.name: outcome.error for outcome in outcomes if outcome.error})
    return next((each["code"] for each in broken.values()), exit_code_of_runs(outcomes))


def _complain(errors: dict[str, str]) -> None:
    """Say which experiments failed, and why."""
    for name, error in errors.items():
        LOG.error("%s failed: %s", name, error)


def _planned(args: argparse.Namespace) -> tuple[list[Cell], dict[str, dict[str, Any]]]:
    """Plan a run of every experiment; those that cannot be loaded come beside it, with `error` and `code`.

    Raises
    ------
    ValueError
        If an option does not fit, or there is no experiment that can be loaded.
    """
    from wfr_pde.app.experiments.jobs import Cell, failure
    from wfr_pde.app.experiments.loading import chosen_experiments, load_experiment, own_folder

    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {args.jobs}")
    page = page_path("--report", args.report)
    if not args.dry_run:
        make_folder("--out", Path(args.out), Path(args.out))
        made_sure_of("--report", page)
    planned, broken = [], {}
    folder = own_folder() if args.experiments is None else Path(args.experiments)
    for name in chosen_experiments(folder, args.only):
        try:
            experiment = load_experiment(name, folder)
            planned.append(Cell(experiment, experiment.values({}, args.quick), Path(args.out)))
        except Exception as error:
            broken[name] = failure(error)
    if not planned:
        why = "; ".join(f"{name}: {each['error']}" for name, each in broken.items())
        raise ValueError(f"there is no experiment in {str(folder)!r}{f' that can be loaded ({why})' if why else ''}")
    return planned, broken


def _run_all(args: argparse.Namespace, planned: list[Cell]) -> tuple[list[Outcome], dict[str, Any]]:
    """Run what is planned and write the report; return what became of the runs and what the report shows."""
    from wfr_pde.app.experiments.executors import Processes
    from wfr_pde.app.experiments.jobs import run_cells
    from wfr_pde.storage.files import write_text
    from wfr_pde.storage.provenance import CONSTRAINTS, constraints

    with Processes(args.jobs) as executor:
        options = {"force": args.force, "accept_other_code": args.accept_other_code, "figures": not args.no_figures}
        outcomes = run_cells(planned, executor, **options, title="all")
    if not all(outcome.reused for outcome in outcomes):
        write_text(constraints(), Path(args.out) / CONSTRAINTS)
    return outcomes, write_page(args.out, args.report, args.experiments)


def _dry_rows(planned: list[Cell]) -> list[tuple[str, ...]]:
    """Write the plan as rows of a table."""
    rows: list[tuple[str, ...]] = [("experiment", "", "time", "directory")]
    for cell in planned:
        content = cell.experiment.done(cell.knobs, cell.out)
        took = f"{float(content['wall_time']):.3g} s" if content else ""
        rows.append((cell.experiment.name, "done" if content else "to be run", took, str(cell.directory)))
    return rows


def _rows(outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    """Write what became of the runs as rows of a table."""
    table: list[tuple[str, ...]] = [("experiment", "checks", "time", "directory")]
    for outcome in outcomes:
        table.append((outcome.cell.experiment.name, *outcome.row, str(outcome.cell.directory)))
    return table


def _content(outcomes: list[Outcome], broken: dict[str, dict[str, Any]], report: dict[str, Any]) -> dict[str, Any]:
    """Return the result in plain types, for JSON."""
    return {
        "experiments": [{"experiment": outcome.cell.experiment.name, **outcome.plain()} for outcome in outcomes],
        "not_loaded": {name: each["error"] for name, each in broken.items()},
        "report": report,
    }
