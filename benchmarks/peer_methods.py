"""What peers.py compares: the problems, their reference, and the methods that need NumPy and SciPy only.

A method is a function (problem, cells per axis, knob) -> Solution; the knob is a number of steps, or a tolerance. All
that a user would have to pay for is inside: grid, operator, factorisations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import fft
from scipy.integrate import solve_ivp
from scipy.sparse import coo_matrix, csc_matrix, diags_array, identity
from scipy.sparse.linalg import expm_multiply, splu

import wfr_pde as wfr

Array = np.ndarray[Any, np.dtype[np.float64]]

TINY = 1e-300  # for logarithms of what a method has made zero or negative
# where a right-hand side cuts the logarithm of a density. With TINY noise of -1e-17 would grow at rate 690, and every
# method that is not positive diverges; from 1e-8 to 1e-20 it makes little difference
FLOOR = 1e-14
CONTOUR_POINTS = 32


@dataclass(frozen=True, eq=False)
class Problem:
    """A flow from t = 0 to `t`, in a box outside of which there is less than 1e-8 of the mass."""

    name: str
    target: wfr.Target
    start: wfr.Target
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    reaction_rate: float
    rtol: float = 1e-9  # of the reference
    exact: wfr.Target | None = None  # the answer, in closed form
    t: float = 1.0
    quick: bool = True

    @property
    def ndim(self) -> int:
        return len(self.lower)

    def widths(self, cells: int) -> Array:
        """Cell widths (d,)."""
        return (np.array(self.upper) - np.array(self.lower)) / cells

    def points(self, cells: int, shift: Any = 0.5) -> Array:
        """Points (n, ..., d) in the cells, by default their centres."""
        shifts = np.broadcast_to(shift, self.ndim)
        widths = self.widths(cells)
        axes = [self.lower[k] + (np.arange(cells) + shifts[k]) * widths[k] for k in range(self.ndim)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def start_values(self, cells: int) -> Array:
        """The start at the cell centres, with the sum of a density."""
        values = np.exp(self.start.log_density(self.points(cells)))
        return values / (values.sum() * self.widths(cells).prod())

    @cached_property
    def reference(self) -> wfr.Density:
        """The density at the end, with a certified L1 error of at most rtol."""
        ds = wfr.ground_truth(
            self.target, self.start, [0, self.t], reaction_rate=self.reaction_rate, rtol=self.rtol, seconds=1200
        )
        return wfr.Density.from_dataset(ds)

    def density(self, points: Array) -> Array:
        """The true density at the end, at points (..., d)."""
        if self.exact is None:
            return np.exp(self.reference.log_prob(points))
        log_normaliser: Any = self.exact.log_normaliser  # a Gaussian's, which is known
        return np.exp(self.exact.log_density(points) - log_normaliser)

    @functools.cache  # noqa: B019  # the problems live as long as the program
    def truth(self, cells: int) -> tuple[Array, Array]:
        """The true density at the cell centres, and its averages over the cells (three Gauss points an axis)."""
        values = self.density(self.points(cells))
        nodes, weights = np.polynomial.legendre.leggauss(3)
        averages = np.zeros_like(values)
        for index in np.ndindex(*(3,) * self.ndim):
            shift = 0.5 + 0.5 * nodes[list(index)]
            averages += np.prod(0.5 * weights[list(index)]) * self.density(self.points(cells, shift))
        return values, averages

    def error_l1(self, values: Array) -> float:
        """L1 distance of values over the cells: to the reference's point values or cell averages, what is less."""
        if not np.isfinite(values).all():
            return math.inf
        cells = values.shape[0]
        volume = self.widths(cells).prod()
        return float(min(np.abs(values - truth).sum() * volume for truth in self.truth(cells)))


@dataclass(frozen=True, eq=False)
class Solution:
    """Density at the end over equal cells, and the steps that were taken."""

    values: Array
    steps: int


Solver = Callable[[Problem, int, float], Solution]


def problems() -> list[Problem]:
    """Fokker-Planck and WFR between the wells, in one and two dimensions, and WFR from far away."""
    line = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04), (-2.25,), (2.25,)
    well = wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5)
    plane = well, wfr.Gaussian([-1, 0], 0.04), (-2.25, -3.25), (2.25, 3.25)
    far = wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25), (-14.5,), (7.0,)
    answer = wfr.exact.gaussian_flow(*far[:2], 1.0, 1.0, 1.0)
    return [
        Problem("1D Fokker-Planck", *line, 0.0),
        Problem("1D WFR", *line, 1.0),
        Problem("2D Fokker-Planck", *plane, 0.0, 1e-8, quick=False),
        Problem("2D WFR", *plane, 1.0, 1e-8, quick=False),
        Problem("1D WFR from e^-200", *far, 1.0, exact=answer, quick=False),
    ]


