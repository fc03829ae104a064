"""Flows: what advances a measure in time. Reaction, transport, and their splittings."""

from wfr_pde.flows.base import Flow
from wfr_pde.flows.reaction import FisherRao
from wfr_pde.flows.splitting import Extrapolated, Lie, Repeated, Strang
from wfr_pde.flows.transport.finite_volume import FiniteVolume
from wfr_pde.flows.transport.langevin_kernel import LangevinKernel
from wfr_pde.flows.transport.mala_kernel import MALAKernel
from wfr_pde.flows.transport.sinkhorn_kernel import SinkhornKernel
from wfr_pde.flows.transport.split_step import SplitStep

__all__ = [
    "Extrapolated",
    "FiniteVolume",
    "FisherRao",
    "Flow",
    "LangevinKernel",
    "Lie",
    "MALAKernel",
    "Repeated",
    "SinkhornKernel",
    "SplitStep",
    "Strang",
]
