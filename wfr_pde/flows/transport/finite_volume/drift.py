"""Steps of the finite-volume chain for a drift that is no gradient: every line has an equilibrium of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.flows.diffusions.coefficients import NODES, diffusion_times
from wfr_pde.flows.diffusions.equation import DiffusionEquation
from wfr_pde.flows.transport.finite_volume.line_sweep import LineSweep
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import checked_scalar, checked_values, total
from wfr_pde.space.density import Density
from wfr_pde.space.grid import CELLS_PER_SLAB, Grid

BETWEEN_CENTRES = 3  # nodes of Gauss's rule from one centre to the next: the equilibrium of a line is right to dx^6


def refuse_zero_diffusivity(values: Array, names: tuple[str, ...], where: str = "") -> None:
    """Refuse an axis along which nothing diffuses: the rise b dx/D of a line's potential is infinite there.

    Raises
    ------
    ValueError
    """
    zero = [k for k, value in enumerate(values) if not value > 0]
    if zero:
        along = f" along the axis {names[zero[0]]!r}" if names else ""
        raise ValueError(
            f"FiniteVolume(drift=...) needs a diffusivity > 0, but it is {values[zero[0]]:g}{along}{where}: "
            "a line without diffusion has no equilibrium; use Advected, which takes zero"
        )


def check_grid_of_drift(grid: Grid) -> None:
    """Refuse grids on which lines have no equilibrium, and devices.

    Raises
    ------
    ValueError
        For periodic axes, or a backend other than numpy.
    """
    if grid.backend.name != "numpy":
        raise ValueError(
            f"FiniteVolume(drift=...) works on the CPU, but the grid is on {grid.backend.name!r}: use backend='numpy'"
        )
    for axis in grid.axes:
        if axis.periodic:
            raise ValueError(
                f"FiniteVolume(drift=...) needs walls, but the axis {axis.name!r} is periodic: the integral of the "
                "drift around it need not be zero, so that a line has no potential that closes; use Advected"
            )


class DriftStep:
    """A step over `dt`: half of the growth, the sweeps along all axes there and back, half of the growth.

    Drift and diffusivity are at rest during the step, the drift as it is in the middle, the diffusivity as its mean:
    a step back undoes one forth, so that the error has even powers of dt. Along axis k a line has the equilibrium

        log pi_k(x_k) = ∫ b_k dx_k / D_k,

    different from line to line and from axis to axis, and the sweep is that of the gradient flow with this log pi.
    """

    def __init__(self, equation: DiffusionEquation, grid: Grid, dt: float, *, flux: str, tolerance: float) -> None:
        self.equation, self.grid, self.dt = equation, grid, dt
        self.chain = flux, tolerance
        self._kept: list[tuple[float, Array, LineSweep]] = []  # of the last step: a drift at rest needs no new rates

    def __call__(self, state: Density, t: float, rng: Any = None) -> Density:
        """Return the state after a step from time `t`."""
        half, log_values = self.dt / 2, state.log_values
        if self.equation.rate is not None:
            log_values = log_values + self._growth(t, half)
        turns = self._turns(t)
        last = len(turns) - 1
        for k in (*range(last), *range(last, -1, -1)):
            time, log_pi, sweep = turns[k]
            log_values = sweep(log_values - log_pi, time if k == last else time / 2) + log_pi
        if self.equation.rate is None:
            return Density.holding(self.grid, log_values, log_mass=state.log_mass)
        log_values = log_values + self._growth(t + half, half)
        return Density.holding(self.grid, log_values, log_mass=state.log_mass or 0.0).normalised()

    def _growth(self, t: float, h: float) -> Array:
        """Return the integral of c from t to t + h in every cell."""
        assert self.equation.rate is not None
        growth = checked_scalar(self.equation.rate, "the growth")
        values = np.empty(self.grid.shape)
        for slab in self.grid.slabs():
            points = self.grid.points(slab)
            values[slab] = total(h * w * growth(points, t + float(x) * h) for x, w in zip(*gauss(NODES), strict=True))
        return values

    def _turns(self, t: float) -> list[tuple[float, Array, LineSweep]]:
        """Return for every axis the time in units of length², log of the lines' equilibria, and the sweep."""
        names = self.grid.names
        times = diffusion_times(self.equation.diffusivity, t, self.dt, self.grid.ndim)
        refuse_zero_diffusivity(times / self.dt, names, f" in the step from t={t:.6g}")
        turns = []
        for k, time in enumerate(times.tolist()):
            log_pi = self._line_equilibria(k, t + self.dt / 2, time / self.dt)
            kept = self._kept[k] if self._kept else None
            if kept is not None and kept[0] == time and np.array_equal(kept[1], log_pi):
                turns.append(kept)
                continue
            try:
                sweep = LineSweep(self.grid, log_pi, k, *self.chain)
                sweep.check(time)
            except ValueError as error:
                raise ValueError(
                    f"in the step from t={t:.6g}, where V is the integral of -drift/diffusivity along {names[k]}: "
                    f"{error}, or a larger diffusivity"
                ) from error
            turns.append((time, log_pi, sweep))
        self._kept = turns
        return turns

    def _line_equilibria(self, k: int, t: float, diffusivity: float) -> Array:
        """Return log pi of every line along axis k, the largest value of a line being zero.

        The integral goes from centre to centre, in two parts where a joint lies between.
        """
        axes, grid = self.grid.axes, self.grid
        ends = np.union1d(axes[k].centres, axes[k].edges[list(axes[k].joints)])
        nodes, weights = gauss(BETWEEN_CENTRES)
        lengths = np.diff(ends)
        along = (ends[:-1, None] + lengths[:, None] * nodes).ravel()
        others = [axis.centres for j, axis in enumerate(axes) if j != k]
        lines = grid.size // axes[k].n
        rises = np.empty((len(lengths), lines))
        block = max(1, CELLS_PER_SLAB // len(along))
        for first in range(0, lines, block):
            numbers = np.arange(first, min(first + block, lines))
            places = np.unravel_index(numbers, [len(centres) for centres in others]) if others else ()
            coordinates = [centres[place] for centres, place in zip(others, places, strict=True)]
            coordinates.insert(k, along[:, None])
            points = np.stack(np.broadcast_arrays(*coordinates), axis=-1).reshape(len(along), len(numbers), grid.ndim)
            b = checked_values(self.equation.drift, points, t, "the drift")[..., k]
            rises[:, numbers] = np.einsum("q,pql->pl", weights, b.reshape(-1, len(nodes), len(numbers)))
        with np.errstate(over="ignore", invalid="ignore"):
            rises *= lengths[:, None] / diffusivity
            log_pi = np.concatenate([np.zeros((1, lines)), np.cumsum(rises, axis=0)])
            log_pi = log_pi[np.searchsorted(ends, axes[k].centres)]
            log_pi -= log_pi.max(axis=0)
        if not np.isfinite(log_pi).all():
            raise ValueError(
                f"the drift over the diffusivity of {diffusivity:.4g} along {axes[k].name} overflows at t={t:.6g}: use "
                "a larger diffusivity, or Advected"
            )
        shape = (axes[k].n, *(axis.n for j, axis in enumerate(axes) if j != k))
        return np.ascontiguousarray(np.moveaxis(log_pi.reshape(shape), 0, k))