# wfr_pde


def sinkhorn(problem: Problem, cells: int, steps: float) -> Solution:
    """SinkhornKernel at order 8."""
    flow: wfr.Flow = wfr.SinkhornKernel()
    return by_wfr_pde(problem, cells, steps, wfr.Extrapolated(with_reaction(problem, flow), 8))


def finite_volume(problem: Problem, cells: int, steps: float) -> Solution:
    """FiniteVolume, extrapolated in dx, and in dt where there is an error in dt."""
    flow = with_reaction(problem, wfr.FiniteVolume())
    if problem.ndim > 1 or problem.reaction_rate:
        flow = wfr.Extrapolated(flow, 8)
    return by_wfr_pde(problem, cells, steps, wfr.Extrapolated(flow, 4, "dx"))


def split_step(problem: Problem, cells: int, steps: float) -> Solution:
    """The common split-step Fourier method for f = mu / sqrt(pi), at the order of the rows above."""
    return by_wfr_pde(problem, cells, steps, wfr.Extrapolated(with_reaction(problem, wfr.SplitStep()), 8))


def with_reaction(problem: Problem, transport: wfr.Flow) -> wfr.Flow:
    """Strang with the reaction, where there is one."""
    return wfr.Strang(wfr.FisherRao(problem.reaction_rate), transport) if problem.reaction_rate else transport


def by_wfr_pde(problem: Problem, cells: int, steps: float, flow: wfr.Flow) -> Solution:
    """`solve` on equal cells."""
    rho = wfr.Grid(problem.lower, problem.upper, cells).density(problem.start)
    ds = wfr.solve(problem.target, flow, rho, [0, problem.t], problem.t / steps, keep="last")
    return Solution(wfr.Density.from_dataset(ds).values, int(steps))


# The right-hand side


class Reaction:
    """-beta mu (g - E g), g = log mu + V, over cells; the derivative without the non-local part, which is of rank one.

    With E over the mass as it is, the sum over the cells vanishes: mass is kept.
    """

    def __init__(self, problem: Problem, cells: int) -> None:
        self.rate = problem.reaction_rate
        self.potential = -problem.target.log_density(problem.points(cells)).ravel()

    def relative(self, mu: Array) -> Array:
        """g - E g."""
        g = np.log(np.maximum(mu, FLOOR)) + self.potential
        return g - (mu @ g) / mu.sum()

    def __call__(self, mu: Array) -> Array:
        """The rate of change."""
        return -self.rate * mu * self.relative(mu)

    def diagonal(self, mu: Array) -> Array:
        """The local part of the derivative."""
        return -self.rate * (self.relative(mu) + 1)

    def rank_one(self, mu: Array) -> tuple[Array, Array]:
        """Column and row whose product is the rest of the derivative."""
        relative = self.relative(mu)
        return self.rate * mu / mu.sum(), relative + 1

    def flow(self, mu: Array, time: float) -> Array:
        """The exact solution: a straight line between log-densities, to the same mass."""
        share = math.exp(-self.rate * time)
        log_mu = share * np.log(np.maximum(mu, TINY)) - (1 - share) * self.potential
        result = np.exp(log_mu - log_mu.max())
        return result * (mu.sum() / result.sum())


def scharfetter_gummel(problem: Problem, cells: int) -> csc_matrix:
    """Finite-volume Fokker-Planck operator of order 2: d mu/dt = A mu, A Metzler with columns of sum zero.

    Scharfetter and Gummel (1969), doi:10.1109/T-ED.1969.16566. The rate across a face is B(rise of V) / dx² with
    B(z) = z / (e^z - 1); no flux through the walls.
    """
    potential = -problem.target.log_density(problem.points(cells))
    index = np.arange(potential.size).reshape(potential.shape)
    rows, columns, entries = [], [], []
    for axis, dx in enumerate(problem.widths(cells)):
        low, high = (np.delete(index, end, axis=axis).ravel() for end in (-1, 0))
        rise = potential.ravel()[high] - potential.ravel()[low]
        for source, sink, z in ((low, high, rise), (high, low, -rise)):
            small = np.abs(z) < 1e-12
            rate = np.where(small, 1.0, z / np.expm1(np.where(small, 1.0, z))) / dx**2
            rows += [sink, source]
            columns += [source, source]
            entries += [rate, -rate]
    parts = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(parts, shape=(potential.size,) * 2).tocsc()


# SciPy


