"""The command `wfr-pde compare`: samples, or a sampler, held against a stored truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.targets import Target

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

The truth is a file that `wfr-pde truth` wrote; it knows its target and start.

examples:
  wfr-pde compare truth.nc samples.npz
  wfr-pde compare truth.nc wfr_pde.samplers:SMCWFR --dt 0.01 --n 500 --seeds 20 --figure smc.png
  wfr-pde compare truth.nc my_sampler.py:ula --n 1000 --options '{"step": 0.01}' -o out.nc"""
CENTRAL = "mean_error,covariance_error,mmd,total_variation"


def options(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("truth", metavar="TRUTH.nc", help="what `wfr-pde truth` or `solve` wrote")
    add("samples", nargs="+", metavar="SAMPLES", help="files, or dotted paths to samplers")
    add("--metrics", default=CENTRAL, metavar="NAMES", help="of wfr_pde.metrics (default: %(default)s)")
    add("--t", metavar="TIMES", help="start:stop:number, or 0,0.5,2 (default: those that truth and samples share)")
    add("--n", type=int, default=500, help="particles of a sampler (default: %(default)s)")
    add("--seeds", type=int, default=10, help="runs of a sampler (default: %(default)s)")
    add("--seed", type=int, default=0, help="the first seed (default: %(default)s)")
    add("--dt", type=float, help="time step, for those of wfr_pde.samplers")
    add("--options", default="{}", metavar="JSON", help="arguments of a sampler")
    add("--target", metavar="SPEC", help="pi, where the truth does not say it (as for `truth`)")
    add("--start", metavar="SPEC", help="the start, where the truth does not say it")
    add("--floor-draws", type=int, default=20, help="sets of independent draws for the floor (default: %(default)s)")
    add("-o", "--out", metavar="OUT.nc", help="write the Dataset of `compare`")
    add("--figure", metavar="FILE", help="draw the metrics over time (.png, .pdf, ...)")


def run(args: argparse.Namespace) -> xr.Dataset:
    """The comparison, written and drawn where that is asked for.

    Raises
    ------
    ValueError
        For files and names that are not what they should be.
    """
    from wfr_pde import plotting
    from wfr_pde.integrate.trajectory import Trajectory
    from wfr_pde.storage import files
    from wfr_pde.validation.comparison import compare

    if args.out is not None and Path(args.out).suffix != ".nc":
        raise ValueError(f"-o must name a NetCDF file that ends in .nc, got {args.out!r}")
    truth = read_truth(args.truth)
    metrics = [_metric(name.strip()) for name in args.metrics.split(",")]
    path = Trajectory(truth)
    times = path.times
    if args.times is not None:  # a sampler starts where the truth does
        times = np.unique(np.append(args.times[args.times > times[0]], times[0]))
    if args.seeds < 1 or args.n < 1:
        raise ValueError(f"--seeds and --n must be at least 1, got {args.seeds} and {args.n}")
    names = [_short(text) for text in args.samples]
    names = [text if names.count(name) > 1 else name for name, text in zip(names, args.samples, strict=True)]
    runs = {name: _runs(text, args, truth, times) for name, text in zip(names, args.samples, strict=True)}
    ds = compare(path, runs, metrics, t=args.times, floor_draws=args.floor_draws, rng=args.seed)
    if args.out is not None:
        files.write_dataset(ds, Path(args.out))
    if args.figure is not None:
        plotting.comparison(ds).savefig(args.figure)
    return ds


def _short(text: str) -> str:
    """Name of a method: that of a function or class, or of a file."""
    return text.rsplit(":", 1)[1] if ":" in text else Path(text).stem


def read_truth(path: str) -> xr.Dataset:
    """What `wfr-pde truth` or `solve` wrote."""
    from wfr_pde.storage import files

    if not Path(path).exists():
        raise ValueError(f"{path} does not exist: `wfr-pde truth ... -o {path}` would make it")
    try:
        ds = files.read_dataset(Path(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no NetCDF file: the truth comes first, then the samples ({error})") from None
    if "log_density" not in ds:
        raise ValueError(f"{path} holds no density (no variable log_density): give what `wfr-pde truth` wrote")
    return ds


def _metric(name: str) -> Any:
    """A metric by its name, with the parameters that it has by default."""
    from wfr_pde import metrics

    names = set()
    for key in metrics.__all__:
        found = getattr(metrics, key)
        if isinstance(found, type):
            try:
                found = found()
            except TypeError:
                continue  # it needs parameters
        if callable(found) and hasattr(found, "name"):
            names.add(str(found.name))
            if name in (key, found.name):
                return found
    raise ValueError(f"--metrics knows {', '.join(sorted(names))}; got {name!r}")


def _runs(text: str, args: argparse.Namespace, truth: xr.Dataset, times: np.ndarray) -> list[xr.Dataset]:
    """The runs that a file holds, or those of a sampler."""
    import wfr_pde as wfr
    from wfr_pde.samplers.external.load_callable import load_callable
    from wfr_pde.samplers.external.read_samples import read_samples
    from wfr_pde.samplers.external.run_sampler import run_sampler

    if text.endswith((".npz", ".nc")):
        return [read_samples(text)]
    try:
        found = load_callable(text)
    except ImportError as error:
        raise ValueError(str(error)) from error
    chosen = json_object("--options", args.options)
    target, start = problem_of(args, truth)
    seeds = range(args.seed, args.seed + args.seeds)
    if not isinstance(found, wfr.Flow) and not (isinstance(found, type) and issubclass(found, wfr.Flow)):
        return [run_sampler(found, target, start, times, args.n, rng=seed, **chosen) for seed in seeds]
    if args.dt is None:
        raise ValueError(f"{text} needs a time step: give --dt")
    flow = found if isinstance(found, wfr.Flow) else found(**chosen)
    return [wfr.solve(target, flow, start.sample(args.n, rng=seed), times, args.dt, rng=seed) for seed in seeds]


def problem_of(args: argparse.Namespace, truth: xr.Dataset) -> tuple[Target, Target]:
    """Target and start: as given, or as the truth says them."""
    from wfr_pde.targets import parse_distribution, stored_distribution

    found = []
    for option, attribute in (("target", "energy"), ("start", "start")):
        text = getattr(args, option)
        try:
            found.append(stored_distribution(truth, attribute) if text is None else parse_distribution(text))
        except ValueError as error:
            if text is not None:
                raise
            raise ValueError(f'{error}: give --{option} "gaussian(mean=-1, covariance=0.04)", or what it is') from None
    return found[0], found[1]


def json_object(option: str, text: str) -> dict[str, Any]:
    """Arguments of a sampler."""
    try:
        chosen = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{option} must be JSON such as '{{\"rate\": 1.0}}', got {text!r}: {error}") from None
    if not isinstance(chosen, dict):
        raise ValueError(f"{option} must be a JSON object such as '{{\"rate\": 1.0}}', got {text!r}")
    return chosen
