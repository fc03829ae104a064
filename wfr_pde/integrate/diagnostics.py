"""Records of a run: functions f(state, energy) -> number or array, evaluated at the save times.

Throughout, mu is the state, pi the equilibrium of the energy, normalised on the grid, and g = log(mu/pi).
What is a divergence is summed from terms that are >= 0 in every cell, so that it keeps its digits near
equilibrium, and from logarithms, so that g = ±7000 does not overflow.

All integrals are over the box of the grid. Outside there is as good as no mass of mu and pi, but mu²/pi may be
anything: `chi_squared` looks at the ends of the box, and warns where its integral goes on. Those of the others go on
only where tails differ as much as those of exp(-|x|) and exp(-exp |x|), and are not looked at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.energies import Energy
from wfr_pde.flows.transport.split_step import rounding_floor as floor
from wfr_pde.integrate.open_integrals import warn_if_open
from wfr_pde.numerics.arguments import function, instance, knows_its_arguments, real_array, shown, text
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

Record = Callable[[Any, Energy], Any]
TIE = 1e-12  # relative difference of squared distances that rounding may make


@knows_its_arguments
def described(
    long_name: str, units: str = "1", dims: tuple[str, ...] = (), name: str | None = None
) -> Callable[[Record], Record]:
    """Decorator: what a Dataset says of a record.

    Parameters
    ----------
    long_name : str
        For the axis of a plot.
    units : str
    dims : tuple of str
        Dimensions of a value that is not a single number.
    name : str, optional
        Name of the variable; by default that of the function.
    """

    text("long_name", long_name)
    text("units", units)
    if not isinstance(dims, tuple) or not all(isinstance(dim, str) for dim in dims):
        raise TypeError(f'dims must be a tuple of names of dimensions, such as ("axis",), got {shown(dims)}')
    if name is not None:
        text("name", name)

    def describe(function: Record) -> Record:
        function = knows_its_arguments(function)
        attributes = {
            "long_name": long_name,
            "units": units,
            "dims": dims,
            "__name__": name or function.__name__,
        }
        for attribute, value in attributes.items():
            setattr(function, attribute, value)
        return function

    return describe


@described("mass of mu")
def mass(state: Density | Particles, energy: Energy) -> float:
    """∫ mu dx: one, up to rounding."""
    _check_measure(state)
    return state.mass


@described("mean of mu", dims=("axis",))
def mean(state: Density | Particles, energy: Energy) -> np.ndarray:
    """Mean (d,), in the units of the space."""
    _check_measure(state)
    return state.mean()


@described("covariance of mu", dims=("axis", "axis_2"))
def covariance(state: Density | Particles, energy: Energy) -> np.ndarray:
    """Covariance matrix (d, d)."""
    _check_measure(state)
    return state.covariance()


@described("KL(mu|pi)", "nats")
def kl(state: Density, energy: Energy) -> float:
    """KL(mu|pi) = ∫ mu g dx, summed as mu g - mu + pi >= 0."""
    _check_density(state)
    return relative_entropy(state.grid, state.log_values, _log_pi(state.grid, energy))


@described("KL(pi|mu)", "nats")
def reverse_kl(state: Density, energy: Energy) -> float:
    """KL(pi|mu) = -∫ pi g dx, summed as mu - pi - pi g >= 0."""
    _check_density(state)
    return relative_entropy(state.grid, _log_pi(state.grid, energy), state.log_values)


@described("KL(mu|pi) + KL(pi|mu)", "nats")
def jeffreys(state: Density, energy: Energy) -> float:
    """J = KL(mu|pi) + KL(pi|mu) = ∫ (mu - pi) g dx; along the flow J_t <= e^{-beta t} J_0."""
    g, mu, pi = _ratio_and_densities(state, energy)
    xp = state.grid.backend.xp
    near = xp.abs(g) < 1
    difference = xp.where(near, pi * xp.expm1(xp.where(near, g, xp.zeros_like(g))), mu - pi)
    return _integral(state, difference * g)


@described("chi²(mu|pi)")
def chi_squared(state: Density, energy: Energy) -> float:
    """∫ (mu - pi)²/pi dx over the box; infinite where it is above 1.8e308, the largest number (see `log_chi_squared`).

    Where tails of mu are much heavier than those of pi, the integral over the whole space is infinite, and the number
    is one of the box: an `errors.OpenIntegralWarning` says so, once a run, where mu²/pi does not fall towards an end of
    the box, or grows too fast towards a wall. Walls are the ends of a box with ``max_cut=1``, and of the target's
    `support`.
    """
    log_value = _log_chi_squared(state, energy, "chi_squared")
    return math.exp(log_value) if log_value < math.log(sys.float_info.max) else math.inf


@described("log chi²(mu|pi)")
def log_chi_squared(state: Density, energy: Energy) -> float:
    """log ∫ (mu - pi)²/pi dx, without overflow; -inf if mu = pi in every cell; over the box, as `chi_squared`."""
    return _log_chi_squared(state, energy, "log_chi_squared")


def _log_chi_squared(state: Density, energy: Energy, name: str) -> float:
    """log chi², with the warning of `chi_squared`."""
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
    """∫ mu |grad g|² dx, grad g by a spline of degree 5 along every axis."""
    g, _ = _log_ratio(state, energy)
    grid = state.grid
    host = grid.reductions.whole(g)
    squares = sum(derivative(axis.centres, axis.edges, host, k, axis.periodic) ** 2 for k, axis in enumerate(grid.axes))
    return _integral(state, state.values * grid.backend.asarray(np.asarray(squares)[grid.local_cells]))


@described("variance of log(mu/pi) under mu", "nats²")
def variance_of_log_ratio(state: Density, energy: Energy) -> float:
    """Var_mu(g): the dissipation of KL by the reaction, per unit of its rate."""
    g, _ = _log_ratio(state, energy)
    mu = state.values
    centred = g - state.grid.integrate(mu * g) / state.grid.integrate(mu)
    return _integral(state, mu * centred**2)


@described("oscillation of log(mu/pi)", "nats")
def oscillation(state: Density, energy: Energy) -> float:
    """osc g = max g - min g over the cells; along the flow osc g_t <= e^{-beta t} osc g_0.

    Over the whole space it is infinite for most pairs of distributions: the number is one of the box.
    """
    g, _ = _log_ratio(state, energy)
    return float(state.grid.max(g) - state.grid.min(g))


@described("differential entropy of mu", "nats")
def entropy(state: Density, energy: Energy) -> float:
    """-∫ mu log mu dx."""
    _check_density(state)
    return _integral(state, -state.values * state.log_values)


@described("share of the target's mass below the floor of a transform")
def target_mass_below_floor(state: Density, energy: Energy) -> float:
    """pi-mass of the cells where mu/sqrt(pi) is below the floor of `SplitStep`: (4 + log2(cells)/2) eps its maximum.

    For the states of any flow: those of `SinkhornKernel`, which have no floor, show for how long the truth is below
    that of a spectral transform; those of `SplitStep` itself lie at the floor where they would be below.
    """
    _log_ratio(state, energy)
    _log_ratio(state, energy)
    return floor.below_floor(state, energy)[0]


@knows_its_arguments
def mode_masses(centres: ArrayLike, name: str = "mode_masses") -> Record:
    """Record of the mass nearest to each of some centres: an array (k,) that sums to one.

    A cell belongs to the centre that its own centre is nearest to; one halfway between several is shared
    equally, so that symmetric modes on a symmetric grid have equal masses. On a periodic axis of a grid the
    distance is the one around the circle. Where a boundary between centres
    cuts through cells, the error is up to the mass of those cells.

    Parameters
    ----------
    centres : array (k, d), or (k,) in one dimension
        Usually the modes of the target.
    name : str
        Name of the variable in a Dataset; its dimension is "mode".

    Returns
    -------
    function (state, energy) -> array (k,)
        For a `Density` or `Particles`.
    """
    array = np.array(real_array("centres", centres))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"centres must be finite and have shape (k, d), got {shown(centres)}")

    def shares(points: np.ndarray, periods: np.ndarray) -> np.ndarray:
        difference = np.stack([points - centre for centre in array], axis=-2)
        wraps = np.isfinite(periods)
        difference[..., wraps] -= periods[wraps] * np.round(difference[..., wraps] / periods[wraps])
        distance = np.sum(difference**2, axis=-1)
        least = distance.min(axis=-1, keepdims=True)
        nearest = distance <= least + TIE * (least + np.max(np.ptp(array, axis=0)) ** 2)
        return nearest / nearest.sum(axis=-1, keepdims=True)

    @described("mass nearest to each mode", dims=("mode",), name=name)
    def masses(state: Density | Particles, energy: Energy) -> np.ndarray:
        if array.shape[1] != state.ndim:
            raise ValueError(f"the centres are {array.shape[1]}-dimensional, but the state is {state.ndim}-dimensional")
        axes = state.grid.axes if isinstance(state, Density) else ()
        periods = np.array([axis.length if axis.periodic else np.inf for axis in axes] or [np.inf] * state.ndim)
        return state.expectation(lambda points: shares(points, periods))

    return masses


@knows_its_arguments
def region_mass(region: Callable[[np.ndarray], ArrayLike], name: str) -> Record:
    """Record of the mass of a region.

    Parameters
    ----------
    region : function of points (..., d) -> bool (...)
        Whether a point belongs to it: ``lambda points: points[..., 0] > 1``. A cell counts by its centre.
    name : str
        Name of the variable in a Dataset.

    Returns
    -------
    function (state, energy) -> float
        For a `Density` or `Particles`.
    """

    function("region", region, "points (..., d) -> bool (...)")

    @described(f"mass of the region {text('name', name)}", name=name)
    def mass_of_region(state: Density | Particles, energy: Energy) -> float:
        return float(state.expectation(region))

    return mass_of_region


def _check_measure(state: Any) -> None:
    instance("state", state, (Density, Particles))


def _log_pi(grid: Any, energy: Any) -> Any:
    """log pi at the cell centres."""
    return instance("energy", energy, Energy, "such as KL(target)").log_equilibrium(grid)


def _check_density(state: Any) -> None:
    if not isinstance(state, Density):
        raise TypeError(
            f"this record needs a density on a grid as state, got {shown(state)}; mass, mean, covariance, "
            "mode_masses and region_mass take particles too"
        )


def _log_ratio(density: Density, energy: Energy) -> tuple[Any, Any]:
    """g and log pi at the cell centres."""
    _check_density(density)
    log_pi = _log_pi(density.grid, energy)
    return density.log_values - log_pi, log_pi


def _ratio_and_densities(density: Density, energy: Energy) -> tuple[Any, Any, Any]:
    """g, mu and pi at the cell centres."""
    g, log_pi = _log_ratio(density, energy)
    return g, density.values, density.grid.backend.xp.exp(log_pi)


def _integral(state: Density, values: Any) -> float:
    return float(state.grid.integrate(values))


def __dir__() -> list[str]:
    """Public names."""
    return __all__
