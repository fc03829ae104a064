"""Flows: what advances a measure by a step. Reaction, transport, their splittings, and the laws of samplers' steps."""

from wfr_pde.flows.base import Flow
from wfr_pde.flows.composition import Lie, Repeated, Strang
from wfr_pde.flows.diffusions.advected import Advected
from wfr_pde.flows.diffusions.advection import Advection
from wfr_pde.flows.diffusions.diffusion import Diffusion
from wfr_pde.flows.diffusions.h_transform import HTransform
from wfr_pde.flows.diffusions.reverse_sde import ProbabilityFlow, ReverseSDE
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.flows.sampler_laws.langevin import LangevinKernel
from wfr_pde.flows.sampler_laws.mala import MALAKernel
from wfr_pde.flows.transport.finite_volume.flow import FiniteVolume
from wfr_pde.flows.transport.sinkhorn.flow import SinkhornKernel
from wfr_pde.flows.transport.split_step.flow import SplitStep

__all__ = [
    "Advected",
    "Advection",
    "Diffusion",
    "Extrapolated",
    "FiniteVolume",
    "FisherRao",
    "Flow",
    "HTransform",
    "LangevinKernel",
    "Lie",
    "MALAKernel",
    "ProbabilityFlow",
    "Repeated",
    "ReverseSDE",
    "SinkhornKernel",
    "SplitStep",
    "Strang",
]


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
