"""Closed forms that the solver can be held against."""

from wfr_pde.truth.exact.closed_forms import (
    SCHEMES,
    TRANSPORTS,
    cosh_double_well_flow,
    cosh_double_well_kl,
    fisher_rao,
    fisher_rao_kl,
    gaussian_flow,
    gaussian_flow_by_ode,
    gaussian_kl,
    gaussian_split,
    mixture_transport,
)

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
