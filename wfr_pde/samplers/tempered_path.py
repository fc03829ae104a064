"""The path that tempering samplers follow: mu_0^(1 - lambda) pi^lambda with lambda = 1 - e^(-rate t)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wfr_pde.energies import Energy
from wfr_pde.numerics.arguments import instance
from wfr_pde.numerics.typing import Array
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target
from wfr_pde.targets.geometric_path import GeometricMean


@dataclass(frozen=True, eq=False)
class TemperedPath:
    """Fisher-Rao flow from `start` to `target`, which has a closed form."""

    start: Target
    target: Target
    rate: float
    start_time: float

    def left(self, t: float) -> float:
        """Return 1 - lambda at time t.

        Raises
        ------
        ValueError
            If t is before the start.
        """
        if t < self.start_time - 1e-12 * max(1.0, abs(self.start_time)):
            raise ValueError(f"the path begins at start_time={self.start_time:g}, but a step begins at t={t:g}")
        return math.exp(-self.rate * max(t - self.start_time, 0.0))

    def at(self, t: float) -> GeometricMean:
        """Return the distribution at time t."""
        return GeometricMean(self.start, self.target, 1 - self.left(t))

    def log_ratio(self, points: Array) -> Array:
        """Return log(pi/mu_0), up to a constant, at points (n, d)."""
        return self.target.log_density(points) - self.start.log_density(points)


def checked_start(start: Target, name: str) -> None:
    """Refuse a start that has no density.

    Raises
    ------
    TypeError
        If it is no `Target`.
    ValueError
        If it moves.
    """
    instance("start", start, Target, f"that the particles of {name} were drawn from")
    if start.moving:
        raise ValueError(f"{name} starts from one distribution, but {start!r} moves: give start.at(t)")


def tempered_path(
    start: Target, energy: Energy, template: Particles, rate: float, start_time: float, name: str
) -> TemperedPath:
    """Return the tempered path from a start to the target of an energy.

    Raises
    ------
    ValueError
        If the target moves, or dimensions differ.
    """
    if energy.moving:
        raise ValueError(
            f"{name} follows mu_0^(1 - lambda) pi^lambda, which is the Fisher-Rao flow of a target at rest only, but "
            "this one moves: use FeynmanKac or BirthDeath"
        )
    target: Target = energy.equilibrium
    for what, ndim in (("start", start.ndim), ("particles", template.ndim)):
        if ndim != target.ndim:
            raise ValueError(f"the {what} of {name} has dimension {ndim}, but the target {target.ndim}")
    return TemperedPath(start, target, rate, start_time)
