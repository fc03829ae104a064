"""A new transport scheme: finite volumes in one dimension, with backward Euler in time."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_banded

import wfr_pde as wfr
from wfr_pde import exact


@dataclass(frozen=True)
class BackwardEuler(wfr.Flow):
    """Wasserstein flow in one dimension by finite volumes and backward Euler.

    Neighbouring cells exchange mass at the rates sqrt(pi_j / pi_i) / dx², in detailed balance with
    pi. With f = mu/pi a step solves f' - rate dt L f' = f, where L f_i is the sum over neighbours
    of sqrt(pi_j / pi_i) (f_j - f_i) / dx². The matrix is an M-matrix with row sums 1: f' > 0,
    constants stay, and KL falls. Order 1 in dt, order 2 in dx. Far tails come out too heavy, like
    exp(-|x| / sqrt(rate dt)): a scheme to compare with, not a ground truth.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.
    """

    rate: float = 1.0

    law = "w"
    order = 1
    space_order = 2
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    measures = (wfr.Density,)

    def check(self, energy, template):
        """One dimension, equal cells."""
        super().check(energy, template)
        if template.ndim != 1 or not template.grid.is_uniform:
            raise ValueError(f"BackwardEuler needs equal cells on a line, got {template.grid!r}")

    def build_step(self, energy, template, dt):
        """The matrix is made once; a step solves with it."""
        grid = template.grid
        log_pi = energy.log_equilibrium(grid)
        half = np.diff(log_pi) / 2
        jumps = self.rate * dt / grid.axes[0].dx ** 2
        # sqrt(pi_j / pi_i) to the right, and to the left
        to_right, to_left = jumps * np.exp(half), jumps * np.exp(-half)
        bands = np.zeros((3, grid.size))
        bands[0, 1:], bands[2, :-1] = -to_right, -to_left
        bands[1] = 1.0
        bands[1, :-1] += to_right
        bands[1, 1:] += to_left

        def step(state, rng):
            g = state.log_values - log_pi
            top = g.max()  # exp(g - top) is at most one
            f = solve_banded((1, 1), bands, np.exp(g - top))
            return wfr.Density(grid, np.log(f) + top + log_pi)

        return step


if __name__ == "__main__":
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-1.5, 0.5)
    grid = wfr.Grid(-9, 9, 720)
    rho0 = grid.density(start)

    for beta, flow in (0.0, BackwardEuler()), (1.0, wfr.Strang(wfr.FisherRao(), BackwardEuler())):
        truth = grid.density(exact.gaussian_flow(target, start, 1.0, reaction_rate=beta))

        def run(dt, flow=flow):
            return wfr.solve(target, flow, rho0, [0, 1], dt, keep="last")

        table = wfr.convergence_table(run, "dt", 0.2 / 2 ** np.arange(5), reference=truth)
        observed = ", ".join(f"{order:.2f}" for order in table["order"].values[1:])
        print(f"beta = {beta:g}: declared order {flow.order}, observed {observed}")

    # as outer or inner part of Strang, but not extrapolated: the error has odd powers of dt
    try:
        wfr.Extrapolated(BackwardEuler(), order=4)
    except ValueError as refusal:
        print(str(refusal).split(":")[0])
