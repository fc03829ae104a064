"""The equation of a weighted diffusion, as flows that know theirs give it to those who check it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from wfr_pde.flows.diffusions.coefficients import Diffusivity, Field


@dataclass(frozen=True, eq=False)
class DiffusionEquation:
    """d_t mu = -div(mu b) + div(D grad mu) + mu (c - E_mu c).

    Attributes
    ----------
    drift : function (points (..., d), t) -> (..., d)
    diffusivity : number, array (d,), or function t -> number or (d,)
    rate : function (points (..., d), t) -> (...), or None
    """

    drift: Field
    diffusivity: Diffusivity
    rate: Field | None = None


class HasEquation(ABC):
    """A flow that solves a weighted diffusion; it inherits from this beside `Flow`."""

    @property
    @abstractmethod
    def equation(self) -> DiffusionEquation:
        """The equation whose limit of small steps it is."""
