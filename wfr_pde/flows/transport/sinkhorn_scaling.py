"""The symmetric Sinkhorn normalisation of a heat kernel, on two and more grids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.axis import Axis
from wfr_pde.errors import NumericalError
from wfr_pde.flows.transport.heat_kernel import HeatKernel
from wfr_pde.grid import Grid
from wfr_pde.nested import local_weights

MAX_ROUNDS = 200
NEAR = 10.0  # times rounding, from which a residual need not fall further

COARSEST = 0.25  # smallest time / dx² on a coarser grid: its sampled Gaussian aliases like e^(-4 pi² 0.25) = 5e-5
FACTOR = 2.0  # by which cells get wider at most
SHARE = 0.36  # of the cells: a coarser grid with more of them costs what it saves, and one axis never has one
PIECES = 8  # of a chunk: a grid with fewer cells has no coarser one, which would have few cells and as many calls
DOWN_NODES = 4
UP_NODES = 8
ROWS = 64  # of a block of an interpolation

SLOW = 0.25  # of the residual before: with the coarser grid's products, 5.8 per product are better
NESTED = 1e-3  # residual to which the equation is solved on coarser grids, for the start
LINEAR_STEPS = 3  # of Chebyshev iteration for that, where there is no further grid
INNER = 0.02  # share of an error that the coarser grid leaves behind
AMPLITUDE = 1e-4  # nats of a correction on the coarser grid: nearly linear, and far above rounding


def sinkhorn_scaling(kernel: HeatKernel, log_pi: Any) -> Any:
    """log d with d ∘ G(d ∘ s) = s, s = sqrt(pi).

    In w = log(d s) the equation is w + log G e^w = log pi. The derivative of its left side is 1 + P, P a Markov
    operator, self-adjoint in L²(pi), with eigenvalues in [0, 1] and near 0 on what varies from cell to cell. So

        (1 + P)⁻¹ r ≈ r + I ((1 + P_c)⁻¹ - 1) R r

    with P_c of the heat kernel of the same time on a coarser grid, R and I interpolation to it and back: what I has
    to take up, -P (1 + P)⁻¹ r, is as smooth as the kernel, and even at no-flux walls. The error falls 10 to 1000
    times per product, the faster the longer the time. The start w = log pi - I (log G_c e^w_c) is from the coarser
    grid too, and that grid is treated in the same way. Where there is none, or it does not serve, Chebyshev
    iteration goes on from there, at 5.8 per product. It always starts from d = 1, so that the result has no history.
    (Brandt 1977, doi:10.1090/S0025-5718-1977-0431719-X, for coarser grids and the full approximation scheme.)

    Raises
    ------
    NumericalError
        If the residual does not reach rounding.
    """
    grid, xp = kernel.grid, kernel.grid.backend.xp
    # a logarithm of size |log s| is itself known to eps |log s|
    largest = 0.5 * float(xp.maximum(xp.abs(grid.min(log_pi)), xp.abs(grid.max(log_pi))))
    rounding = float(np.finfo(np.float64).eps) * (4 + largest)
    level = _Level(kernel)
    log_w, residual = level.solve(level.start(log_pi), log_pi, rounding)
    if not residual <= NEAR * rounding:
        raise NumericalError(
            f"the Sinkhorn normalisation of the heat kernel stopped at a residual of {residual:.3g} after {MAX_ROUNDS} "
            f"rounds (rounding: {rounding:.3g}); check that the target is finite and smooth on the grid"
        )
    log_w *= 2  # then w - log(pi) / 2, in place
    log_w -= log_pi
    log_w *= 0.5
    return log_w


class _Level:
    """The equation w + log G e^w = f on one grid, and the way to the next coarser one.

    Attributes
    ----------
    coarser : _Level or None
    log_w, value : arrays
        Where the equation is linearised, and its left side there.
    """

    def __init__(self, kernel: HeatKernel) -> None:
        self.kernel, self.grid, self.xp = kernel, kernel.grid, kernel.grid.backend.xp
        self.corrections = 2  # with the coarser grid, per visit from the finer one
        self.rate = 0.0  # share of the residual that the last correction left
        self.coarser: _Level | None = None
        coarse = coarser_grid(self.grid, kernel.time)
        if coarse is not None:
            self.coarser = _Level(HeatKernel(coarse, kernel.time))
            self.down = _Interpolation(self.grid, coarse, DOWN_NODES)
            self.up = _Interpolation(coarse, self.grid, UP_NODES, even=True)

    def left_side(self, log_w: Any) -> Any:
        """w + log G e^w."""
        value = self.kernel.log_product(1.0 * log_w)
        value += log_w
        return value

    def start(self, log_f: Any) -> Any:
        """w from the coarser grid: f less the smooth log G e^w there; or f / 2, which is d = 1."""
        if self.coarser is None:
            return 0.5 * log_f
        coarse_f = self.down(log_f)
        self.coarser.nest(coarse_f)
        coarse_f -= self.coarser.log_w
        if not math.isfinite(_size(coarse_f, self.coarser.grid)):
            self.coarser = None
            return 0.5 * log_f
        coarse_f *= -1
        log_w = 1.0 * log_f
        self.up.add(coarse_f, log_w)
        return log_w

    def nest(self, log_f: Any) -> None:
        """Solve roughly, and linearise there."""
        self.log_w, _ = self.solve(self.start(log_f), log_f, NESTED / NEAR)
        self.value = self.left_side(self.log_w)
        if self.coarser is not None and self.rate**2 > INNER:
            self.corrections = 3

    def solve(self, log_w: Any, log_f: Any, rounding: float) -> tuple[Any, float]:
        """w from a start, which is overwritten, and the last residual, or the smallest where they fall no more."""
        chebyshev, error, best, stalled, slow = _Chebyshev(), math.inf, math.inf, 0, 0
        for _ in range(MAX_ROUNDS):
            residual = self.left_side(log_w)
            residual *= -1
            residual += log_f
            last, error = error, _size(residual, self.grid)
            stalled = stalled + 1 if error >= best else 0
            best = min(best, error)
            if error <= rounding or (stalled >= 3 and best <= NEAR * rounding):
                return log_w, error if error <= rounding else best
            if self.coarser is not None:
                self.rate = error / last
                slow = 0 if self.rate <= SLOW else slow + 1
                if slow < 2 and error <= last:
                    self.correct(log_w, residual)
                    del residual  # it would stay during the next product
                    if error <= NEAR * rounding:
                        return log_w, error
                    continue
                self.coarser = None
            log_w = chebyshev.step(log_w, residual)
        return log_w, best

    def correct(self, log_w: Any, residual: Any) -> None:
        """Add (1 + P)⁻¹ residual to w, without a product on this grid."""
        assert self.coarser is not None
        coarse = self.down(residual)
        log_w += residual
        size = _size(coarse, self.coarser.grid)
        if size > 0:
            coarse *= AMPLITUDE / size
            correction = self.coarser.solve_linear(coarse)
            correction -= coarse
            correction *= size / AMPLITUDE
            self.up.add(correction, log_w)

    def solve_linear(self, right_side: Any) -> Any:
        """(1 + P)⁻¹ right_side up to a share of about `INNER`, by differences of the left side."""
        solution = self.xp.zeros_like(right_side)
        chebyshev, residual = _Chebyshev(), 1.0 * right_side
        for remaining in reversed(range(self.corrections if self.coarser is not None else LINEAR_STEPS)):
            if self.coarser is not None:
                self.correct(solution, residual)
            else:
                solution = chebyshev.step(solution, residual)
            if remaining:
                residual = self.left_side(self.log_w + solution)
                residual -= self.value
                residual *= -1
                residual += right_side
        return solution


class _Chebyshev:
    """Chebyshev iteration for an operator with its spectrum in [1, 2]: 5.8 per product, where averaging gains 2."""

    def __init__(self) -> None:
        self.previous: Any = None
        self.weight = 1.0

    def step(self, values: Any, residual: Any) -> Any:
        """The next values: previous + weight (values - previous + 2/3 residual), in place of the residual."""
        residual *= 2 / 3
        residual += values
        if self.previous is not None:
            # 1, 18/17, then 1 / (1 - weight / 36)
            self.weight = 1 / (1 - self.weight / (18 if self.weight == 1.0 else 36))
            residual -= self.previous
            residual *= self.weight
            residual += self.previous
        self.previous = values
        return residual


class _Interpolation:
    """Values at the centres of one grid from those of another on the same box, axis by axis.

    The polynomials are those of `nested.Interpolation`, as small matrices for some rows at a time.

    Parameters
    ----------
    source, destination : Grid
    nodes : int
        Number of centres that a polynomial goes through.
    even : bool
        Whether the values are even at no-flux walls.
    """

    def __init__(self, source: Grid, destination: Grid, nodes: int, even: bool = False) -> None:
        self.grid, self.xp = source, source.backend.xp
        asarray = source.backend.asarray
        self.axes = []
        for k, (a, b) in enumerate(zip(source.axes, destination.axes, strict=True)):
            if a is b:
                continue
            index, weights = local_weights(a, b.centres, nodes, even)
            matrix = np.zeros((b.n, a.n))
            np.add.at(matrix, (np.arange(b.n)[:, None], index), weights)
            blocks = []
            for start in range(0, b.n, ROWS):
                rows = matrix[start : start + ROWS]
                cells = np.flatnonzero(rows.any(axis=0))
                block = (slice(start, start + len(rows)), asarray(cells), asarray(rows[:, cells]))
                blocks.append(block)
            self.axes.append((k, b.n, blocks))

    def __call__(self, values: Any) -> Any:
        """The interpolated values."""
        for axis in self.axes:
            values = self._along(axis, values)
        return values

    def add(self, values: Any, total: Any) -> None:
        """Add the interpolated values to `total`, so that there is no array of them."""
        for axis in self.axes[:-1]:
            values = self._along(axis, values)
        self._add_along(self.axes[-1], values, total)

    def _along(self, axis: Any, values: Any) -> Any:
        k, n, _ = axis
        total = self.xp.zeros((*values.shape[:k], n, *values.shape[k + 1 :]), dtype=values.dtype)
        self._add_along(axis, values, total)
        return total

    def _add_along(self, axis: Any, values: Any, total: Any) -> None:
        k, _, blocks = axis
        for rows, cells, matrix in blocks:
            place = (slice(None),) * k + (rows, ...)
            total[place] += self.grid.apply(matrix, self.xp.take(values, cells, axis=k), k)


def coarser_grid(grid: Grid, time: float) -> Grid | None:
    """The grid with cells up to twice as wide on which the heat kernel can stand for that on `grid`, where it pays.

    Equal cells may be of any number; of others, every two are joined.
    """
    if grid.size * PIECES < grid.backend.chunk:
        return None
    axes = [_coarser_axis(axis, time) for axis in grid.axes]
    return grid.with_axes(axes) if math.prod(axis.n for axis in axes) <= SHARE * grid.size else None


def _coarser_axis(axis: Axis, time: float) -> Axis:
    """The axis with wider cells, or itself where the kernel does not allow them."""
    widest = math.sqrt(time / COARSEST)
    if axis.is_uniform:
        n = max(UP_NODES, math.ceil(axis.n / min(FACTOR, widest / axis.dx) - 1e-9))
        return axis if n >= axis.n else Axis.uniform(axis.name, axis.edges[0], axis.edges[-1], n, axis.periodic)
    if axis.n % 2 or axis.n < 2 * UP_NODES:
        return axis
    joined = axis.coarsened()
    return joined if joined.dx <= widest else axis


def _size(values: Any, grid: Grid) -> float:
    """The largest absolute value, without an array of them; not a number where one is not."""
    return max(float(grid.max(values)), -float(grid.min(values)))
