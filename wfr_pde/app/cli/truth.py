"""The command `wfr-pde truth`: a flow solved to a tolerance, with a certified error."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.app.cli.distributions import SPEC
from wfr_pde.app.cli.output import bytes_text, duration_text, print_json, solution_table, text_table
from wfr_pde.app.cli.parser import finite
from wfr_pde.app.cli.problem import add_problem_arguments, box_corners, output_file, parse_times, target_and_start
from wfr_pde.app.exit_codes import DONE
from wfr_pde.numerics.counted import counted

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.targets import Target

PLANNED = 1000  # most save times that a dry run goes through: each of the others costs one step
NAME = "truth"
SUMMARY = "solve a flow to a tolerance, with a certified error"
EXAMPLES = f"""\
The flow is that of `solve`. Box, cells, scheme and steps are chosen such that the L1 error is below rtol at every save
time; what is stored with the density is a bound of that error, error_l1, and of the error of KL. A mode that nothing
of the start or of the potential leads to cannot be certified: give a box that holds it. Products, radial laws, and
Gaussians and mixtures in more than three dimensions are solved factor by factor, and stored as groups of one file.

{SPEC}

examples:
  wfr-pde truth --potential "2*(x**2-1)**2" --start "gaussian(mean=-1, covariance=0.04)" --t 0:5:51 -o well.nc
  wfr-pde truth --target "gaussian(mean=0, covariance=2500)" --rtol 1e-8 -o scales.nc --t 0,0.001,1 \\
      --start "mixture(means=[0,0], weights=[.5,.5], covariances=[2500,0.0025])"
  wfr-pde truth --target "product([double_well(2) * 19, gaussian(0, 1)])" --t 0,0.5,1 -o wells.nc \\
      --start "product([gaussian(0.5, 0.3) * 20])"
  wfr-pde truth ... --dry-run                  cells, steps, memory and time of the first attempt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_problem_arguments(parser)
    add = parser.add_argument
    add("--rtol", type=finite, default=1e-6, help="tolerance of the L1 error (default: %(default)s)")
    add("--seconds", type=float, default=600.0, help="time budget (default: %(default)g)")
    add("--memory", type=float, help="memory budget in GiB (default: what is free)")
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


def run(args: argparse.Namespace) -> int:
    """Certify the solution, write it, and print its errors."""
    import wfr_pde as wfr
    from wfr_pde.storage.files import write_dataset, write_tree

    out, times = output_file(args), parse_times(args.t)
    target, start = target_and_start(args)
    rates = {"transport_rate": args.transport_rate, "reaction_rate": args.reaction_rate}
    corners = box_corners(args, start.ndim)
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
        return _show_plan(args, _planned(target, start, times, problem))
    check = start.ndim <= 2 if args.cross_check is None else args.cross_check
    ds = wfr.ground_truth(target, start, times, **problem, strict=not args.best, cross_check=check)
    if "factors" in ds.attrs:
        write_tree(ds, out)
        return _show_factors(args, ds, out)
    write_dataset(ds, out)
    names = ["kl", "error_l1", "error_kl", *(["disagreement"] if check else [])]
    if args.json:
        values = {name: ds[name].values.tolist() for name in ("t", *names)}
        print_json({"path": str(out), "rtol": args.rtol, "wall_time": ds.attrs["wall_time"], **values})
    else:
        cells = " × ".join(str(ds.sizes[name]) for name in json.loads(ds.attrs["grid"])["names"])
        print(f"{solution_table(ds, names)}\n")
        steps = counted(int(ds.attrs["n_steps"]), "step")
        print(f"{out}: {cells} cells, {steps}, {duration_text(float(ds.attrs['wall_time']))}")
    return DONE


