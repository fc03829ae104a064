"""Targets: the distributions that flows run towards, one family per file; boxes that hold them, their breaks."""

from wfr_pde.targets.banana import Banana
from wfr_pde.targets.base import Target
from wfr_pde.targets.cosh_double_well import CoshDoubleWell
from wfr_pde.targets.double_well import DoubleWell
from wfr_pde.targets.four_modes import FourModes
from wfr_pde.targets.from_text import parse_distribution, stored_distribution
from wfr_pde.targets.funnel import Funnel
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.geometric_path import GeometricMean, GeometricPath
from wfr_pde.targets.grid_target import GridTarget
from wfr_pde.targets.mixture import GaussianMixture
from wfr_pde.targets.noised import Noised, ReversedPath
from wfr_pde.targets.posterior import Posterior
from wfr_pde.targets.potential import Potential
from wfr_pde.targets.product import Product
from wfr_pde.targets.radial import Radial
from wfr_pde.targets.ring import Ring
from wfr_pde.targets.schedules import OU, VE, VP, Schedule

__all__ = [
    "OU",
    "VE",
    "VP",
    "Banana",
    "CoshDoubleWell",
    "DoubleWell",
    "FourModes",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "GeometricMean",
    "GeometricPath",
    "GridTarget",
    "Noised",
    "Posterior",
    "Potential",
    "Product",
    "Radial",
    "ReversedPath",
    "Ring",
    "Schedule",
    "Target",
    "parse_distribution",
    "stored_distribution",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
