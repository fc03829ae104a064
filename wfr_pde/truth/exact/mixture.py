"""Closed form of the Wasserstein flow from a mixture of Gaussians to a Gaussian."""

from __future__ import annotations

from wfr_pde.targets import Gaussian, GaussianMixture
from wfr_pde.truth.exact.gaussian import gaussian_flow


def mixture_transport(target: Gaussian, start: GaussianMixture, t: float, rate: float = 1.0) -> GaussianMixture:
    """Wasserstein flow (Ornstein-Uhlenbeck) of a mixture of Gaussians to a Gaussian: a mixture again.

    The flow is linear, so that every component moves by itself: mean b + e^{-rate A t} (m - b), covariance
    A⁻¹ + e^{-rate A t} (C - A⁻¹) e^{-rate A t}; the weights stay.

    Parameters
    ----------
    target : Gaussian
    start : GaussianMixture
    t : float
        Time >= 0.
    rate : float
        Transport rate alpha >= 0.
    """
    if not isinstance(start, GaussianMixture):
        raise ValueError(f"start must be a GaussianMixture, got {start!r}")
    moved = [gaussian_flow(target, component, float(t), rate, 0.0) for component in start.components]
    return GaussianMixture([g.mean for g in moved], start.weights, [g.covariance for g in moved])
