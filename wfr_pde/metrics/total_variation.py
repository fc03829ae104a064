"""Distances that see where the masses differ, but not how far apart they are: L1, total variation, Hellinger."""

from __future__ import annotations

import math
from typing import Any

from wfr_pde.metrics.base import (
    check_density,
    check_same_cells,
    described,
)
from wfr_pde.metrics.binned import BinnedHellinger, BinnedTotalVariation
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles


@described("L1 distance", symmetric=True, triangle=True, references=(Density,), others=(Density,))
def l1(reference: Density, other: Density) -> float:
    """Return ∫ |mu - nu| dx, between 0 and 2.

    It sees every difference of two densities, but not how far mass has to move. Where mu - nu changes sign the sum over
    cells errs by O(dx²).

    Parameters
    ----------
    reference, other : Density
        On grids with the same cells.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If one is not a Density.
    ValueError
        If the grids differ.

    Examples
    --------
    Between N(0, 1) and N(1, 1) it is 4 Φ(½) - 2 = 0.7658...:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> round(wfr.metrics.l1(grid.density(reference), grid.density(other)), 3)
    0.766
    """
    log_a, log_b = matched(reference, other)
    xp = reference.grid.backend.xp
    return float(reference.grid.integrate(xp.abs(xp.exp(log_a) - xp.exp(log_b))))


@described(
    "total variation",
    symmetric=True,
    triangle=True,
    splits_weights=False,  # the number of bins follows the effective sample size
    references=(Density,),
    floor=lambda reference, n: BinnedTotalVariation().floor(reference, n),
    at_resolution_of=lambda reference, n: BinnedTotalVariation().at_resolution_of(reference, n),
)
def total_variation(reference: Density, other: Density | Particles) -> float:
    """Return sup |mu(B) - nu(B)| over sets B, that is ½ ∫ |mu - nu| dx, between 0 and 1.

    Particles are compared by `BinnedTotalVariation()`.

    Parameters
    ----------
    reference : Density
        On a grid.
    other : Density or Particles
        A Density on a grid with the same cells.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As `l1`.

    Examples
    --------
    Between N(0, 1) and N(1, 1) it is 2 Φ(½) - 1 = 0.3829...:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> round(wfr.metrics.total_variation(grid.density(reference), grid.density(other)), 3)
    0.383
    """
    if isinstance(other, Particles):
        return BinnedTotalVariation()(reference, other)
    return 0.5 * l1(reference, other)


@described(
    "Hellinger distance",
    symmetric=True,
    triangle=True,
    splits_weights=False,
    references=(Density,),
    floor=lambda reference, n: BinnedHellinger().floor(reference, n),
    at_resolution_of=lambda reference, n: BinnedHellinger().at_resolution_of(reference, n),
)
def hellinger(reference: Density, other: Density | Particles) -> float:
    """Return sqrt(½ ∫ (sqrt(mu) - sqrt(nu))² dx), between 0 and 1.

    Particles are compared by `BinnedHellinger()`.

    Parameters
    ----------
    reference : Density
        On a grid.
    other : Density or Particles
        A Density on a grid with the same cells.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As `l1`.

    Examples
    --------
    Between N(0, 1) and N(1, 1) it is sqrt(1 - e^(-1/8)):

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> round(wfr.metrics.hellinger(grid.density(reference), grid.density(other)), 6)
    0.342787
    """
    if isinstance(other, Particles):
        return BinnedHellinger()(reference, other)
    log_a, log_b = matched(reference, other)
    xp = reference.grid.backend.xp
    return math.sqrt(0.5 * float(reference.grid.integrate((xp.exp(log_a / 2) - xp.exp(log_b / 2)) ** 2)))


def matched(reference: Any, other: Any) -> tuple[Any, Any]:
    """Return both log-densities as arrays of the reference's backend."""
    check_density(reference, "this distance")
    for name, density in (("reference", reference), ("other", other)):
        if not isinstance(density, Density):
            raise TypeError(
                f"{name} must be a Density, got {type(density).__name__}; "
                "the last frame of a Dataset is Density.from_dataset(ds)"
            )
    check_same_cells(reference.grid, other.grid)
    log_values = other.log_values
    if other.grid.backend != reference.grid.backend:
        log_values = reference.grid.backend.asarray(other.grid.backend.asnumpy(log_values))
    return reference.log_values, log_values
