"""Reaction by killing and copying particles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.samplers.base import Array, Sampler, equally_weighted
from wfr_pde.samplers.density_ratio import KernelDensity, LogRatio, scott
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles

VARIANTS = ("log-density", "energy")


@dataclass(frozen=True)
class BirthDeath(Sampler):
    """Birth-death dynamics of a fixed number of particles: d_t mu = -rate mu (g - E_mu g), g by a kernel estimate.

    For every particle Λ_i = rate [g_i - mean_j g_j] with g_i = log (K * mu)(X_i) - log pi(X_i), all at the beginning
    of the step. An event happens with probability 1 - exp(-|Λ_i| dt). Events come one after another, in random order:
    where Λ_i > 0, a uniformly chosen other particle is copied over i; where Λ_i < 0, i is copied over a uniformly
    chosen other (Lu, Lu and Nolen 2019, arXiv:1905.09863). Order 1 in dt; for n to infinity the law is that of the
    kernelised dynamics, whose equilibrium is not pi; it is the FR flow as the bandwidth goes to 0 too, or with the true
    g, `Oracle(truth)`.

    Of a density it is the law of a step for n to infinity, exactly: with p = 1 - exp(-|Λ| dt), D = E_mu p where Λ > 0
    and B = E_mu p where Λ < 0,

        mu' = mu (e^-B [e^D - p (e^D - 1)/D])             where Λ > 0,
        mu' = mu (e^(D - B) + p (1 - e^-B)/B)             where Λ < 0:

    who dies is replaced by a draw from the population as it is at that moment, and may have been overwritten before.

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0.
    bandwidth : float, optional
        Standard deviation of the Gaussian kernel K; by default Scott's rule, at every step anew.
    variant : {"log-density", "energy"}
        With "energy", g gets the term K * (mu / (K * mu)) that makes it the variation of the kernelised energy
        ∫ mu log(K * mu / pi) (Lu, Slepčev and Wang 2022, arXiv:2211.00450).
    density : LogRatio, optional
        In place of a kernel estimate: `Oracle(truth)`, `MixtureDensity()`.

    Raises
    ------
    ValueError
        If the bandwidth is not positive, the variant unknown, both a bandwidth and a density are given, or, in a step,
        the particles have different weights.
    """

    rate: float = 1.0
    bandwidth: float | None = None
    variant: str = "log-density"
    density: LogRatio | None = None

    measures = (Particles, Density)

    @property
    def law(self) -> str:  # type: ignore[override]
        """The FR flow if g is the true one."""
        return "fr" if self.density is not None and self.density.knows_time else "own"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(map(repr, VARIANTS))}, got {self.variant!r}")
        if self.density is not None and (self.bandwidth is not None or self.variant != "log-density"):
            raise ValueError(f"density={self.density!r} leaves nothing for bandwidth= and variant= to say: drop them")
        KernelDensity(self.bandwidth)  # checks the bandwidth

    def exact(self) -> FisherRao:
        """The FR flow."""
        return FisherRao(self.rate)

    def with_density(self, density: LogRatio) -> BirthDeath:
        """The same with another `LogRatio`."""
        return BirthDeath(self.rate, density=density)

    def make_step(self, energy: Energy, like: Particles | Density, dt: float) -> Step:
        """The events of one step."""
        self.check(energy, like)
        if isinstance(like, Density):
            return self._law_step(energy, like, dt)
        equally_weighted(like, "BirthDeath")
        if self.rate == 0:
            return lambda state, t, rng=None: state

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            equally_weighted(state, "BirthDeath")
            generator = np.random.default_rng(rng)
            g = self._log_ratio(state, self.frozen_target(energy.at(t + dt / 2)), t + dt / 2)
            return state.resampled(survivors(self.rate * dt * (g - g.mean()), generator))

        return step

    def _law_step(self, energy: Energy, like: Density, dt: float) -> Step:
        """What the events do to the law of infinitely many particles."""
        if self.rate == 0:
            return lambda state, t, rng=None: state
        on_grid = self._log_ratio_on_grid(like.grid)

        def step(state: Density, t: float, rng: np.random.Generator | None = None) -> Density:
            g = on_grid(state, energy.at(t + dt / 2), t + dt / 2)
            expected = self.rate * dt * (g - state.grid.integrate(state.values * g))
            return Density(state.grid, state.log_values + _log_survival(state, expected))

        return step

    def _log_ratio_on_grid(self, grid: Grid) -> Callable[[Density, Energy, float], Any]:
        """g at the cell centres, for infinitely many particles."""
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
        """g at the particles."""
        g = (KernelDensity(self.bandwidth) if self.density is None else self.density)(state, target, t)
        if self.variant == "log-density":
            return g
        from wfr_pde.numerics.compiled.pair_sums import kernel_sums  # here, as it loads numba

        width = scott(state) if self.bandwidth is None else self.bandwidth
        smooth = np.exp(g + target.log_density(state.positions))  # sums of the kernel, at most one
        x = state.positions
        return g + kernel_sums(x, x, state.weights / smooth, width**2)


def _log_survival(state: Density, expected: Any) -> Any:
    """Logarithm of mu'/mu after the events of Λ dt = `expected`; see `BirthDeath`."""
    grid, xp = state.grid, state.grid.backend.xp
    zero = xp.zeros_like(expected)
    chance, mass = -xp.expm1(-xp.abs(expected)), state.values
    deaths, births = (
        float(grid.integrate(mass * xp.where(which, chance, zero))) for which in (expected > 0, expected < 0)
    )
    if not deaths > 0 and not births > 0:
        return zero
    per_death = math.expm1(deaths) / deaths if deaths > 0 else 1.0
    per_birth = -math.expm1(-births) / births if births > 0 else 1.0
    # e^D - p (e^D - 1)/D with p = 1 - e^-|Λ|dt, without a difference: where all die, e^D - (e^D - 1)/D is left
    left = sum(k * deaths**k / math.factorial(k + 1) for k in range(1, 20))
    survives = xp.log(per_death * xp.exp(-xp.abs(expected)) + left) - births
    multiplies = xp.log(math.exp(deaths - births) + chance * per_birth)
    return xp.where(expected > 0, survives, multiplies)


def survivors(expected: Array, rng: np.random.Generator) -> np.ndarray:
    """Whose copy stands at each place (n,) after the events of Λ_i dt = `expected`, one by one in random order."""
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
