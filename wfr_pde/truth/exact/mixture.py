"""Closed form of the Wasserstein flow from a mixture of Gaussians to a Gaussian."""

from __future__ import annotations

from wfr_pde.flows.base import checked_rate
from wfr_pde.numerics.arguments import instance, knows_its_arguments
from wfr_pde.targets import Gaussian, GaussianMixture
from wfr_pde.truth.exact.arguments import checked_time
from wfr_pde.truth.exact.gaussian import gaussian_flow


@knows_its_arguments
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
    instance("start", start, GaussianMixture)
    time, speed = checked_time(t), checked_rate(rate, "mixture_transport")
    moved = [gaussian_flow(target, component, time, speed, 0.0) for component in start.components]
    return GaussianMixture([g.mean for g in moved], start.weights, [g.covariance for g in moved])
