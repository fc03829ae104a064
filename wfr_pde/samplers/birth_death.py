"""Reaction by killing and copying particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.birth_death import BirthDeathLaw
from wfr_pde.numerics.arguments import choice, instance
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.bandwidths import checked_bandwidth
from wfr_pde.samplers.base import Sampler, equally_weighted
from wfr_pde.samplers.density_ratio import KernelDensity, LogRatio, OnGrid, scott
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles

VARIANTS = ("log-density", "energy")  # forms of g that are known, by name


@dataclass(frozen=True)
class BirthDeath(Sampler):
    """Birth-death dynamics of a fixed number of particles: d_t mu = -rate mu (g - E_mu g), g by a kernel estimate.

    For every particle Λ_i = rate [g_i - mean_j g_j] with g_i = log (K * mu)(X_i) - log pi(X_i), all at the beginning of
    the step. An event happens with probability 1 - exp(-|Λ_i| dt). Events come one after another, in random order:
    where Λ_i > 0, a uniformly chosen other particle is copied over i; where Λ_i < 0, i is copied over a uniformly
    chosen other. Order 1 in dt; for n to infinity the law is that of the kernelised dynamics, whose equilibrium is not
    pi; it is the FR flow as the bandwidth goes to 0 too, or with the true g, `Oracle(truth)`.

    The law of a step for n to infinity is known exactly: `BirthDeathLaw`. Time O(n² d), memory O(n d). In ten
    dimensions and more a kernel estimate is blind, see `KernelDensity`. Events saturate where |Λ_i| dt is not small:
    the standard deviation of g, and so the error in dt, grows as sqrt(d) where axes are alike.

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0.
    bandwidth : float, optional
        Standard deviation of the Gaussian kernel K; by default Scott's rule, at every step anew, see `KernelDensity`.
    variant : {"log-density", "energy"}
        With "energy", g gets the term K * (mu / (K * mu)) that makes it the variation of the kernelised energy
        ∫ mu log(K * mu / pi).
    density : LogRatio, optional
        In place of a kernel estimate: `Oracle(truth)`, `MixtureDensity()`.

    Raises
    ------
    ValueError
        If the bandwidth is not positive, the variant unknown, both a bandwidth and a density are given, or, in a step,
        the particles have different weights.

    References
    ----------
    Lu, Lu and Nolen (2019), arXiv:1905.09863; for the variant "energy", Lu, Slepčev and Wang (2022), arXiv:2211.00450.

    Examples
    --------
    With the rule for the bandwidth the law of infinitely many particles is the FR flow, up to O(dt): the mean e^-1 at
    t = 1.

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=64)
    >>> flow = wfr.samplers.BirthDeath()
    >>> ds = wfr.solve(target, flow, grid.density(start), t=[0, 1], dt=0.01, record=[wfr.diagnostics.mean])
    >>> round(ds["mean"].values[-1].item(), 3)
    0.369
    """

    rate: float = 1.0
    bandwidth: float | None = None
    variant: str = "log-density"
    density: LogRatio | None = None

    @property
    @override
    def law(self) -> Law:  # type: ignore[override]
        """Limit law: "fr" if g is the true one, else "own"."""
        return Law.FR if self.density is not None and self.density.is_exact else Law.OWN

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        choice("variant", self.variant, VARIANTS)
        if self.density is not None:
            instance("density", self.density, LogRatio, "such as KernelDensity(), MixtureDensity() or Oracle(truth)")
        if self.density is not None and (self.bandwidth is not None or self.variant != "log-density"):
            raise ValueError(f"density={self.density!r} leaves nothing for bandwidth= and variant= to say: drop them")
        object.__setattr__(self, "bandwidth", checked_bandwidth(self.bandwidth))

    @override
    def exact(self) -> FisherRao:
        """Return the FR flow of the same rate."""
        return FisherRao(self.rate)

    @override
    def with_density(self, density: LogRatio) -> BirthDeath:
        return BirthDeath(self.rate, density=density)

    @override
    def law_on_grid(self) -> BirthDeathLaw:
        """Name the law of one step: `BirthDeathLaw` with the g of infinitely many particles."""
        return BirthDeathLaw(self.rate, self._log_ratio_on_grid)

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        equally_weighted(template, "BirthDeath")
        if self.rate == 0:
            return lambda state, t, rng=None: state

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            equally_weighted(state, "BirthDeath")
            generator = np.random.default_rng(rng)
            g = self._log_ratio(state, energy.at(t + dt / 2).equilibrium, t + dt / 2)
            return state.resampled(survivors(self.rate * dt * (g - g.mean()), generator))

        return step

    def _log_ratio_on_grid(self, grid: Grid) -> OnGrid:
        """Return g at the cell centres, for infinitely many particles."""
        density = KernelDensity(self.bandwidth) if self.density is None else self.density
        of_density = density.on_grid(grid)
        if self.variant == "log-density":
            return of_density
        smooth = KernelDensity(self.bandwidth).smoothing(grid)
        volume = grid.log_cell_volume

        def with_own_term(state: Density, energy: Energy, t: float) -> Any:
            ratio = state.log_values - smooth(state.log_values + volume) + volume
            return of_density(state, energy, t) + grid.backend.xp.exp(smooth(ratio))

        return with_own_term

    def _log_ratio(self, state: Particles, target: Any, t: float) -> Array:
        """Return g at the particles."""
        g = (KernelDensity(self.bandwidth) if self.density is None else self.density)(state, target, t)
        if self.variant == "log-density":
            return g
        from wfr_pde.numerics.compiled.pair_sums import kernel_sums  # here, as it loads numba

        width = scott(state) if self.bandwidth is None else self.bandwidth
        smooth = np.exp(g + target.log_density(state.positions))  # sums of the kernel, at most one
        x = state.positions
        return g + kernel_sums(x, x, state.weights / smooth, width**2)


def survivors(expected: Array, rng: np.random.Generator) -> np.ndarray:
    """Draw the events of Λ_i dt = `expected`, one by one in random order.

    Returns
    -------
    array (n,)
        The number of the particle whose copy stands at each place afterwards.
    """
    n = len(expected)
    source = np.arange(n)
    if n == 1:
        return source
    events = np.flatnonzero(rng.random(n) < -np.expm1(-np.abs(expected)))
    rng.shuffle(events)
    others = rng.integers(n - 1, size=len(events))
    others += others >= events  # any but the particle itself
    for i, other in zip(events.tolist(), others.tolist(), strict=True):
        if expected[i] > 0:
            source[i] = source[other]
        else:
            source[other] = source[i]
    return source
