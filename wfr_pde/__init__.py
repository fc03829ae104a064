"""wfr_pde: ground-truth densities of Wasserstein-Fisher-Rao gradient flows on a grid."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from wfr_pde import metrics, samplers
from wfr_pde._version import __version__
from wfr_pde.energies import KL, Energy
from wfr_pde.errors import BackendError, FloorWarning, NumericalError
from wfr_pde.flows import (
    Advected,
    Extrapolated,
    FiniteVolume,
    FisherRao,
    Flow,
    LangevinKernel,
    Lie,
    MALAKernel,
    ProbabilityFlow,
    Repeated,
    ReverseSDE,
    SinkhornKernel,
    SplitStep,
    Strang,
)
from wfr_pde.integrate import diagnostics
from wfr_pde.integrate.estimate import estimate
from wfr_pde.integrate.time_loop import solve
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.metrics import tables
from wfr_pde.metrics.convergence import convergence_table
from wfr_pde.samplers.external.load_callable import load_callable
from wfr_pde.samplers.external.read_samples import read_samples
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.storage.run_directory import open_run
from wfr_pde.targets import (
    OU,
    VE,
    VP,
    Banana,
    CoshDoubleWell,
    DoubleWell,
    FourModes,
    Funnel,
    Gaussian,
    GaussianMixture,
    GeometricPath,
    GridTarget,
    Noised,
    Posterior,
    Potential,
    Product,
    Radial,
    Ring,
    Target,
)
from wfr_pde.truth import exact

if TYPE_CHECKING:
    from wfr_pde.truth.certified.certificate import ground_truth
    from wfr_pde.truth.certified.factored.coupling import coupling_error
    from wfr_pde.truth.spectrum.generator import spectrum
    from wfr_pde.validation.comparison import compare
    from wfr_pde.validation.error_budget import error_budget
    from wfr_pde.validation.verdicts import validate

__all__ = [
    "KL",
    "OU",
    "VE",
    "VP",
    "Advected",
    "BackendError",
    "Banana",
    "CoshDoubleWell",
    "Density",
    "DoubleWell",
    "Energy",
    "Extrapolated",
    "FiniteVolume",
    "FisherRao",
    "FloorWarning",
    "Flow",
    "FourModes",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "GeometricPath",
    "Grid",
    "GridTarget",
    "LangevinKernel",
    "Lie",
    "MALAKernel",
    "Noised",
    "NumericalError",
    "Particles",
    "Posterior",
    "Potential",
    "ProbabilityFlow",
    "Product",
    "Radial",
    "Repeated",
    "ReverseSDE",
    "Ring",
    "SinkhornKernel",
    "SplitStep",
    "Strang",
    "Target",
    "Trajectory",
    "__version__",
    "compare",
    "convergence_table",
    "coupling_error",
    "diagnostics",
    "error_budget",
    "estimate",
    "exact",
    "ground_truth",
    "load_callable",
    "metrics",
    "open_run",
    "read_samples",
    "run_sampler",
    "samplers",
    "solve",
    "spectrum",
    "validate",
]

# namespaces that live in a room can be imported by the names they are known by: `import wfr_pde.exact`
_BY_OTHER_NAMES = {"exact": exact, "diagnostics": diagnostics, "tables": tables}
sys.modules |= {f"{__name__}.{name}": module for name, module in _BY_OTHER_NAMES.items()}

_NAMESPACES = ("energies", "flows", "plotting", "targets")  # public; plotting loads matplotlib
_AT_FIRST_USE = {  # public name: the module it is in
    "coupling_error": "wfr_pde.truth.certified.factored.coupling",
    "ground_truth": "wfr_pde.truth.certified.certificate",
    "spectrum": "wfr_pde.truth.spectrum.generator",
    "compare": "wfr_pde.validation.comparison",
    "error_budget": "wfr_pde.validation.error_budget",
    "validate": "wfr_pde.validation.verdicts",
}

if not TYPE_CHECKING:  # else a type checker would take any name

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used, as its module is slow to import."""
        if name in _NAMESPACES:
            return importlib.import_module(f"{__name__}.{name}")
        if name not in _AT_FIRST_USE:
            namespaces = {"metrics": metrics, "samplers": samplers, **_BY_OTHER_NAMES}
            where = next((space for space, module in namespaces.items() if name in module.__all__), None)
            meant = f": it is in a namespace, {__name__}.{where}.{name}" if where else ""
            raise AttributeError(  # with name and obj Python adds the nearest name
                f"module {__name__!r} has no attribute {name!r}{meant}",
                name=name,
                obj=None if where else sys.modules[__name__],
            )
        value = getattr(importlib.import_module(_AT_FIRST_USE[name]), name)
        globals()[name] = value  # the next time it is found without this function
        return value

    def __dir__() -> list[str]:
        """List the public names, also those that are not imported yet."""
        return sorted({*__all__, *_BY_OTHER_NAMES, *_NAMESPACES})
