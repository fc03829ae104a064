"""The law of one Metropolis-adjusted Langevin step, on one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, FrozenStep, MemoryUse, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.langevin import finite_score
from wfr_pde.flows.transport.sinkhorn.flow import SinkhornKernel
from wfr_pde.numerics.counted import counted
from wfr_pde.space.density import Density


@dataclass(frozen=True)
class MALAKernel(Flow):
    """The law of one step of the Metropolis-adjusted Langevin algorithm, in one dimension.

        mu'(y) = ∫ mu(x) min(q(x, y), q(y, x) pi(y)/pi(x)) dx + r(y) mu(y),

    with the proposals q(x, ·) = N(x + rate dt score(x), 2 rate dt), and r(y) the probability that one from y is
    refused. It is what `samplers.MALA` does to the law of a particle at the same dt. On the cells it is a Markov chain
    in detailed balance with pi: pi and mass are kept to rounding. Order 1 in dt to the W flow. Proposals out of the box
    are refused (Besag 1994, J. R. Stat. Soc. B 56, 591; Roberts and Tweedie 1996, doi:10.2307/3318418). A dense matrix,
    in the log-domain; the minimum has kinks, so that the error in space is of order 2.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.

    Examples
    --------
    Unlike the step of `LangevinKernel`, this one keeps the variance of the target:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0.0, 1.0)
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(target)
    >>> run = wfr.solve(target, wfr.MALAKernel(), start, [0.0, 0.1], 0.1, record=[wfr.diagnostics.covariance])
    >>> round(float(run["covariance"][-1, 0, 0]), 4)
    1.0
    """

    rate: float = 1.0

    law = Law.W
    order = 1
    space_order = 2
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    measures = (Density,)
    max_ndim = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "MALAKernel"))

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare the matrix of transitions, and its product in the log-domain.

        Raises
        ------
        ValueError
            If the grid does not resolve the proposals.
        NumericalError
            If the score is not finite in a cell, or proposals from a cell are not resolved.
        """
        if self.rate == 0:
            return lambda state, rng: state
        smallest = self.dt_bounds(energy, template)[0]
        if dt < smallest * (1 - 1e-9):
            raise ValueError(
                f"dt={dt:.4g} leaves the proposals of {self!r} unresolved (needs dt >= {smallest:.4g} on these cells): "
                "use a larger dt or a finer grid"
            )
        grid, xp = template.grid, template.grid.backend.xp
        log_matrix = grid.backend.asarray(_log_transitions(energy, template, self.rate * dt))

        def step(state: Density, rng: np.random.Generator | None) -> Density:
            terms = log_matrix + state.log_values
            top = xp.max(terms, axis=1, keepdims=True)
            terms -= top
            return Density.holding(grid, xp.log(xp.sum(xp.exp(terms), axis=1)) + top[:, 0])

        return step

    @override
    def dt_bounds(self, energy: Energy, template: Density) -> tuple[float, float]:
        """Return the dt where rate*dt = 0.75 dx², from which on the cells resolve the proposals, and infinity."""
        return SinkhornKernel(self.rate).dt_bounds(energy, template)

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Refuse what every flow does, and also densities on several axes or on a periodic one.

        Raises
        ------
        TypeError, ValueError
        """
        super().check(energy, template)
        if template.ndim > self.max_ndim or template.grid.axes[0].periodic:
            raise ValueError(
                f"MALAKernel works in one dimension between no-flux walls, but the grid has "
                f"{counted(template.ndim, 'axis', 'axes')} ({', '.join(template.grid.boundary)}): "
                "hold MALA against the W flow there, with a small dt"
            )

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the matrix, and a few more of its size while it is made."""
        return MemoryUse(8 * 4 * template.grid.size**2)


def _log_transitions(energy: Energy, template: Density, time: float) -> np.ndarray:
    """Return the logarithms of the densities of transitions to cell i from cell j, times the width of j."""
    grid = template.grid
    axis, log_pi = grid.axes[0], grid.backend.asnumpy(energy.log_equilibrium(grid))
    means = axis.centres + time * finite_score(energy, grid)[:, 0]
    log_q = -((axis.centres[:, None] - means) ** 2) / (4 * time) - 0.5 * np.log(4 * np.pi * time)  # to i, from j
    log_flow = np.minimum(log_q, log_q.T + log_pi[:, None] - log_pi)
    np.fill_diagonal(log_flow, -np.inf)
    leaves = np.sum(np.exp(log_flow) * axis.widths[:, None], axis=0)
    if leaves.max() > 1 + 1e-9:
        j = int(np.argmax(leaves))
        raise NumericalError(
            f"proposals from {axis.centres[j]:.6g} have mass {leaves[j]:.6g} on the cells: use a finer grid"
        )
    stays = np.maximum(1 - leaves, np.finfo(float).tiny)
    log_flow += np.log(axis.widths)
    np.fill_diagonal(log_flow, np.log(stays))
    return log_flow
