"""Estimates of g = log(mu/pi) at particles: from a kernel, from the mixture they were drawn from, from the truth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.integrate.truth_arguments import as_truth, is_stationary, law_at, start_time
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.arguments import flag, whole
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.bandwidths import checked_bandwidth
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.gaussian import Gaussian

if TYPE_CHECKING:
    import xarray as xr

OnGrid = Callable[[Density, Energy, float], Any]

# pairs up to which all are summed, half a second on one core; beyond, a grid is faster, with an error of 2e-4
PAIRS = 10**8
# share of a sum that is left without a particle's own term, below which pairs are summed: ten times the error is left
ALONE = 0.1
KEPT_BYTES = 2**27  # most bytes of densities at the last times that are kept; no number depends on it


class LogRatio(Record):
    """An estimate of g = log(mu_t/pi) at the particles, up to a constant.

    Attributes
    ----------
    is_exact : bool
        Whether it is the exact g along the flow at any time, rather than that of the particles as they are.
    factorises : bool
        Whether g of infinitely many particles is a sum over independent blocks, each with the g of its own.

    Examples
    --------
    An estimate of your own: that particles are uniformly spread, so that g is V up to a constant.

    >>> from dataclasses import dataclass
    >>> import wfr_pde as wfr
    >>> @dataclass(frozen=True)
    ... class Uniform(wfr.samplers.LogRatio):
    ...     def __call__(self, state, target, t):
    ...         return -target.log_density(state.positions)
    >>> Uniform()(wfr.Particles([[0.0], [2.0]]), wfr.Gaussian(0, 1), 0.0).tolist()
    [0.0, 2.0]
    """

    is_exact = False
    factorises = False

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """Return g (n,) at the particles of a state at time `t`; `target` is that of the energy at that time."""
        raise NotImplementedError

    def on_grid(self, grid: Grid) -> OnGrid:
        """Return a function (density, energy, t) -> g at the cells of `grid`: what infinitely many particles give."""
        raise NotImplementedError


def log_gaussian_sums(
    at: Array, sources: Array, log_weights: Array, variance: float, pairs: int, leave_out: np.ndarray | None = None
) -> Array:
    """Return log Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), shape (n,).

    The sum is over all pairs where they are `pairs` at most, else by way of a grid.
    """
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
    """Estimate of g from a Gaussian kernel, with the particle itself: g_i = log Σ_j w_j K(X_i - X_j) - log pi(X_i).

    It is right for mu convolved with K: biased by O(bandwidth²), and by the particle's own term where there are
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

    References
    ----------
    Scott (1992), Multivariate Density Estimation, doi:10.1002/9780470316849, for the bandwidth.

    Examples
    --------
    Two particles far from each other have the same kernel density; V is 0 and 50 nats there:

    >>> import wfr_pde as wfr
    >>> g = wfr.samplers.KernelDensity(bandwidth=1.0)(wfr.Particles([[0.0], [10.0]]), wfr.Gaussian(0, 1), 0.0)
    >>> round(float(g[1] - g[0]), 6)
    50.0
    """

    bandwidth: float | None = None
    pairs: int = PAIRS

    factorises = True  # the Gaussian kernel is a product, and its width the same along every axis

    def __post_init__(self) -> None:
        object.__setattr__(self, "bandwidth", checked_bandwidth(self.bandwidth))
        whole("pairs", self.pairs, 1, "the number of pairs up to which all are summed")

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        width = scott(state) if self.bandwidth is None else self.bandwidth
        log_sums = log_gaussian_sums(state.positions, state.positions, state.log_weights, width**2, self.pairs)
        return log_sums - target.log_density(state.positions)

    @override
    def on_grid(self, grid: Grid) -> OnGrid:
        """Return log (K * mu)/pi; without a bandwidth the exact g, as Scott's rule leads to zero with the number."""
        if self.bandwidth is None:
            return _exact
        smooth = self.smoothing(grid)
        volume = grid.log_cell_volume
        return lambda state, energy, t: smooth(state.log_values + volume) - energy.log_equilibrium(grid)

    def smoothing(self, grid: Grid) -> Callable[[Any], Any]:
        """Return a function log m -> log Σ_j m_j K(x_i - x_j) of masses on the cells of `grid`, with K of integral one.

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
    """Return the bandwidth of Scott's rule, n_eff^(-1/(d + 4)) times the geometric mean of the standard deviations.

    References
    ----------
    Scott (1992), doi:10.1002/9780470316849.
    """
    deviations = np.sqrt(np.diag(state.covariance()))
    if not np.all(deviations > 0):
        raise ValueError("all particles are at one place, and no bandwidth can be found: give bandwidth=")
    return float(np.exp(np.mean(np.log(deviations))) * state.effective_sample_size ** (-1 / (state.ndim + 4)))


@dataclass(frozen=True)
class MixtureDensity(LogRatio):
    """Estimate of g from the mixture that particles were drawn from: g_i = log Σ_j w_j N(X_i; Y_j, v I) - log pi(X_i).

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

    References
    ----------
    Crucinio and Pathiraja (2025), arXiv:2506.05905.

    Examples
    --------
    Langevin moves, weighted by it, follow the WFR flow, whose mean is e^(-2t) here, e^-1 = 0.37 at t = ½:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> flow = wfr.Lie(wfr.samplers.Langevin(), wfr.samplers.FeynmanKac(density=wfr.samplers.MixtureDensity()))
    >>> ds = wfr.solve(target, flow, start.sample(2000, rng=0), t=[0, 0.5], dt=0.05, rng=0)
    >>> particles = wfr.Particles(ds.position.values[-1], ds.log_weight.values[-1])
    >>> bool(abs(particles.mean()[0] - 0.368) < 0.1)
    True
    """

    self_term: bool = True
    pairs: int = PAIRS

    factorises = True

    def __post_init__(self) -> None:
        flag("self_term", self.self_term)
        whole("pairs", self.pairs, 1, "the number of pairs up to which all are summed")

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
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

    @override
    def on_grid(self, grid: Grid) -> OnGrid:
        """Return the exact g: the mixture of infinitely many particles is the law itself."""
        return _exact


@dataclass(frozen=True, eq=False, repr=False)
class Oracle(LogRatio):
    """True g_i = log(mu_t/pi)(X_i), so that what is left of a sampler's error is not that of the density.

    A particle outside the box of the solution takes g from the nearest place inside; outside those of a product, in any
    dimension, block by block. A truth that has no density on a grid is asked for its `log_prob` at the particles,
    wherever they are.

    Parameters
    ----------
    truth : Truth, or Dataset
        The solution of the same problem; for a Dataset, `Trajectory(ds, target)` is closer between its save times.

    Raises
    ------
    TypeError, ValueError
        If it is no truth, or has no density in the coordinates of the particles.

    Examples
    --------
    For N(1, 1) against pi = N(0, 1), log(mu_0/pi) is x - ½:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=64)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 1], dt=1)
    >>> g = wfr.samplers.Oracle(ds)(wfr.Particles([[0.0], [2.0]]), target, 0.0)
    >>> round(float(g[1] - g[0]), 6)
    2.0
    """

    truth: Truth | xr.Dataset
    _truth: Truth = field(init=False, compare=False)
    _kept: dict[float, Density | ProductLaw | None] = field(default_factory=dict, init=False, compare=False)

    is_exact = True
    factorises = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_truth", as_truth(self.truth))
        law_at(self._truth, start_time(self._truth))  # a run on turned axes is refused here

    @override
    def __repr__(self) -> str:
        times = [start_time(self._truth)] if is_stationary(self._truth) else self._truth.times
        digest = hashlib.sha256()
        for t in times:
            for values in _numbers(self._truth.at(float(t))):
                digest.update(np.ascontiguousarray(values).tobytes())
        return f"Oracle({digest.hexdigest()[:12]})"

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        inside = self._inside(state.positions, t)
        return self._log_prob(inside, t) - target.log_density(inside)

    @override
    def on_grid(self, grid: Grid) -> OnGrid:
        """Return the true g at the cell centres, as for particles there."""
        first = self._law(start_time(self._truth))
        points = None if isinstance(first, Density) and grid.matches(first.grid) else grid.points()

        def at_centres(state: Density, energy: Energy, t: float) -> Any:
            law = self._law(t)
            if isinstance(law, Density) and grid.matches(law.grid):
                return energy.first_variation(Density.holding(grid, law.log_values))
            target: Any = energy.equilibrium
            centres = self._inside(grid.points() if points is None else points, t)
            return grid.backend.asarray(self._log_prob(centres, t) - target.log_density(centres))

        return at_centres

    @property
    def known(self) -> Truth:
        """The truth that g is taken of."""
        return self._truth

    def _inside(self, points: Array, t: float) -> Array:
        """Return the nearest places in the box of the solution, or of every block of it, where it has one."""
        law = self._law(t)
        if isinstance(law, Density):
            return _clipped(points, law.grid)
        if law is None:
            return points
        inner = np.array(law.inner(points))
        for block, factor in zip(law.blocks, law.factors, strict=True):
            if isinstance(factor, Density):
                inner[..., block] = _clipped(inner[..., block], factor.grid)
            elif isinstance(factor, RadialLaw):
                lower, upper = factor.density.grid.axes[0].edges[[0, -1]]
                r = np.maximum(np.sqrt(np.sum(inner[..., block] ** 2, axis=-1, keepdims=True)), 1e-300)
                inner[..., block] *= np.clip(r, lower, upper) / r
        return law.outer(inner)

    def _log_prob(self, points: Array, t: float) -> Array:
        """Return log mu_t at points in the box."""
        law = self._law(t)
        return self._truth.log_prob(points, t) if law is None else np.asarray(law.log_prob(points))

    def _law(self, t: float) -> Density | ProductLaw | None:
        """Return the law at a time, if it is a density or a product of such.

        Those of the last times are kept, as every run of a comparison asks for the same.
        """
        if t not in self._kept:
            law = self._truth.at(t)
            kept = law if isinstance(law, Density | ProductLaw) else None
            size = 1 if kept is None else sum(np.asarray(values).nbytes for values in _numbers(kept))
            while len(self._kept) >= max(1, KEPT_BYTES // size):
                self._kept.pop(next(iter(self._kept)))
            self._kept[t] = kept
        return self._kept[t]


def _clipped(points: Array, grid: Grid) -> Array:
    """Return the nearest places in the box of a grid."""
    lower, upper = (np.array([axis.edges[k] for axis in grid.axes]) for k in (0, -1))
    return np.clip(points, lower, upper)


def _numbers(law: Any) -> list[Any]:
    """Return the arrays that a law is made of."""
    if isinstance(law, ProductLaw):
        return [law.rotation, law.shift, *(values for factor in law.factors for values in _numbers(factor))]
    if isinstance(law, Gaussian):
        return [law.mean, law.covariance]
    if isinstance(law, RadialLaw):
        return _numbers(law.density)
    return [values for _, values in law.variables().values()]
