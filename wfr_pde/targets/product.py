"""Products of distributions in blocks of coordinates, turned and shifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, generator, refuse_no_entries, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import Floats, call_repr, tail_mass
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.turned import checked_frame, original_points, turned_box, turned_points, turned_vectors


@dataclass(frozen=True, eq=False)
class Product(Target):
    """Law of x = shift + Q y, where the blocks of y = (y_1, ..., y_k) are independent: V(x) = sum_i V_i(y_i).

    From a start that is a product of the same blocks, the WFR flow stays one: every factor follows the flow of its own,
    at the same rates. So `ground_truth` solves the factors, in any dimension.

    Parameters
    ----------
    factors : sequence of Target
        Laws of the blocks y_1, ..., y_k, of any dimensions; d is the sum of these. A factor that is a `Product` itself,
        neither turned nor shifted, gives its factors.
    rotation : array (d, d), optional
        Q, orthogonal: its columns are the axes of y in the coordinates x. The identity by default.
    shift : array (d,), optional
        Place x of y = 0. Zero by default.

    Raises
    ------
    TypeError
        If a factor is no `Target`.
    ValueError
        If there are no factors, shapes do not fit, or Q is not orthogonal.

    Examples
    --------
    Twenty double wells, of a barrier of five nats each, have 2^20 modes:

    >>> import wfr_pde as wfr
    >>> target = wfr.Product([wfr.DoubleWell(5)] * 20)
    >>> target.ndim, target.log_density([[1.0] * 20, [0.0] * 20]).tolist()
    (20, [0.0, -100.0])
    """

    factors: Sequence[Target]
    rotation: Floats = None
    shift: Floats = None

    other_words = {"centre": "shift", "center": "shift", "targets": "factors", "components": "factors"}

    def __post_init__(self) -> None:
        factors = _flat(self.factors)
        object.__setattr__(self, "factors", factors)
        ndim = sum(factor.ndim for factor in factors)
        rotation = np.eye(ndim) if self.rotation is None else self.rotation
        rotation, shift = checked_frame(rotation, np.zeros(ndim) if self.shift is None else self.shift, ndim, "shift")
        # the identity is None, so that points along the axes are not multiplied
        aligned = np.array_equal(rotation, np.eye(ndim))
        object.__setattr__(self, "rotation", None if aligned else rotation)
        object.__setattr__(self, "shift", None if not shift.any() else shift)
        object.__setattr__(self, "ndim", ndim)
        object.__setattr__(self, "moving", any(factor.moving for factor in factors))
        if all(factor.support is not None for factor in factors):
            object.__setattr__(self, "support", self._outer_box([factor.support for factor in factors]))

    __repr__ = call_repr

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Places of the factors among the coordinates y."""
        ends = np.cumsum([factor.ndim for factor in self.factors]).tolist()
        return tuple(slice(a, b) for a, b in zip([0, *ends], ends, strict=False))

    @property
    def frame(self) -> tuple[Array, Array]:
        """Q (d, d) and the shift (d,), whether they were given or not."""
        rotation = np.eye(self.ndim) if self.rotation is None else self.rotation
        return rotation, np.zeros(self.ndim) if self.shift is None else self.shift

    def inner(self, points: ArrayLike) -> Array:
        """Return the coordinates y = Q'(x - shift) of `points` x (..., d)."""
        points = self.as_points(points)
        if self.rotation is not None:
            return turned_points(points, *self.frame)
        return points if self.shift is None else points - self.shift

    def outer(self, points: ArrayLike) -> Array:
        """Return the places x = shift + Q y of `points` y (..., d)."""
        points = np.asarray(points)
        if self.rotation is not None:
            return original_points(points, *self.frame)
        return points if self.shift is None else points + self.shift

    @property
    @override
    def score_by_differences(self) -> bool:
        return any(factor.score_by_differences for factor in self.factors)

    @property
    @override
    def machine_epsilon(self) -> float:
        return max(factor.machine_epsilon for factor in self.factors)

    @property
    @override
    def log_normaliser(self) -> float | None:  # type: ignore[override]
        """Sum over the factors, where all know theirs."""
        known = [factor.log_normaliser for factor in self.factors]
        return None if None in known else float(sum(known))  # type: ignore[arg-type]

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return the sum of the log-densities of the factors at points (..., d), shape (...)."""
        y = self.inner(points)
        parts = zip(self.factors, self.blocks, strict=True)
        return np.asarray(sum(factor.log_density(y[..., block]) for factor, block in parts))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return Q times the scores of the factors at points (..., d), shape (..., d)."""
        y = self.inner(points)
        parts = zip(self.factors, self.blocks, strict=True)
        scores = np.concatenate([factor.score(y[..., block]) for factor, block in parts], axis=-1)
        return scores if self.rotation is None else turned_vectors(scores, self.rotation.T)

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return `n` draws (n, d): those of the factors, one beside another.

        Raises
        ------
        ValueError
            If a factor has no exact sampler.
        """
        n, rng = draws(n, self.ndim), generator(rng)
        return self.outer(np.concatenate([factor.sample(n, rng) for factor in self.factors], axis=-1))

    @override
    def moments(self) -> tuple[Array, Array] | None:
        """Return the mean and the covariance, where all factors know theirs."""
        known = [factor.moments() for factor in self.factors]
        if any(one is None for one in known):
            return None
        mean, covariance = np.empty(self.ndim), np.zeros((self.ndim, self.ndim))
        for block, one in zip(self.blocks, known, strict=True):
            assert one is not None
            mean[block], covariance[block, block] = one
        if self.rotation is not None:
            covariance = self.rotation @ covariance @ self.rotation.T
        return self.outer(mean), (covariance + covariance.T) / 2

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the box around those of the factors, each of which leaves out tail / k: at most `tail` is outside."""
        if self.support is not None:
            return self.support
        share = tail_mass(tail) / len(self.factors)
        different = {id(factor): factor.box(share) for factor in self.factors}
        return self._outer_box([different[id(factor)] for factor in self.factors])

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return those of the factors; in turned coordinates they are no planes along the axes, but `elsewhere`."""
        rotation, shift = self.frame
        inner = turned_box((lower, upper), rotation, shift)
        found = [
            factor.breaks(inner[0][block], inner[1][block])
            for factor, block in zip(self.factors, self.blocks, strict=True)
        ]
        if self.rotation is not None:
            return Breaks(Breaks.none(self.ndim).places, elsewhere=any(map(bool, found)))
        places = [place for one in found for place in one.places]
        moved = tuple(place + offset for place, offset in zip(places, shift, strict=True))
        return Breaks(moved, elsewhere=any(one.elsewhere for one in found))

    @override
    def at(self, t: float) -> Target:
        """Return the product of the factors as they are at time `t`."""
        if not self.moving:
            return super().at(t)
        return Product(tuple(factor.at(t) for factor in self.factors), self.rotation, self.shift)

    @classmethod
    def of(cls, target: Target) -> Product:
        """Find the split of a distribution into independent blocks, in turned coordinates if need be.

        A Gaussian mixture splits where the differences of its components, of means and of covariances, lie in a
        subspace that the covariances leave invariant: the rest is a Gaussian. Two modes of equal isotropic covariance
        are a mixture on the line through their means times a Gaussian, in any dimension. A `Ring` and other laws that
        are known by their radius are one `Radial` factor.

        Parameters
        ----------
        target : Target
            A `Product`, `Gaussian`, `GaussianMixture`, `Ring` or `Radial`.

        Returns
        -------
        Product

        Raises
        ------
        ValueError
            If no split is known, with the dimension that the differences span.

        Examples
        --------
        Two modes in 20 dimensions, in general position, are two modes on a line:

        >>> import numpy as np
        >>> import wfr_pde as wfr
        >>> apart = np.random.default_rng(1).normal(size=20)
        >>> target = wfr.GaussianMixture([0 * apart, apart], [0.3, 0.7], 0.04)
        >>> [(type(factor).__name__, factor.ndim) for factor in wfr.Product.of(target).factors]
        [('GaussianMixture', 1), ('Gaussian', 19)]
        """
        from wfr_pde.targets.splitting import split  # here, as it makes products

        return split(target)

    def _outer_box(self, boxes: list[Any]) -> tuple[Array, Array]:
        """Return the box in x around the boxes of the factors."""
        lower, upper = (np.concatenate([np.asarray(box[side]) for box in boxes]) for side in (0, 1))
        if self.rotation is None:
            return self.outer(lower), self.outer(upper)
        rotation, shift = self.frame
        return turned_box((lower, upper), rotation.T, turned_points(np.zeros(self.ndim), rotation, shift))


def _flat(factors: Any) -> tuple[Target, ...]:
    """Return the factors as a tuple, with those of plain products in place of these."""
    refuse_no_entries("factors", factors)
    if isinstance(factors, Target | str) or not isinstance(factors, Iterable):
        raise TypeError(
            f"factors must be a list of targets, such as [DoubleWell(), Gaussian(0, 1)], got {shown(factors)}"
        )
    found: list[Target] = []
    for k, factor in enumerate(factors):
        if not isinstance(factor, Target):
            raise TypeError(f"factors[{k}] must be a Target, such as Gaussian(0, 1), got {shown(factor)}")
        plain = isinstance(factor, Product) and factor.rotation is None and factor.shift is None
        found.extend(factor.factors if plain else [factor])  # type: ignore[attr-defined]
    if not found:
        raise ValueError("factors is empty: a product needs at least one")
    return tuple(found)
