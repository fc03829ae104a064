"""The command line `wfr-pde`: list, run, sweep, figures, solve, truth, compare, validate, report, info, completion.

Exit codes: 0 done, 1 a check of an experiment failed or a sampler is inconsistent, 2 bad input, 3 a device or an
optional package is missing, 4 numerical failure, 130 interrupted. An error of the program itself shows its
traceback, as the option `--traceback` does for all.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from wfr_pde._version import __version__
from wfr_pde.app.cli import all as cli_all
from wfr_pde.app.cli import compare as cli_compare
from wfr_pde.app.cli import completion as cli_completion
from wfr_pde.app.cli import figures as cli_figures
from wfr_pde.app.cli import report as cli_report
from wfr_pde.app.cli import sweep as cli_sweep
from wfr_pde.app.cli import validate as cli_validate
from wfr_pde.errors import CHECK_FAILED, DONE, INTERRUPTED, BackendError, NumericalError, exit_code

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.app.experiments.experiment import Experiment
    from wfr_pde.app.experiments.runner import Result
    from wfr_pde.flows import Flow
    from wfr_pde.space.density import Density
    from wfr_pde.space.grid import Grid
    from wfr_pde.targets import Target

BACKENDS = {"cpu": "numpy", "cuda": "cupy", "cpu:single": "numpy:single", "cuda:single": "cupy:single"}
CELLS = {1: 256, 2: 128, 3: 64, 4: 24}  # default number of cells per axis, by dimension
ROWS = 11  # of the table that `solve` prints
OPTIONAL = ("cupy-cuda12x", "cupy-cuda13x", "pyfftw", "POT", "blackjax", "dask")

EXAMPLES = {
    "": """examples:
  wfr-pde list
  wfr-pde run galaxies --quick
  wfr-pde sweep splitting_order --quick --t-gaussian 0.25,0.5
  wfr-pde solve --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o out.nc
  wfr-pde COMMAND --help""",
    "list": """examples:
  wfr-pde list
  wfr-pde list --json""",
    "run": """examples:
  wfr-pde run galaxies                         data, figures and checks into results/galaxies/<hash of knobs>
  wfr-pde run galaxies --help                  its knobs and their defaults
  wfr-pde run galaxies --quick                 the same in seconds, W not so far
  wfr-pde run splitting_order --t-gaussian 0.3
  wfr-pde run my/experiment.py --dry-run
  wfr-pde run NAME --seed 3                    where the experiment has a knob of that name

Data that are stored for the same knobs, by the same code and version, are taken as they are. Without them, a run that
was stopped or killed goes on after the last part that it stored, if the experiment stores its parts; to the same
numbers as if it had not been stopped.""",
    "sweep": cli_sweep.EXAMPLES,
    "all": cli_all.EXAMPLES,
    "figures": cli_figures.EXAMPLES,
    "solve": """\
The flow is d_t mu = alpha div(mu grad g) - beta mu (g - E_mu g) with g = log(mu/pi), where alpha is the
transport rate and beta the reaction rate; with one of them 0 the other part runs alone. The scheme is a
Strang splitting of FisherRao and SinkhornKernel, extrapolated to the order asked for.

Without --dt, the step is the smallest that the cells resolve and that divides the save intervals: the error
in time is then the smallest that this grid allows. A larger dt is faster.

What is done is kept in OUT.partial while it runs; if it is stopped, the same command goes on from there.

distributions (SPEC): gaussian(mean=-1, covariance=0.04), mixture(means=[[-2,0],[2,0]], weights=[.3,.7],
  covariances=0.25), double_well(2), four_modes(), potential("x**4/4 - x**2"), ...

examples:
  wfr-pde solve --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o well.nc
  wfr-pde solve --target "mixture(means=[[-2,0],[2,0]], weights=[.3,.7], covariances=0.25)" \\
      --start "gaussian(mean=[-2,0], covariance=0.16)" --t 0:5:51 --shape 128,96 --record kl,mass -o mix.nc
  wfr-pde solve --potential "cos(x)" --start "potential('-3*cos(x)')" --lower 0 --upper 6.283185307179586 \\
      --boundary periodic --t 0,0.5,1,2 --reaction-rate 0 -o ring.nc
  wfr-pde solve --target "gaussian(mean=0, covariance=1)" --start "gaussian(mean=1, covariance=0.0004)" \\
      --t 0:1:5 --graded -o scales.nc
  wfr-pde solve ... --dry-run                  cells, steps, memory and time, without solving""",
    "truth": """\
