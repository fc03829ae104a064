"""The arguments that describe a problem: target, start, save times, box and the file to write."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.app.cli.distributions import distribution
from wfr_pde.app.cli.written import made_sure_of, netcdf_path

if TYPE_CHECKING:
    from wfr_pde.targets import Target

MOST_TIMES = 10**8  # most times to be saved, as their numbers alone take a gigabyte


def add_problem_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a problem: target, start, save times, box and the file to write."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--potential", metavar="EXPR", help="V in x, y, z, w and r, where pi is proportional to exp(-V)"
    )
    target.add_argument("--target", metavar="SPEC", help="pi as a distribution, or the file of one")
    add = parser.add_argument
    add("--start", metavar="SPEC", required=True, help="the distribution at the first time, or its file")
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
    add(
        "--max-cut",
        type=float,
        default=1e-6,
        metavar="MASS",
        help="mass that the box may cut off; 1 for real walls",
    )
    add("-o", "--out", metavar="OUT.nc", help="file to write; folders are made on the way; needed but for --dry-run")
    add("--dry-run", action="store_true", help="show cells, steps, memory and time, and solve nothing")


def target_and_start(args: argparse.Namespace) -> tuple[Target, Target]:
    """Read the distributions of the target and of the start."""
    from wfr_pde.targets import Potential

    start = distribution(args.start)
    try:
        return distribution(args.target) if args.target else Potential(args.potential, start.ndim), start
    except ValueError as error:
        if "ndim" in str(error):
            error.add_note(f"(--start is {start.ndim}-dimensional)")
        raise


def output_file(args: argparse.Namespace) -> Path:
    """Return the file to write, checked before anything is computed."""
    if args.out is None and not args.dry_run:
        raise ValueError(f"{args.command.NAME} needs a file to write, such as -o out.nc (or --dry-run)")
    out = netcdf_path("out.nc" if args.out is None else args.out)
    if args.dry_run:
        return out
    if out.is_file() and not args.force:
        raise ValueError(f"{args.out} exists: choose another name, or give --force to replace it")
    return made_sure_of("-o", out)


def parse_times(text: str) -> np.ndarray:
    """Read `start:stop:number` as numpy.linspace takes it, or times separated by commas."""
    try:
        if ":" not in text:
            return np.array([float(part) for part in text.split(",")])
        start, stop, number = text.split(":")
        if int(number) > MOST_TIMES:
            raise MemoryError(f"--t asks for {int(number):,} times, more than {MOST_TIMES:,}: use fewer")
        with np.errstate(all="ignore"):
            times = np.linspace(float(start), float(stop), int(number))
        if not np.isfinite(times).all():
            raise ValueError
        return times
    except ValueError:
        raise ValueError(
            "--t must be start:stop:number such as 0:5:51 (51 times from 0 to 5), or times such as 0,0.5,2, all of "
            f"them finite, got {text!r}"
        ) from None


def parse_numbers(option: str, text: str, kind: Callable[[str], Any] = float) -> list[Any]:
    """Read numbers separated by commas, each by `kind`; an error names the `option`."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        one = "whole numbers such as 128 or 128,96" if kind is int else "numbers such as -4 or -4,-4"
        raise ValueError(f"{option} must be {one}, got {text!r}") from None


def box_corners(args: argparse.Namespace, d: int) -> tuple[list[float], list[float]] | None:
    """Read the corners of the box in d dimensions; None where no box is given."""
    if (args.lower is None) != (args.upper is None):
        raise ValueError("--lower and --upper go together: give both corners of the box, or none")
    if args.lower is None:
        if "periodic" in args.boundary:
            raise ValueError("a periodic axis needs its period: give the box with --lower and --upper")
        return None
    corners = [parse_numbers("--lower", args.lower), parse_numbers("--upper", args.upper)]
    lower, upper = (corner * d if len(corner) == 1 else corner for corner in corners)
    return lower, upper
