"""Where samplers take g = log(mu/pi) at their particles from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.samplers.base import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles

if TYPE_CHECKING:
    from wfr_pde.integrate.trajectory import Trajectory


OnGrid = Callable[[Density, Energy, float], Any]

PAIRS = 10**8  # half a second
ALONE = 0.1  # share of a sum that is left without a particle's own term, below which pairs are summed
KEPT_BYTES = 2**27  # of densities at the last times


class LogRatio:
    """An estimate of g = log(mu_t/pi) at the particles, up to a constant.

    Attributes
    ----------
    is_exact : bool
        Whether it is the exact g along the flow at any time, rather than that of the particles as they are.
    """

    is_exact = False

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g (n,) at the particles of a state at time `t`; `target` is the energy's at that time."""
        raise NotImplementedError

    def on_grid(self, grid: Grid) -> OnGrid:
        """A function (density, energy, t) -> g at the cell centres: the estimate from infinitely many particles."""
        raise NotImplementedError


def log_gaussian_sums(
    at: Array, sources: Array, log_weights: Array, variance: float, pairs: int, leave_out: np.ndarray | None = None
) -> Array:
    """log Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), shape (n,), over all `pairs` at most, else by way of a grid."""
    from wfr_pde.numerics.compiled import gridded_sums as binned_sums  # here, as they load numba
    from wfr_pde.numerics.compiled import pair_sums  # here, as they load numba

    def by_pairs(rows: Any = slice(None)) -> Array:
        without = None if leave_out is None else leave_out[rows]
        return pair_sums.log_kernel_sums(at[rows], sources, log_weights, variance, leave_out=without)

    if len(at) * len(sources) <= pairs or not binned_sums.affordable(at, sources, variance):
        return by_pairs()
    weights = np.exp(log_weights)
    sums = binned_sums.binned_kernel_sums(at, sources, weights, variance)
    own = np.zeros(len(at))
    if leave_out is not None:
        own = weights[leave_out] * np.exp(-((at - sources[leave_out]) ** 2).sum(axis=1) / (2 * variance))
    alone = np.flatnonzero(~(sums - own > ALONE * sums))  # little is left, with an error of the whole
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.log(sums - own)
    result[alone] = by_pairs(alone)
    return result


@dataclass(frozen=True)
class KernelDensity(LogRatio):
    """From a Gaussian kernel estimate with the particle itself, g_i = log Σ_j w_j K(X_i - X_j) - log pi(X_i).

    The estimate is that of mu convolved with K: biased by O(bandwidth²), and by the particle's own term where there are
    few others. Memory O(n); time O(n²), a sum over all pairs, up to a number of `pairs`, and beyond O(n) by way of a
    grid with four nodes per bandwidth, to a relative error of 2e-4 at most between equally weighted particles (a light
    one, many bandwidths from heavy ones, may err by some per cent).

    Parameters
    ----------
    bandwidth : float, optional
        Standard deviation of K along every axis; by default Scott's rule at every step, n_eff^(-1/(d + 4)) times the
        geometric mean of the standard deviations along the axes.
    pairs : int
        Number of pairs up to which all are summed.

    Raises
    ------
    ValueError
        If the bandwidth is not positive.
    """

    bandwidth: float | None = None
    pairs: int = PAIRS

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth must be a positive standard deviation, got {self.bandwidth}")

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        width = scott(state) if self.bandwidth is None else self.bandwidth
        log_sums = log_gaussian_sums(state.positions, state.positions, state.log_weights, width**2, self.pairs)
        return log_sums - target.log_density(state.positions)

    def on_grid(self, grid: Grid) -> OnGrid:
        """log (K * mu)/pi; without a bandwidth the exact g, as Scott's rule leads to zero with the number."""
        if self.bandwidth is None:
            return _exact
        smooth = self.smoothing(grid)
        volume = grid.log_cell_volume
        return lambda state, energy, t: smooth(state.log_values + volume) - energy.log_equilibrium(grid)

    def smoothing(self, grid: Grid) -> Callable[[Any], Any]:
        """A function log m -> log Σ_j m_j K(x_i - x_j) of masses on the cells, K of integral one.

        Raises
        ------
        ValueError
            If the cells do not resolve K.
        """
        if self.bandwidth is None:
            return lambda log_mass: log_mass - grid.log_cell_volume
        widest = max(axis.dx for axis in grid.axes)
        if self.bandwidth**2 < 2 * RESOLUTION * widest**2 * (1 - 1e-9):
            raise ValueError(
                f"bandwidth={self.bandwidth:.4g} is not resolved by cells of {widest:.4g} (needs at least "
                f"{math.sqrt(2 * RESOLUTION) * widest:.4g}): use a finer grid, or a wider kernel"
            )
        kernel, volume = grid.heat_kernel(self.bandwidth**2 / 2), grid.log_cell_volume
        return lambda log_mass: kernel.log_product(log_mass - volume)