The flow is that of `solve`. Box, cells, scheme and steps are chosen such that the L1 error is below rtol at every save
time; what is stored with the density is a bound of that error, error_l1, and of the error of KL. A mode that nothing
of the start or of the potential leads to cannot be certified: give a box that holds it.

examples:
  wfr-pde truth --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o well.nc
  wfr-pde truth --target "gaussian(mean=0, covariance=2500)" --rtol 1e-8 -o scales.nc --t 0,0.001,1 \\
      --start "mixture(means=[0,0], weights=[.5,.5], covariances=[2500,0.0025])"
  wfr-pde truth ... --dry-run                  cells, steps, memory and time of the first attempt""",
    "compare": cli_compare.EXAMPLES,
    "validate": cli_validate.EXAMPLES,
    "report": cli_report.EXAMPLES,
    "info": """examples:
  wfr-pde info
  wfr-pde info --json""",
    "completion": cli_completion.EXAMPLES,
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ValueErrors, reported as all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = _with_values_joined(list(sys.argv[1:] if argv is None else argv))
    try:
        args, rest = _parser().parse_known_args(words)
        if rest and args.command not in TAKE_KNOBS:
            raise ValueError(f"unknown argument {rest[0]!r} (see wfr-pde {args.name_of_command} --help)")
        args.rest = rest
        return args.command(args)
    except KeyboardInterrupt as error:
        print(f"wfr-pde: interrupted; {_notes(error) or 'nothing was saved'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader, such as `head`, has seen enough; what is flushed at exit must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        code = exit_code(error)
        if code is None or "--traceback" in words:
            raise
        message = " ".join(f"{error} {_notes(error)}".split()) or type(error).__name__
        print(f"wfr-pde: error: {message}", file=sys.stderr)
        return code


def _notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", []))


def _with_values_joined(words: list[str]) -> list[str]:
    """`--lower -4,-4` as `--lower=-4,-4`: argparse takes a value with a leading minus for an option."""
    joined: list[str] = []
    for word in words:
        is_value = re.match(r"-[^-]", word) and word != "-h" and not word.startswith("-o")
        if is_value and joined and re.fullmatch(r"--[\w-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="wfr-pde",
        description="Ground-truth densities of Wasserstein-Fisher-Rao gradient flows on a grid.",
        epilog=EXAMPLES[""],
    )
    parser.add_argument("--version", action="version", version=f"wfr-pde {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, options, summary in (
        ("list", _list, None, "the experiments, one line each"),
        ("run", _run, _run_options, "run an experiment: data, figures and checks into results/"),
        ("sweep", _sweep, cli_sweep.options, cli_sweep.SUMMARY),
        ("all", _all, cli_all.options, cli_all.SUMMARY),
        ("figures", _figures, cli_figures.options, cli_figures.SUMMARY),
        ("solve", _solve, _solve_options, "solve a flow and store it as NetCDF"),
        ("truth", _truth, _truth_options, "solve a flow to a tolerance, with a certified error"),
        ("compare", _compare, cli_compare.options, cli_compare.SUMMARY),
        ("validate", _validate, cli_validate.options, cli_validate.SUMMARY),
        ("report", _report, cli_report.options, cli_report.SUMMARY),
        ("info", _info, None, "versions, backends, devices, threads, memory"),
        ("completion", _completion, cli_completion.options, cli_completion.SUMMARY),
    ):
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=EXAMPLES[name], add_help=command not in TAKE_KNOBS
        )
        sub.set_defaults(command=command, name_of_command=name, parser=sub)
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.add_argument("--traceback", action="store_true", help="show where in the program an error arose")
        if options is not None:
            options(sub)
    return parser


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "wfr-pde run NAME [--knob value ...] [options]"
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="an experiment of `wfr-pde list`, or the path of a file"
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this message, and the knobs of NAME")
    parser.add_argument("--quick", action="store_true", help="start from the experiment's quick knobs")
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
    parser.add_argument("--out", default="results", metavar="DIR", help="root of the results (default: %(default)s)")


def _problem_options(parser: argparse.ArgumentParser) -> None:
    """What is to be solved, and where."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--potential", metavar="EXPR", help="V in x, y, z, w and r, where pi is proportional to exp(-V)"
    )
    target.add_argument("--target", metavar="SPEC", help="pi as a distribution")
    add = parser.add_argument
    add("--start", metavar="SPEC", required=True, help="the distribution at the first time")
    add("--t", required=True, metavar="TIMES", help="save times: start:stop:number, or 0,0.5,2")
    add("--transport-rate", type=float, default=1.0, metavar="ALPHA", help="default: %(default)s")
    add("--reaction-rate", type=float, default=1.0, metavar="BETA", help="default: %(default)s")
    add(
        "--lower",
        metavar="A,B,...",
        help="lower corner of the box (default: a box that covers target and start)",
    )
    add("--upper", metavar="A,B,...", help="upper corner of the box")
    add("--boundary", default="no-flux", metavar="KIND", help="no-flux (default) or periodic, or one per axis")
    add("-o", "--out", metavar="OUT.nc", help="the file to write; needed but for --dry-run")
    add("--dry-run", action="store_true", help="show cells, steps, memory and time, and solve nothing")


