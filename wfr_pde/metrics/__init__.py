"""Distances between measures, densities on a grid or weighted particles: functions (reference, other) -> float.

Every metric has a `name`, a `long_name` for the axis of a plot, and `units`; those with parameters are objects, to be
made first: ``metrics.MMD(scale=1)(reference, particles)``.

Examples
--------
Two points at a distance of 3:

>>> import wfr_pde as wfr
>>> wfr.metrics.wasserstein_1(wfr.Particles([[0.0]]), wfr.Particles([[3.0]]))
3.0
"""

from wfr_pde.metrics.base import Metric
from wfr_pde.metrics.binned import BinnedHellinger, BinnedTotalVariation
from wfr_pde.metrics.by_draws import ByDraws
from wfr_pde.metrics.energy_distance import EnergyDistance
from wfr_pde.metrics.kl_estimates import KernelKL, NeighbourKL, kl_estimate
from wfr_pde.metrics.ksd import KSD
from wfr_pde.metrics.marginals import MarginalQuantiles, MarginalTotalVariation, MarginalWasserstein
from wfr_pde.metrics.mmd import MMD
from wfr_pde.metrics.moments import ExpectationError, ModeMasses, covariance_error, effective_sample_size, mean_error
from wfr_pde.metrics.total_variation import hellinger, l1, total_variation
from wfr_pde.metrics.wasserstein import (
    SlicedWasserstein,
    Wasserstein,
    wasserstein_1,
    wasserstein_2,
)

__all__ = [
    "KSD",
    "MMD",
    "BinnedHellinger",
    "BinnedTotalVariation",
    "ByDraws",
    "EnergyDistance",
    "ExpectationError",
    "KernelKL",
    "MarginalQuantiles",
    "MarginalTotalVariation",
    "MarginalWasserstein",
    "Metric",
    "ModeMasses",
    "NeighbourKL",
    "SlicedWasserstein",
    "Wasserstein",
    "covariance_error",
    "effective_sample_size",
    "hellinger",
    "kl_estimate",
    "l1",
    "mean_error",
    "total_variation",
    "wasserstein_1",
    "wasserstein_2",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
