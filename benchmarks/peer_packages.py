"""Methods of peers.py that need a package which wfr_pde does not: each is imported where it is first used."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np
from peer_methods import FLOOR, Problem, Reaction, Solution

# py-pde (Zwicker 2020, doi:10.21105/joss.02158)


def py_pde_explicit(problem: Problem, cells: int, tolerance: float) -> Solution:
    """Adaptive Runge-Kutta-Fehlberg."""
    return _py_pde(problem, cells, solver="runge-kutta", adaptive=True, tolerance=tolerance, dt=1e-6)


def py_pde_scipy(problem: Problem, cells: int, rtol: float) -> Solution:
    """LSODA, its Jacobian banded and by differences."""
    band = cells ** (problem.ndim - 1)
    options = {"method": "LSODA", "rtol": rtol, "atol": 1e-2 * rtol, "lband": band, "uband": band}
    return _py_pde(problem, cells, solver="scipy", **options)


def _py_pde(problem: Problem, cells: int, **options: Any) -> Solution:
    import pde

    equation = _py_pde_equation(problem, cells)
    start = pde.ScalarField(equation.grid, problem.start_values(cells))
    result = equation.solve(start, problem.t, tracker=None, backend="numpy", **options)
    if result is None:
        raise RuntimeError("the solver stopped")
    return Solution(result.data, int(equation.diagnostics["solver"].get("steps", 0)))


@functools.lru_cache(maxsize=1)
def _py_pde_equation(problem: Problem, cells: int) -> Any:
    """Central differences of order 2 on the same cells, which wrap: walls would need a flux of their own.

    The operators are compiled; around them is NumPy. (Written as an expression, and all compiled, Fokker-Planck takes
    30 seconds to compile, and WFR, for its integral over a density, does not.)
    """
    import pde

    box = list(zip(problem.lower, problem.upper, strict=True))
    grid = pde.CartesianGrid(box, cells, periodic=True)
    drift = pde.VectorField(grid, np.moveaxis(-problem.target.score(problem.points(cells)), -1, 0))
    reaction, shape = Reaction(problem, cells), (cells,) * problem.ndim

    class Equation(pde.PDEBase):
        def evolution_rate(self, state: Any, t: float = 0) -> Any:
            rate = state.laplace("periodic") + (state * drift).divergence("periodic")
            if problem.reaction_rate:
                rate.data += reaction(state.data.ravel()).reshape(shape)
            return rate

    equation = Equation()
    equation.grid = grid
    return equation


# FiPy (Guyer, Wheeler and Warren 2009, doi:10.1109/MCSE.2009.52)


def fipy_implicit(problem: Problem, cells: int, steps: float) -> Solution:
    """Implicit Euler with the Scharfetter-Gummel ("exponential") convection term, in Strang steps with the reaction."""
    import fipy

    widths = problem.widths(cells)
    if problem.ndim == 1:
        mesh = fipy.Grid1D(nx=cells, dx=widths[0])
    else:  # the first index of FiPy's cells runs fastest
        mesh = fipy.Grid2D(nx=cells, ny=cells, dx=widths[1], dy=widths[0])
    potential = fipy.CellVariable(mesh=mesh, value=-problem.target.log_density(problem.points(cells)).ravel())
    mu = fipy.CellVariable(mesh=mesh, value=problem.start_values(cells).ravel())
    drift = potential.faceGrad * (~mesh.exteriorFaces).value
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(1.0) + fipy.ExponentialConvectionTerm(drift)
    reaction, h, solver = Reaction(problem, cells), problem.t / steps, fipy.LinearLUSolver()
    if problem.reaction_rate:
        mu.setValue(reaction.flow(mu.value, h / 2))
    for step in range(int(steps)):
        equation.solve(mu, dt=h, solver=solver)
        if problem.reaction_rate:
            mu.setValue(reaction.flow(mu.value, h if step < steps - 1 else h / 2))
    return Solution(np.array(mu.value).reshape((cells,) * problem.ndim), int(steps))


# fplanck


def fplanck(problem: Problem, cells: int, _: float) -> Solution:
    """The square-root finite-volume operator and expm_multiply."""
    vars(np).setdefault("product", np.prod)  # fplanck 0.2.2 was written for NumPy 1
    import fplanck
    from scipy import constants

    widths = problem.widths(cells)
    centre = (np.array(problem.lower) + np.array(problem.upper)) / 2

    def at(distribution: Any) -> Any:
        return lambda *x: distribution.log_density(np.stack(x, axis=-1) + centre)

    # in units where k T = 1; a little less than the extent, as the number of cells is rounded up
    solver = fplanck.fokker_planck(
        temperature=1 / constants.k, drag=1.0, extent=cells * widths * (1 - 1e-9), resolution=widths,
        potential=lambda *x: -at(problem.target)(*x), boundary=fplanck.boundary.reflecting,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy estimates the trace that fplanck does not give
        values = solver.propagate(lambda *x: np.exp(at(problem.start)(*x)), problem.t)
    return Solution(values / widths.prod(), 1)


# exponax (Koehler et al. 2024, arXiv:2411.00180)


def exponax_etdrk4(problem: Problem, cells: int, steps: float) -> Solution:
    """Its ETDRK4 with the drift and the reaction as a nonlinear function of our own, compiled for all steps."""
    run = _exponax_run(problem, cells, int(steps))
    return Solution(np.asarray(run(problem.start_values(cells)[None]))[0], int(steps))


@functools.lru_cache(maxsize=1)
def _exponax_run(problem: Problem, cells: int, steps: int) -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from exponax import BaseStepper
    from exponax.nonlin_fun import BaseNonlinearFun

    # the box of exponax is a cube: other axes are scaled
    extent = problem.upper[0] - problem.lower[0]
    scales = (np.array(problem.upper) - np.array(problem.lower)) / extent
    points = problem.points(cells)
    drift = np.moveaxis(-problem.target.score(points), -1, 0)
    potential, rate = -problem.target.log_density(points)[None], problem.reaction_rate

    class Rest(BaseNonlinearFun):
        derivatives: Any

        def __init__(self, derivatives: Any) -> None:
            super().__init__(problem.ndim, cells)
            self.derivatives = derivatives

        def __call__(self, u_hat: Any) -> Any:
            mu = self.ifft(u_hat)
            result = jnp.sum(self.derivatives * self.fft(mu * drift), axis=0, keepdims=True)
            if rate:
                g = jnp.log(jnp.maximum(mu, FLOOR)) + potential
                result -= rate * self.fft(mu * (g - jnp.sum(mu * g) / jnp.sum(mu)))
            return result

    class WFR(BaseStepper):
        def _build_linear_operator(self, derivative_operator: Any) -> Any:
            return jnp.sum((derivative_operator / _column(scales)) ** 2, axis=0, keepdims=True).real

        def _build_nonlinear_fun(self, derivative_operator: Any) -> Any:
            # without the sawtooth modes, whose derivative on the points is zero
            highest = math.pi / (extent / cells) * (1 - 1e-9)
            first = jnp.where(jnp.abs(derivative_operator) > highest, 0.0, derivative_operator)
            return Rest(first / _column(scales))

    stepper = WFR(problem.ndim, extent, cells, problem.t / steps, num_channels=1, order=4)

    @jax.jit
    def run(u: Any) -> Any:
        u_hat = jnp.fft.rfftn(u, axes=range(1, u.ndim))
        u_hat = jax.lax.fori_loop(0, steps, lambda _, v: stepper.step_fourier(v), u_hat)
        return jnp.fft.irfftn(u_hat, s=u.shape[1:], axes=range(1, u.ndim))

    return run


def _column(values: Any) -> Any:
    """Numbers (d,) in the shape (d, 1, ..., 1) of exponax's derivative operators."""
    return np.reshape(values, (-1, *(1,) * len(values)))
