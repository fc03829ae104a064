"""Eigenvalues and eigenfunctions of the generator."""
