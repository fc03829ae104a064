"""Laws as products of parts, each along axes of its own, and what they are in the blocks of a frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian, GaussianMixture, Radial, Ring
from wfr_pde.targets.base import Target
from wfr_pde.targets.product import Product
from wfr_pde.targets.splitting import along_subspace, coupled_subspace
from wfr_pde.targets.turned import turned, turned_points
from wfr_pde.truth.exact import gaussian_kl

ALONG = 1e-10  # cosine of an axis of a part with one of the frame, below which they are orthogonal
CORRELATED = 1e-9  # correlation below which Gaussian coordinates are independent; what that does is in the bound
ROUNDED = 1e-14  # what rounding makes of a cosine of zero or one
LOST = 1e-13  # of the largest variance, what is no variance
ISOTROPIC = 1e-12  # of the variance: what turning leaves of its differences


@dataclass(frozen=True)
class Part:
    """A factor of a law: that of z = axes'(x - origin).

    Attributes
    ----------
    law : Target
        Of z.
    axes : array (d, m)
        Orthonormal columns, in the coordinates x.
    """

    law: Target
    axes: Array

    @property
    def is_gaussian(self) -> bool:
        """Whether it couples coordinates by its covariance only."""
        return type(self.law) is Gaussian


@dataclass(frozen=True)
class Parts:
    """A law as a product of parts.

    Attributes
    ----------
    parts : tuple of Part
    origin : array (d,)
        x where all z are zero.
    departure : float
        Bound of the L1 distance of the product from the law.
    turned : float
        Norm of what is neglected of the axes of the parts, in radians.
    seen_about : array (d,), optional
        The origin in the coordinates before the last turn.
    """

    parts: tuple[Part, ...]
    origin: Array
    departure: float = 0.0
    turned: float = 0.0
    seen_about: Array | None = None

    @classmethod
    def of(cls, law: Target, split: bool) -> Parts:
        """Write a law as a product, and a mixture as one if it is to be `split`; other laws are a single part."""
        product, departure = law, 0.0
        if split and type(law) is GaussianMixture:
            product = along_subspace(law, coupled_subspace([law]))
            departure = departure_of_mixture(law, product)
        if not isinstance(product, Product):
            return cls((Part(law, np.eye(law.ndim)),), np.zeros(law.ndim))
        rotation, shift = product.frame
        parts = zip(product.factors, product.blocks, strict=True)
        return cls(tuple(Part(factor, rotation[:, block]) for factor, block in parts), shift, departure)

    def seen_from(self, rotation: Array, shift: Array) -> Parts:
        """Return the law of y = Q'(x - c), by its parts."""
        whole = np.concatenate([part.axes for part in self.parts], axis=1)
        ndim = len(shift)
        given = rotation.T @ whole
        turns = np.eye(ndim) if np.abs(whole - rotation).max() < ALONG else _cleaned(given)
        ends = np.cumsum([0, *(part.axes.shape[1] for part in self.parts)])
        places = [slice(a, b) for a, b in itertools.pairwise(ends.tolist())]
        parts = tuple(Part(part.law, turns[:, place]) for part, place in zip(self.parts, places, strict=True))
        neglected = 0.0 if np.array_equal(whole, rotation) else float(np.linalg.norm(turns - given))
        origin = turned_points(self.origin, rotation, shift)
        return Parts(parts, origin, self.departure, self.turned + neglected, self.origin)

    @cached_property
    def gaussian(self) -> tuple[Array, Array]:
        """Mean and covariance of the sum of the Gaussian parts alone."""
        mean, covariance = self.origin.copy(), np.zeros((len(self.origin), len(self.origin)))
        for part in filter(lambda part: part.is_gaussian, self.parts):
            mean += part.axes @ part.law.mean  # type: ignore[attr-defined]
            covariance += part.axes @ part.law.covariance @ part.axes.T  # type: ignore[attr-defined]
        return mean, (covariance + covariance.T) / 2

    @cached_property
    def couplings(self) -> Array:
        """How much coordinates depend on each other (d, d): correlations, and 1 in the span of a part not Gaussian."""
        _, covariance = self.gaussian
        sizes = np.sqrt(covariance.diagonal())
        found = np.abs(covariance) / np.maximum(np.outer(sizes, sizes), 1e-300)
        for part in self.parts:
            if not part.is_gaussian:
                reached = np.abs(part.axes).max(axis=1)
                reached = np.where(reached > ALONG, reached, 0.0)
                found = np.maximum(found, np.outer(reached, reached))
        np.fill_diagonal(found, 1.0)
        return found

    def dropped(self, blocks: list[list[int]]) -> float:
        """Bound what is taken as zero between blocks: whitened correlations, and axes of parts but Gaussians."""
        _, covariance = self.gaussian
        between, whitening, lost = covariance.copy(), np.zeros_like(covariance), 0.0
        for block in blocks:
            here = np.ix_(block, block)
            between[here] = 0.0
            values, vectors = np.linalg.eigh(covariance[here])
            seen = values > LOST * max(float(values[-1]), 1e-300)
            whitening[here] = vectors * np.where(seen, np.where(seen, values, 1.0) ** -0.5, 0.0) @ vectors.T
        for part in self.parts:
            if not part.is_gaussian:
                small = np.where(np.abs(part.axes).max(axis=1, keepdims=True) > ALONG, 0.0, part.axes)
                lost += float(np.linalg.norm(small))
        return float(2 * np.linalg.norm(whitening @ between @ whitening)) + lost

    def law_of(self, block: list[int]) -> Target:
        """Return the law of the coordinates of a block."""
        inside = [part for part in self.parts if not part.is_gaussian and np.abs(part.axes[block]).max() > ALONG]
        if not inside:
            return self._gaussian_law(block)
        origin = self.origin[block]
        if len(inside) == 1 and inside[0].axes.shape[1] == len(block):
            axes = inside[0].axes[block]
            here = not origin.any() and np.array_equal(axes, np.eye(len(block)))
            if here or (type(inside[0].law) in (Radial, Ring) and np.abs(origin).max() < 1e-12):
                return inside[0].law
            return turned(inside[0].law, axes.T, -axes.T @ origin)
        axes = np.concatenate([part.axes[block] for part in inside], axis=1)
        laws: list[Target] = [part.law for part in inside]
        missing = len(block) - axes.shape[1]
        if missing:
            rest = np.linalg.svd(axes)[0][:, axes.shape[1] :]
            mean, covariance = self.gaussian
            laws.append(
                Gaussian(rest.T @ (mean[block] - origin), _symmetric(rest.T @ covariance[np.ix_(block, block)] @ rest))
            )
            axes = np.concatenate([axes, rest], axis=1)
        return Product(laws, axes, origin)

    def _gaussian_law(self, block: list[int]) -> Target:
        """Return the Gaussian of the coordinates of a block; a part that is just that as it is."""
        at_home = not self.origin[block].any()
        for part in self.parts:
            if at_home and part.axes.shape[1] == len(block) and np.array_equal(part.axes[block], np.eye(len(block))):
                return part.law
        mean, covariance = self.gaussian
        return Gaussian(mean[block], covariance[np.ix_(block, block)])