def _show_factors(args: argparse.Namespace, tree: xr.DataTree, out: Path) -> int:
    """Print the errors of the whole law, and what it is made of."""
    names = ["kl", "error_l1", "error_kl"]
    factors = json.loads(tree.attrs["factors"])
    if args.json:
        ds = tree.to_dataset()
        values = {name: ds[name].values.tolist() for name in ("t", *names)}
        about = {"path": str(out), "rtol": args.rtol, "wall_time": tree.attrs["wall_time"], "factors": factors}
        print_json(about | values)
        return DONE
    print(f"{solution_table(tree.to_dataset(), names)}\n")
    rows = [("factor", "times", "kind", "largest error_l1")]
    for name, node in tree.children.items():
        entries = [factor for factor in factors if factor["node"] == name]
        kind = f"{entries[0]['kind']}, {counted(entries[0]['ndim'], 'dimension')}"
        rows.append((name, str(len(entries)), kind, f"{float(node['error_l1'].max()):.3g}"))
    print(f"{text_table(rows)}\n")
    d = sum(factor["ndim"] for factor in factors)
    print(f"{out}: {counted(d, 'dimension')}, {duration_text(float(tree.attrs['wall_time']))}")
    return DONE


def _planned(target: Target, start: Target, times: np.ndarray, problem: dict[str, Any]) -> dict[str, Any]:
    """Plan the first attempt; of very many save times by a thousand of them, as each of the others costs one step.

    Raises
    ------
    MemoryError
        If the densities at all those times would not fit.
    """
    from wfr_pde.truth.certified.certificate import plan

    if len(times) <= PLANNED:
        return plan(target, start, times, **problem)
    from wfr_pde.truth.certified.factored.matching import splits

    if splits(target, start):
        return plan(target, start, times[:: len(times) // PLANNED + 1], **problem)
    some = np.unique(np.linspace(0, len(times) - 1, PLANNED).round().astype(int))
    content = plan(target, start, times[some], **problem)
    steps = content["n_steps"] + len(times) - len(some)
    needed, free = content["memory_bytes"] * len(times) // len(some), content["free_bytes"]
    limit = min(problem["memory"] * 2**30 if problem["memory"] else math.inf, math.inf if free is None else free)
    if needed > limit:
        raise MemoryError(
            f"a certified solution at {len(times):,} times needs about {bytes_text(needed)}, but there are "
            f"{bytes_text(int(limit))}: use fewer save times, a larger --rtol, or a smaller box"
        )
    seconds = content["seconds"] * steps / content["n_steps"]
    return {**content, "n_steps": steps, "memory_bytes": needed, "seconds": seconds}


def _show_plan(args: argparse.Namespace, content: dict[str, Any]) -> int:
    """Print cells, steps, memory and time of the first attempt, or of those of all factors."""
    if args.json:
        print_json(content)
        return DONE
    if "factors" in content:
        rows = [("factor", "times", "cells of the finest grid", "steps", "time")]
        for one in content["factors"]:
            cells = " × ".join(map(str, one["shapes"][-1])) if one["shapes"] else "none: moments"
            times, steps = str(one["copies"]), f"{one['n_steps']:,}"
            rows.append((one["target"], times, cells, steps, f"about {duration_text(one['seconds'])}"))
        print(text_table(rows))
        return DONE
    box = " × ".join(f"[{low:.4g}, {high:.4g}]" for low, high in zip(content["lower"], content["upper"], strict=True))
    free = content["free_bytes"]
    is_free = "" if free is None else f" ({bytes_text(free)} are free)"
    first, budget = duration_text(content["seconds"]), duration_text(args.seconds)
    about = [
        ("box", box),
        ("cells", ", ".join(" × ".join(map(str, shape)) for shape in content["shapes"])),
        ("graded", ", ".join(content["graded"]) or "no axis"),
        ("steps", f"{content['n_steps']:,}, of order 8"),
        ("memory", f"{bytes_text(content['memory_bytes'])} at most{is_free}"),
        ("time", f"about {first} for the first attempt; the budget is {budget}"),
    ]
    print(text_table(about))
    return DONE
