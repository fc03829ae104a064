"""A distribution whose potential is capped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import finite, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import call_repr
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.derived import DerivedTarget

FAR = 1e6  # spans above the ceiling, beyond which V is the ceiling plus the span to double precision (1/2 FAR^-2)


@dataclass(frozen=True, eq=False)
class Capped(DerivedTarget):
    """A target whose V is itself up to a ceiling c and never exceeds c + w: for walls that nothing climbs.

    Above the ceiling V = c + w phi((V - c)/w) with phi(z) = z/(1 + z e^{-1/z}): increasing from 0 to 1 with slope
    phi' = (1 - e^{-1/z})/(1 + z e^{-1/z})². All derivatives of phi(z) - z vanish at z = 0, so that the capped V is as
    smooth as V. It has a density in a box only: far out it is constant.

    What a cap does to the flow is for the caller to bound: by the mass that is ever above the ceiling, and by the mass
    that pi gains there, at most (volume of the box) e^{-(c - V_min)} of its own scale.

    Parameters
    ----------
    target : Target
        Its box, draws and support serve for the capped one too.
    ceiling : float
        c, a value of V = -log_density, in nats.
    span : float
        w > 0, in nats.

    Raises
    ------
    ValueError
        If the ceiling is not finite, or the span not positive.
    """

    target: Target
    ceiling: float
    span: float

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise ValueError(f"what is capped must be a target, got {self.target!r}")
        object.__setattr__(self, "ceiling", finite("ceiling", self.ceiling))
        object.__setattr__(self, "span", positive("span", self.span))
        object.__setattr__(self, "ndim", self.target.ndim)
        object.__setattr__(self, "moving", self.target.moving)
        object.__setattr__(self, "support", self.target.support)

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V, capped, at points (..., d), shape (...); NaN where V is."""
        return self.cap(self.target.log_density(points))

    def cap(self, log_density: Array) -> Array:
        """Return -V, capped, from values of the log-density of the target."""
        excess = self._excess(log_density)
        blended = -self.ceiling - self.span * _blend(excess)
        return np.asarray(np.where(excess > 0, blended, log_density))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the score of the target times phi', shape (..., d); zero where V is infinite."""
        score = self.target.score(points)
        slope = _slope(self._excess(self.target.log_density(points)))[..., None]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(slope > 0, slope * score, np.where(np.isnan(slope), np.nan, 0.0)))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return draws of the target itself: in a box they are right up to its mass above the ceiling."""
        return self.target.sample(n, rng)

    @override
    def at(self, t: float) -> Target:
        """Return the target at time `t`, capped at the same ceiling."""
        return Capped(self.target.at(t), self.ceiling, self.span) if self.moving else self

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the box of the target itself."""
        return self.target.box(tail)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the breaks of the target itself: the cap is smooth."""
        return self.target.breaks(lower, upper)

    def _excess(self, log_density: Array) -> Array:
        """Return (V - c)/w, how far V is above the ceiling, in spans."""
        with np.errstate(over="ignore"):
            return np.asarray((-np.real(log_density) - self.ceiling) / self.span)


def _blend(z: Array) -> Array:
    """Return phi(z) for z > 0; anything for others."""
    inner = np.clip(z, 1e-3, FAR)  # e^-1000 is zero, and phi(z) = z
    blended = inner / (1 + inner * np.exp(-1 / inner))
    return np.asarray(np.where(z < 1e-3, z, np.where(z > FAR, 1.0, np.where(np.isnan(z), np.nan, blended))))


def _slope(z: Array) -> Array:
    """Return phi'(z); one for z <= 0."""
    inner = np.clip(z, 1e-3, FAR)
    slope = -np.expm1(-1 / inner) / (1 + inner * np.exp(-1 / inner)) ** 2
    return np.asarray(np.where(z < 1e-3, 1.0, np.where(np.isinf(z), 0.0, np.where(np.isnan(z), np.nan, slope))))
