"""The integral of exp(-V) over a box, for the normaliser of a target of which the cells of a run hold a part only."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target


FIRST_PANELS = 8  # per axis: what stands alone in less than an eighth may be missed until they are halved
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)  # of a panel: order 16
MOST_POINTS = 3e7  # of a quadrature, some seconds of a formula: more is an error
POINTS_AT_ONCE = 2**18  # 2 MiB per coordinate; no number depends on it


def log_integral(target: Target, lower: Array, upper: Array, tolerance: float) -> tuple[float, float]:
    """Compute log ∫ exp(-V) dx over the box [lower, upper]; return it and its change in the last round.

    Gauss-Legendre sums of order 16 on panels. Axis by axis the panels are halved, until that changes nothing by more
    than the tolerance along any; a ridge along which the sum over one axis is smooth needs fine panels along the other
    only. Walls may cut through mass.

    Parameters
    ----------
    target : Target
        At rest.
    lower, upper : arrays (d,)
    tolerance : float
        Of the logarithm.

    Raises
    ------
    NumericalError
        If 3e7 points are not enough, or there is no finite log-density.
    """
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    panels = [FIRST_PANELS] * len(lower)
    value = _log_sum(target, lower, upper, panels)
    while True:
        changes = []
        for k in range(len(panels)):
            finer = [n * (1 + (i == k)) for i, n in enumerate(panels)]
            changes.append(abs(_log_sum(target, lower, upper, finer) - value))
        if not math.isfinite(value):
            raise NumericalError(
                f"{target!r} has no finite log-density in the box from {lower.tolist()} to {upper.tolist()}"
            )
        if max(changes) <= tolerance:
            return value, sum(changes)
        # what changes least may change only because the other axes are not resolved yet: the worst go first
        panels = [n * (1 + (change > 0.1 * max(changes))) for n, change in zip(panels, changes, strict=True)]
        if math.prod(panels) * 2 * len(NODES) ** len(panels) > MOST_POINTS:
            raise NumericalError(
                f"the integral of {target!r} over the box from {lower.tolist()} to {upper.tolist()} still changes by "
                f"{max(changes):.2g} of itself at {MOST_POINTS:.0e} points: give a smaller box, box="
            )
        value = _log_sum(target, lower, upper, panels)


def _log_sum(target: Target, lower: Array, upper: Array, panels: list[int]) -> float:
    """Return log of the quadrature sum of exp(-V) over the nodes of all panels, which goes in pieces."""
    axes = []
    for low, high, n in zip(lower, upper, panels, strict=True):
        width = (high - low) / n
        places = low + width * (np.arange(n)[:, None] + 0.5 + 0.5 * NODES)
        axes.append((places.ravel(), np.log(np.tile(WEIGHTS * width / 2, n))))
    others = [len(places) for places, _ in axes[1:]]
    rows = max(1, POINTS_AT_ONCE // math.prod(others))
    logs = []
    for first in range(0, len(axes[0][0]), rows):
        check_deadline()
        parts = [(places[first : first + rows], weights[first : first + rows]) for places, weights in axes[:1]]
        parts += axes[1:]
        points = np.stack(np.meshgrid(*(places for places, _ in parts), indexing="ij"), axis=-1)
        with np.errstate(all="ignore"):
            values = target.log_density(points)
        for k, (_, weights) in enumerate(parts):
            values = values + weights.reshape([-1 if i == k else 1 for i in range(len(parts))])
        values = np.where(np.isnan(values), -np.inf, values)
        top = float(values.max())
        if top > -math.inf:
            logs.append(top + math.log(float(np.exp(values - top).sum())))
    if not logs:
        return -math.inf
    return max(logs) + math.log(math.fsum(math.exp(each - max(logs)) for each in itertools.chain(logs)))
