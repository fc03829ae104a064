"""The command `wfr-pde solve`: a flow with given cells and steps, stored as NetCDF."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.app.cli.distributions import SPEC
from wfr_pde.app.cli.output import bytes_text, duration_text, print_json, solution_table, text_table
from wfr_pde.app.cli.parser import finite, whole
from wfr_pde.app.cli.problem import (
    add_problem_arguments,
    box_corners,
    output_file,
    parse_numbers,
    parse_times,
    target_and_start,
)
from wfr_pde.app.complaints import notes
from wfr_pde.app.exit_codes import DONE
from wfr_pde.errors import NumericalError
from wfr_pde.numerics.counted import counted

if TYPE_CHECKING:
    from wfr_pde.flows import Flow
    from wfr_pde.space.density import Density
    from wfr_pde.space.grid import Grid
    from wfr_pde.targets import Target

NAME = "solve"
SUMMARY = "solve a flow and store it as NetCDF"
EXAMPLES = f"""\
The flow is d_t mu = alpha div(mu grad g) - beta mu (g - E_mu g) with g = log(mu/pi), where alpha is the
transport rate and beta the reaction rate; with one of them 0 the other part runs alone. The scheme is a
Strang splitting of FisherRao and SinkhornKernel, extrapolated to the order asked for.

Without --dt, the step is the smallest that the cells resolve and that divides the save intervals: the error
in time is then the smallest that this grid allows. A larger dt is faster.

What is done is kept in OUT.partial while it runs; if it is stopped, the same command goes on from there.

{SPEC}

