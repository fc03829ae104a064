"""The command `wfr-pde compare`: samples, or a sampler, held against a stored truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.app.cli.output import print_json
from wfr_pde.app.cli.parser import finite, whole
from wfr_pde.app.cli.problem import parse_times
from wfr_pde.app.cli.samples import (
    SAMPLE_SUFFIXES,
    is_flow,
    json_object,
    load_sampler,
    problem_of,
    read_truth,
    with_options,
)
from wfr_pde.app.cli.written import figure_to_write, netcdf_to_write, write_figure
from wfr_pde.app.exit_codes import DONE
from wfr_pde.storage.files import readable

if TYPE_CHECKING:
    import xarray as xr

NAME = "compare"
SUMMARY = "hold samples, or a sampler, against a stored truth"
EXAMPLES = """\
SAMPLES is a file of positions, a dotted path to a sampler, or several of these:

  - .npz with positions (n_t, n, d) or (n_seeds, n_t, n, d), times (n_t,), and log_weights or weights where they differ;
  - .nc in the schema of `solve`;
  - package.module:name or file.py:name, a function
        sampler(target, start_positions, times, rng, **options)
    that yields (t, positions, log_weights or None) at every time, or one of wfr_pde.samplers, such as
    wfr_pde.samplers:SMCWFR, which needs --dt. Options of either: --options '{"name": value}'. A name may also be that
    of an object: my_sampler.py:flow, where the file says flow = Strang(Langevin(), BirthDeath(bandwidth=0.2)).

Dotted paths and files of Python run code: what they name is imported, with all that you may do. Give those you trust.

The truth is a file that `wfr-pde truth` wrote; it knows its target and start.