def _solve_options(parser: argparse.ArgumentParser) -> None:
    _problem_options(parser)
    add = parser.add_argument
    add("--shape", metavar="N,M,...", help="cells per axis (default: 256 in 1D, 128 in 2D, 64 in 3D)")
    add(
        "--graded",
        action="store_true",
        help="grade the cells by the local scales of target and start: worth it where those differ tenfold and more",
    )
    add(
        "--max-cut",
        type=float,
        default=1e-6,
        metavar="MASS",
        help="mass that the box may cut off; 1 for real walls",
    )
    add("--dt", type=float, help="largest time step (default: the smallest that the cells resolve)")
    add("--order", type=int, default=6, choices=(2, 4, 6, 8), help="order in time (default: %(default)s)")
    add(
        "--record",
        default="kl,mean",
        metavar="NAMES",
        help="diagnostics at every save time (default: %(default)s)",
    )
    add("--device", default="cpu", choices=tuple(BACKENDS), help="default: %(default)s")
    add("--seed", type=int, help="stored with the result (these flows draw no random numbers)")
    add("--force", action="store_true", help="replace OUT.nc, and drop what a stopped run left")


def _truth_options(parser: argparse.ArgumentParser) -> None:
    _problem_options(parser)
    add = parser.add_argument
    add("--rtol", type=float, default=1e-6, help="tolerance of the L1 error (default: %(default)s)")
    add("--seconds", type=float, default=600.0, help="time budget (default: %(default)g)")
    add("--memory", type=float, help="memory budget in GiB (default: what is free)")
    add(
        "--max-cut",
        type=float,
        default=1e-6,
        metavar="MASS",
        help="mass that the box may cut off; 1 for real walls",
    )
    add("--best", action="store_true", help="where rtol is out of reach, write the best there is, with its error")
    add(
        "--cross-check",
        action=argparse.BooleanOptionalAction,
        help="solve again with the other family of schemes (default: in one and two dimensions)",
    )
    add(
        "--turn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="principal axes u, v in place of the given ones, where these need far more cells (default: yes)",
    )
    add("--force", action="store_true", help="replace OUT.nc")


# list


def _list(args: argparse.Namespace) -> int:
    """`wfr-pde list`."""
    from wfr_pde.app.experiments.loading import description, find_experiments

    found = {name: (path, description(path)) for name, path in find_experiments().items()}
    if args.json:
        _print_json([{"name": name, "description": text, "path": str(path)} for name, (path, text) in found.items()])
        return DONE
    width = max(map(len, found), default=0)
    for name, (_, text) in found.items():
        print(f"{name:{width}}  {text}")
    if not found:
        print("no experiments in the folder 'experiments'")
    return DONE


# run


def _run(args: argparse.Namespace) -> int:
    """`wfr-pde run`."""
    from wfr_pde.app.experiments.runner import run_experiment

    experiment = _experiment(args)
    if experiment is None:
        return DONE
    knobs = experiment.parse(_options(args.rest))
    if args.dry_run:
        return _dry_run_experiment(args, experiment, knobs)
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
        if not _notes(error):
            error.add_note(f"no data of {experiment.name} with these knobs were stored")
        raise
    if args.json:
        also = {"reused": result.reused, "by_other_code": bool(result.other_hashes)}
        _print_json({**result.content(), "directory": str(result.directory), **also})
    else:
        print(_summary(result))
    return DONE if result.passed else CHECK_FAILED


def _experiment(args: argparse.Namespace) -> Experiment | None:
    """The experiment that is named; None where its help was asked for and has been printed."""
    from wfr_pde.app.experiments.loading import load_experiment

    if args.name is None:
        if args.help:
            args.parser.print_help()
            return None
        raise ValueError(f"{args.name_of_command} needs the NAME of an experiment (see wfr-pde list)")
    experiment = load_experiment(args.name)
    if args.help:
        print(_knobs_help(args.parser, experiment))
        return None
    return experiment