examples:
  wfr-pde solve --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o well.nc
  wfr-pde solve --target "mixture(means=[[-2,0],[2,0]], weights=[.3,.7], covariances=0.25)" \\
      --start "gaussian(mean=[-2,0], covariance=0.16)" --t 0:5:51 --shape 128,96 --record kl,mass -o mix.nc
  wfr-pde solve --potential "cos(x)" --start "potential('-3*cos(x)')" --lower 0 --upper 6.283185307179586 \\
      --boundary periodic --t 0,0.5,1,2 --reaction-rate 0 -o ring.nc
  wfr-pde solve --target "gaussian(mean=0, covariance=1)" --start "gaussian(mean=1, covariance=0.0004)" \\
      --t 0:1:5 --graded -o scales.nc
  wfr-pde solve --target "double_well(2)" --start well.nc@0.5 --t 0.5:5:10 -o later.nc        from a stored density on
  wfr-pde solve ... --dry-run                  cells, steps, memory and time, without solving"""
# backend of the grid, by device
BACKENDS = {
    "cpu": "numpy",
    "cuda": "cupy",
    "cpu:single": "numpy:single",
    "cuda:single": "cupy:single",
}
CELLS = {1: 256, 2: 128, 3: 64, 4: 24}  # default number of cells per axis, by dimension: at most 331,776 in all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_problem_arguments(parser)
    add = parser.add_argument
    add("--shape", metavar="N,M,...", help="cells per axis (default: 256 in 1D, 128 in 2D, 64 in 3D)")
    add(
        "--graded",
        action="store_true",
        help="grade the cells by the local scales of target and start: worth it where those differ tenfold and more",
    )
    add("--dt", type=finite, help="largest time step (default: the smallest that the cells resolve)")
    add("--order", type=whole, default=6, choices=(2, 4, 6, 8), help="order in time (default: %(default)s)")
    add(
        "--record",
        default="kl,mean",
        metavar="NAMES",
        help="diagnostics at every save time (default: %(default)s)",
    )
    add("--device", default="cpu", choices=tuple(BACKENDS), help="default: %(default)s")
    add("--seed", type=whole, help="stored with the result (these flows draw no random numbers)")
    add("--force", action="store_true", help="replace OUT.nc, and drop what a stopped run left")


def run(args: argparse.Namespace) -> int:
    """Solve the flow, write it, and print its records."""
    import wfr_pde as wfr
    from wfr_pde.integrate.memory import stored_bytes
    from wfr_pde.integrate.save_times import save_times
    from wfr_pde.storage.disk_space import warn_of_space
    from wfr_pde.storage.files import write_dataset

    out, times = output_file(args), save_times(parse_times(args.t))
    target, rho = _problem(args)
    flow = _flow(args.transport_rate, args.reaction_rate, args.order)
    dt = chosen_dt(flow, wfr.KL(target), rho, times) if args.dt is None else args.dt
    records = _records(args.record)
    if args.dry_run:
        return _dry_run(args, target, flow, rho, times, dt)
    if not args.json:
        print(f"{flow!r}\n{rho.grid!r}\ndt = {dt:.6g}{_chosen(args)}")
    partial = out.with_name(out.name + ".partial")
    if args.force:
        shutil.rmtree(partial, ignore_errors=True)
    frames = stored_bytes(rho, len(times))
    warn_of_space(
        out, 2 * frames, enough=frames
    )  # the pieces, and the file that is made of them; `solve` knows the former
    with _saying_what_was_saved(partial):
        ds = wfr.solve(target, flow, rho, times, dt, record=records, out=partial, rng=args.seed)
        write_dataset(ds, out)
    shutil.rmtree(partial)
    if args.json:
        values = {name: ds[name].values.tolist() for name in ("t", *records)}
        print_json({"path": str(out), **{key: ds.attrs[key] for key in ("dt", "n_steps", "wall_time")}, **values})
    else:
        print(f"\n{solution_table(ds, list(records))}\n")
        print(f"{out}: {counted(int(ds.attrs['n_steps']), 'step')}, {duration_text(float(ds.attrs['wall_time']))}")
    return DONE


def _dry_run(args: argparse.Namespace, target: Target, flow: Flow, rho: Density, times: np.ndarray, dt: float) -> int:
    """Print what a run would cost: refuse what `solve` refuses, and measure one step."""
    import wfr_pde as wfr

    cost = wfr.estimate(target, flow, rho, times, dt, record=_records(args.record), rng=args.seed, written=True)
    grid, seconds, memory, free = rho.grid, cost.seconds, cost.memory, cost.available
    content = {
        "flow": repr(flow), **grid.description(), "cells": grid.size, "dt": dt, "n_steps": cost.n_steps,
        "n_times": len(times), "memory_bytes": memory, "free_bytes": free, "seconds": seconds,
    }  # fmt: skip
    if args.json:
        print_json(content)
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
        ("steps", f"{cost.n_steps:,} over {counted(len(times), 'save time')}"),
        ("memory", f"{bytes_text(memory)} at most" + ("" if free is None else f" ({bytes_text(free)} are free)")),
        ("time", f"about {duration_text(seconds)} (an estimate: a step and the records measured)"),
    ]
    print(text_table(rows))
    return DONE


def _problem(args: argparse.Namespace) -> tuple[Target, Density]:
    """Return the target, and the start on its grid."""
    target, start = target_and_start(args)
    try:
        return target, _grid(args, target, start).density(start)
    except ValueError as error:
        if "Grid" in str(error):
            error.add_note("(on the command line: --lower, --upper, --shape, --graded, --max-cut)")
        raise


def _grid(args: argparse.Namespace, target: Target, start: Target) -> Grid:
    """Make a grid of the box that is given, or of one that covers target and start."""
    from wfr_pde.space.grid import Grid

    d = start.ndim
    shape = [CELLS.get(d, 16)] * d if args.shape is None else parse_numbers("--shape", args.shape, int)
    boundary = args.boundary.split(",")
    options: dict[str, Any] = {
        "shape": shape * d if len(shape) == 1 else shape,
        "boundary": boundary * d if len(boundary) == 1 else boundary,
        "backend": BACKENDS[args.device],
        "max_cut": args.max_cut,
    }
    corners = box_corners(args, d)
    if corners is None:
        return Grid.covering(target, start, graded=args.graded, **options)
    grid = Grid(*corners, **options)
    return grid.graded(target, start) if args.graded else grid


def _flow(alpha: float, beta: float, order: int) -> Flow:
    """Make the scheme: one part alone where the other has rate 0, else Strang, extrapolated to the order."""
    from wfr_pde.flows import Extrapolated, FisherRao, SinkhornKernel, Strang

    reaction, transport = FisherRao(beta), SinkhornKernel(alpha)
    if alpha == 0 and beta == 0:
        raise ValueError("--transport-rate and --reaction-rate are both 0: nothing would move")
    if alpha == 0:
        return reaction
    flow = Strang(reaction, transport) if beta > 0 else transport
    return flow if order == 2 else Extrapolated(flow, order)


def chosen_dt(flow: Flow, energy: Any, like: Density, times: np.ndarray) -> float:
    """Return the smallest dt that the flow can take and that divides the save intervals.

    Each interval is cut into as many equal steps as the flow's limits allow; an interval shorter than one
    such step makes the solver refuse it with the remedies. Without a limit it is the longest interval.
    """
    lengths = np.diff(times)
    if len(lengths) == 0 or not (lengths > 0).all():
        return 1.0  # no step is made, or the solver refuses the times
    low = flow.dt_bounds(energy, like)[0]
    if low == 0:
        return float(lengths.max())
    return float((lengths / np.floor(lengths / low * (1 + 1e-12)).clip(1)).max())


def _chosen(args: argparse.Namespace) -> str:
    """Write the words that say that dt was chosen; none if it was given."""
    return " (chosen: the smallest that the cells resolve; a larger one is faster)" if args.dt is None else ""


def _records(text: str) -> dict[str, Any]:
    """Look up the functions of `wfr_pde.diagnostics` with these names."""
    from wfr_pde.integrate.records import known_records

    known = known_records()
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"--record has no diagnostic {name!r}; there are: {', '.join(known)}")
    return {name: known[name] for name in names}


@contextlib.contextmanager
def _saying_what_was_saved(partial: Path) -> Iterator[None]:
    """Add to an exception what a stopped run left on disk; drop it if that is nothing."""
    from wfr_pde.storage.run_directory import open_run

    try:
        yield
    except (KeyboardInterrupt, OSError, NumericalError) as error:
        if "goes on from there" in notes(error):
            raise
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
