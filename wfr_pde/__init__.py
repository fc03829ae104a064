"""wfr_pde: ground-truth densities of Wasserstein-Fisher-Rao gradient flows on a grid."""

from wfr_pde import diagnostics, exact, metrics, samplers
from wfr_pde._version import __version__
from wfr_pde.compare import compare
from wfr_pde.convergence import convergence_table
from wfr_pde.energies import KL, Energy
from wfr_pde.error_budget import error_budget
from wfr_pde.errors import BackendError, FloorWarning, NumericalError
from wfr_pde.estimate import estimate
from wfr_pde.external import load_callable, read_samples, run_sampler
from wfr_pde.flows import (
    Extrapolated,
    FiniteVolume,
    FisherRao,
    Flow,
    LangevinKernel,
    Lie,
    MALAKernel,
    Repeated,
    SinkhornKernel,
    SplitStep,
    Strang,
)
from wfr_pde.grid import Grid
from wfr_pde.ground_truth import ground_truth
from wfr_pde.measures import Density, Particles
from wfr_pde.solve import solve
from wfr_pde.spectrum import spectrum
from wfr_pde.storage import open_run
from wfr_pde.targets import (
    Banana,
    CoshDoubleWell,
    DoubleWell,
    FourModes,
    Funnel,
    Gaussian,
    GaussianMixture,
    GeometricPath,
    GridTarget,
    Posterior,
    Potential,
    Ring,
    Target,
)
from wfr_pde.trajectory import Trajectory
from wfr_pde.validate import validate

__all__ = [
    "KL",
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
    "NumericalError",
    "Particles",
    "Posterior",
    "Potential",
    "Repeated",
    "Ring",
    "SinkhornKernel",
    "SplitStep",
    "Strang",
    "Target",
    "Trajectory",
    "__version__",
    "compare",
    "convergence_table",
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
