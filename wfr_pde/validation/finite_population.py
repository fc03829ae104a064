"""A flow that empties cells with less than one particle: what a finite number cannot follow of a law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.space.density import Density

# nats below the maximum of a density that emptied cells get: e^-400 does not grow back in a run, and does not underflow
EMPTY_CELL_DEPTH = 400.0


@dataclass(frozen=True)
class FinitePopulationCutoff(Flow):
    """Flow of densities that sees no place where less than one of `number` particles is expected.

    After every step the least dense cells that hold a mass of 1/number together are emptied. Fronts that grow from next
    to nothing move later then, as those of as many particles do: the difference is what a finite number may lag behind
    by.

    Parameters
    ----------
    flow : Flow
        The flow without the cutoff.
    number : float
        Number of particles.

    References
    ----------
    Brunet and Derrida (1997), doi:10.1103/PhysRevE.56.2597.
    """

    flow: Flow
    number: float

    order = 0
    measures = (Density,)

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        self.flow.check(energy, template)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        return self.flow.dt_bounds(energy, template)

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Return a step of the flow that empties cells at its end."""
        inner = self.flow.make_step(energy, template, dt)

        def step(state: Density, t: float, rng: np.random.Generator | None = None) -> Density:
            return without_least(inner(state, t, rng), 1 / self.number)

        return step

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """Return the exchanged flow with the same number of particles."""
        return replace(self, flow=self.flow.map_parts(exchange))

    @override
    def monitored(self) -> Flow:
        """Return the monitored flow with the same number of particles."""
        return replace(self, flow=self.flow.monitored())


def without_least(state: Density, mass: float) -> Density:
    """Empty the least dense cells that hold `mass` together, and normalise the density."""
    grid = state.grid
    log_values = np.array(grid.backend.asnumpy(state.log_values))
    shares = np.exp(log_values + np.broadcast_to(grid.backend.asnumpy(grid.log_cell_volume), grid.shape)).ravel()
    order = np.argsort(log_values, axis=None, kind="stable")
    empty = order[np.cumsum(shares[order]) < mass]
    log_values.ravel()[empty] = np.minimum(log_values.ravel()[empty], log_values.max() - EMPTY_CELL_DEPTH)
    return Density(grid, grid.backend.asarray(log_values)).normalised()