def solve_bdf(problem: Problem, cells: int, rtol: float) -> Solution:
    """solve_ivp's BDF with a sparse Jacobian."""
    operator, reaction = scharfetter_gummel(problem, cells), Reaction(problem, cells)
    if problem.reaction_rate:
        jacobian: Any = lambda _, mu: (operator + diags_array(reaction.diagonal(mu))).tocsc()  # noqa: E731
        return _solve_ivp(problem, cells, rtol, lambda _, mu: operator @ mu + reaction(mu), method="BDF", jac=jacobian)
    return _solve_ivp(problem, cells, rtol, lambda _, mu: operator @ mu, method="BDF", jac=operator)


def solve_lsoda(problem: Problem, cells: int, rtol: float) -> Solution:
    """solve_ivp's LSODA with a banded Jacobian."""
    operator, reaction = scharfetter_gummel(problem, cells), Reaction(problem, cells)
    band = cells ** (problem.ndim - 1)
    entries = operator.tocoo()
    banded = np.zeros((2 * band + 1, operator.shape[0]))
    banded[entries.row - entries.col + band, entries.col] = entries.data
    by_rows = operator.tocsr()

    def change(_: float, mu: Array) -> Array:
        return by_rows @ mu + (reaction(mu) if problem.reaction_rate else 0.0)

    def jacobian(_: float, mu: Array) -> Array:
        result = banded.copy()
        if problem.reaction_rate:
            result[band] += reaction.diagonal(mu)
        return result

    bands = {"lband": band, "uband": band}
    return _solve_ivp(problem, cells, rtol, change, method="LSODA", jac=jacobian, **bands)


def solve_collocation(method: str, problem: Problem, cells: int, rtol: float) -> Solution:
    """solve_ivp on Fourier collocation, spectral in space, with the full analytic Jacobian."""
    operator, reaction = fourier_operator(problem, cells), Reaction(problem, cells)

    def change(_: float, mu: Array) -> Array:
        return operator @ mu + (reaction(mu) if problem.reaction_rate else 0.0)

    def jacobian(_: float, mu: Array) -> Array:
        if not problem.reaction_rate:
            return operator
        column, row = reaction.rank_one(mu)
        result = operator + np.multiply.outer(column, row)
        result[np.diag_indices_from(result)] += reaction.diagonal(mu)
        return result

    return _solve_ivp(problem, cells, rtol, change, method=method, jac=jacobian)


def _solve_ivp(problem: Problem, cells: int, rtol: float, change: Any, **options: Any) -> Solution:
    start = problem.start_values(cells)
    result = solve_ivp(
        change, (0, problem.t), start.ravel(), t_eval=[problem.t], rtol=rtol, atol=1e-2 * rtol, **options
    )
    if not result.success:
        raise RuntimeError(result.message)
    return Solution(result.y[:, -1].reshape(start.shape), int(result.nfev))


def fourier_operator(problem: Problem, cells: int) -> Array:
    """Dense Fokker-Planck operator of Fourier collocation on the periodic box."""
    size = cells**problem.ndim
    score = problem.target.score(problem.points(cells)).reshape(size, -1)
    result = np.zeros((size, size))
    for axis, dx in enumerate(problem.widths(cells)):
        k = 2 * np.pi * np.fft.rfftfreq(cells, dx)
        unit = np.fft.rfft(np.eye(cells), axis=0)
        second = np.fft.irfft(-(k[:, None] ** 2) * unit, cells, axis=0)
        k[-1] = 0.0  # the derivative of the sawtooth mode
        first = np.fft.irfft(1j * k[:, None] * unit, cells, axis=0)
        sides = np.eye(cells**axis), np.eye(cells ** (problem.ndim - 1 - axis))
        first, second = (np.kron(np.kron(sides[0], matrix), sides[1]) for matrix in (first, second))
        result += second - first * score[:, axis]
    return result


def taylor(problem: Problem, cells: int, steps: float) -> Solution:
    """SciPy's expm_multiply (Al-Mohy and Higham 2011, doi:10.1137/100788860) in Strang steps."""
    operator = scharfetter_gummel(problem, cells).tocsr()
    h = problem.t / steps
    scaled = operator * h
    trace = float(scaled.trace())
    return _strang(problem, cells, int(steps), lambda mu: expm_multiply(scaled, mu, traceA=trace))


def crank_nicolson(problem: Problem, cells: int, steps: float) -> Solution:
    """Crank and Nicolson's rule, factorised once, in Strang steps."""
    half = scharfetter_gummel(problem, cells) * (0.5 * problem.t / steps)
    one = identity(half.shape[0], format="csc")
    solve, explicit = splu(csc_matrix(one - half)).solve, (one + half).tocsr()
    return _strang(problem, cells, int(steps), lambda mu: solve(explicit @ mu))


