"""The g of the law of a sampler itself, for infinitely many particles, given to finitely many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.density_ratio import LogRatio, OnGrid
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.validation.product_problem import ProductProblem

SAME_TIME = 1e-9  # relative to the time: what differs by less is the same, counted from another start


@dataclass(frozen=True, eq=False)
class LawDensity(LogRatio):
    """The g of the law of infinitely many particles: noted in a run on a grid, and given to particles of a second run.

    Attributes
    ----------
    frames : dict time -> Density or Gaussian
        The laws that a reaction has met.
    """

    frames: dict[float, Any] = field(default_factory=dict)

    @override
    def on_grid(self, grid: Grid) -> OnGrid:
        """Return the exact g, and note the density that it is taken of."""

        def noted(state: Density, energy: Energy, t: float) -> Any:
            self.frames[t] = state
            return energy.first_variation(state)

        return noted

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """Return g at the particles; outside the box it is that of the nearest place inside."""
        return self.log_ratio(state.positions, target, t)

    def log_ratio(self, points: Array, target: Any, t: float) -> Array:
        """Return g at points (n, m); outside the box it is that of the nearest place inside."""
        law = self.frames[t] if t in self.frames else self._near(t)
        if isinstance(law, Gaussian):
            return np.asarray(law.log_density(points) - target.log_density(points))
        lower, upper = (np.array([axis.edges[k] for axis in law.grid.axes]) for k in (0, -1))
        inside = np.clip(points, lower, upper)
        return np.asarray(law.log_prob(inside) - target.log_density(inside))

    def _near(self, t: float) -> Any:
        """Return the law noted at a time that is the same but for rounding."""
        time = min(self.frames, key=lambda one: abs(one - t))
        if abs(time - t) > SAME_TIME * (1 + abs(t)):
            raise KeyError(t)
        return self.frames[time]

    def clear(self) -> None:
        """Forget the laws."""
        self.frames.clear()


@dataclass(frozen=True, eq=False)
class ProductLawDensity(LogRatio):
    """The g of the law of infinitely many particles where it is a product: the sum of those of the blocks.

    Attributes
    ----------
    problem : ProductProblem
        Of the blocks.
    parts : list of LawDensity
        Noted in the runs of the different blocks.
    """

    problem: ProductProblem
    parts: list[LawDensity]

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """Return g at the particles in R^d."""
        law = self.problem.law
        y, total = law.inner(state.positions), np.zeros(len(state.positions))
        for block, own in zip(self.problem.blocks, self.parts, strict=True):
            pi: Any = block.target.at(t) if block.target.moving else block.target
            for number in block.numbers:
                total += own.log_ratio(y[:, law.blocks[number]], pi, t)
        return total

    def clear(self) -> None:
        """Forget the laws."""
        for own in self.parts:
            own.clear()
