"""Closed form of the Wasserstein flow from a mixture of Gaussians to a Gaussian."""

from __future__ import annotations

from wfr_pde.flows.base import checked_rate
from wfr_pde.numerics.arguments import instance, knows_its_arguments
from wfr_pde.targets import Gaussian, GaussianMixture
from wfr_pde.truth.exact.arguments import checked_time
from wfr_pde.truth.exact.gaussian import gaussian_flow


@knows_its_arguments
def mixture_transport(target: Gaussian, start: GaussianMixture, t: float, rate: float = 1.0) -> GaussianMixture:
    """Evaluate the Wasserstein flow (Ornstein-Uhlenbeck) from a mixture of Gaussians to a Gaussian: it stays a mixture.

    The flow is linear, so that every component moves by itself: with the target N(b, A⁻¹), a component N(m, C) has at
    time t the mean b + e^{-rate A t} (m - b) and the covariance A⁻¹ + e^{-rate A t} (C - A⁻¹) e^{-rate A t}; the
    weights stay.

    Parameters
    ----------
    target : Gaussian
        pi.
    start : GaussianMixture
        mu_0.
    t : float
        Time >= 0.
    rate : float
        Transport rate alpha >= 0.

    Returns
    -------
    GaussianMixture
        With components in the order of the start.

    Raises
    ------
    ValueError
        If dimensions differ, or the time or the rate is negative or not finite.
    TypeError
        If the target is no Gaussian, or the start no mixture of them.

    Examples
    --------
    After the time log 2 the means are half as far from that of the target:

    >>> import math
    >>> import wfr_pde as wfr
    >>> start = wfr.GaussianMixture([[-3.0], [5.0]], [0.3, 0.7], 1.0)
    >>> wfr.exact.mixture_transport(wfr.Gaussian(0.0, 1.0), start, math.log(2)).means.round(4)
    array([[-1.5],
           [ 2.5]])
    """
    instance("start", start, GaussianMixture)
    time, speed = checked_time(t), checked_rate(rate, "mixture_transport")
    moved = [gaussian_flow(target, component, time, speed, 0.0) for component in start.components]
    return GaussianMixture([g.mean for g in moved], start.weights, [g.covariance for g in moved])