examples:
  wfr-pde compare truth.nc samples.npz
  wfr-pde compare truth.nc wfr_pde.samplers:SMCWFR --dt 0.01 --n 500 --seeds 20 --figure smc.png
  wfr-pde compare truth.nc my_sampler.py:ula --n 1000 --options '{"step": 0.01}' -o out.nc"""
MOST_RUNS = 1_000_000  # of a sampler
CENTRAL = "mean_error,covariance_error,mmd,total_variation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("truth", metavar="TRUTH.nc", help="what `wfr-pde truth` or `solve` wrote")
    add("samples", nargs="+", metavar="SAMPLES", help="files, or dotted paths to samplers")
    add(
        "--metrics",
        default=CENTRAL,
        metavar="NAMES",
        help="names of wfr_pde.metrics, with commas between (default: %(default)s)",
    )
    add("--t", metavar="TIMES", help="start:stop:number, or 0,0.5,2 (default: those that truth and samples share)")
    add("--n", type=whole, default=500, help="particles of a sampler (default: %(default)s)")
    add("--seeds", type=whole, default=10, help="runs of a sampler (default: %(default)s)")
    add("--seed", type=whole, default=0, help="the first seed (default: %(default)s)")
    add("--dt", type=finite, help="time step, for those of wfr_pde.samplers")
    add("--options", default="{}", metavar="JSON", help="arguments of a sampler")
    add("--target", metavar="SPEC", help="pi, where the truth does not say it (as for `truth`)")
    add("--start", metavar="SPEC", help="the start, where the truth does not say it")
    add("--floor-draws", type=whole, default=20, help="sets of independent draws for the floor (default: %(default)s)")
    add("-o", "--out", metavar="OUT.nc", help="write the Dataset of `compare`; folders are made on the way")
    add("--figure", metavar="FILE", help="draw the metrics over time (.png, .pdf, ...)")


def run(args: argparse.Namespace) -> int:
    """Compare, and print the metrics at the last time."""
    from wfr_pde.metrics.tables import to_text

    ds = _comparison(args, None if args.t is None else parse_times(args.t))
    if args.json:
        print_json({**ds.to_dict(data="list"), "path": args.out})
    else:
        print(f"at t = {float(ds['t'][-1]):.6g}:\n{to_text(ds.isel(t=-1))}")
    return DONE


def _comparison(args: argparse.Namespace, chosen: np.ndarray | None) -> xr.Dataset:
    """Compare at the chosen times, or at those that all share; write and draw it where that is asked for.

    Raises
    ------
    ValueError
        For files and names that are not what they should be.
    """
    from wfr_pde import plotting
    from wfr_pde.integrate.truth_arguments import as_truth
    from wfr_pde.storage import files
    from wfr_pde.validation.comparison import compare

    out, picture = netcdf_to_write(args.out), figure_to_write(args.figure)
    truth = read_truth(args.truth)
    metrics = [_metric(name.strip()) for name in args.metrics.split(",")]
    path = as_truth(truth)
    times = path.times
    if chosen is not None:  # a sampler starts where the truth does
        times = np.unique(np.append(chosen[chosen > times[0]], times[0]))
    _check_sizes(args)
    names = [_short(text) for text in args.samples]
    names = [readable(text) if names.count(name) > 1 else name for name, text in zip(names, args.samples, strict=True)]
    runs = {name: _runs(text, args, truth, times) for name, text in zip(names, args.samples, strict=True)}
    ds = compare(path, runs, metrics, t=chosen, floor_draws=args.floor_draws, rng=args.seed)
    if out is not None:
        files.write_dataset(ds, out)
    if picture is not None:
        write_figure(plotting.comparison(ds), picture)
    return ds


def _check_sizes(args: argparse.Namespace) -> None:
    """Refuse numbers of runs and particles that cannot be, and a step that nothing would take.

    Raises
    ------
    ValueError
    """
    if not (1 <= args.seeds <= MOST_RUNS and args.n >= 1):
        raise ValueError(
            f"--seeds and --n must be at least 1, and --seeds at most {MOST_RUNS:,}, got {args.seeds} and {args.n}"
        )
    samplers = [text for text in args.samples if not text.endswith(SAMPLE_SUFFIXES)]
    if not samplers and json_object("--options", args.options):
        raise ValueError("--options are for samplers, and SAMPLES names files only: leave them out")
    if args.dt is not None and not any(is_flow(load_sampler(text)) for text in samplers):
        raise ValueError(
            "--dt would be taken by none of the SAMPLES: files have no step left to choose, and a function gets its "
            """own by --options, as in '{"step": 0.01}'"""
        )


def _short(text: str) -> str:
    """Name a method after its function, class or file."""
    return text.rsplit(":", 1)[1] if ":" in text else readable(Path(text).stem)


def _metric(name: str) -> Any:
    """Look up a metric by its name, with the parameters that it has by default."""
    from wfr_pde.metrics.by_name import known_metrics

    known = known_metrics()
    if name not in known:
        names = {str(getattr(metric, "name", key)) for key, (_, metric) in known.items()}
        raise ValueError(f"--metrics knows {', '.join(sorted(names))}; got {name!r}")
    return known[name][1]


def _runs(text: str, args: argparse.Namespace, truth: xr.Dataset | xr.DataTree, times: np.ndarray) -> list[xr.Dataset]:
    """Read the runs that a file holds, or make those of a sampler."""
    import wfr_pde as wfr

    if text.endswith(SAMPLE_SUFFIXES):
        return [wfr.read_samples(text)]
    chosen = json_object("--options", args.options)
    found = with_options(text, "--options", chosen)
    target, start = problem_of(args, truth)
    seeds = range(args.seed, args.seed + args.seeds)
    if not is_flow(found):
        return [wfr.run_sampler(found, target, start, times, args.n, rng=seed, **chosen) for seed in seeds]
    if args.dt is None:
        raise ValueError(f"{text} needs a time step: give --dt")
    return [wfr.solve(target, found, start.sample(args.n, rng=seed), times, args.dt, rng=seed) for seed in seeds]
