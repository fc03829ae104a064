"""Which targets are formulas of this package, whose scales and breaks are known, and which are written by users."""

from __future__ import annotations

from wfr_pde.targets.banana import Banana
from wfr_pde.targets.base import Target
from wfr_pde.targets.capped import Capped
from wfr_pde.targets.cosh_double_well import CoshDoubleWell
from wfr_pde.targets.double_well import DoubleWell
from wfr_pde.targets.four_modes import FourModes
from wfr_pde.targets.funnel import Funnel
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.geometric_path import GeometricMean, GeometricPath
from wfr_pde.targets.grid_target import GridTarget
from wfr_pde.targets.mixture import GaussianMixture
from wfr_pde.targets.noised import Noised, ReversedPath
from wfr_pde.targets.noised_density import NoisedDensity
from wfr_pde.targets.ring import Ring
from wfr_pde.targets.turned import Turned

# classes whose log-density is a formula of this package
FORMULAS = {Banana, CoshDoubleWell, DoubleWell, FourModes, Funnel, Gaussian, GaussianMixture, GridTarget}
FORMULAS |= {Noised, NoisedDensity, ReversedPath, Ring}


def is_of_package(target: Target) -> bool:
    """Tell whether the log-density is a formula of this package, without a function, expression or class of a user."""
    if isinstance(target, GeometricMean | GeometricPath):
        return is_of_package(target.start) and is_of_package(target.target)
    if isinstance(target, Turned | Capped):
        return is_of_package(target.target)
    return type(target) in FORMULAS