def departure_of_mixture(law: GaussianMixture, product: Product) -> float:
    """Bound the L1 distance of a mixture from a product of a mixture and a Gaussian, by Pinsker's inequality.

    It is that of the component that is furthest off, whatever its weight: reaction may make a small one large.
    """
    rotation, _ = product.frame
    if len(product.factors) == 1:
        return 0.0
    inner, (mixture, rest) = turned(law, rotation, np.zeros(law.ndim)), product.factors
    total, r = 0.0, mixture.ndim
    for given, own in zip(inner.components, mixture.components, strict=True):  # type: ignore[attr-defined]
        covariance = np.zeros((law.ndim, law.ndim))
        covariance[:r, :r], covariance[r:, r:] = own.covariance, rest.covariance  # type: ignore[attr-defined]
        made = Gaussian(np.concatenate([own.mean, rest.mean]), covariance)  # type: ignore[attr-defined]
        total = max(total, np.sqrt(2 * abs(gaussian_kl(given, made))))
    return float(total)


def as_mixture(law: Target) -> Gaussian | GaussianMixture | None:
    """Return a Gaussian, a mixture or a product of Gaussians and one mixture as one of them; None for other laws."""
    if type(law) in (Gaussian, GaussianMixture):
        return law  # type: ignore[return-value]
    if type(law) is not Product or any(type(factor) not in (Gaussian, GaussianMixture) for factor in law.factors):
        return None
    mixtures = [factor for factor in law.factors if type(factor) is GaussianMixture]
    if len(mixtures) > 1:
        return None
    n = len(mixtures[0].weights) if mixtures else 1
    means, covariances = np.zeros((n, law.ndim)), np.zeros((n, law.ndim, law.ndim))
    for block, factor in zip(law.blocks, law.factors, strict=True):
        single = type(factor) is Gaussian
        means[:, block] = factor.mean if single else factor.means  # type: ignore[attr-defined]
        covariances[:, block, block] = factor.covariance if single else factor.covariances  # type: ignore[attr-defined]
    rotation, shift = law.frame
    means, covariances = means @ rotation.T + shift, rotation @ covariances @ rotation.T
    covariances = (covariances + np.swapaxes(covariances, -1, -2)) / 2
    if not mixtures:
        return Gaussian(means[0], covariances[0])
    return GaussianMixture(means, mixtures[0].weights, covariances)


def _cleaned(axes: Array) -> Array:
    """Return axes without what rounding made of zeros and ones."""
    nearest = np.round(axes)
    return np.where(np.abs(axes - nearest) < ROUNDED, nearest, axes)


def _symmetric(matrix: Array) -> Array:
    """Return a matrix without what rounding made its two halves differ by."""
    return np.asarray((matrix + matrix.T) / 2)
