"""Records of a run: functions f(state, energy) -> number or array, evaluated at the save times.

Throughout, mu is the state, pi the equilibrium of the energy, normalised on the grid, and g = log(mu/pi). Divergences
are summed from terms that are >= 0 in every cell, so that they keep their digits near equilibrium, and from logarithms,
so that g = ±7000 does not overflow.

All integrals are over the box of the grid. The masses of mu and pi outside the box are negligible, but the integral of
mu²/pi there may be large: `chi_squared` looks at the ends of the box, and warns where its integral goes on. The other
integrals go on beyond the box only where tails differ as much as those of exp(-|x|) and exp(-exp |x|); this is not
checked.

Examples
--------
Record KL(mu|pi) along the Fisher-Rao flow from N(1, 1) to N(0, 1), where it is exp(-2 t)/2:

>>> import wfr_pde as wfr
>>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0)
>>> grid = wfr.Grid(-8.0, 8.0, 64)
>>> run = wfr.solve(target, wfr.FisherRao(), grid.density(start), [0.0, 1.0], 0.5, record=[wfr.diagnostics.kl])
>>> [round(float(value), 4) for value in run["kl"]]
[0.5, 0.0677]
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.flows.transport.split_step import rounding_floor as floor
from wfr_pde.integrate.described import described
from wfr_pde.integrate.mass_records import mode_masses, region_mass
from wfr_pde.integrate.open_integrals import warn_if_open
from wfr_pde.numerics.arguments import instance, shown
from wfr_pde.numerics.splines import derivative
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.relative_entropy import relative_entropy

__all__ = [
    "chi_squared",
    "covariance",
    "described",
    "entropy",
    "fisher_information",
    "jeffreys",
    "kl",
    "log_chi_squared",
    "mass",
    "mean",
    "mode_masses",
    "oscillation",
    "region_mass",
    "reverse_kl",
    "target_mass_below_floor",
    "variance_of_log_ratio",
]


@described("mass of mu")
def mass(state: Density | Particles, energy: Energy) -> float:
    """Mass ∫ mu dx of the state, which is one up to rounding.

    Parameters
    ----------
    state : Density or Particles
        mu.
    energy : Energy
        Not used.

    Returns
    -------
    float

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.mass(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    1.0
    """
    _check_measure(state)
    return state.mass


@described("mean of mu", dims=("axis",))
def mean(state: Density | Particles, energy: Energy) -> np.ndarray:
    """Mean E_mu x of the state, in the units of the coordinates.

    Parameters
    ----------
    state : Density or Particles
        mu.
    energy : Energy
        Not used.

    Returns
    -------
    array (d,)

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> wfr.diagnostics.mean(density, wfr.KL(wfr.Gaussian(0.0, 1.0))).round(6)
    array([1.])
    """
    _check_measure(state)
    return state.mean()


@described("covariance of mu", dims=("axis", "axis_2"))
def covariance(state: Density | Particles, energy: Energy) -> np.ndarray:
    """Covariance matrix of the state, in squared units of the coordinates.

    Parameters
    ----------
    state : Density or Particles
        mu.
    energy : Energy
        Not used.

    Returns
    -------
    array (d, d)

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-16.0, 16.0, 64).density(wfr.Gaussian(1.0, 4.0))
    >>> wfr.diagnostics.covariance(density, wfr.KL(wfr.Gaussian(0.0, 1.0))).round(6)
    array([[4.]])
    """
    _check_measure(state)
    return state.covariance()


@described("KL(mu|pi)", "nats")
def kl(state: Density, energy: Energy) -> float:
    """Kullback-Leibler divergence KL(mu|pi) = ∫ mu g dx, in nats.

    It is summed as ∫ (mu g - mu + pi) dx, whose integrand is >= 0.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    KL(N(1, 1)|N(0, 1)) is half the squared distance of the means:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.kl(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    0.5
    """
    _check_density(state)
    return relative_entropy(state.grid, state.log_values, _log_pi(state.grid, energy))


@described("KL(pi|mu)", "nats")
def reverse_kl(state: Density, energy: Energy) -> float:
    """Reverse Kullback-Leibler divergence KL(pi|mu) = -∫ pi g dx, in nats.

    It is summed as ∫ (mu - pi - pi g) dx, whose integrand is >= 0.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    KL(N(0, 1)|N(0, 4)) is (1/4 - 1 + log 4)/2:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-16.0, 16.0, 64).density(wfr.Gaussian(0.0, 4.0))
    >>> round(wfr.diagnostics.reverse_kl(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 4)
    0.3181
    """
    _check_density(state)
    return relative_entropy(state.grid, _log_pi(state.grid, energy), state.log_values)


@described("KL(mu|pi) + KL(pi|mu)", "nats")
def jeffreys(state: Density, energy: Energy) -> float:
    """Jeffreys divergence J = KL(mu|pi) + KL(pi|mu) = ∫ (mu - pi) g dx, in nats.

    Along the flow J_t <= e^(-beta t) J_0.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    Both divergences of N(1, 1) and N(0, 1) are 1/2:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.jeffreys(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    1.0
    """
    g, mu, pi = _ratio_and_densities(state, energy)
    xp = state.grid.backend.xp
    near = xp.abs(g) < 1
    difference = xp.where(near, pi * xp.expm1(xp.where(near, g, xp.zeros_like(g))), mu - pi)
    return _integral(state, difference * g)


@described("chi²(mu|pi)")
def chi_squared(state: Density, energy: Energy) -> float:
    """Chi-squared divergence ∫ (mu - pi)²/pi dx over the box; infinite above 1.8e308 (see `log_chi_squared`).

    Where tails of mu are much heavier than those of pi, the integral over the whole space is infinite, and the number
    is one of the box: an `errors.OpenIntegralWarning` says so, once a run, where mu²/pi does not fall towards an end of
    the box, or grows too fast towards a wall. Walls are the ends of a box with ``max_cut=1``, and of the target's
    `support`.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Warns
    -----
    OpenIntegralWarning
        Where the integral goes on beyond the box.

    Examples
    --------
    For N(1, 1) and N(0, 1) it is e - 1:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 9.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.chi_squared(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 4)
    1.7183
    """
    log_value = _log_chi_squared(state, energy, "chi_squared")
    return math.exp(log_value) if log_value < math.log(sys.float_info.max) else math.inf


@described("log chi²(mu|pi)")
def log_chi_squared(state: Density, energy: Energy) -> float:
    """Logarithm of `chi_squared`, which does not overflow; -inf if mu = pi in every cell.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Warns
    -----
    OpenIntegralWarning
        As `chi_squared`.

    Examples
    --------
    For N(30, 1) and N(0, 1) it is log(e^900 - 1), which is 900 to rounding, although e^900 overflows:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-10.0, 80.0, 512).density(wfr.Gaussian(30.0, 1.0))
    >>> round(wfr.diagnostics.log_chi_squared(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 4)
    900.0
    """
    return _log_chi_squared(state, energy, "log_chi_squared")


def _log_chi_squared(state: Density, energy: Energy, name: str) -> float:
    """Return log chi², with the warning of `chi_squared`, which names the record `name`."""
    g, log_pi = _log_ratio(state, energy)
    grid, xp = state.grid, state.grid.backend.xp
    size = xp.abs(g)
    if not float(grid.max(size)) > 0:
        return -math.inf
    # log |e^g - 1| = max(g, 0) + log(1 - e^-|g|); where g = 0 stands the smallest number for zero
    log_excess = xp.maximum(g, xp.zeros_like(g)) + xp.log(xp.maximum(-xp.expm1(-size), sys.float_info.min))
    warn_if_open(name, "mu²/pi", state, log_pi + 2 * g, energy.equilibrium)
    return float(grid.log_integrate(log_pi + 2 * log_excess))


@described("relative Fisher information I(mu|pi)", "nats / length²")
def fisher_information(state: Density, energy: Energy) -> float:
    """Relative Fisher information ∫ mu |grad g|² dx, in nats per squared length.

    The gradient of g is that of a spline of degree 5 along every axis. alpha times this number is the rate at which the
    Wasserstein flow of rate alpha lowers KL(mu|pi).

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    For N(1, 1) and N(0, 1) the gradient of g is 1 everywhere:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.fisher_information(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    1.0
    """
    g, _ = _log_ratio(state, energy)
    grid = state.grid
    host = grid.reductions.whole(g)
    squares = sum(derivative(axis.centres, axis.edges, host, k, axis.periodic) ** 2 for k, axis in enumerate(grid.axes))
    return _integral(state, state.values * grid.backend.asarray(np.asarray(squares)[grid.local_cells]))


@described("variance of log(mu/pi) under mu", "nats²")
def variance_of_log_ratio(state: Density, energy: Energy) -> float:
    """Variance of g under mu, in nats²: the rate at which a reaction of rate one lowers KL(mu|pi).

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    For N(1, 1) and N(0, 1), g = x - 1/2 has the variance 1:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.variance_of_log_ratio(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    1.0
    """
    g, _ = _log_ratio(state, energy)
    mu = state.values
    centred = g - state.grid.integrate(mu * g) / state.grid.integrate(mu)
    return _integral(state, mu * centred**2)


@described("oscillation of log(mu/pi)", "nats")
def oscillation(state: Density, energy: Energy) -> float:
    """Oscillation max g - min g over the cells, in nats; along the flow osc g_t <= e^(-beta t) osc g_0.

    Over the whole space it is infinite for most pairs of distributions: the number is one of the box.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    For N(1, 1) and N(0, 1), g = x - 1/2, and the first and the last of 64 cell centres are 16 - 16/64 apart:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.oscillation(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 6)
    15.75
    """
    g, _ = _log_ratio(state, energy)
    return float(state.grid.max(g) - state.grid.min(g))


@described("differential entropy of mu", "nats")
def entropy(state: Density, energy: Energy) -> float:
    """Differential entropy -∫ mu log mu dx, in nats; it depends on the unit of length.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        Not used.

    Returns
    -------
    float

    Examples
    --------
    The entropy of N(1, 1) is log(2 pi e)/2:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.diagnostics.entropy(density, wfr.KL(wfr.Gaussian(0.0, 1.0))), 4)
    1.4189
    """
    _check_density(state)
    return _integral(state, -state.values * state.log_values)


@described("share of the target's mass below the floor of a transform")
def target_mass_below_floor(state: Density, energy: Energy) -> float:
    """Mass of pi in the cells where mu/sqrt(pi) is below the rounding floor of `SplitStep`.

    The floor is (4 + log2(cells)/2) eps times the maximum of mu/sqrt(pi). The record makes sense for the states of any
    flow: those of `SinkhornKernel`, which have no floor, show for how long the true density is below that of a spectral
    transform; those of `SplitStep` itself lie at the floor where they would be below.

    Parameters
    ----------
    state : Density
        mu on a grid.
    energy : Energy
        One with an equilibrium pi.

    Returns
    -------
    float

    Examples
    --------
    Nothing of N(0, 1) is below the floor where mu is N(1, 1), more than half of it where mu is N(6, 1):

    >>> import wfr_pde as wfr
    >>> grid, energy = wfr.Grid(-8.0, 20.0, 256), wfr.KL(wfr.Gaussian(0.0, 1.0))
    >>> states = [grid.density(wfr.Gaussian(mean, 1.0)) for mean in (1.0, 6.0)]
    >>> [round(wfr.diagnostics.target_mass_below_floor(state, energy), 1) for state in states]
    [0.0, 0.6]
    """
    _log_ratio(state, energy)
    _log_ratio(state, energy)
    return floor.below_floor(state, energy)[0]


def _check_measure(state: Any) -> None:
    """Refuse a state that is neither a density nor particles."""
    instance("state", state, (Density, Particles))


def _log_pi(grid: Any, energy: Any) -> Any:
    """Return log pi at the cell centres, or refuse what is no Energy."""
    return instance("energy", energy, Energy, "such as KL(target)").log_equilibrium(grid)


def _check_density(state: Any) -> None:
    """Refuse a state that is no density, and name the records that take particles too."""
    if not isinstance(state, Density):
        raise TypeError(
            f"this record needs a density on a grid as state, got {shown(state)}; mass, mean, covariance, "
            "mode_masses and region_mass take particles too"
        )


def _log_ratio(density: Density, energy: Energy) -> tuple[Any, Any]:
    """Return g and log pi at the cell centres."""
    _check_density(density)
    log_pi = _log_pi(density.grid, energy)
    return density.log_values - log_pi, log_pi


def _ratio_and_densities(density: Density, energy: Energy) -> tuple[Any, Any, Any]:
    """Return g, mu and pi at the cell centres."""
    g, log_pi = _log_ratio(density, energy)
    return g, density.values, density.grid.backend.xp.exp(log_pi)


def _integral(state: Density, values: Any) -> float:
    """Integrate values over the cells of a state, as a float."""
    return float(state.grid.integrate(values))


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