def _sweep(args: argparse.Namespace) -> int:
    """`wfr-pde sweep`."""
    experiment = _experiment(args)
    if experiment is None:
        return DONE
    grid, outcomes = cli_sweep.run(args, experiment, _options(args.rest))
    if args.dry_run:
        content = cli_sweep.dry_content(grid, args)
        if args.json:
            _print_json(content)
            return DONE
        seconds = content["seconds"]
        time = "" if seconds is None else f"; about {_duration(seconds)} for them"
        print(f"{_table(cli_sweep.dry_rows(grid, content))}\n\n{content['waiting']} cells to be run{time}")
        return DONE
    if args.json:
        _print_json(cli_sweep.content(grid, outcomes))
    else:
        print(f"{_table(cli_sweep.rows(grid, outcomes))}\n\n{grid.directory / 'sweep.nc'}, sweep.csv")
    for line in cli_sweep.complaints(grid, outcomes):
        print(f"wfr-pde: a cell failed: {line}", file=sys.stderr)
    return cli_sweep.exit_code(outcomes)


TAKE_KNOBS = (_run, _sweep)


def _all(args: argparse.Namespace) -> int:
    """`wfr-pde all`."""
    planned = cli_all.cells(args)
    if args.dry_run:
        print(_table(cli_all.dry_rows(planned)))
        return DONE
    outcomes, report = cli_all.run(args, planned)
    if args.json:
        _print_json(cli_all.content(outcomes, report))
    else:
        print(f"{_table(cli_all.rows(outcomes))}\n\n{cli_report.summary(report)}")
    for outcome in outcomes:
        if outcome.error:
            print(f"wfr-pde: {outcome.cell.experiment.name} failed: {outcome.error}", file=sys.stderr)
    return cli_sweep.exit_code(outcomes)


def _figures(args: argparse.Namespace) -> int:
    """`wfr-pde figures`."""
    drawn = cli_figures.run(args)
    if args.json:
        _print_json(cli_figures.content(drawn))
    else:
        print(_table(cli_figures.rows(drawn)) if drawn else f"nothing is stored in {args.out}")
    return max((each.code for each in drawn), default=DONE)


def _completion(args: argparse.Namespace) -> int:
    """`wfr-pde completion`."""
    print(cli_completion.script(_parser(), args.shell), end="")
    return DONE


def _options(words: list[str]) -> dict[str, str]:
    """`--n 64 --t-end=0.5 --flag` as name -> text."""
    found: dict[str, str] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            found[name] = text if equals else "true"
            name = None if equals else name
        elif name is not None:
            found[name], name = word, None
        else:
            raise ValueError(f"unknown argument {word!r}: knobs are written as --name value")
    return found


def _knobs_help(parser: argparse.ArgumentParser, experiment: Experiment) -> str:
    rows = [
        (
            "  " + knob.option,
            knob.text(knob.default),
            knob.text(experiment.quick.get(name, knob.default)),
            knob.words,
        )
        for name, knob in experiment.knobs.items()
    ]
    knobs = _table([("  knob", "default", "quick", "is"), *rows])
    return f"{experiment.name}: {experiment.description}\n\n{knobs}\n\n{parser.format_help()}"


