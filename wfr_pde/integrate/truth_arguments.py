"""Whatever is given as a truth, made a `Truth` once, and the laws that are read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.integrate.stationary import CELLS, Stationary
from wfr_pde.integrate.stationary_product import StationaryProduct
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.integrate.truth_protocol import StatedProblem, Truth
from wfr_pde.numerics.arguments import shown
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

# of the protocol `Truth`, whose absence a message names
MEMBERS = ("times", "at", "log_prob", "score", "sample", "error_l1")


def as_truth(truth: Truth | xr.Dataset | xr.DataTree | Density | Target, target: Target | None = None) -> Truth:
    """Return a `Truth`: a Dataset or tree as a `Trajectory`, a density or target for all times, others as they are.

    Parameters
    ----------
    truth : Dataset, DataTree, Density, Target, or object with the members of `Truth`
    target : Target, optional
        pi, for the interpolation of a Dataset between its save times.

    Raises
    ------
    TypeError
        If it is none of these, with the members that it lacks.
    ValueError
        If a Dataset holds no densities, a distribution fits on no grid, or times do not increase.
    """
    import xarray as xr  # here, as it is slow to load

    if isinstance(truth, xr.Dataset | xr.DataTree):
        return Trajectory(truth, target)  # type: ignore[arg-type]
    if isinstance(truth, Density):
        return Stationary(truth)
    if isinstance(truth, Target):
        return Stationary.of_target(truth) if truth.ndim in CELLS else StationaryProduct(truth)
    missing = [name for name in MEMBERS if not hasattr(truth, name)]
    if missing or isinstance(truth, type):
        lacks = f"the class {truth.__name__}: give one of it" if isinstance(truth, type) else shown(truth)
        raise TypeError(
            "truth must be a Dataset of ground_truth, a Trajectory, a Density, a distribution such as Gaussian(0, 1), "
            f"or an object with {', '.join(MEMBERS)}; got {lacks}"
            + (f", which lacks {', '.join(missing)}" if 0 < len(missing) < len(MEMBERS) else "")
        )
    times: Any = truth.times
    if (
        not isinstance(times, np.ndarray)
        or times.ndim != 1
        or not np.isfinite(times).all()
        or (np.diff(times) <= 0).any()
    ):
        raise ValueError(
            f"the times of a truth must be an array (t,) of finite numbers that increase, as np.array([0, 0.5, 1.0]); "
            f"those of {type(truth).__name__} are {times!r}"
        )
    return truth


def is_stationary(truth: Truth) -> bool:
    """Return whether the law is the same at all times."""
    return len(truth.times) == 0


def start_time(truth: Truth) -> float:
    """Return the time of the start, zero for a law that does not move."""
    return 0.0 if is_stationary(truth) else float(truth.times[0])


def problem_of(truth: Truth) -> StatedProblem:
    """Return what a truth states of its flow; nothing where it has no attribute `problem`."""
    stated: StatedProblem = getattr(truth, "problem", StatedProblem())
    return stated


def law_at(truth: Truth, t: float) -> Density | Particles | ProductLaw:
    """Return the law at a time: a density of mass one, particles, or a product of densities in any dimension.

    Raises
    ------
    TypeError
        If the truth gives something else.
    """
    law = truth.at(t)
    if isinstance(law, Density):
        return law.normalised()
    if isinstance(law, Particles | ProductLaw):
        return law
    raise TypeError(
        f"{type(truth).__name__}.at({t:g}) must return a Density, Particles or a ProductLaw, got "
        f"{type(law).__name__}: for a distribution, grid.density(distribution)"
    )


def density_at(truth: Truth, t: float, what: str) -> Density:
    """Return the density of mass one at a time, for `what`, which is named where there is none.

    Raises
    ------
    TypeError
        If the truth gives particles, or a law in any dimension.
    """
    law = law_at(truth, t)
    if isinstance(law, Density):
        return law
    raise TypeError(
        f"{what} needs a density on a grid, but {type(truth).__name__}.at({t:g}) gives {law!r}: let it return "
        "grid.density(...); for laws that no grid holds there is compare, with metrics that take them"
    )


def start_of(truth: Truth, what: str) -> Target | Density:
    """Return what a truth starts from: what it states, or its first density."""
    start = problem_of(truth).start
    return density_at(truth, start_time(truth), what) if start is None else start
