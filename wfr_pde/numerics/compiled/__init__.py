"""Compiled loops: the only place that names numba; what imports a file of it waits for numba."""
