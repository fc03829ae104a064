"""Solves whose costs are counted: small, fixed, and of every way that there is to move a density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from regressions.counting import Function

import wfr_pde as wfr
from wfr_pde import samplers


@dataclass(frozen=True)
class Solve:
    """A solve with a function V.

    Attributes
    ----------
    function : callable
        V.
    make : callable
        ``make(function)`` solves.
    adaptive : bool
        Whether it chooses its grids and steps by what it sees, so that rounding may change its counts a little.
    """

    function: Function
    make: Callable[[Function], Any]
    adaptive: bool = False


def well(x: Any, *others: Any) -> Any:
    """A double well along the first axis."""
    return 2 * (x**2 - 1) ** 2 + sum(0.5 * (y - 0.3 * x) ** 2 for y in others)


def moving_well(x: Any, t: float) -> Any:
    return 2 * ((x - 0.1 * np.tanh(t)) ** 2 - 1) ** 2


def on_a_grid(flow: wfr.Flow, shape: tuple[int, ...], dt: float, steps: int) -> Callable[[Function], Any]:
    """A solve from the first well."""
    d = len(shape)

    def make(function: Function) -> Any:
        target = wfr.Potential(function, ndim=d)
        grid = wfr.Grid([-2.6, *[-4.0] * (d - 1)], [2.6, *[4.0] * (d - 1)], shape, max_cut=1e-2)
        start = wfr.Gaussian([-1.0, *[-0.3] * (d - 1)], [0.05, *[0.5] * (d - 1)])
        t = [0, dt * steps / 2, dt * steps]
        return wfr.solve(target, flow, grid.density(start), t, dt, record=[wfr.KL(target)], progress=False)

    return make


def moving(function: Function) -> Any:
    """A solve under a target that moves."""
    target, rho = wfr.Potential(function, ndim=1), wfr.Grid(-2.8, 2.8, 128).density(wfr.Gaussian(-1, 0.05))
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    return wfr.solve(target, flow, rho, [0, 0.5], 0.02, record={}, progress=False)


def certified(rtol: float) -> Callable[[Function], Any]:
    """A certified solution on one axis."""

    def make(function: Function) -> Any:
        target, start = wfr.Potential(function, ndim=1), wfr.Gaussian(-1, 0.04)
        return wfr.ground_truth(target, start, [0, 0.5, 1], rtol=rtol, progress=False)

    return make


def particles(sampler: wfr.Flow) -> Callable[[Function], Any]:
    """Ten steps of a sampler with 400 particles."""

    def make(function: Function) -> Any:
        target, start = wfr.Potential(function, ndim=2), wfr.Gaussian([-1, 0], 0.1)
        return wfr.solve(target, sampler, start.sample(400, rng=0), [0, 0.2], 0.02, record={}, rng=1, progress=False)

    return make


KERNEL, VOLUMES = (wfr.Strang(wfr.FisherRao(), flow) for flow in (wfr.SinkhornKernel(), wfr.FiniteVolume()))
SOLVES = {
    "1D kernel": Solve(well, on_a_grid(KERNEL, (256,), 0.01, 50)),
    "2D kernel": Solve(well, on_a_grid(KERNEL, (64, 64), 0.02, 20)),
    "3D kernel": Solve(well, on_a_grid(KERNEL, (44, 24, 24), 0.1, 4)),
    "1D kernel, order 8": Solve(well, on_a_grid(wfr.Extrapolated(KERNEL, 8), (128,), 0.05, 10)),
    "1D volumes": Solve(well, on_a_grid(VOLUMES, (256,), 0.01, 50)),
    "2D volumes": Solve(well, on_a_grid(VOLUMES, (48, 48), 0.05, 10)),
    "moving target": Solve(moving_well, moving),
    "truth to 1e-3": Solve(well, certified(1e-3), adaptive=True),
    "truth to 1e-6": Solve(well, certified(1e-6), adaptive=True),
    "Langevin and birth-death": Solve(
        well, particles(wfr.Strang(samplers.Langevin(), samplers.BirthDeath(bandwidth=0.2)))
    ),
    "SMC-WFR": Solve(well, particles(samplers.SMCWFR())),
}
