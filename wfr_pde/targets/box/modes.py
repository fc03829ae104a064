"""Modes of a distribution and the mass around them: what the search for a box goes by."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.special import gammaln, ndtri

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.climbing import POINT, climb
from wfr_pde.targets.box.refusals import RUNAWAY, refuse_heavy, refuse_rising
from wfr_pde.targets.box.starting_points import FEW, peaks, quasi_random
from wfr_pde.targets.box.types import Bools, Box, Ints, LogDensity

MAX_MODES = 48  # most modes that are kept, the highest: mixtures of more components may lose some; time grows with it


@dataclass(frozen=True, eq=False)
class Modes:
    """Local maxima of a log-density: `x` (n, d), `value` (n,), and `steps` (n, d, d) at which it drops by half a nat.

    `width` (n,) is the distance, in steps, of the shell around the mode that holds the most mass, and `log_mass` (n,)
    the logarithm of that mass. Places that are not `settled` (n,) were still climbing when the search ended: at a wall,
    or in a long valley.
    """

    x: Array
    value: Array
    steps: Array
    settled: Bools
    width: Array
    log_mass: Array

    def select(self, index: Any) -> Modes:
        """Return the modes at some indices, or those where a mask is true."""
        return Modes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def joined(self, other: Modes) -> Modes:
        """Return these modes followed by the others."""
        return Modes(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__dataclass_fields__)
        )

    def matter(self, bulk: Bulk, tail: float) -> Bools:
        """Tell which modes hold more mass than the tail.

        A place that has not settled may lie on a slope in the tail: it counts only if it is in the midst of the mass.
        """
        limit = np.where(self.settled, np.log(tail) - margin(self.x.shape[1]), -5.0)
        return self.log_mass > bulk.log_mass + limit

    def held(self, bulk: Bulk, tail: float) -> Modes:
        """Return the modes that a box has to hold: the heaviest, and all that matter."""
        heaviest = np.arange(len(self.x)) == np.argmax(self.log_mass)
        return self.select(heaviest | self.matter(bulk, tail))

    def unlike(self, modes: Modes) -> Bools:
        """Tell which of these modes are not among `modes`."""
        known = np.zeros(len(self.x), dtype=bool)
        for x, steps in zip(modes.x, modes.steps, strict=True):
            known |= np.linalg.norm((self.x - x) @ np.linalg.pinv(steps, rtol=1e-300), axis=1) < 1
        return ~known

    def reach_out(self, bulk: Bulk, box: Box, tail: float) -> Bools:
        """Tell which modes would have more than the tail outside of a box if they were Gaussian."""
        deviations = np.sqrt(2 * np.maximum(self.log_mass - bulk.log_mass - np.log(tail), 0.0))
        reach = deviations[:, None] * np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        slack = 0.02 * (box[1] - box[0])
        return np.any((self.x - reach < box[0] - slack) | (self.x + reach > box[1] + slack), axis=1)

    @property
    def covariance(self) -> Array:
        """Covariances (n, d, d) of the Gaussians that drop by half a nat at the steps."""
        return np.swapaxes(self.steps, 1, 2) @ self.steps


@dataclass(frozen=True, eq=False)
class Bulk:
    """Where most of the mass is: the logarithm of the whole mass, and median and spread along each axis.

    The spread is half the length that holds 68 % of the mass.
    """

    log_mass: float
    median: Array
    spread: Array


def find_modes(f: LogDensity, points: Array, offsets: Array) -> Modes:
    """Climb from the highest of some points, and return the modes that are reached."""
    ndim = points.shape[1]
    values = f(points)
    top = peaks(points, offsets, values)[: 2 * FEW]
    scale = np.maximum(np.linalg.norm(offsets[top], axis=1), POINT)
    steps = 0.02 * scale[:, None, None] * np.eye(ndim)
    # Most starts meet soon, so only few have to be carried on to the end.
    x, value, steps, _ = climb(f, points[top], steps, n_rounds=10, tol=1e-3)
    keep = _distinct(x, value, steps, 8 * MAX_MODES)
    keep = keep[value[keep] >= np.max(value, initial=-np.inf) - 500]  # lost in a long valley, deep in a tail
    x, value, steps, settled = climb(f, x[keep], steps[keep], n_rounds=60, tol=1e-3)
    keep = _distinct(x, value, steps, MAX_MODES)
    x, value, steps, settled = x[keep], value[keep], steps[keep], settled[keep]
    # Only the highest counts: lower ones may be lost on a plain far away.
    if value.size and (np.max(np.abs(x[0])) > RUNAWAY or value[0] > 10 * RUNAWAY):
        refuse_rising(x[0], float(value[0]))
    return Modes(x, value, steps, settled, *_shells(f, x, value, steps))


def _distinct(x: Array, value: Array, steps: Array, limit: int) -> Ints:
    """Return the indices of the highest of all points that lie within each other's steps, highest first."""
    order = np.argsort(-value, kind="stable")
    order = order[np.isfinite(value[order])]
    keep: list[int] = []
    while order.size and len(keep) < limit:
        first = int(order[0])
        keep.append(first)
        apart = (x[order] - x[first]) @ np.linalg.pinv(steps[first], rtol=1e-300)
        order = order[np.linalg.norm(apart, axis=1) > 1]
    return np.array(keep, dtype=np.intp)