def _exact(state: Density, energy: Energy, t: float) -> Any:
    return energy.first_variation(state)


def scott(state: Particles) -> float:
    """Bandwidth by Scott's rule (1992, doi:10.1002/9780470316849), for the geometric mean of the axes' deviations."""
    deviations = np.sqrt(np.diag(state.covariance()))
    if not np.all(deviations > 0):
        raise ValueError("all particles are at one place, and no bandwidth can be found: give bandwidth=")
    return float(np.exp(np.mean(np.log(deviations))) * state.effective_sample_size ** (-1 / (state.ndim + 4)))


@dataclass(frozen=True)
class MixtureDensity(LogRatio):
    """From the mixture that the particles were drawn from, g_i = log Σ_j w_j N(X_i; Y_j, v I) - log pi(X_i).

    For the Langevin step Y_j = X_j + rate dt score(X_j) and v = 2 rate dt, so that the sum is an unbiased estimate of
    the density of the particles' law. Time and memory as for `KernelDensity`.

    Parameters
    ----------
    self_term : bool
        Whether the sum has the component that the particle itself was drawn from. That one is large, about
        (4 pi rate dt)^(-d/2) / n, and does not know where the particle is: where it rules, weights are powers of pi
        alone.
    pairs : int
        Number of pairs up to which all are summed.

    Raises
    ------
    ValueError
        When called for particles that know no mixture.
    """

    self_term: bool = True
    pairs: int = PAIRS

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        mixture = state.mixture
        if mixture is None:
            raise ValueError(
                "the particles know no mixture that they were drawn from: it comes from a Langevin step right before, "
                "as in Lie(Langevin(), FeynmanKac(density=MixtureDensity()))"
            )
        if not self.self_term and len(mixture.means) < 2:
            raise ValueError("one particle alone has no mixture without its own term: use more, or self_term=True")
        left_out = None if self.self_term else mixture.component
        log_sums = log_gaussian_sums(
            state.positions, mixture.means, mixture.log_weights, mixture.variance, self.pairs, left_out
        )
        return log_sums - target.log_density(state.positions)

    def on_grid(self, grid: Grid) -> OnGrid:
        """The exact g: the mixture of infinitely many is the law itself."""
        return _exact


@dataclass(frozen=True, repr=False)
class Oracle(LogRatio):
    """From the true solution, g_i = log(mu_t/pi)(X_i): what is left of a sampler's error is not that of the density.

    A particle outside the box of the solution takes g from the nearest place inside.

    Parameters
    ----------
    truth : Trajectory
        Of the same problem.
    """

    truth: Trajectory
    _kept: dict[float, Density] = field(default_factory=dict, init=False, compare=False)

    is_exact = True

    def __repr__(self) -> str:
        frames = np.ascontiguousarray(self.truth.ds["log_density"].values)
        return f"Oracle({hashlib.sha256(frames.tobytes()).hexdigest()[:12]})"

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        grid = self.truth.grid
        lower, upper = (np.array([axis.edges[k] for axis in grid.axes]) for k in (0, -1))
        inside = np.clip(state.positions, lower, upper)
        return self._density(t).log_prob(inside) - target.log_density(inside)

    def on_grid(self, grid: Grid) -> OnGrid:
        """The true g at the cell centres, as for particles there."""
        if grid.matches(self.truth.grid):
            return lambda state, energy, t: energy.first_variation(Density(grid, self._density(t).log_values))
        lower, upper = (np.array([axis.edges[k] for axis in self.truth.grid.axes]) for k in (0, -1))
        centres = np.clip(grid.points(), lower, upper)

        def interpolated(state: Density, energy: Energy, t: float) -> Any:
            target: Any = energy.equilibrium
            return grid.backend.asarray(self._density(t).log_prob(centres) - target.log_density(centres))

        return interpolated

    def _density(self, t: float) -> Density:
        """The density at a time; those of the last times are kept, as every run of a comparison asks for the same."""
        if t not in self._kept:
            density = self.truth.at(t)
            while len(self._kept) >= max(1, KEPT_BYTES // density.nbytes):
                self._kept.pop(next(iter(self._kept)))
            self._kept[t] = density
        return self._kept[t]
