"""How much mass a diffusion has lost or made in a run: by its walls, or by cells that do not resolve it."""

from __future__ import annotations

import math

from wfr_pde.errors import MassNotKeptError

LARGEST = 1e-3  # share of the mass that a run may lose or make: the L1 error is at least as large
REMEDY = (
    "the drift focuses mass below the cells, or carries it through a wall of the box: use more cells, a wider box or a "
    "smaller dt"
)


class MassBalance:
    """A sum of what the steps of one run lose or make of the mass, which ends the run where that is too much.

    Characteristics and the heat kernel keep the mass exactly; a step on a grid does if the cells resolve the density,
    and nothing comes through the walls.
    """

    def __init__(self) -> None:
        self.total = 0.0

    def add(self, change: float, what: str, t: float, at_walls: bool = False) -> None:
        """Add the logarithm of the mass after a step over that before, or a share of the mass; `at_walls` if there is.

        Raises
        ------
        MassNotKeptError
            If the sum, or this change alone, exceeds `LARGEST`.
        """
        self.total += abs(change)
        if not self.total <= LARGEST:
            alone = f"by {math.expm1(change):.2g} in this step, " if math.isfinite(change) else ""
            raise MassNotKeptError(
                f"the {what} up to t={t:.6g} does not keep the mass: it is off {alone}by {self.total:.2g} since the "
                f"start, above {LARGEST:g}; {REMEDY}",
                at_walls,
            )
