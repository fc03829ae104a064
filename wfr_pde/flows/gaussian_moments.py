"""The closed form of the flow from a Gaussian to a Gaussian: how mean and covariance move."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.gaussian import Gaussian

LATEST = 1e300  # exponent from which on nothing is left of the start; products with it do not overflow at 1.8e308


def after(target: Gaussian, start: Gaussian, time: float, rates: tuple[float, float]) -> Gaussian:
    """Return the law of the flow with rates (alpha, beta) a `time` >= 0 after the start; see `exact.gaussian_flow`."""
    alpha, beta = rates
    if time == 0 or alpha == beta == 0:
        return start
    a, basis = np.linalg.eigh(target.precision)
    time = min(time, LATEST / float(max(alpha * a.max(), beta)))  # later it is the target, and products overflow
    x, y = alpha * time * a, beta * time / 2
    if not np.all(x + y > 0):  # too short a time for a number
        return start
    return evolved(target, start, (a, basis), x, y, r=y / (x + y), q=x / (x + y))


def evolved(
    target: Gaussian, start: Gaussian, eigen: tuple[Array, Array], x: Array, y: float, *, r: Array, q: Array
) -> Gaussian:
    """Evaluate the formulas in the notes of `exact.gaussian_flow` in the eigenbasis of A, with arrays x, r, q (d,)."""
    a, basis = eigen
    root, gone = np.exp(-(x + y)), -np.expm1(-2 * (x + y))  # sqrt(e), 1 - e
    k11, k22 = r + q * root**2, q + r * root**2
    k12, k21 = q * gone / a, r * gone * a
    covariance = basis.T @ start.covariance @ basis
    offset = basis.T @ (start.mean - target.mean)
    offset = math.exp(-y) * root * np.linalg.solve(covariance * k21 + np.diag(k22), offset)
    if k22.min() >= k11.min():
        inner = _inverse_of_sum(covariance, k21 / k22)
        covariance = np.diag(k12 / k22) + np.outer(root / k22, root / k22) * inner
    else:  # the same map for the precision: without transport k22 is e, which may underflow
        inner = _inverse_of_sum(np.linalg.inv(covariance), k12 / k11)
        covariance = np.linalg.inv(np.diag(k21 / k11) + np.outer(root / k11, root / k11) * inner)
    covariance = basis @ covariance @ basis.T
    return Gaussian(target.mean + basis @ offset, (covariance + covariance.T) / 2)


def _inverse_of_sum(covariance: Array, diagonal: Array) -> Array:
    """Return (C⁻¹ + D)⁻¹ of a positive definite C and a diagonal D >= 0, as L (I + L' D L)⁻¹ L' with C = L L'."""
    factor = np.linalg.cholesky((covariance + covariance.T) / 2)
    inner = np.eye(len(diagonal)) + (factor.T * diagonal) @ factor
    return np.asarray(factor @ np.linalg.solve(inner, factor.T))
