"""The trait `TakesReactions`: transports that make exact Fisher-Rao flows together with their own steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenSteps


class TakesReactions(ABC):
    """A transport whose steps can include the exact Fisher-Rao flows before and after them, which saves passes.

    A flow inherits from it beside `Flow`. `Lie` and `Strang` look for it where all their other turns are `FisherRao`,
    and the energy does not move.
    """

    @abstractmethod
    def takes_reactions(self, template: Any) -> bool:
        """Return whether it saves anything to include reactions for states like `template`."""

    @abstractmethod
    def with_reactions(self, energy: Energy, template: Any, dt: float, times: tuple[float, float]) -> FrozenSteps:
        """Prepare steps of size `dt` that include reactions.

        Parameters
        ----------
        energy : Energy
            One that does not move.
        template : Density
            A state like those that will be advanced.
        dt : float
            Size of the step, > 0.
        times : (float, float)
            Times of the Fisher-Rao flows before and after each step: rate * dt of the reaction, >= 0.

        Returns
        -------
        steps : callable
            ``steps(state, n, callback) -> state`` advances by `n` steps, each between its two reactions, up to rounding
            as one flow after another does; ``callback()`` is called before every step.
        """
