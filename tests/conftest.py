"""What several test files share."""

from __future__ import annotations

import os

# one BLAS thread per test process: results do not depend on the machine's load
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import wfr_pde as wfr

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


def l1(a: wfr.Density, b: wfr.Density) -> float:
    """∫ |a - b| dx."""
    return float(a.grid.integrate(np.abs(np.asarray(a.values) - np.asarray(b.values))))


@pytest.fixture
def wfr_flow():
    """The default scheme: Strang, reaction outside, unit rates."""
    return wfr.Strang(wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0))
