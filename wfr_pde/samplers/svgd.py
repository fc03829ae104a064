"""Stein variational gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.samplers.bandwidths import checked_bandwidth, median_distance
from wfr_pde.samplers.base import Sampler, equally_weighted
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class SVGD(Sampler):
    """Stein variational gradient descent: dX_i = rate/n Σ_j [K(X_j, X_i) score(X_j) + grad_{X_j} K(X_j, X_i)] dt.

    K is the Gaussian kernel exp(-|x - y|² / (2 bandwidth²)). The law of infinitely many particles goes down KL in a
    geometry of its own, that of the kernel, so that speeds are not those of the W flow. Finitely many come to rest, in
    high dimension with too small a variance. One explicit Euler step, of order 1 in dt. A sum over all pairs, in time
    O(n²) and memory O(n).

    Parameters
    ----------
    rate : float
        Speed, >= 0.
    bandwidth : float, optional
        Standard deviation of K along every axis; by default median distance / sqrt(2 log(n + 1)), at every step anew
        (the rule of the paper; for more than 1000 particles, the median over 1000 of them).

    Raises
    ------
    ValueError
        If the bandwidth is not positive, or, in a step, the particles have different weights.

    References
    ----------
    Liu and Wang (2016), arXiv:1608.04471.

    Examples
    --------
    A single particle goes down the gradient of V, here x²/2, in two steps of ½:

    >>> import wfr_pde as wfr
    >>> flow = wfr.samplers.SVGD(bandwidth=1.0)
    >>> ds = wfr.solve(wfr.Gaussian(0, 1), flow, wfr.Particles([[1.0]]), t=[0, 1], dt=0.5)
    >>> ds.position.values[-1].tolist()
    [[0.25]]
    """

    rate: float = 1.0
    bandwidth: float | None = None

    random = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bandwidth", checked_bandwidth(self.bandwidth))

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare an Euler step."""
        target, time = energy.equilibrium, self.rate * dt
        equally_weighted(template, "SVGD")
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            equally_weighted(state, "SVGD")
            from wfr_pde.numerics.compiled.svgd import stein_directions  # here, as it loads numba

            x, n = state.positions, len(state.positions)
            width = self.bandwidth
            if width is None:
                width = median_distance(x) / math.sqrt(2 * math.log(n + 1))
            return self.moved(state, x + time * stein_directions(x, target.score(x), width), None, state.auxiliary)

        return step
