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
    """Evaluate the Fisher-Rao flow between any two distributions: log mu_t = s log mu_0 + (1 - s) log pi + const.

    Here s = e^{-rate t}: the log-densities move on a straight line (Chizat, Peyré, Schmitzer, Vialard 2018,
    doi:10.1007/s10208-016-9331-y, for the metric).

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
        With an unnormalised log-density (put it on a grid to normalise it) and its score; a `Gaussian` between
        Gaussians.

    Raises
    ------
    ValueError
        If dimensions differ, or the time or the rate is negative or not finite.
    TypeError
        If target or start is no Target.

    Examples
    --------
    Between Gaussians of one variance the mean moves as e^{-t}, here by half:

    >>> import math
    >>> import wfr_pde as wfr
    >>> wfr.exact.fisher_rao(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(3.0, 1.0), math.log(2)).mean.round(4)
    array([1.5])
    """
    if isinstance(target, Gaussian) and isinstance(start, Gaussian):
        return gaussian_flow(target, start, checked_time(t), 0.0, checked_rate(rate, "fisher_rao"))
    exponent = checked_rate(rate, "fisher_rao") * checked_time(t)
    return GeometricMean(start, target, -math.expm1(-exponent))


@knows_its_arguments
def fisher_rao_kl(target: Target, start: Target, t: float, rate: float, grid: Grid) -> float:
    """Compute KL(mu_t|pi) in nats along the Fisher-Rao flow, by quadrature on a grid.

    It is s K'(s) - K(s) with s = e^{-rate t}, where K(s) = log E_pi e^{sY} generates the cumulants of Y = log(mu_0/pi)
    under pi. The relative error is that of Y, however small the divergence is.

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

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the grid does not hold or resolve one of the two (as `Grid.log_density`), or the time or the rate is negative
        or not finite.
    TypeError
        If `grid` is no Grid.

    Examples
    --------
    From N(1, 1) to N(0, 1) it is exp(-2 t)/2:

    >>> import wfr_pde as wfr
    >>> grid = wfr.Grid(-8.0, 8.0, 64)
    >>> f"{wfr.exact.fisher_rao_kl(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0), 20.0, 1.0, grid):.4e}"
    '2.1242e-18'
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