def _strang(problem: Problem, cells: int, steps: int, transport: Callable[[Array], Array]) -> Solution:
    """Half a step of the exact reaction, one of the transport, half a reaction; halves that meet are joined."""
    start = problem.start_values(cells)
    mu, reaction, h = start.ravel(), Reaction(problem, cells), problem.t / steps
    if not problem.reaction_rate:
        for _ in range(steps):
            mu = transport(mu)
        return Solution(mu.reshape(start.shape), steps)
    mu = reaction.flow(mu, h / 2)
    for step in range(steps):
        mu = reaction.flow(transport(mu), h if step < steps - 1 else h / 2)
    return Solution(mu.reshape(start.shape), steps)


def extrapolated(solver: Solver, halves_steps: bool, problem: Problem, cells: int, knob: float) -> Solution:
    """Richardson's extrapolation of a finite-volume solver of order 2: on the cells, and on half as many an axis.

    Values are cell averages, so that the mean of 2^d fine cells belongs to the coarse cell, and (4 fine - coarse) / 3
    is of order 4 in dx. With half the steps on the coarse cells it is of order 4 in dt, too.
    """
    fine = solver(problem, cells, knob)
    coarse = solver(problem, cells // 2, knob / 2 if halves_steps else knob)
    blocks = fine.values.reshape((cells // 2, 2) * problem.ndim)
    means = blocks.mean(axis=tuple(range(1, 2 * problem.ndim, 2)))
    return Solution((4 * means - coarse.values) / 3, fine.steps)


# Exponential time differencing


def etdrk4(problem: Problem, cells: int, steps: float) -> Solution:
    """ETDRK4 on a periodic box: diffusion exact, drift and reaction by four stages a step.

    Cox and Matthews (2002), doi:10.1006/jcph.2002.6995; coefficients by contour integrals, Kassam and Trefethen (2005),
    doi:10.1137/S1064827502410633.
    """
    shape = (cells,) * problem.ndim
    derivatives, laplacian = _wavenumbers(problem, cells)
    h = problem.t / steps
    full, half, q, f1, f2, f3 = etd_coefficients(h * laplacian, h)
    drift = -problem.target.score(problem.points(cells))
    potential = -problem.target.log_density(problem.points(cells))
    beta = problem.reaction_rate

    def other(v: Any) -> Any:
        mu = fft.irfftn(v, shape)
        result = sum(ik * fft.rfftn(mu * drift[..., k]) for k, ik in enumerate(derivatives))
        if beta:
            g = np.log(np.maximum(mu, FLOOR)) + potential
            weighted = mu * g
            result -= beta * fft.rfftn(weighted - mu * (weighted.sum() / mu.sum()))
        return result

    v = fft.rfftn(problem.start_values(cells))
    with np.errstate(all="ignore"):  # it diverges where the steps are too long
        for step in range(int(steps)):
            n_v = other(v)
            a = half * v + q * n_v
            n_a = other(a)
            b = half * v + q * n_a
            n_b = other(b)
            c = half * a + q * (2 * n_b - n_v)
            v = full * v + f1 * n_v + f2 * (n_a + n_b) + f3 * other(c)
            if step % 64 == 0 and not np.isfinite(v.flat[0]):
                raise FloatingPointError("diverges")
        return Solution(fft.irfftn(v, shape), int(steps))


def _wavenumbers(problem: Problem, cells: int) -> tuple[list[Any], Array]:
    """i k of every axis, without the sawtooth modes, and -|k|², over the half spectrum of real values."""
    derivatives: list[Any] = []
    laplacian: Any = 0.0
    for axis, dx in enumerate(problem.widths(cells)):
        last = axis == problem.ndim - 1
        k = 2 * np.pi * (np.fft.rfftfreq(cells, dx) if last else np.fft.fftfreq(cells, dx))
        k = k.reshape([-1 if other == axis else 1 for other in range(problem.ndim)])
        laplacian = laplacian - k**2
        derivatives.append(1j * np.where(np.abs(k) * dx > np.pi * (1 - 1e-9), 0.0, k))
    return derivatives, laplacian


def etd_coefficients(z: Array, h: float) -> tuple[Array, ...]:
    """e^z, e^(z/2) and the weights of ETDRK4 for real z = h L, as means over circles around z."""
    total = [np.zeros_like(z) for _ in range(4)]
    for point in np.exp(1j * np.pi * (np.arange(CONTOUR_POINTS) + 0.5) / CONTOUR_POINTS):
        r = z + point
        e = np.exp(r)
        terms = (
            (np.exp(r / 2) - 1) / r,
            (-4 - r + e * (4 - 3 * r + r**2)) / r**3,
            2 * (2 + r + e * (r - 2)) / r**3,
            (-4 - 3 * r - r**2 + e * (4 - r)) / r**3,
        )
        for sum_, term in zip(total, terms, strict=True):
            sum_ += (h / CONTOUR_POINTS) * term.real
    return np.exp(z), np.exp(z / 2), *total
