"""A problem that is to be certified: target, start, save times, rates and tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.flows import Extrapolated, FiniteVolume, FisherRao, Flow, Strang
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.capped import Capped

if TYPE_CHECKING:
    from wfr_pde.space.frame import Frame
    from wfr_pde.targets.base import Target
    from wfr_pde.truth.certified.preparation.reach import Ceilings


SHIFT = 1e-9  # of the whole time, by which ceilings hold earlier: times that are equal but for rounding have the same


@dataclass(frozen=True)
class Problem:
    """The problem that is solved: target, start, save times, rates, tolerance.

    The last six say how a problem that was made ready for a grid (`prepared`) differs from the one that is given.

    Attributes
    ----------
    ceilings : Ceilings or None
        Of V over time: steps see it capped; None without a cap.
    log_normaliser : float or None
        log ∫ exp(-V), where a box holds a part of the target only; None where the cells give it.
    normaliser_doubt : float
        What that may be off by, in nats.
    frame : Frame or None
        The coordinates of target and start; None for the given ones.
    given : Problem or None
        The problem in the given coordinates, where it was made ready.
    outside : float
        Mass that a pilot run had outside the box.
    """

    target: Target
    start: Target
    times: Array
    alpha: float
    beta: float
    rtol: float
    ceilings: Ceilings | None = None
    log_normaliser: float | None = None
    normaliser_doubt: float = 0.0
    frame: Frame | None = None
    given: Problem | None = None
    outside: float = 0.0

    def flow(self, order: int) -> Flow:
        """Return the flow of order 2 in dx, and of the given order in dt where it has an error there."""
        return self.basic if self.exact_in_time else Extrapolated(self.basic, order)

    @property
    def exact_in_time(self) -> bool:
        """Whether steps of any size are exact: reaction alone, or transport alone on a line, to a target at rest."""
        alone = self.alpha == 0 or (self.beta == 0 and self.target.ndim == 1)
        return alone and not self.target.moving

    @property
    def basic(self) -> Flow:
        """The self-adjoint flow that is extrapolated in dt."""
        transport, reaction = FiniteVolume(self.alpha, tolerance=1e-13), FisherRao(self.beta)
        if self.alpha == 0 or self.beta == 0:
            return reaction if self.alpha == 0 else transport
        return Strang(reaction, transport)

    @cached_property
    def energy(self) -> KL:
        """KL to the target, which `Grid.covering` has looked at."""
        return KL(self.target, checked=False)

    @property
    def places(self) -> list[Target]:
        """The target; one that moves at its first, middle and last time."""
        times = np.linspace(self.times[0], self.times[-1], 3).tolist() if self.target.moving else [0.0]
        return [self.target.at(t) for t in times]

    @cached_property
    def _energies(self) -> dict[float, KL]:
        return {}

    def energy_at(self, t: float) -> KL:
        """Return KL to the target as it is at a time; the same object for the same time."""
        if not self.target.moving:
            return self.energy
        if t not in self._energies:
            self._energies[t] = self.energy.at(t)
        return self._energies[t]

    def seen(self, t: float) -> KL:
        """Return KL to the target, under its ceiling, that a step from a time on sees."""
        if self.ceilings is None:
            return self.energy_at(t)
        later = t + SHIFT * float(self.times[-1] - self.times[0])
        level = self.ceilings.level(later)
        if level not in self._energies:
            self._energies[level] = KL(self.ceilings.cap(self.target, later), checked=False)
        return self._energies[level]

    def under_ceiling(self, potential: Array, t: float) -> Array:
        """Cap values of V by the ceiling of a time."""
        if self.ceilings is None:
            return potential
        target = self.seen(t).target
        return -target.cap(-potential) if isinstance(target, Capped) else potential

    def before(self, t: float) -> float:
        """Return a time just before another one, which ceilings that begin then tell from it."""
        return t - 2 * SHIFT * float(self.times[-1] - self.times[0])

    def kl(self, state: Density, t: float) -> float:
        """Compute KL(mu|pi) at a time, by the normaliser of pi where it is known, else by that of the cells."""
        energy = self.energy_at(t)
        if self.log_normaliser is None:
            return energy.value(state)
        of_cells = float(state.grid.log_integrate(state.grid.evaluate(energy.target.log_density)))
        return energy.value(state) + self.log_normaliser - of_cells

    def log_ratio(self, state: Density, t: float) -> Array:
        """Compute log(mu/pi) at a time, as `seen`."""
        return np.asarray(self.seen(t).first_variation(state))

    def log_density(self, grid: Grid, log_ratio: Array, t: float) -> Array:
        """Compute log mu, up to a constant, from the log-ratio to pi at a time."""
        return log_ratio + np.asarray(self.seen(t).log_equilibrium(grid))

    def density(self, grid: Grid, log_ratio: Array, t: float) -> Density:
        """Return the density with a log-ratio to pi at a time, normalised by the sum over the cells."""
        return Density(grid, self.log_density(grid, log_ratio, t)).normalised()
