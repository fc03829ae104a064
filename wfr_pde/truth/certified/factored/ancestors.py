"""Ancestors of the mass: the flow's reversed diffusion from a save time back to the start, and what it meets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.truth.certified.factored.coupled_targets import Coupling, Tilt

LEAST_STEPS = 8
MOST_STEPS = 4096  # of the coarser paths
BLOCKS_PER_REACTION = 2  # blocks of time in 1/beta
LARGEST = 300.0  # exponent of a discount: what is older is one block, and next to nothing


@dataclass(frozen=True)
class Scales:
    """The times in which the flow changes.

    Attributes
    ----------
    start : float
        In which the start loses its shape by transport; infinite without.
    target : float
        In which transport settles on the narrowest scale of the target.
    reaction : float
        1/beta.
    """

    start: float
    target: float
    reaction: float


def time_nodes(end: float, scales: Scales, share: float) -> Array:
    """Return times from 0 to `end`, with steps of about `share` times the scale in which the flow changes there.

    Examples
    --------
    >>> time_nodes(2.0, Scales(0.1, 1.0, 1.0), 0.5).round(2)[[0, 1, 2, -2, -1]]
    array([0.  , 0.05, 0.13, 1.57, 2.  ])
    """
    s = end * np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 4000)])
    longest = min(scales.target, scales.reaction)
    per_time = 1 / np.minimum(np.minimum(s + scales.start, longest), end)
    count = np.concatenate([[0.0], np.cumsum((per_time[1:] + per_time[:-1]) / 2 * np.diff(s))])
    steps = max(LEAST_STEPS, np.ceil(count[-1] / share))
    if not steps <= MOST_STEPS:
        raise NumericalError(
            f"paths of the mass to t={end:g} take {steps:.0f} steps, more than {MOST_STEPS}: ask for an earlier time"
        )
    nodes = np.interp(np.linspace(0, count[-1], int(steps) + 1), count, s)
    nodes[[0, -1]] = 0.0, end
    return nodes


@dataclass(frozen=True)
class Met:
    """What paths of the ancestors met: integrals of exp(-beta (T - s)) r over blocks of time, the latest first.

    Attributes
    ----------
    fine, coarse : array (blocks, points, replicas)
        By steps, and by steps twice as long with the same noise.
    amplified : array (blocks,)
        exp(beta (T - s)) at the earliest time of a block.
    """

    fine: Array
    coarse: Array
    amplified: Array


@dataclass(frozen=True)
class Ancestry:
    """The reversed diffusion dX = alpha (2 grad log m + grad V) dtau + sqrt(2 alpha) dW of m = mu~ exp(-theta c).

    Parameters
    ----------
    truth : Truth
        mu~.
    coupling : Coupling
        log(pi~/pi).
    tilt : Tilt
        theta.
    transport_rate, reaction_rate : float
        alpha, beta.
    """

    truth: Truth
    coupling: Coupling
    tilt: Tilt
    transport_rate: float
    reaction_rate: float

    def met(self, points: Array, nodes: Array, replicas: int, rng: np.random.Generator) -> Met:
        """Follow `replicas` paths from every point (n, d) of the last of the times `nodes` back to the first.

        A step is Heun's, of weak order 2, and the integrals are trapezoidal sums. Without transport nothing moves, and
        theta leaves no residual.

        Raises
        ------
        NumericalError
            If paths run away, as they do where steps are too long.
        """
        end, n = float(nodes[-1]), len(points) * replicas
        if self.transport_rate == 0:
            nothing = np.zeros((1, len(points), 1))
            return Met(nothing, nothing, np.exp([min(self.reaction_rate * end, LARGEST)]))
        start = np.repeat(points, replicas, axis=0)
        noise_scale = np.sqrt(2 * self.transport_rate)
        block = np.zeros(len(nodes) - 1, dtype=int)
        if self.reaction_rate > 0:
            ages = np.minimum(self.reaction_rate * (end - nodes[1:]), LARGEST)
            block = np.unique(np.floor(BLOCKS_PER_REACTION * ages), return_inverse=True)[1]
        sums = np.zeros((2, block.max() + 1, n))
        fine = coarse = start
        slope = self._slope(start, end, end)
        fine_slope = coarse_slope = slope
        for k in range(len(nodes) - 1, 0, -1):
            check_deadline()
            early, late = float(nodes[k - 1]), float(nodes[k])
            middle = (early + late) / 2
            moves = noise_scale * np.sqrt((late - early) / 2) * rng.standard_normal((2, *start.shape))
            with np.errstate(over="ignore", invalid="ignore"):
                for begin, finish, move in ((late, middle, moves[0]), (middle, early, moves[1])):
                    fine, fine_slope, gain = self._step(fine, fine_slope, (begin, finish, end), move)
                    sums[0, block[k - 1]] += gain
                coarse, coarse_slope, gain = self._step(coarse, coarse_slope, (late, early, end), moves[0] + moves[1])
            sums[1, block[k - 1]] += gain
            if not (np.isfinite(fine).all() and np.isfinite(coarse).all() and np.isfinite(sums[:, block[k - 1]]).all()):
                raise NumericalError(f"paths of the mass leave for infinity before t={early:g}")
        first = np.array([nodes[:-1][block == j].min() for j in range(block.max() + 1)])
        amplified = np.exp(np.minimum(self.reaction_rate * (end - first), LARGEST))
        shaped = sums.reshape(2, -1, len(points), replicas)
        return Met(shaped[0], shaped[1], amplified)

    def _slope(self, x: Array, s: float, end: float) -> tuple[Array, Array]:
        """Return the drift (n, d), and the damped residual (n,), at time s."""
        rates = self.transport_rate, self.reaction_rate
        drift, r = self.coupling.met(x, self.truth.score(x, s), rates, self.tilt.at(s))
        return drift, np.exp(-self.reaction_rate * (end - s)) * r

    def _step(
        self, x: Array, slope: tuple[Array, Array], times: tuple[float, float, float], move: Array
    ) -> tuple[Array, tuple[Array, Array], Array]:
        """Take one step back: the new places, drift and residual there, and what the integral gains."""
        begin, finish, end = times
        dt = begin - finish
        drift, r = slope
        ahead, _ = self._slope(x + dt * drift + move, finish, end)
        new = x + dt / 2 * (drift + ahead) + move
        after = self._slope(new, finish, end)
        return new, after, dt / 2 * (r + after[1])
