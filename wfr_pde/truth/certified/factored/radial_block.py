"""A block of two laws that depend on the radius alone: the flow of that on the half-line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Radial
from wfr_pde.targets.radial import Radius

if TYPE_CHECKING:
    import xarray as xr

OUTSIDE = 1e-9, 1e-16  # of the tolerance, and at least: mass of target and start beyond the walls of the first box
FREE = 0.2  # of the largest radius: where no mass is below it, zero is no wall of the problem
MARGIN = 1.15  # of the radius of that box, to begin with, and by which it grows
OUTER = 1 / 8  # of the box, whose mass stands for what is beyond
ENOUGH = 1e-3  # of the tolerance, that may be there
ROUNDS = 6  # wider boxes
FACTOR = 4.0  # times what is there counts


def radial_dataset(
    target: Radial, start: Radial, times: Array, rtol: float, solve: Callable[..., xr.Dataset]
) -> xr.Dataset:
    """Solve the flow of the radius between two radial laws, by `solve(target, start, t, box=..., rtol=...)`.

    Where there is mass near zero the wall there is part of the problem, and the outer one is where next to no mass is:
    four times the mass in the outer eighth of the box is added to the bound, and the box is wider where that is much.
    Where all mass is away from zero the problem is one on the line.

    Returns
    -------
    Dataset
        As of `ground_truth`, of r, whose density is normalised on the line.
    """
    laws, far = radius_problem(target, start, rtol)
    if far is None:
        return solve(*laws, times, rtol=rtol, box=None)
    for k in range(ROUNDS):
        found = solve(*laws, times, rtol=rtol * (1 - 10 * ENOUGH), box=([0.0], [far]))
        beyond, nats = _beyond(found, laws, far)
        if beyond.max() <= ENOUGH * rtol or k == ROUNDS - 1:
            break
        far *= MARGIN
    return _with_domain(found, FACTOR * beyond, FACTOR * nats)


def radius_problem(target: Radial, start: Radial, rtol: float) -> tuple[list[Radius], float | None]:
    """Return the laws of the radius, and the outer end of a box from zero, if zero is a wall of the problem."""
    laws = [target.radius, start.radius]
    boxes = [law.box(max(OUTSIDE[0] * rtol, OUTSIDE[1])) for law in laws]
    lowest, highest = min(float(box[0][0]) for box in boxes), max(float(box[1][0]) for box in boxes)
    return laws, None if lowest > FREE * highest else MARGIN * highest


def _beyond(found: xr.Dataset, laws: list[Radius], far: float) -> tuple[Array, Array]:
    """Return the mass in the outer part of the box, and its share of KL, over the times; with that of the laws."""
    r = found["x"].values
    widths = np.diff(found["x_edge"].values) if "x_edge" in found else np.full(len(r), far / len(r))
    outer = r > (1 - OUTER) * far
    logs = found["log_density"].values
    masses = np.exp(logs[:, outer]) * widths[outer]
    pi = laws[0].log_density(r[:, None]) - laws[0].table.log_mass
    nats = np.sum(masses * np.abs(logs[:, outer] - pi[outer]), axis=1)
    tails = sum(float(law.table.weights[law.table.nodes > (1 - OUTER) * far].sum()) for law in laws)
    return masses.sum(axis=1) + tails, nats + tails


def _with_domain(found: xr.Dataset, l1: Array, kl: Array) -> xr.Dataset:
    """Return a solution with an error of its box added."""
    added: dict[str, Any] = {}
    for name, part in (("error_l1", l1), ("error_kl", kl)):
        for each in (name, f"{name}_domain"):
            added[each] = found[each].copy(data=found[each].values + part)
    return found.assign(added)
