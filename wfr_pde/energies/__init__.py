"""Functionals whose gradient flow is solved: one file per functional."""

from wfr_pde.energies.base import Energy
from wfr_pde.energies.kl import KL

__all__ = ["KL", "Energy"]
