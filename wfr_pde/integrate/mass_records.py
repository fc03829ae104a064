"""Records of masses: near each of some centres, and in a region."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.energies import Energy
from wfr_pde.integrate.described import Record, described
from wfr_pde.numerics.arguments import function, knows_its_arguments, real_array, shown, text
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

NODES = 4  # of Gauss's rule in a cell: of an order above that of the spline
TIE = 1e-12  # relative difference of squared distances that rounding may make


@knows_its_arguments
def mode_masses(centres: ArrayLike, name: str = "mode_masses") -> Record:
    """Make a record of the masses nearest to each of some centres: an array (k,) that sums to one.

    A cell belongs to the centre that its own centre is nearest to; a cell halfway between several is shared equally, so
    that symmetric modes on a symmetric grid have equal masses. On a periodic axis of a grid the distance is the one
    around the circle. Where a boundary between centres cuts through cells, the error is up to the mass of those cells;
    on a line between walls cells are divided, and integrals are those of the spline through the log-density.

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

    Raises
    ------
    ValueError
        If the centres are not finite or have another shape; from the record, if the state has another dimension.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> mixture = wfr.GaussianMixture([[-4.0], [4.0]], [0.3, 0.7], 1.0)
    >>> density = wfr.Grid(-12.0, 12.0, 128).density(mixture)
    >>> record = wfr.diagnostics.mode_masses([-4.0, 4.0])
    >>> record(density, wfr.KL(mixture)).round(3)
    array([0.3, 0.7])
    """
    array = np.array(real_array("centres", centres))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"centres must be finite and have shape (k, d), got {shown(centres)}")

    def shares(points: np.ndarray, periods: np.ndarray) -> np.ndarray:
        wraps = np.isfinite(periods)

        def squares(centre: np.ndarray) -> np.ndarray:
            difference = points - centre
            difference[..., wraps] -= periods[wraps] * np.round(difference[..., wraps] / periods[wraps])
            return np.sum(difference**2, axis=-1)

        distance = np.stack([squares(centre) for centre in array], axis=-1)
        least = distance.min(axis=-1, keepdims=True)
        nearest = distance <= least + TIE * (least + np.max(np.ptp(array, axis=0)) ** 2)
        return nearest / nearest.sum(axis=-1, keepdims=True)

    @described("mass nearest to each mode", dims=("mode",), name=name)
    def masses(state: Density | Particles, energy: Energy) -> np.ndarray:
        if array.shape[1] != state.ndim:
            raise ValueError(f"the centres are {array.shape[1]}-dimensional, but the state is {state.ndim}-dimensional")
        axes = state.grid.axes if isinstance(state, Density) else ()
        if isinstance(state, Density) and state.ndim == 1 and not axes[0].periodic:
            return _masses_on_a_line(state, array[:, 0])
        periods = np.array([axis.length if axis.periodic else np.inf for axis in axes] or [np.inf] * state.ndim)
        return state.expectation(lambda points: shares(points, periods))

    return masses


def _masses_on_a_line(state: Density, centres: Array) -> Array:
    """Return the masses of a density on a line nearest to each of some centres; equal ones share theirs."""
    places, which, counts = np.unique(centres, return_inverse=True, return_counts=True)
    below = shares_below(state, (places[1:] + places[:-1]) / 2)
    return np.asarray((state.mass * np.diff(np.concatenate([[0.0], below, [1.0]])) / counts)[which])


def shares_below(density: Density, cuts: Array) -> Array:
    """Return the shares of the mass of a density on a line below some places, by Gauss's rule in parts of cells."""
    edges = density.grid.axes[0].edges
    inside = np.clip(cuts, edges[0], edges[-1])
    ends = np.union1d(edges, inside)
    at, weights = gauss(NODES)
    widths = np.diff(ends)[:, None]
    values = np.exp(density.log_prob((ends[:-1, None] + widths * at)[..., None]))
    masses = np.concatenate([[0.0], np.cumsum(np.sum(widths * weights * values, axis=1))])
    return np.asarray(masses[np.searchsorted(ends, inside)] / masses[-1])


@knows_its_arguments
def region_mass(region: Callable[[np.ndarray], ArrayLike], name: str) -> Record:
    """Make a record of the mass of a region.

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

    Raises
    ------
    TypeError
        If `region` cannot be called, or `name` is no text.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0.0, 1.0)
    >>> right = wfr.diagnostics.region_mass(lambda points: points[..., 0] > 0, "right")
    >>> round(right(wfr.Grid(-8.0, 8.0, 64).density(target), wfr.KL(target)), 6)
    0.5
    """

    function("region", region, "points (..., d) -> bool (...)")

    @described(f"mass of the region {text('name', name)}", name=name)
    def mass_of_region(state: Density | Particles, energy: Energy) -> float:
        return float(state.expectation(region))

    return mass_of_region
