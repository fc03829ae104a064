"""The kernelised Stein discrepancy, which compares particles with a target by its score alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.metrics.base import Metric, atoms, check_density, check_draws, check_measure, root
from wfr_pde.numerics.arguments import flag, instance, length, number
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.targets import Target

# most cells of a density with mass, between all of which pairs are summed: 1.6e9 of them take seconds
MOST_CELLS = 40_000


@dataclass(frozen=True)
class KSD(Metric):
    """Kernelised Stein discrepancy (Σ_ij w_i w_j k_0(x_i, x_j))^½ of the other measure from a target.

    k_0(x, y) = s(x)·s(y) k + s(x)·∇_y k + s(y)·∇_x k + ∇_x·∇_y k, s the score of the target and k(x, y) = (length² + |x
    - y|²)^power: of mean zero under the target in both arguments. With -1 < power < 0 and a target with a Lipschitz
    score and a log-density that is concave far out, KSD → 0 implies weak convergence. It needs no draws, no normalising
    constant and no reference: the first argument of the call does not count. It is blind to how mass is divided between
    modes that are far apart, where the score between them says nothing. Units 1/length, for a power of -½ and length 1.
    n independent draws from the target have `floor(reference, n)` as root mean square. Cost: n scores, O(n²) pairs in
    memory O(n).

    Parameters
    ----------
    target : Target
        Frozen in time, if it moves: target.at(t).
    length : float
        Length on which the kernel falls, > 0.
    power : float
        Between -1 and 0.
    squared : bool
        Whether KSD² is returned.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If the target is none, or the other neither Particles nor a Density.
    ValueError
        If a parameter is out of range, dimensions differ, the score is not finite at a particle, or a density has
        mass in more than 40000 cells.

    References
    ----------
    Gorham and Mackey (2017), arXiv:1703.01717.

    Examples
    --------
    For a particle at x under N(0, 1), k_0(x, x) = x² + 1:

    >>> import wfr_pde as wfr
    >>> particle = wfr.Particles([[2.0]])
    >>> round(wfr.metrics.KSD(wfr.Gaussian(0, 1), squared=True)(None, particle), 6)
    5.0
    """

    target: Target
    length: float = 1.0
    power: float = -0.5
    squared: bool = field(default=False, kw_only=True)
    name: str = field(default="ksd", kw_only=True)
    units = "1/length"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        instance("target", self.target, Target, "with a score, such as Gaussian(mean=0, covariance=1)")
        flag("squared", self.squared)
        if self.target.moving:
            raise ValueError("the target moves: give it at one time, KSD(target.at(t))")
        object.__setattr__(self, "length", length("length", self.length, "a length of the kernel"))
        power = number("power", self.power)
        if not -1 < power < 0:
            raise ValueError(f"power must be between -1 and 0, got {self.power}")
        object.__setattr__(self, "power", power)

    @property
    @override
    def long_name(self) -> str:
        return f"kernelised Stein discrepancy{', squared' if self.squared else ''}"

    @override
    def __call__(self, reference: Any, other: Density | Particles) -> float:
        """Return the discrepancy of `other` from the target; `reference` does not count."""
        from wfr_pde.numerics.compiled.pair_sums import stein_sums  # here, as it loads numba

        check_measure(other, "other", self.name)
        points, weights = self._atoms(other)
        if isinstance(other, Density) and len(points) > MOST_CELLS:
            raise ValueError(f"{len(points)} cells carry mass, more than {MOST_CELLS}: use a coarser grid")
        scores = self._scores(points)
        square = float(weights @ stein_sums(points, scores, weights, self.length, self.power))
        return square if self.squared else root(square, float(weights @ self._diagonal(scores)), self.name)

    def floor(self, reference: Density, n: int) -> float:
        """Return the root mean square over `n` independent draws, (E k_0(X, X)/n)^½; its square if squared.

        The `reference` must be the target on a grid.
        """
        check_density(reference, self.name)
        check_draws(n)
        points, weights = self._atoms(reference)
        square = float(weights @ self._diagonal(self._scores(points))) / n
        return square if self.squared else math.sqrt(square)

    def _atoms(self, measure: Density | Particles) -> tuple[Array, Array]:
        if measure.ndim != self.target.ndim:
            raise ValueError(
                f"the target is {self.target.ndim}-dimensional, but the measure {measure.ndim}-dimensional"
            )
        return atoms(measure)

    def _scores(self, points: Array) -> Array:
        scores = np.asarray(self.target.score(points), dtype=np.float64)
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            bad = points[int(np.argmin(finite))].tolist()
            raise ValueError(f"the score of the target is not finite at {bad}, where mass is")
        return scores

    def _diagonal(self, scores: Array) -> Array:
        """Return k_0(x, x) at points with some scores."""
        d, c, b = scores.shape[1], self.length, self.power
        return np.sum(scores**2, axis=1) * c ** (2 * b) - 2 * b * d * c ** (2 * (b - 1))
