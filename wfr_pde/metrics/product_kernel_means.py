"""Means of the Gaussian kernel over products of laws in any dimension: products of means over the factors."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from wfr_pde.metrics.kernel_means import gaussian_mean, own_mean
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.product_law import Factor, ProductLaw
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.gaussian import Gaussian

SMALLEST = 1e-280  # of a scaled Bessel function that is used: below, digits are lost
NEGLIGIBLE = 1e-17  # share of the mass of a radial law that sums leave out: below rounding
ROWS = 2**20  # numbers of an intermediate product of radii and particles


def densities_of(measure: Any) -> list[Density]:
    """Return the densities on grids that a measure is made of; those of radii, too."""
    if isinstance(measure, Density):
        return [measure]
    factors = measure.factors if isinstance(measure, ProductLaw) else ()
    found = [factor.density if isinstance(factor, RadialLaw) else factor for factor in factors]
    different = {id(factor): factor for factor in found if isinstance(factor, Density)}
    return list(different.values())


def own_product_mean(scale: float, law: ProductLaw) -> float:
    """Return E k(X, X') of independent draws from a product, k(x, y) = exp(-|x - y|²/scale²)."""
    means: dict[int, float] = {}
    for factor in law.factors:
        if id(factor) not in means:
            means[id(factor)] = _own_mean(scale, factor)
    return math.prod(means[id(factor)] for factor in law.factors)


def product_mean_at(scale: float, law: ProductLaw, points: Array) -> Array:
    """Return E k(X, x) at points x (n, d), exact from the factors."""
    y = law.inner(points)
    result = np.ones(len(y))
    for factor, block in zip(law.factors, law.blocks, strict=True):
        result *= _mean_at(scale, factor, y[:, block])
    return result


def _own_mean(scale: float, factor: Factor) -> float:
    if isinstance(factor, Density):
        return own_mean("gaussian", scale, factor)
    if isinstance(factor, RadialLaw):
        return _own_radial_mean(scale, factor)
    widths = np.linalg.eigvalsh(factor.covariance)
    return float(np.exp(-0.5 * np.sum(np.log1p(4 * widths / scale**2))))


def _mean_at(scale: float, factor: Factor, points: Array) -> Array:
    if isinstance(factor, Density):
        return gaussian_mean(factor, points, scale)
    if isinstance(factor, RadialLaw):
        radii, masses = _heavy(factor)
        return _radial_means(scale, factor.ndim, np.sqrt(np.sum(points**2, axis=1)), radii, masses)
    return _gaussian_mean_at(scale, factor, points)


def _gaussian_mean_at(scale: float, factor: Gaussian, points: Array) -> Array:
    """Return det(I + 2C/s²)^-½ exp(-(x - m)'(s² I + 2C)^-1 (x - m))."""
    widths, basis = np.linalg.eigh(factor.covariance)
    along = (points - factor.mean) @ basis
    log_norm = -0.5 * float(np.sum(np.log1p(2 * widths / scale**2)))
    return np.asarray(np.exp(log_norm - np.sum(along**2 / (scale**2 + 2 * widths), axis=1)))


@functools.lru_cache(maxsize=8)
def _own_radial_mean(scale: float, factor: RadialLaw) -> float:
    radii, masses = _heavy(factor)
    return float(masses @ _radial_means(scale, factor.ndim, radii, radii, masses))


def _heavy(factor: RadialLaw) -> tuple[Array, Array]:
    """Return the radii where mass is, and the masses."""
    radii, masses = factor.radii
    kept = masses > NEGLIGIBLE / len(masses)
    return radii[kept], masses[kept] / masses[kept].sum()


def _radial_means(scale: float, ndim: int, at: Array, radii: Array, masses: Array) -> Array:
    """Return Σ_j m_j E exp(-|r_j u - x|²/s²) at |x| = `at` (n,), u uniform on the sphere."""
    result = np.empty(len(at))
    rows = max(1, ROWS // len(radii))
    for start in range(0, len(at), rows):
        own = at[start : start + rows, None]
        nearest = np.exp(-(((own - radii) / scale) ** 2))
        result[start : start + rows] = (nearest * mean_of_directions(ndim, 2 * own * radii / scale**2)) @ masses
    return result


def mean_of_directions(ndim: int, kappa: Array) -> Array:
    """Return E exp(kappa (c - 1)) over the cosine c of a uniform direction in `ndim` dimensions with a fixed one.

    It is Γ(ν + 1) (2/kappa)^ν I_ν(kappa) e^-kappa with ν = ndim/2 - 1; by the power series where the Bessel function
    is too small for a number.
    """
    from scipy.special import gammaln, ive

    order = ndim / 2 - 1
    safe = np.where(kappa > 0, kappa, 1.0)
    bessel = ive(order, safe)
    good = (bessel > SMALLEST) & (kappa > 0)
    logs = gammaln(order + 1) + order * np.log(2 / safe) + np.log(np.where(good, bessel, 1.0))
    result = np.exp(np.where(good, logs, 0.0))
    rest = ~good
    if rest.any():
        quarter = kappa[rest] ** 2 / 4
        term, total, k = np.ones_like(quarter), np.ones_like(quarter), 0
        while (term > NEGLIGIBLE * total).any():
            k += 1
            term = term * quarter / (k * (order + k))
            total += term
        result[rest] = np.exp(np.log(total) - kappa[rest])
    return np.asarray(result)
