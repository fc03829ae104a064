"""Compiled loops: the only place that names numba; what imports a file of it waits for numba."""

from wfr_pde.numerics.compiled import first_use as first_use  # listens for what is compiled
