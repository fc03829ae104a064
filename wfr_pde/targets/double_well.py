"""The quartic double well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import finite, finite_array, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import Floats, call_repr
from wfr_pde.targets.base import Target


@dataclass(frozen=True, eq=False)
class DoubleWell(Target):
    """Double well: V(x, y) = h ((x/a)² - 1)² + ½ sum_i k_i y_i² + c x y_1, minima near x = ±a.

    Parameters
    ----------
    height : float
        h, the barrier between the wells for c = 0.
    width : float
        a, the distance of the wells from the barrier for c = 0.
    stiffness : sequence of float
        k_1, k_2, …: one quadratic direction each; the dimension is 1 + their number.
    coupling : float
        c, between x and the first quadratic direction.

    Raises
    ------
    ValueError
        If height, width or a stiffness is not positive, or there is a coupling but nothing to couple to.

    Examples
    --------
    The barrier at 0 is `height` nats above the wells at ±width:

    >>> import wfr_pde as wfr
    >>> target = wfr.DoubleWell(height=2.0, width=1.5)
    >>> (target.log_density([[1.5]]) - target.log_density([[0.0]])).tolist()
    [2.0]
    """

    height: float
    width: float = 1.0
    stiffness: Floats = ()
    coupling: float = 0.0

    def __post_init__(self) -> None:
        stiffness = np.atleast_1d(finite_array("stiffness", self.stiffness))
        if stiffness.ndim != 1:
            raise ValueError(f"stiffness must be a list of numbers, got shape {stiffness.shape}")
        for k in stiffness:
            positive("stiffness", k)
        object.__setattr__(self, "height", positive("height", self.height))
        object.__setattr__(self, "width", positive("width", self.width))
        object.__setattr__(self, "stiffness", tuple(stiffness.tolist()))
        object.__setattr__(self, "coupling", finite("coupling", self.coupling))
        if self.coupling and not self.stiffness:
            raise ValueError(f"coupling={self.coupling} needs a second direction: give stiffness=(k,)")
        object.__setattr__(self, "ndim", 1 + len(stiffness))

    __repr__ = call_repr

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """log ∫ exp(-V), by Bessel functions I_{±1/4}.

        Integrating y out leaves h ((z² - b)² + 1 - b²), z = x/a, b = 1 + c² a² / (4 h k_1), and
        ∫ exp(-h (z² - b)²) dz = ½ pi sqrt(b) e^{-q} (I_{-1/4}(q) + I_{1/4}(q)), q = h b²/2.
        """
        from scipy.special import ive  # e^{-q} I(q): does not overflow

        shift = (self.coupling * self.width) ** 2 / (4 * self.height * self.stiffness[0]) if self.coupling else 0.0
        b = 1 + shift
        q = self.height * b**2 / 2
        well = np.log(self.width * np.pi * np.sqrt(b) / 2 * (ive(-0.25, q) + ive(0.25, q)))
        quadratic = 0.5 * np.sum(np.log(2 * np.pi / np.array(self.stiffness)))
        return float(well + self.height * shift * (b + 1) + quadratic)  # b² - 1 = shift (b + 1)

    @override
    def log_density(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        x, y = points[..., 0], points[..., 1:]
        potential = self.height * ((x / self.width) ** 2 - 1) ** 2 + 0.5 * np.sum(self.stiffness * y**2, axis=-1)
        return np.asarray(-potential - (self.coupling * x * y[..., 0] if self.coupling else 0.0))

    @override
    def score(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        x = points[..., 0]
        score = np.empty_like(points)
        score[..., 0] = -4 * self.height / self.width**2 * x * ((x / self.width) ** 2 - 1)
        score[..., 1:] = -points[..., 1:] * self.stiffness
        if self.coupling:
            score[..., 0] -= self.coupling * points[..., 1]
            score[..., 1] -= self.coupling * x
        return score