def _dry_run_experiment(args: argparse.Namespace, experiment: Experiment, knobs: dict[str, Any]) -> int:
    values = experiment.values(knobs, args.quick)
    directory = experiment.directory(values, args.out)
    stored = experiment.stored(values, args.out)
    seconds = None if stored is None else float(stored.attrs["wall_time"])
    parts = experiment.begun(values, args.out).count()
    is_reused = stored is not None and not args.force
    costs = {} if is_reused or experiment.costs is None else experiment.costs(**values)
    if args.json:
        _print_json(
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
    computed = f"would be computed, after the {begun} parts that are stored" if begun else "would be computed"
    print(f"  data       {'stored already, would be re-used' if is_reused else computed}")
    if seconds is not None:
        print(f"  time       {_duration(seconds)} when they were computed")
    if costs:
        rows = [(f"  {name}", _duration(cost.seconds), _bytes(cost.memory)) for name, cost in costs.items()]
        whole = _duration(sum(cost.seconds for cost in costs.values()))
        most = _bytes(max(cost.memory for cost in costs.values()))
        print("\n" + _table([("  solution", "time", "memory"), *rows, ("  all", whole, f"{most} at most")]))
    return DONE


def _knobs_text(experiment: Experiment, values: dict[str, Any]) -> str:
    return " ".join(f"{name}={experiment.knobs[name].text(value)}" for name, value in values.items()) or "none"


def _summary(result: Result) -> str:
    """What a run shows at the end."""
    from wfr_pde.storage.source_hash import by_other_code

    how = "stored data, re-used (--force computes them again)" if result.reused else "computed"
    took = _duration(float(result.data.attrs["wall_time"]))
    lines = [
        f"{result.experiment.name}: {result.experiment.description}",
        "  knobs   " + _knobs_text(result.experiment, result.knobs),
        f"  data    {result.directory / 'data.nc'}: {how}, {took}",
        f"  figure  {result.directory / 'figure.png'}, figure.pdf, figure.csv",
    ]
    if result.other_hashes:
        lines.insert(3, f"  note    {by_other_code(result.other_hashes)}: --force computes them anew")
    if result.checks:
        rows = [
            (f"  {check.name}", f"{check.value:.6g}", f"{check.expected:.6g} ± {check.tolerance:.2g}",
             "pass" if check.passed else "FAIL")
            for check in result.checks
        ]  # fmt: skip
        lines += ["", _table([("  check", "value", "expected", ""), *rows])]
    return "\n".join(lines)


# solve


def _solve(args: argparse.Namespace) -> int:
    """`wfr-pde solve`."""
    import wfr_pde as wfr
    from wfr_pde.integrate.time_loop import save_times
    from wfr_pde.storage.files import write_dataset

    out, times = _out_file(args), save_times(_times(args.t))
    target, rho = _problem(args)
    flow = _flow(args.transport_rate, args.reaction_rate, args.order)
    dt = chosen_dt(flow, wfr.KL(target), rho, times) if args.dt is None else args.dt
    records = _records(args.record)
    if args.dry_run:
        return _dry_run_solve(args, target, flow, rho, times, dt)
    if not args.json:
        print(f"{flow!r}\n{rho.grid!r}\ndt = {dt:.6g}{_chosen(args)}")
    partial = out.with_name(out.name + ".partial")
    if args.force:
        shutil.rmtree(partial, ignore_errors=True)
    with _saying_what_was_saved(partial):
        ds = wfr.solve(target, flow, rho, times, dt, record=records, out=partial, rng=args.seed)
    write_dataset(ds, out)
    shutil.rmtree(partial)
    if args.json:
        values = {name: ds[name].values.tolist() for name in ("t", *records)}
        _print_json({"path": str(out), **{key: ds.attrs[key] for key in ("dt", "n_steps", "wall_time")}, **values})
    else:
        print(f"\n{_solution_table(ds, list(records))}\n")
        print(f"{out}: {ds.attrs['n_steps']} steps, {_duration(float(ds.attrs['wall_time']))}")
    return DONE


# truth


def _truth(args: argparse.Namespace) -> int:
    """`wfr-pde truth`."""
    import wfr_pde as wfr
    from wfr_pde.storage.files import write_dataset
    from wfr_pde.truth.certified.certificate import plan

    out, times = _out_file(args), _times(args.t)
    target, start = _distributions(args)
    rates = {"transport_rate": args.transport_rate, "reaction_rate": args.reaction_rate}
    corners = _corners(args, start.ndim)
    boundary = args.boundary.split(",")
    problem: dict[str, Any] = {
        **rates,
        "rtol": args.rtol,
        "box": corners,
        "boundary": boundary[0] if len(boundary) == 1 else boundary,
        "max_cut": args.max_cut,
        "seconds": args.seconds,
        "memory": args.memory,
        "turn": args.turn,
    }
    if args.dry_run:
        return _show_plan(args, plan(target, start, times, **problem))
    check = start.ndim <= 2 if args.cross_check is None else args.cross_check
    ds = wfr.ground_truth(target, start, times, **problem, strict=not args.best, cross_check=check)
    write_dataset(ds, out)
    names = ["kl", "error_l1", "error_kl", *(["disagreement"] if check else [])]
    if args.json:
        values = {name: ds[name].values.tolist() for name in ("t", *names)}
        _print_json({"path": str(out), "rtol": args.rtol, "wall_time": ds.attrs["wall_time"], **values})
    else:
        cells = " × ".join(str(ds.sizes[name]) for name in json.loads(ds.attrs["grid"])["names"])
        print(f"{_solution_table(ds, names)}\n")
        print(f"{out}: {cells} cells, {ds.attrs['n_steps']} steps, {_duration(float(ds.attrs['wall_time']))}")
    return DONE


def _compare(args: argparse.Namespace) -> int:
    """`wfr-pde compare`."""
    from wfr_pde.validation.comparison import table

    args.times = None if args.t is None else _times(args.t)
    ds = cli_compare.run(args)
    if args.json:
        _print_json({**ds.to_dict(data="list"), "path": args.out})
    else:
        print(f"at t = {float(ds['t'][-1]):.6g}:\n{_table(table(ds))}")
    return DONE


def _validate(args: argparse.Namespace) -> int:
    """`wfr-pde validate`."""
    from wfr_pde.validation.verdicts import INCONSISTENT, report

    args.times = None if args.t is None else _times(args.t)
    ds = cli_validate.run(args)
    if args.json:
        _print_json({**ds.to_dict(data="list"), "path": args.out})
    else:
        print(report(ds))
    return CHECK_FAILED if ds.attrs["verdict"] == INCONSISTENT else DONE


def _report(args: argparse.Namespace) -> int:
    """`wfr-pde report`."""
    content = cli_report.run(args)
    if args.json:
        _print_json(content)
    else:
        print(cli_report.summary(content))
    return DONE


def _show_plan(args: argparse.Namespace, content: dict[str, Any]) -> int:
    if args.json:
        _print_json(content)
        return DONE
    box = " × ".join(f"[{low:.4g}, {high:.4g}]" for low, high in zip(content["lower"], content["upper"], strict=True))
    free = content["free_bytes"]
    rows = [
        ("box", box),
        ("cells", ", ".join(" × ".join(map(str, shape)) for shape in content["shapes"])),
        ("graded", ", ".join(content["graded"]) or "no axis"),
        ("steps", f"{content['n_steps']:,}, of order 8"),
        (
            "memory",
            f"{_bytes(content['memory_bytes'])} at most" + ("" if free is None else f" ({_bytes(free)} are free)"),
        ),
        (
            "time",
            f"about {_duration(content['seconds'])} for the first attempt; the budget is {_duration(args.seconds)}",
        ),
    ]
    print(_table(rows))
    return DONE


def _distributions(args: argparse.Namespace) -> tuple[Target, Target]:
    """Target and start."""
    from wfr_pde.targets import Potential, parse_distribution

    start = parse_distribution(args.start)
    try:
        return parse_distribution(args.target) if args.target else Potential(args.potential, start.ndim), start
    except ValueError as error:
        if "ndim" in str(error):
            error.add_note(f"(--start is {start.ndim}-dimensional)")
        raise


def _problem(args: argparse.Namespace) -> tuple[Target, Density]:
    """The target, and the start on its grid."""
    target, start = _distributions(args)
    try:
        return target, _grid(args, target, start).density(start)
    except ValueError as error:
        if "Grid" in str(error):
            error.add_note("(on the command line: --lower, --upper, --shape, --graded, --max-cut)")
        raise


def _chosen(args: argparse.Namespace) -> str:
    return " (chosen: the smallest that the cells resolve; a larger one is faster)" if args.dt is None else ""


def _out_file(args: argparse.Namespace) -> Path:
    """The file to write, checked before anything is computed."""
    if args.out is None and not args.dry_run:
        raise ValueError(f"{args.name_of_command} needs a file to write, such as -o out.nc (or --dry-run)")
    out = Path(args.out or "out.nc")
    if out.suffix != ".nc":
        raise ValueError(f"-o must name a NetCDF file that ends in .nc, got {args.out!r}")
    if out.is_dir():
        raise ValueError(f"-o {args.out} is a directory; give the name of a file that ends in .nc")
    if out.exists() and not (args.force or args.dry_run):
        raise ValueError(f"{args.out} exists: choose another name, or give --force to replace it")
    return out


@contextlib.contextmanager
def _saying_what_was_saved(partial: Path) -> Iterator[None]:
    """Add to an exception what a stopped run left on disk; drop it if that is nothing."""
    from wfr_pde.storage.files import open_run

    try:
        yield
    except (KeyboardInterrupt, OSError, NumericalError) as error:
        with contextlib.suppress(OSError):
            t = float(open_run(partial)["t"][-1])
            failed = isinstance(error, NumericalError)
            then = (
                "with other options give --force, which drops it" if failed else "the same command goes on from there"
            )
            error.add_note(f"the result up to t = {t:.6g} is in {partial}; {then}")
        raise
    except ValueError as error:
        if "holds another run" in str(error) or "was begun by other code" in str(error):
            error.add_note("(on the command line: --force drops it, or give another -o)")
        raise


def _numbers(option: str, text: str, kind: Callable[[str], Any] = float) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        one = "whole numbers such as 128 or 128,96" if kind is int else "numbers such as -4 or -4,-4"
        raise ValueError(f"{option} must be {one}, got {text!r}") from None


def _times(text: str) -> np.ndarray:
    """`start:stop:number` as numpy.linspace has it, or times separated by commas."""
    if ":" not in text:
        return np.array(_numbers("--t", text))
    try:
        start, stop, number = text.split(":")
        return np.linspace(float(start), float(stop), int(number))
    except ValueError:
        raise ValueError(
            "--t must be start:stop:number such as 0:5:51 (51 times from 0 to 5), or times such as 0,0.5,2, "
            f"got {text!r}"
        ) from None


def _grid(args: argparse.Namespace, target: Target, start: Target) -> Grid:
    """The box asked for, or one that covers target and start."""
    from wfr_pde.space.grid import Grid

    d = start.ndim
    shape = [CELLS.get(d, 16)] * d if args.shape is None else _numbers("--shape", args.shape, int)
    boundary = args.boundary.split(",")
    options: dict[str, Any] = {
        "shape": shape * d if len(shape) == 1 else shape,
        "boundary": boundary * d if len(boundary) == 1 else boundary,
        "backend": BACKENDS[args.device],
        "max_cut": args.max_cut,
    }
    corners = _corners(args, d)
    if corners is None:
        return Grid.covering(target, start, graded=args.graded, **options)
    grid = Grid(*corners, **options)
    return grid.graded(target, start) if args.graded else grid


def _corners(args: argparse.Namespace, d: int) -> tuple[list[float], list[float]] | None:
    """The box that was given, if any."""
    if (args.lower is None) != (args.upper is None):
        raise ValueError("--lower and --upper go together: give both corners of the box, or none")
    if args.lower is None:
        if "periodic" in args.boundary:
            raise ValueError("a periodic axis needs its period: give the box with --lower and --upper")
        return None
    corners = [_numbers("--lower", args.lower), _numbers("--upper", args.upper)]
    lower, upper = (corner * d if len(corner) == 1 else corner for corner in corners)
    return lower, upper


def _flow(alpha: float, beta: float, order: int) -> Flow:
    """The scheme: one part alone where the other has rate 0, else Strang, extrapolated to the order."""
    from wfr_pde.flows import Extrapolated, FisherRao, SinkhornKernel, Strang

    reaction, transport = FisherRao(beta), SinkhornKernel(alpha)
    if alpha == 0 and beta == 0:
        raise ValueError("--transport-rate and --reaction-rate are both 0: nothing would move")
    if alpha == 0:
        return reaction
    flow = Strang(reaction, transport) if beta > 0 else transport
    return flow if order == 2 else Extrapolated(flow, order)


def chosen_dt(flow: Flow, energy: Any, like: Density, times: np.ndarray) -> float:
    """The smallest dt that the flow can take and that divides the save intervals.

    Each interval is cut into as many equal steps as the flow's limits allow; an interval shorter than one
    such step makes the solver refuse it with the remedies. Without a limit it is the longest interval.
    """
    lengths = np.diff(times)
    if len(lengths) == 0 or not (lengths > 0).all():
        return 1.0  # no step is made, or the solver refuses the times
    low = flow.limits(energy, like)[0]
    if low == 0:
        return float(lengths.max())
    return float((lengths / np.floor(lengths / low * (1 + 1e-12)).clip(1)).max())


def _records(text: str) -> dict[str, Any]:
    """The functions of `wfr_pde.diagnostics` with these names."""
    import inspect

    from wfr_pde.integrate import diagnostics

    known = {
        name: function
        for name, function in inspect.getmembers(diagnostics, inspect.isfunction)
        if function.__module__ == diagnostics.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters) == ["state", "energy"]
    }
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"--record has no diagnostic {name!r}; there are: {', '.join(known)}")
    return {name: known[name] for name in names}


