"""A truth that does not move: a density on a grid, or a distribution that is put on one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.truth_protocol import StatedProblem
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

CELLS = {1: 1024, 2: 256, 3: 64}  # per axis of the grid that a distribution is put on, by dimension
TAIL = 1e-12  # mass of a distribution outside the box of that grid


@dataclass(frozen=True, eq=False)
class Stationary:
    """A `Truth` that is the same at all times, as pi is for a sampler that keeps it.

    Parameters
    ----------
    density : Density
        Normalised here. It is itself what is meant: its L1 error is zero.
    target : Target, optional
        The distribution that the density stands for. Then the L1 error is that of the density, measured against the
        distribution on cells half as wide.
    """

    density: Density
    target: Target | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", self.density.normalised())

    @classmethod
    def of_target(cls, target: Target) -> Stationary:
        """Put a distribution on a grid of 1024, 256² or 64³ cells, in the box that holds its mass.

        Raises
        ------
        ValueError
            If no such grid holds it: in more than three dimensions, where its features are narrower than the cells, or
            where its tails are too heavy; or if it moves.
        """
        if target.moving:
            raise ValueError(f"{target!r} moves, so that it is no truth for all times: give target.at(t)")
        if target.ndim not in CELLS:
            raise ValueError(
                f"a {target.ndim}-dimensional distribution is put on no grid (at most {max(CELLS)} dimensions): give "
                "an object with the members of Truth whose at(t) returns Particles"
            )
        try:
            grid = Grid.covering(target, shape=CELLS[target.ndim], tail=TAIL)
            return cls(grid.density(target), target)
        except ValueError as error:
            error.add_note("(a density on a grid of your own will do: truth=grid.density(target))")
            raise

    @property
    def times(self) -> Array:
        """No times (0,), as it stands for all."""
        return np.empty(0)

    @property
    def problem(self) -> StatedProblem:
        """The target, where it was made from one, and the density as the start."""
        return StatedProblem(self.target, self.density)

    def at(self, t: float) -> Density:
        """Return the density, whatever the time."""
        return self.density

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate log mu(x), shape (...); -inf outside the box."""
        values = self.density.log_prob(x)
        return np.broadcast_to(values, np.broadcast_shapes(values.shape, np.shape(t)))

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the gradient of log mu at x, shape (..., d); NaN outside the box."""
        values = self.density.score(x)
        return np.broadcast_to(values, (*np.broadcast_shapes(values.shape[:-1], np.shape(t)), self.density.ndim))

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw `n` independent points (n, d)."""
        return self.density.sample(n, rng)

    def error_l1(self, t: ArrayLike) -> Any:
        """Return the L1 distance of the density from its distribution, at times (...); zero where there is none."""
        return np.full(np.shape(t), self._error)[()]

    @cached_property
    def _error(self) -> float:
        """∫ |mu - pi| dx on cells half as wide, and what is outside the box."""
        if self.target is None:
            return 0.0
        grid = self.density.grid
        finer = Grid(
            grid.lower, grid.upper, [2 * n for n in grid.shape], boundary=grid.boundary, names=grid.names, max_cut=1.0
        )
        log_values = finer.evaluate(self.target.log_density)
        log_mass = float(finer.log_integrate(log_values))
        known = self.target.log_normaliser
        log_pi = log_values - (log_mass if known is None else known)
        gap = finer.integrate(np.abs(np.exp(self.density.on(finer).log_values) - np.exp(log_pi)))
        outside = TAIL if known is None else abs(-np.expm1(log_mass - known))
        return float(min(2.0, gap + outside))
