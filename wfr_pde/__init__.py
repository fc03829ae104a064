"""wfr_pde: ground-truth densities of Wasserstein-Fisher-Rao gradient flows on a grid."""

from wfr_pde._version import __version__
from wfr_pde.energies import KL
from wfr_pde.errors import BackendError, NumericalError
from wfr_pde.flows import Extrapolated, FisherRao, Lie, Repeated, SinkhornKernel, Strang
from wfr_pde.grid import Grid
from wfr_pde.measures import Density, Particles
from wfr_pde.solve import solve
from wfr_pde.storage import open_run
