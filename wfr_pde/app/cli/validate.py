"""The command `wfr-pde validate`: does a sampler do what it declares?"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.output import print_json
from wfr_pde.app.cli.problem import parse_times
from wfr_pde.app.cli.samples import SAMPLE_SUFFIXES, json_object, load_sampler, problem_of, read_truth
from wfr_pde.app.cli.written import figure_to_write, netcdf_to_write, write_figure
from wfr_pde.app.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

NAME = "validate"
SUMMARY = "a verdict on a sampler: consistent with what it declares, inconsistent, or not enough power to tell"
EXAMPLES = """\
SAMPLES is a file of positions of at least 20 independent runs, or a dotted path: package.module:NAME or file.py:NAME of

  - a Flow, such as wfr_pde.samplers:SMCWFR, or an object that is one; it needs --dt;
  - a function sampler(target, start_positions, times, rng, **options), which gets --dt, if given, as its option `dt`.

--scheme names the Flow that it declares to be, with a step of --dt; by default a Flow is what it says itself. It is
held against the law of that scheme for infinitely many particles, where it has one, else against the truth.

Exit code: 0 consistent, or not enough power to tell; 1 inconsistent.

examples:
  wfr-pde validate truth.nc wfr_pde.samplers:SMCWFR --dt 0.05
  wfr-pde validate truth.nc my_sampler.py:smc --scheme wfr_pde.samplers:SMCWFR --dt 0.05 --n 2000 --figure smc.png
  wfr-pde validate truth.nc samples.npz --scheme my_sampler.py:declared --dt 0.01"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("truth", metavar="TRUTH.nc", help="what `wfr-pde truth` wrote")
    add("samples", metavar="SAMPLES", help="a file, or a dotted path to a sampler")
    add("--scheme", metavar="PATH", help="dotted path to the Flow that the sampler declares to be")
    add("--scheme-options", default="{}", metavar="JSON", help="arguments of the scheme, if it is a class")
    add("--dt", type=float, help="time step")
    add("--n", type=int, default=1000, help="particles of a run (default: %(default)s)")
    add("--seeds", type=int, default=20, help="independent runs, at least 20 (default: %(default)s)")
    add("--seed", type=int, default=0, help="all runs follow from it (default: %(default)s)")
    add("--t", metavar="TIMES", help="start:stop:number, or 0.5,2 (default: at most four of the truth)")
    add("--modes", metavar="JSON", help="places of the modes, such as [[-2,0],[2,0]] (default: those of a mixture)")
    add("--effect", type=float, default=0.2, help="deviation worth finding, in standard deviations (%(default)s)")
    add("--level", type=float, default=0.05, help="share of correct samplers that may fail (default: %(default)s)")
    add("--confirm", action="store_true", help="repeat an accusation with fresh seeds, and print the second verdict")
    add("--options", default="{}", metavar="JSON", help="arguments of the sampler")
    add("--target", metavar="SPEC", help="pi, where the truth does not say it (as for `truth`)")
    add("--start", metavar="SPEC", help="the start, where the truth does not say it")
    add("-o", "--out", metavar="OUT.nc", help="write the Dataset of `validate`; folders are made on the way")
    add("--figure", metavar="FILE", help="draw the deviations (.png, .pdf, ...)")


def run(args: argparse.Namespace) -> int:
    """Test the sampler, and print the verdict."""
    from wfr_pde.validation.verdict import INCONSISTENT, report

    ds = _verdict(args, None if args.t is None else parse_times(args.t))
    if args.json:
        print_json({**ds.to_dict(data="list"), "path": args.out})
    else:
        print(report(ds))
    return CHECK_FAILED if ds.attrs["verdict"] == INCONSISTENT else DONE


def _verdict(args: argparse.Namespace, times: np.ndarray | None) -> xr.Dataset:
    """Reach the verdict; write and draw it where that is asked for.

    Raises
    ------
    ValueError
        For files and names that are not what they should be.
    """
    import wfr_pde as wfr
    from wfr_pde import plotting
    from wfr_pde.storage import files
    from wfr_pde.validation.verdicts import validate

    out, picture = netcdf_to_write(args.out), figure_to_write(args.figure)
    truth = read_truth(args.truth)
    target, start = problem_of(args, truth)
    chosen = json_object("--options", args.options)
    sampler: Any
    if args.samples.endswith(SAMPLE_SUFFIXES):
        sampler = wfr.read_samples(args.samples)
    else:
        sampler = _flow(args.samples, chosen)
        chosen = chosen if not isinstance(sampler, wfr.Flow) else {}
    scheme = None
    if args.scheme is not None:
        scheme = _flow(args.scheme, json_object("--scheme-options", args.scheme_options))
    ds = validate(
        sampler, truth, target, dt=args.dt, n=args.n, seeds=args.seeds, scheme=scheme, start=start, t=times,
        modes=_modes(args.modes), effect=args.effect, level=args.level, rng=args.seed, options=chosen,
        confirm=args.confirm,
    )  # fmt: skip
    if out is not None:
        files.write_dataset(ds, out)
    if picture is not None:
        write_figure(plotting.verdict(ds), picture)
    return ds


def _flow(text: str, chosen: dict[str, Any]) -> Any:
    """Load a Flow, made with the options where a class is named; or a function."""
    import wfr_pde as wfr

    found = load_sampler(text)
    if isinstance(found, type) and issubclass(found, wfr.Flow):
        return found(**chosen)
    return found


def _modes(text: str | None) -> Any:
    """Read the places of modes, a JSON list of points; None where none are given."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--modes must be JSON such as [[-2,0],[2,0]], got {text!r}: {error}") from None
