"""What stands in for the energy of flows that go down none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from typing_extensions import override

from wfr_pde.energies.base import Energy
from wfr_pde.errors import NoEquilibriumError
from wfr_pde.space.density import Density
from wfr_pde.targets.base import Target


@dataclass(frozen=True)
class NoEnergy(Energy):
    """The energy that flows and records see in ``solve(None, flow, ...)``: it has no value, no force, no minimiser.

    A flow that declares ``energies = ()`` does not look at it; all others refuse it. Its methods raise a
    `NoEquilibriumError`, which names the remedies.

    Examples
    --------
    Diffusion on a circle goes down no energy that anyone has named; a wave of number one falls as exp(-t):

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> class Diffusion(wfr.Flow):
    ...     energies, order, measures = (), np.inf, (wfr.Density,)
    ...     def build_step(self, energy, template, dt):
    ...         factors = np.exp(-dt * np.arange(template.grid.size // 2 + 1) ** 2)
    ...         return lambda state, rng: wfr.Density(
    ...             state.grid, np.log(np.fft.irfft(np.fft.rfft(state.values) * factors, state.grid.size))
    ...         )
    >>> grid = wfr.Grid(0.0, 2 * np.pi, 32, boundary="periodic")
    >>> wave = lambda state, energy: 2 * float(state.expectation(lambda points: np.cos(points[..., 0])))
    >>> start = grid.density(wfr.Potential("-log(1 + cos(x)/2)"))
    >>> run = wfr.solve(None, Diffusion(), start, [0.0, 1.0], 1.0, record={"wave": wave})
    >>> [round(float(value), 4) for value in run["wave"]]
    [0.5, 0.1839]
    """

    name = "no_energy"

    @override
    def value(self, state: Any) -> float:
        self._refuse("value")

    @property
    @override
    def equilibrium(self) -> Target:
        self._refuse("equilibrium")

    @override
    def reference(self, start: Any) -> np.ndarray:
        """Return no values: there is only one `NoEnergy`."""
        return np.empty(0)

    @override
    def first_variation(self, state: Density) -> Any:
        self._refuse("first variation")

    @override
    def reaction(self, state: Density, time: float) -> Density:
        self._refuse("Fisher-Rao flow")

    def _refuse(self, what: str) -> NoReturn:
        """Raise the error that says what is missing, and what to give in its place."""
        raise NoEquilibriumError(
            f"there is no energy, as the problem is None, and so no {what}: give the energy itself as a record, such "
            "as record=[KL(target)]; or, for records and flows that ask for it, solve with a target in place of None"
        )
