"""A truth in any dimension that does not move: a product of laws at rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.stationary import TAIL, Stationary
from wfr_pde.integrate.truth_protocol import StatedProblem
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.grid import Grid
from wfr_pde.space.product_law import Factor, ProductLaw
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.product import Product
from wfr_pde.targets.radial import Radial

RADII = 1024  # cells of the grid of the distance from the origin, for a law that depends on it only


@dataclass(frozen=True, eq=False)
class StationaryProduct:
    """A `Truth` that is the same at all times, in any dimension: pi, where it is a product, for samplers that keep it.

    Parameters
    ----------
    target : Target
        pi, that `Product.of` knows a split of: its factors are Gaussian or radial in any dimension, or have at most
        three dimensions.

    Raises
    ------
    ValueError
        If no split is known, a factor fits on no grid, or it moves.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> truth = StationaryProduct(wfr.Product([wfr.Gaussian([0.0, 1.0], 1.0)] * 10))
    >>> truth.at(0.0).mean()[:4].tolist(), truth.error_l1(0.0).item()
    ([0.0, 1.0, 0.0, 1.0], 0.0)
    """

    target: Target
    law: ProductLaw = field(init=False)
    _error: float = field(init=False)

    def __post_init__(self) -> None:
        if self.target.moving:
            raise ValueError(f"{self.target!r} moves, so that it is no truth for all times: give target.at(t)")
        product = Product.of(self.target)
        known: dict[int, tuple[Factor, float]] = {}
        for factor in product.factors:
            if id(factor) not in known:
                known[id(factor)] = _at_rest(factor)
        found = [known[id(factor)] for factor in product.factors]
        object.__setattr__(self, "law", ProductLaw([law for law, _ in found], *product.frame))
        object.__setattr__(self, "_error", 2 * (1 - float(np.prod([1 - error / 2 for _, error in found]))))

    @property
    def times(self) -> Array:
        """No times (0,), as it stands for all."""
        return np.empty(0)

    @property
    def problem(self) -> StatedProblem:
        """The target."""
        return StatedProblem(self.target)

    def at(self, t: float) -> ProductLaw:
        """Return the law, whatever the time."""
        return self.law

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate log mu(x), shape (...); -inf outside the boxes of the factors."""
        values = self.law.log_prob(x)
        return np.broadcast_to(values, np.broadcast_shapes(np.shape(values), np.shape(t)))

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the gradient of log mu at x, shape (..., d)."""
        values = self.law.score(x)
        return np.broadcast_to(values, (*np.broadcast_shapes(values.shape[:-1], np.shape(t)), self.law.ndim))

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw `n` independent points (n, d)."""
        return self.law.sample(n, rng)

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound the L1 distance of the law from its distribution, at times (...), by those of the factors."""
        return np.full(np.shape(t), self._error)[()]


def _at_rest(factor: Target) -> tuple[Factor, float]:
    """Return the law of a factor, and the L1 error of it."""
    if isinstance(factor, Gaussian):
        return factor, 0.0
    if isinstance(factor, Radial):
        lower, upper = (float(corner[0]) for corner in factor.radius.box(TAIL))
        truth = Stationary(Grid(max(lower, 0.0), upper, RADII, max_cut=1.0).density(factor.radius), factor.radius)
        return RadialLaw(truth.density, factor.ndim), float(truth.error_l1(0.0))
    truth = Stationary.of_target(factor)
    return truth.density, float(truth.error_l1(0.0))
