"""Gauss's and Lobatto's rules of quadrature on [0, 1], and polynomials through nodes."""

from __future__ import annotations

from functools import cache

import numpy as np

from wfr_pde.numerics.typing import Array


@cache
def gauss(n: int) -> tuple[Array, Array]:
    """Return the nodes and weights (n,) of Gauss's rule on [0, 1], exact for polynomials of degree 2n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (1 + nodes) / 2, weights / 2


@cache
def lobatto(n: int) -> tuple[Array, Array]:
    """Return the nodes and weights (n,) of Lobatto's rule on [0, 1], which has both ends; exact up to degree 2n - 3."""
    legendre = np.polynomial.legendre.Legendre.basis(n - 1)
    nodes = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    return (1 + nodes) / 2, 1 / (n * (n - 1) * legendre(nodes) ** 2)


def lagrange(nodes: Array, at: Array) -> Array:
    """Return the weights (*at.shape, n) of values at n nodes in the polynomial through them, at the places `at`."""
    at = np.asarray(at, dtype=np.float64)
    weights = np.ones((*at.shape, len(nodes)))
    for j, node in enumerate(nodes):
        for other in np.delete(nodes, j):
            weights[..., j] *= (at - other) / (node - other)
    return weights
