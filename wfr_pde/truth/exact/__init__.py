"""Closed forms that the solver can be held against."""

from wfr_pde.truth.exact.cosh_double_well import cosh_double_well_flow, cosh_double_well_kl
from wfr_pde.truth.exact.fisher_rao_flow import fisher_rao, fisher_rao_kl
from wfr_pde.truth.exact.gaussian import (
    SCHEMES,
    TRANSPORTS,
    gaussian_flow,
    gaussian_flow_by_ode,
    gaussian_kl,
    gaussian_split,
)
from wfr_pde.truth.exact.mixture import mixture_transport

__all__ = [
    "SCHEMES",
    "TRANSPORTS",
    "cosh_double_well_flow",
    "cosh_double_well_kl",
    "fisher_rao",
    "fisher_rao_kl",
    "gaussian_flow",
    "gaussian_flow_by_ode",
    "gaussian_kl",
    "gaussian_split",
    "mixture_transport",
]


def __dir__() -> list[str]:
    """Public names."""
    return __all__
