"""The symmetric Sinkhorn normalisation of a heat kernel, on two and more grids."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.matrix_products import product_along
from wfr_pde.numerics.precision import SINGLE
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.coarser import LEAST_CELLS
from wfr_pde.space.heat.product import HeatKernel
from wfr_pde.space.transfer import local_weights

MAX_ROUNDS = 200  # after which it is given up: each divides the residual by 5.8, so that some twenty reach rounding
MAX_OF_ROUNDING = 10.0  # times rounding, from which a residual need not fall further

DOWN_NODES = 4  # centres of the interpolation to the coarser grid: no result depends on it, the rate does
UP_NODES = LEAST_CELLS  # and back: as many as the smallest coarser grid has
ROWS = 32  # of a block of an interpolation

MAX_COARSE_RATE = 0.25  # of the residual before: with the coarser grid's products, 5.8 per product are better
NESTED_RESIDUAL = 1e-3  # residual to which the equation is solved on coarser grids, for the start
CHEBYSHEV_STEPS = 3  # of Chebyshev iteration, for a correction on a grid that has no coarser one
MAX_CORRECTION_ERROR = 0.02  # share of an error that a correction on a coarser grid may leave behind
CORRECTION_SIZE = 1e-4, 1e-2  # nats of a correction on the coarser grid, double and single: near linear, above rounding


def sinkhorn_scaling(kernel: HeatKernel, log_pi: Any) -> Any:
    """Solve d ∘ G(d ∘ s) = s, s = sqrt(pi), for log d.

    With F = log s - log d - log G(d s), the derivative of -F is 1 + P, P a Markov operator, self-adjoint in L²(pi),
    with eigenvalues in [0, 1] and near 0 on what varies from cell to cell. So a step adds

        (1 + P)⁻¹ F ≈ F + I ((1 + P_c)⁻¹ - 1) R F

    to log d, with P_c of the heat kernel of the same time on a coarser grid, R and I interpolation to it and back:
    what I has to take up, -P (1 + P)⁻¹ F, is as smooth as the kernel, and even at no-flux walls. The residual falls
    10 to 1000 times per product, the faster the longer the time. The start, log s - I log(s_c / d_c), is from the
    coarser grid too, and that grid is treated in the same way. Where there is none, or it does not serve, Chebyshev
    iteration on the spectrum [1, 2] goes on from there: a factor 5.8 per product, where averaging gains 2. It always
    starts from d = 1, so that the result has no history.
    (Brandt 1977, doi:10.1090/S0025-5718-1977-0431719-X, for coarser grids and the start from them.)

    Raises
    ------
    NumericalError
        If the residual does not reach rounding.
    """
    grid, xp = kernel.grid, kernel.grid.backend.xp
    # a logarithm of size |log s| is itself known to eps |log s|
    largest = 0.5 * float(xp.maximum(xp.abs(grid.min(log_pi)), xp.abs(grid.max(log_pi))))
    rounding = grid.backend.precision.eps * (4 + largest)
    log_d, residual = _Level(kernel, log_pi).solve(rounding)
    if not residual <= MAX_OF_ROUNDING * rounding:
        raise NumericalError(
            f"the Sinkhorn normalisation of the heat kernel stopped at a residual of {residual:.3g} after {MAX_ROUNDS} "
            f"rounds (rounding: {rounding:.3g}); check that the target is finite and smooth on the grid"
        )
    return log_d


class _Level:
    """The equation of `sinkhorn_scaling` on one grid, and the interpolations to the next coarser grid and back."""

    def __init__(self, kernel: HeatKernel, log_pi: Any) -> None:
        self.kernel, self.log_pi = kernel, log_pi
        self.grid, self.xp = kernel.grid, kernel.grid.backend.xp
        self.rate = 0.0  # share of the residual that the last step left
        self.amplitude = CORRECTION_SIZE[self.grid.backend.precision is SINGLE]
        self.coarser: _Level | None = None
        coarse = self.grid.coarser(kernel.time)
        if coarse is not None:
            self.down = _Interpolation(self.grid, coarse, DOWN_NODES)
            self.up = _Interpolation(coarse, self.grid, UP_NODES, even=True)
            self.coarser = _Level(coarse.heat_kernel(kernel.time), self.down(log_pi))

    def residual(self, log_d: Any) -> Any:
        """Return the residual F = log s - log d - log G(d s)."""
        terms = [(0.5, self.log_pi), (-1.0, log_d)]
        return self.kernel.log_product(self.log_pi, log_d, scale=0.5, sign=-1.0, terms=terms)

    def solve(self, rounding: float) -> tuple[Any, float]:
        """Return log d and its residual, which is below `rounding`, or the smallest where residuals fall no more."""
        log_d = self.start()
        chebyshev, error, best, stalled, slow = _Chebyshev(), math.inf, math.inf, 0, 0
        for _ in range(MAX_ROUNDS):
            residual = self.residual(log_d)
            last, error = error, _size(residual, self.grid)
            stalled = stalled + 1 if error >= best else 0
            best = min(best, error)
            if error <= rounding or (stalled >= 3 and best <= MAX_OF_ROUNDING * rounding):
                # half of the residual takes off what is constant of it: what would add up, from step to step
                return self.grid.weighted_sum(0.5, residual, log_d)[0], best
            if self.coarser is not None:
                self.rate = error / last
                slow = 0 if self.rate <= MAX_COARSE_RATE else slow + 1
                if slow < 2 and error <= last:
                    self.correct(log_d, residual)
                    del residual  # it would stay during the next product
                    if error <= MAX_OF_ROUNDING * rounding:  # and below now
                        break
                    continue
                self.coarser = None
            log_d = chebyshev.step(self.grid, log_d, residual)
        return log_d, best

    def start(self) -> Any:
        """Return a first log d: from the coarser grid, where log(s / d) is as smooth as the kernel; else of d = 1."""
        if self.coarser is not None:
            self.coarser.nest()
            log_d = 0.5 * self.log_pi
            smooth = self.coarser.log_d - 0.5 * self.coarser.log_pi
            if math.isfinite(_size(smooth, self.coarser.grid)):
                self.up.add(smooth, log_d)
                return log_d
            self.coarser = None
        return self.xp.zeros_like(self.log_pi)

    def nest(self) -> None:
        """Solve the equation of this grid roughly, and linearise it there, for the grid that is finer."""
        self.log_d, _ = self.solve(NESTED_RESIDUAL / MAX_OF_ROUNDING)
        self.value = self.residual(self.log_d)

    def correct(self, log_d: Any, residual: Any) -> None:
        """Add (1 + P)⁻¹ residual, without a product on this grid."""
        assert self.coarser is not None
        coarse = self.down(residual)
        self.grid.in_place(operator.iadd, log_d, residual)
        size = _size(coarse, self.coarser.grid)
        if size > 0:
            coarse *= self.amplitude / size
            correction = self.coarser.solve_linear(coarse)
            correction -= coarse
            correction *= size / self.amplitude
            self.up.add(correction, log_d)

    def solve_linear(self, right_side: Any) -> Any:
        """Return (1 + P)⁻¹ right_side up to a share of about `MAX_CORRECTION_ERROR`.

        Products with P are differences of the residual.
        """
        chebyshev, solution, residual = _Chebyshev(), self.xp.zeros_like(right_side), 1.0 * right_side
        steps = CHEBYSHEV_STEPS if self.coarser is None else 2 if self.rate**2 <= MAX_CORRECTION_ERROR else 3
        for remaining in reversed(range(steps)):
            if self.coarser is not None:
                self.correct(solution, residual)
            else:
                solution = chebyshev.step(self.grid, solution, residual)
            if remaining:
                residual = self.residual(self.log_d + solution)
                residual -= self.value
                residual += right_side
        return solution


class _Chebyshev:
    """Chebyshev iteration for an operator with its spectrum in [1, 2]: 5.8 per product, where averaging gains 2."""

    def __init__(self) -> None:
        self.previous: Any = None
        self.weight = 1.0

    def step(self, grid: Grid, values: Any, residual: Any) -> Any:
        """Compute the next values, which are written in place of the residual."""
        if self.previous is None:
            self.previous = values
        else:  # 18/17, then 1 / (1 - weight / 36)
            self.weight = 1 / (1 - self.weight / (18 if self.weight == 1.0 else 36))
        following = grid.in_place(functools.partial(_next, self.weight), residual, values, self.previous)
        self.previous = values
        return following


def _next(weight: float, residual: Any, values: Any, previous: Any) -> None:
    """Compute previous + weight (values - previous + 2/3 residual), which is written in place of the residual."""
    residual *= 2 / 3
    residual += values
    residual -= previous
    residual *= weight
    residual += previous


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
        self.backend = source.backend
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
            self.axes.append((k, asarray(np.zeros(b.n, dtype=np.int64)), blocks))

    def __call__(self, values: Any) -> Any:
        """Return the interpolated values."""
        for axis in self.axes:
            values = self._along(axis, values)
        return values

    def add(self, values: Any, total: Any) -> None:
        """Add the interpolated values to `total`, so that there is no array of them."""
        for axis in self.axes[:-1]:
            values = self._along(axis, values)
        k, _, blocks = self.axes[-1]

        def add(block: Any) -> None:
            place, part = self._part(k, block, values)
            total[place] += part

        self.backend.map(add, blocks)

    def _along(self, axis: Any, values: Any) -> Any:
        k, anywhere, blocks = axis
        result = self.backend.xp.take(values, anywhere, axis=k)  # an array of the shape, on the device

        def put(block: Any) -> None:
            place, part = self._part(k, block, values)
            result[place] = part

        self.backend.map(put, blocks)
        return result

    def _part(self, k: int, block: Any, values: Any) -> tuple[Any, Any]:
        rows, cells, matrix = block
        xp = self.backend.xp
        return (slice(None),) * k + (rows, ...), product_along(matrix, xp.take(values, cells, axis=k), k, xp)


def _size(values: Any, grid: Grid) -> float:
    """Return the largest absolute value, without an array of them; nan where a value is nan."""
    return max(abs(end) for end in grid.range(values))
