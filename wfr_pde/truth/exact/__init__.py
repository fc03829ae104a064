"""Closed forms of flows, and of their divergences from the target, that the solver can be held against.

Examples
--------
With alpha = beta = 1, N(1, 1) stays of variance 1 on its way to N(0, 1), and its mean is exp(-2 t):

>>> import wfr_pde as wfr
>>> flow = wfr.exact.gaussian_flow(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0), 0.5)
>>> flow.mean.round(4), flow.covariance.round(4)
(array([0.3679]), array([[1.]]))
"""

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
    """List the public names."""
    return __all__