def _dry_run_solve(
    args: argparse.Namespace, target: Target, flow: Flow, rho: Density, times: np.ndarray, dt: float
) -> int:
    """What a run would cost: refuses what `solve` refuses, and measures one step."""
    import wfr_pde as wfr

    cost = wfr.estimate(target, flow, rho, times, dt, record=_records(args.record), rng=args.seed, written=True)
    grid, seconds, memory, free = rho.grid, cost.seconds, cost.memory, cost.available
    content = {
        "flow": repr(flow), **grid.description(), "cells": grid.size, "dt": dt, "n_steps": cost.n_steps,
        "n_times": len(times), "memory_bytes": memory, "free_bytes": free, "seconds": seconds,
    }  # fmt: skip
    if args.json:
        _print_json(content)
        return DONE
    box = " × ".join(f"[{low:.4g}, {high:.4g}]" for low, high in zip(grid.lower, grid.upper, strict=True))
    rows = [
        ("flow", repr(flow)),
        ("box", f"{box}, {', '.join(grid.boundary)}"),
        ("cells", f"{grid.size:,} ({' × '.join(map(str, grid.shape))})"),
        *(
            ("", f"{axis.name} graded from {axis.widths.min():.3g} to {axis.dx:.3g}")
            for axis in grid.axes
            if not axis.is_uniform
        ),
        ("dt", f"{dt:.6g}{_chosen(args)}"),
        ("steps", f"{cost.n_steps:,} over {len(times)} save times"),
        ("memory", f"{_bytes(memory)} at most" + ("" if free is None else f" ({_bytes(free)} are free)")),
        ("time", f"about {_duration(seconds)} (an estimate: a step and the records measured)"),
    ]
    print(_table(rows))
    return DONE


