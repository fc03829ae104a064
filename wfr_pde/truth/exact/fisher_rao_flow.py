"""Closed form of the Fisher-Rao flow between any two distributions, and its KL divergence from the target."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.flows.base import checked_rate
from wfr_pde.numerics.arguments import instance, knows_its_arguments
from wfr_pde.numerics.special import expm1_minus
from wfr_pde.space.grid import Grid
from wfr_pde.targets import Gaussian, GeometricMean, Target
from wfr_pde.truth.exact.arguments import checked_time
from wfr_pde.truth.exact.gaussian import gaussian_flow


@knows_its_arguments
def fisher_rao(target: Target, start: Target, t: float, rate: float = 1.0) -> Target:
    """Fisher-Rao flow between any two distributions: log mu_t = s log mu_0 + (1 - s) log pi, s = e^{-rate t}.

    Parameters
    ----------
    target, start : Target
        Of one dimension.
    t : float
        Time >= 0.
    rate : float
        Reaction rate beta >= 0.

    Returns
    -------
    Target
        With an unnormalised log-density (put it on a grid to normalise it) and its score; a `Gaussian`
        between Gaussians.
    """
    if isinstance(target, Gaussian) and isinstance(start, Gaussian):
        return gaussian_flow(target, start, checked_time(t), 0.0, checked_rate(rate, "fisher_rao"))
    exponent = checked_rate(rate, "fisher_rao") * checked_time(t)
    return GeometricMean(start, target, -math.expm1(-exponent))


@knows_its_arguments
def fisher_rao_kl(target: Target, start: Target, t: float, rate: float, grid: Grid) -> float:
    """KL(mu_t|pi) in nats along the Fisher-Rao flow: s K'(s) - K(s), s = e^{-rate t}, by quadrature.

    K(s) = log E_pi e^{sY} with Y = log(mu_0/pi) generates the cumulants of Y under pi. The relative error is
    that of Y however small the divergence is.

    Parameters
    ----------
    target, start : Target
        Of one dimension.
    t : float
        Time >= 0.
    rate : float
        Reaction rate beta >= 0.
    grid : Grid
        Must resolve both.

    Raises
    ------
    ValueError
        As `Grid.log_density`.
    """
    instance("grid", grid, Grid)
    s = math.exp(-checked_rate(rate, "fisher_rao_kl") * checked_time(t))
    to_numpy = grid.backend.asnumpy
    log_pi = to_numpy(grid.log_density(target, "the target"))
    y = to_numpy(grid.log_density(start, "the start")) - log_pi
    volume = grid.cell_volume if grid.is_uniform else to_numpy(grid.cell_volume)
    pi = np.exp(log_pi) * volume
    u = s * (y - np.sum(pi * y))  # a shift of Y does not change the result; with this one K is of order u²
    if np.abs(u).max() < 1:
        k = math.log1p(np.sum(pi * expm1_minus(u, np)))
    else:
        top = np.max(u + log_pi)
        k = float(top + np.log(np.sum(np.exp(u + log_pi - top) * volume)))
    # s K' - K = E_nu g with g = log(nu/pi) = u - K; every cell of E_pi[g e^g - e^g + 1] is >= 0
    g = u - k
    near = np.abs(g) < 1
    nu = np.exp(log_pi + g) * volume
    return float(np.sum(np.where(near, nu * expm1_minus(np.where(near, -g, 0.0), np), nu * g - nu + pi)))
