"""How far laws reach, and how narrow they are: by that what is neglected of a frame or a coupling grows in the flow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian, GaussianMixture, GeometricPath, Radial
from wfr_pde.targets.base import Target
from wfr_pde.targets.product import Product

TAIL = 1e-6  # mass outside the box in which laws without closed forms are looked at
PLACES = {1: 4001, 2: 201, 3: 41, 4: 17}  # along an axis, by dimension
Spread = tuple[Array, Array, float]


def spread(law: Target) -> Spread:
    """Return mean, covariance and size of a law: the least length over which its log-density changes by about one nat.

    The size of a Gaussian is its least standard deviation, that of a mixture the least of its components; else it is
    (E |score|²)^(-1/2), or the least standard deviation if that is less.
    """
    if type(law) is GeometricPath:
        return _wider(spread(law.start), spread(law.target))
    if type(law) is Product:
        return _of_product(law)
    known = law.moments() if type(law) in (Gaussian, GaussianMixture) else None
    if known is not None:
        covariances = law.covariances if type(law) is GaussianMixture else [law.covariance]  # type: ignore[attr-defined]
        return *known, min(_least(covariance) for covariance in covariances)
    radial = Radial.of(law)
    if radial is not None:
        mean, covariance = radial.moments()
        fisher = radial.radius.table.mean(lambda r: np.nan_to_num(radial.profile.score(r[..., None])[..., 0]) ** 2)
        return mean, covariance, min(_least(covariance), _length(fisher))
    return _on_places(law)


def amplification(laws: Iterable[Target], origins: Iterable[Array]) -> float:
    """Bound by how much a small turn, in radians, or a small coupling counts in the flow between laws, in L1.

    A turn moves what is at a distance of R by R times the angle, which is compared with the size of the narrowest law:
    1 + R / size, with R the largest root mean square distance of any law from any of some origins.

    Parameters
    ----------
    laws : of Target
        In the same coordinates.
    origins : of arrays (d,)
        Places about which they are turned.

    Returns
    -------
    float
    """
    spreads = [spread(law) for law in laws]
    far = [
        float(np.sqrt(np.sum((mean - origin) ** 2) + np.trace(covariance)))
        for origin in origins
        for mean, covariance, _ in spreads
    ]
    return 1 + max(far) / min(size for _, _, size in spreads)


def _of_product(law: Product) -> Spread:
    """Put the spreads of factors together."""
    different = {id(factor): spread(factor) for factor in law.factors}
    found = [different[id(factor)] for factor in law.factors]
    mean, covariance = np.empty(law.ndim), np.zeros((law.ndim, law.ndim))
    for block, (m, c, _) in zip(law.blocks, found, strict=True):
        mean[block], covariance[block, block] = m, c
    rotation, _ = law.frame
    return law.outer(mean), rotation @ covariance @ rotation.T, min(size for _, _, size in found)


def _wider(one: Spread, other: Spread) -> Spread:
    """Return a spread that stands for two laws and those between them."""
    apart = one[0] - other[0]
    return (one[0] + other[0]) / 2, one[1] + other[1] + np.outer(apart, apart) / 4, min(one[2], other[2])


def _on_places(law: Target) -> Spread:
    """Return the spread of a law in few dimensions by sums over places in its box."""
    lower, upper = law.box(TAIL)
    shares = (np.arange(PLACES[law.ndim]) + 0.5) / PLACES[law.ndim]
    axes = [a + (b - a) * shares for a, b in zip(lower, upper, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, law.ndim)
    logs = law.log_density(points)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = weights @ points
    covariance = (points - mean).T @ (weights[:, None] * (points - mean))
    scores = np.where(weights[:, None] > 0, np.nan_to_num(law.score(points)), 0.0)
    fisher = float(np.sum(weights[:, None] * scores**2))
    return mean, covariance, min(_least(covariance), _length(fisher))


def _least(covariance: Array) -> float:
    """Return the least standard deviation, as far as rounding lets it be seen."""
    values = np.linalg.eigvalsh(covariance)
    return float(np.sqrt(max(values[0], 1e-16 * values[-1], 1e-300)))


def _length(fisher: float) -> float:
    """Return the length that belongs to a mean square of scores."""
    return float(1 / np.sqrt(max(fisher, 1e-300)))