def _solution_table(ds: xr.Dataset, names: list[str]) -> str:
    """Some of the save times with their records, but for those too large for a line."""
    rows = np.unique(np.linspace(0, ds.sizes["t"] - 1, ROWS).round().astype(int))
    shown = [name for name in names if ds[name][0].size <= 4]
    table = [("t", *shown)]
    for i in rows:
        table.append((f"{float(ds['t'][i]):.6g}", *(_entry(ds[name][i].values) for name in shown)))
    return _table(table)


def _entry(values: np.ndarray) -> str:
    """A record at one time, as text on one line."""
    if values.size == 1:
        return f"{float(values.item()):.6g}"
    return np.array2string(values, precision=5, suppress_small=True, separator=", ").replace("\n", "")


# info


def _info(args: argparse.Namespace) -> int:
    """`wfr-pde info`."""
    import importlib.metadata as metadata
    import platform

    from wfr_pde.numerics.backends.base import backend_names, get_backend
    from wfr_pde.storage.files import commit, versions
    from wfr_pde.storage.source_hash import source_hash

    backends: dict[str, str] = {}
    for name in backend_names():
        try:
            backends[name] = get_backend(name).device
        except BackendError as error:
            backends[name] = f"not available: {error}"
    optional = {}
    for name in OPTIONAL:
        with contextlib.suppress(metadata.PackageNotFoundError):
            optional[name] = metadata.version(name)
    more = {name: metadata.version(name) for name in ("matplotlib", "numba", "sympy", "h5py", "tqdm")}
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    memory = get_backend("numpy").available_memory()
    limits = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        if name in os.environ
    }
    content: dict[str, Any] = {
        "versions": {**versions(), **more, **optional},
        "commit": commit() or None,
        "source_hash": source_hash(),
        "platform": platform.platform(),
        "backends": backends,
        "blas": f"{blas['name']} {blas['version']}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread_limits": limits,
        "free_memory_bytes": memory,
        "missing_extras": [name for name in OPTIONAL if name not in optional],
    }
    if args.json:
        _print_json(content)
    else:
        print(_info_text(content))
    return DONE


def _info_text(content: dict[str, Any]) -> str:
    memory = content["free_memory_bytes"]
    limits = ", ".join(f"{name}={value}" for name, value in content["thread_limits"].items())
    rows = [
        *content["versions"].items(),
        ("commit", content["commit"] or "unknown"),
        ("source hash", content["source_hash"]),
        ("platform", content["platform"]),
        *((f"backend {name}", text) for name, text in content["backends"].items()),
        ("blas", content["blas"]),
        ("threads", f"{content['cpus']} processors" + (f" ({limits})" if limits else "")),
        ("memory", "unknown" if memory is None else f"{_bytes(memory)} are free"),
        ("not installed", ", ".join(content["missing_extras"]) or "nothing"),
    ]
    return _table(rows)


# output


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _print_json(content: Any) -> None:
    """Strict JSON: numbers that are not finite become null."""
    print(json.dumps(_strict(content), indent=2))


def _strict(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return int(content) if isinstance(content, np.integer) else content


def _bytes(number: int) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
