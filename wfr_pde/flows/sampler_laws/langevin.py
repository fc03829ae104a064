"""The law of one unadjusted Langevin step, on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, FrozenStep, MemoryUse, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION, SinkhornKernel
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

NARROW = 4 * RESOLUTION  # variance over dx² from which on the kernel is a narrow one followed by a heat kernel
TORN = 1e-3  # mass of pi that may be in cells which the drift tears apart further than the kernel is wide


@dataclass(frozen=True)
class LangevinKernel(Flow):
    """The law of X + rate dt score(X) + sqrt(2 rate dt) N(0, I), one step of the unadjusted Langevin algorithm.

        mu'(y) = ∫ mu(x) N(y; x + rate dt score(x), 2 rate dt I) dx

    It is what `samplers.Langevin` does to the law of a particle, at the same dt: what the sampler differs from the W
    flow by is in it, what a finite number of particles adds is not. Of order 1 to the W flow; its equilibrium is not
    pi: for N(0, 1) it is N(0, 1/(1 - rate dt/2)) (Roberts and Tweedie 1996, doi:10.2307/3318418). Sums of positive
    terms only, right in every cell relative to its own value. At no-flux walls the particles are mirrored, on periodic
    axes they wrap.

    The spatial error is spectral where the kernel is resolved, rate dt >= 0.75 dx², which is enforced; where the drift
    tears neighbouring cells apart, more cells are needed, and that is enforced by the mass of pi there. One to three
    dimensions, on the CPU, whatever the backend of the grid.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0: the diffusivity in units of length² / time, where V is in nats.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.

    Examples
    --------
    A step of 0.1 from the target N(0, 1) itself: the variance becomes 0.9² + 0.2, as the algorithm does not keep pi:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0.0, 1.0)
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(target)
    >>> run = wfr.solve(target, wfr.LangevinKernel(), start, [0.0, 0.1], 0.1, record=[wfr.diagnostics.covariance])
    >>> round(float(run["covariance"][-1, 0, 0]), 4)
    1.01
    """

    rate: float = 1.0

    law = Law.W
    order = 1
    factorises = True
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)
    max_ndim = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "LangevinKernel"))

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare a step that moves the cells by the drift, and sums the Gaussians about them.

        Raises
        ------
        ValueError
            If the grid does not resolve the kernel, or the drift tears the cells apart.
        NumericalError
            If the score is not finite in a cell.
        """
        if self.rate == 0:
            return lambda state, rng: state
        from wfr_pde.flows.sampler_laws.gaussian_sums import GaussianSums  # here, as it loads numba

        grid, backend, time = template.grid, template.grid.backend, self.rate * dt
        low = self.dt_bounds(energy, template)[0]
        if dt < low * (1 - 1e-9):
            raise ValueError(
                f"dt={dt:.4g} leaves the kernel of {self!r} unresolved (needs dt >= {low:.4g} on these cells): use a "
                "larger dt or a finer grid"
            )
        score = finite_score(energy, grid)
        stretch = _stretch(energy, grid, score, time)
        smallest = self._unstretched(energy, template) * stretch**2
        if time < smallest * (1 - 1e-9):
            raise ValueError(
                f"dt={dt:.4g} moves neighbouring cells {stretch:.4g} times as far apart as they were, further than the "
                f"kernel of {self!r} is wide: use a smaller dt, or {math.sqrt(smallest / time):.3g} times the cells "
                "per axis"
            )
        narrow = 2 * time if time < NARROW / RESOLUTION * smallest else 4 / 3 * 2 * smallest
        sums = GaussianSums(grid, grid.points() + time * score, narrow)
        rest = grid.heat_kernel(time - narrow / 2) if narrow < 2 * time else None
        log_volume = grid.log_cell_volume if grid.is_uniform else backend.asnumpy(grid.log_cell_volume)

        def step(state: Density, rng: np.random.Generator | None) -> Density:
            moved = backend.asarray(sums.log_density(backend.asnumpy(state.log_values) + log_volume))
            return Density.holding(grid, moved if rest is None else rest.log_product(moved))

        return step

    @override
    def dt_bounds(self, energy: Energy, template: Density) -> tuple[float, float]:
        """Return the dt where rate*dt = 0.75 dx² on the widest cells, as the drift leaves them, and infinity."""
        if self.rate == 0:
            return 0.0, math.inf
        smallest = self._unstretched(energy, template)
        # time >= smallest |e + time slope|²: from the smaller root on, if there is one
        along, square, mass = _slopes(energy, template.grid, finite_score(energy, template.grid))
        half = 0.5 - smallest * along
        real = (half > 0) & (half >= smallest * np.sqrt(square))
        root = np.sqrt(np.where(real, half**2 - smallest**2 * square, 0.0))
        needed = np.where(real, smallest / np.where(real, half + root, 1.0), np.inf)
        low = _exceeded(needed, mass)
        return (max(smallest, low) if low < math.inf else smallest) / self.rate, math.inf

    def _unstretched(self, energy: Energy, template: Density) -> float:
        """Return the smallest rate*dt for cells that stay where they are."""
        return self.rate * SinkhornKernel(self.rate).dt_bounds(energy, template)[0]

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Refuse what every flow does, and also densities of more than three dimensions.

        Raises
        ------
        TypeError, ValueError
        """
        super().check(energy, template)
        if template.ndim > self.max_ndim:
            raise ValueError(f"LangevinKernel works in one to three dimensions, but the grid has {template.ndim} axes")

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the places of the moved cells, twice, and the heat kernels."""
        return MemoryUse(8 * (8 * template.grid.size + sum(n * n for n in template.grid.shape)))