def _shells(f: LogDensity, x: Array, value: Array, steps: Array) -> tuple[Array, Array]:
    """Find the heaviest shell around each mode: its distance in steps, and the logarithm of its mass.

    Where the density rises again along a ray, towards another mode, it is taken as constant.
    """
    n, ndim = x.shape
    corners = np.array(list(product([-1.0, 1.0], repeat=ndim))) / np.sqrt(ndim)
    rays = np.unique(np.vstack([np.eye(ndim), -np.eye(ndim), corners]), axis=0) @ steps
    # Ratio 4, or more where the steps have shrunk to a point: the shells have to go on beyond RUNAWAY.
    lengths = np.max(np.abs(rays), axis=(1, 2))
    ratio = np.maximum(4.0, (1e3 * RUNAWAY / lengths) ** (1 / 28))[:, None]
    radii = 0.125 * ratio ** np.arange(30)
    values = f(x[:, None, None, :] + radii[:, :, None, None] * rays[:, None])
    values = np.minimum.accumulate(np.minimum(values, value[:, None, None]), axis=1)
    log_volume = np.linalg.slogdet(steps)[1][:, None] + ndim * np.log(radii) + log_sphere(ndim)
    masses = np.logaddexp.reduce(values, axis=2) - np.log(values.shape[2]) + log_volume
    masses += np.log(np.log(ratio))
    heaviest = np.argmax(masses, axis=1)
    width, log_mass = radii[np.arange(n), heaviest], masses[np.arange(n), heaviest]
    if n:
        top = int(np.argmax(log_mass))
        ray = int(np.argmax(values[top, heaviest[top]]))
        shift = width[top] * rays[top, ray]
        if np.max(np.abs(shift)) > RUNAWAY:
            refuse_heavy(x[top] + shift, shift, values[top, heaviest[top], ray], None)
    return width, log_mass


def log_sphere(ndim: int) -> float:
    """Return the logarithm of the surface of the unit sphere in R^d."""
    return float(np.log(2) + ndim / 2 * np.log(np.pi) - gammaln(ndim / 2))


def find_bulk(f: LogDensity, modes: Modes) -> Bulk:
    """Estimate where the mass is by importance sampling from Gaussians at the modes.

    What these Gaussians do not reach is missing: the mass is then an underestimate.
    """
    ndim = modes.x.shape[1]
    modes = modes.select(np.argsort(-modes.log_mass, kind="stable")[:24])
    wide = modes.select(modes.width > 2 * np.sqrt(ndim))
    x = np.concatenate([modes.x, modes.x, wide.x])
    widened = wide.steps * (wide.width / np.sqrt(ndim))[:, None, None]
    steps = np.concatenate([modes.steps, 3 * modes.steps, widened])

    normal = ndtri(quasi_random(64 * ndim, ndim))
    points = (x[:, None, :] + normal @ steps).reshape(-1, ndim)
    inverse = np.linalg.inv(steps)
    scaled = np.einsum("md,mdk->mk", x, inverse)
    distance = np.stack([points @ a - b for a, b in zip(inverse, scaled, strict=True)])
    log_proposals = -0.5 * np.sum(distance**2, axis=2) - np.linalg.slogdet(steps)[1][:, None]
    log_proposal = np.logaddexp.reduce(log_proposals, axis=0) - np.log(len(x)) - ndim / 2 * np.log(2 * np.pi)
    log_weights = f(points) - log_proposal
    log_mass = float(np.logaddexp.reduce(log_weights) - np.log(len(points)))

    weights = np.exp(log_weights - np.max(log_weights))
    order = np.argsort(points, axis=0)
    cumulative = np.cumsum(weights[order], axis=0) / np.sum(weights)
    quantiles = np.array(
        [[points[order[np.searchsorted(cumulative[:-1, i], q), i], i] for i in range(ndim)] for q in (0.16, 0.5, 0.84)]
    )
    # One point may carry all the weight; the heaviest mode is at least as wide as its steps.
    spread = np.maximum((quantiles[2] - quantiles[0]) / 2, np.sqrt(np.diag(modes.covariance[0])))
    return Bulk(log_mass, quantiles[1], spread)


def margin(ndim: int) -> float:
    """Return by how many nats the mass beyond a face has to lie below the tail: one share per face, and safety."""
    # One nat for the mass, half a nat per axis for volumes of slices that are not Gaussian.
    return float(np.log(2 * ndim)) + 1.0 + 0.5 * ndim
