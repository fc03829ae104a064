"""Whether cells along turned axes fit a problem better than those along the given ones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.frame import Frame, given_axes
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.targets.turned import turned, turned_points

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target
    from wfr_pde.truth.certified.problem import Problem


GAIN = 1.5  # times fewer cells for which axes are turned: turned results are harder to read, so that it has to pay
CORRELATED = math.sqrt(1 - GAIN**-2)  # the correlation from which on two principal axes can gain that much
STEP = 1e-4  # of the difference quotient of the score, in local standard deviations: its error is some 1e-8
DRAWS = 200  # for a covariance that is not known: a variance is off by a tenth then
ROUNDS = 200  # of the search for the mode; where it ends before, draws tell the axes


def in_frame(problem: Problem, frame: Frame) -> Problem:
    """Put a problem in the coordinates of a frame."""
    if frame.is_given:
        return problem
    target, start = (turned(each, frame.rotation, frame.centre) for each in (problem.target, problem.start))
    return replace(problem, target=target, start=start)


def principal_axes(problem: Problem, tail: float) -> Frame:
    """Choose the coordinates, given or principal, in which target and start need the fewest cells.

    Tried are the axes of the inverse Hessian of V at the mode nearest to the start, and those of the covariance of the
    target where it can be drawn from. Each is judged by the number of cells that the local scales of target and start
    ask for along its axes (`densities_of_points`), in a box with all but `tail` of both. Turned coordinates are taken
    where they need 1.5 times fewer.

    Parameters
    ----------
    problem : Problem
        One whose target moves is not turned. One with break points along the axes should not be: see `prepared`.
    tail : float

    Raises
    ------
    ValueError
        If target or start have no box.
    """
    d = problem.target.ndim
    if d == 1 or problem.target.moving:
        return given_axes(d)
    candidates = [q for q in _candidates(problem) if q is not None]
    centre = _mode(problem.target, _middle(problem.start))
    if not candidates or centre is None:
        return given_axes(d, f"no axes are turned: no correlation of the target exceeds {CORRELATED:.2f}")
    frames = [Frame(q, centre, "") for q in candidates]
    counts = [_cells_or_none(in_frame(problem, frame), tail) for frame in frames]
    best = int(np.argmin(counts))
    if math.isinf(counts[best]):
        return given_axes(d, "no axes are turned: along its principal axes no box is found")
    own = _cells_or_none(problem, tail)
    said = f"{counts[best]:.3g} cells of one local scale along the principal axes, {own:.3g} along the given ones"
    if own < GAIN * counts[best]:
        return given_axes(d, f"no axes are turned: {said}")
    return replace(frames[best], words=f"axes turned: {said}")


def _cells_or_none(problem: Problem, tail: float) -> float:
    """Return `cells_needed`; infinity where there is no box, or scales are too far apart for a grid."""
    try:
        return cells_needed(problem, tail)
    except ValueError:
        return math.inf


def cells_needed(problem: Problem, tail: float) -> float:
    """Count the cells of one local scale each that a grid in a box of target and start takes."""
    boxes = [each.box(tail) for each in (problem.target, problem.start)]
    lower, upper = np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
    densities = densities_of_points([problem.target, problem.start], lower, upper, [False] * len(lower))
    counts = []
    for low, high, density in zip(lower, upper, densities, strict=True):
        places = np.linspace(low, high, 4097)
        counts.append(float(np.trapezoid(density(places), places)))
    return math.prod(counts)


def _candidates(problem: Problem) -> list[Array | None]:
    """Return the axes of the covariances that are known, as far as these are correlated."""
    target = problem.target
    covariances = [_covariance_at_mode(target, _middle(problem.start)), _covariance_of_draws(target)]
    return [None if each is None else _axes(each) for each in covariances]


def _middle(start: Target) -> Array:
    """Return the mean of the start; the middle of its box where that is not known."""
    known = start.moments()
    if known is not None:
        return np.asarray(known[0])
    lower, upper = start.box(1e-2)
    return np.asarray((lower + upper) / 2)


def _axes(covariance: Array) -> Array | None:
    """Return the eigenvectors by falling variance, their largest entries positive; None if nothing is correlated."""
    sd = np.sqrt(covariance.diagonal())
    correlations = covariance / np.outer(sd, sd) - np.eye(len(sd))
    if not np.abs(correlations).max() > CORRELATED:
        return None
    _, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    # the new axes in the order of the old ones that they are nearest to, as far as these differ
    order = np.argsort(largest, kind="stable") if len(set(largest.tolist())) == len(sd) else np.arange(len(sd))
    vectors = vectors[:, order]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(sd))])
    return np.asarray(vectors * signs)


def _mode(target: Target, begin: Array) -> Array | None:
    """Find the mode that a descent of V from a place runs into."""
    from scipy.optimize import minimize

    def potential(x: Any) -> float:
        return -float(target.log_density(x))

    def slope(x: Any) -> Any:
        return -target.score(x)

    with np.errstate(all="ignore"):
        found: Any = minimize(potential, begin, jac=slope, method="BFGS", options={"maxiter": ROUNDS})
    return np.asarray(found.x) if np.isfinite(found.x).all() and np.isfinite(found.fun) else None


def _covariance_at_mode(target: Target, begin: Array) -> Array | None:
    """Return the inverse of the Hessian of V at the mode, where that is positive definite."""
    check_deadline()
    mode = _mode(target, begin)
    if mode is None:
        return None
    d = len(mode)
    axes, scales = np.eye(d), np.full(d, 1e-3)
    for _ in range(3):  # steps along the axes of the last Hessian, in proportion to its scales: any ratio of them
        steps = STEP * scales * axes
        with np.errstate(all="ignore"):
            change = np.stack([target.score(mode - s) - target.score(mode + s) for s in steps.T]) / 2
        inner = change @ axes / (STEP * scales)[:, None]
        inner = (inner + inner.T) / 2
        if not np.isfinite(inner).all():
            return None
        values, vectors = np.linalg.eigh(inner)
        if values.min() <= 0:
            return None
        axes, scales = axes @ vectors, values**-0.5
    return np.asarray(axes * scales**2 @ axes.T)


def _covariance_of_draws(target: Target) -> Array | None:
    """Return the covariance that is known, or that of draws, where the target has any."""
    known = target.moments()
    if known is not None:
        return np.asarray(known[1])
    try:
        draws = target.sample(DRAWS, 0)
    except (NotImplementedError, ValueError):
        return None
    return np.cov(turned_points(draws, np.eye(target.ndim), draws.mean(axis=0)), rowvar=False)