def finite_score(energy: Energy, grid: Grid) -> np.ndarray:
    """Return the score of the target at the cell centres, (*shape, d).

    Raises
    ------
    NumericalError
        If it is not finite in a cell.
    """
    points = grid.points()
    with np.errstate(all="ignore"):
        score = np.asarray(energy.equilibrium.score(points), dtype=np.float64)
    finite = np.isfinite(score).all(axis=-1)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), grid.shape)
        raise NumericalError(
            f"the score of the target is {score[index].tolist()} at {points[index].tolist()}, where the law of a "
            "Langevin step needs it: use a box without that place, or a smoother formula"
        )
    return score


def _slopes(energy: Energy, grid: Grid, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the change of the score per length between neighbouring cells, along the axis and squared, and pi's mass.

    A step of size h makes the distance of the two |e + h slope| = sqrt(1 + 2 h along + h² square) times as large.
    """
    mass = grid.backend.asnumpy(grid.backend.xp.exp(energy.log_equilibrium(grid)) * grid.cell_volume)
    along, square, masses = [], [], []
    for k, axis in enumerate(grid.axes):
        faces = np.diff(axis.centres).reshape([-1 if i == k else 1 for i in range(grid.ndim)])
        lower, upper = (
            tuple(part if i == k else slice(None) for i in range(grid.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        slope = np.diff(score, axis=k) / faces[..., None]
        along.append(slope[..., k].ravel())
        square.append(np.sum(slope**2, axis=-1).ravel())
        masses.append(np.minimum(mass[lower], mass[upper]).ravel())
    return np.concatenate(along), np.concatenate(square), np.concatenate(masses)


def _stretch(energy: Energy, grid: Grid, score: np.ndarray, time: float) -> float:
    """Return how many times as far apart the drift moves neighbouring cells, >= 1, but for `TORN` of the mass of pi."""
    along, square, mass = _slopes(energy, grid, score)
    return math.sqrt(max(1.0, _exceeded(1 + 2 * time * along + time**2 * square, mass)))


def _exceeded(values: np.ndarray, mass: np.ndarray) -> float:
    """Return the value that only cells of mass `TORN` together exceed."""
    order = np.argsort(values)[::-1]
    return float(values[order][np.searchsorted(np.cumsum(mass[order]), TORN)])
