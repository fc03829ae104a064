"""Functionals whose gradient flow is solved: one file per functional."""

from wfr_pde.energies.base import Energy
from wfr_pde.energies.kl import KL
from wfr_pde.energies.no_energy import NoEnergy

__all__ = ["KL", "Energy", "NoEnergy"]


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
