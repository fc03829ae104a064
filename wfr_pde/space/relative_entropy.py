"""Relative entropy (Kullback-Leibler divergence) of two densities on a grid."""

from __future__ import annotations

from typing import Any

from wfr_pde.numerics.special import expm1_minus
from wfr_pde.space.grid import Grid


def relative_entropy(grid: Grid, log_p: Any, log_q: Any) -> float:
    """Compute ∫ p log(p/q) dx for densities of equal mass, in nats.

    Summed as p log(p/q) - p + q >= 0 in every cell, so that nothing cancels near p = q.
    """
    xp = grid.backend.xp

    def excess(log_p: Any, log_q: Any) -> Any:
        p, q, log_ratio = xp.exp(log_p), xp.exp(log_q), log_p - log_q
        near = xp.abs(log_ratio) < 1
        cancelling = p * expm1_minus(xp.where(near, -log_ratio, xp.zeros_like(log_ratio)), xp)
        return xp.where(near, cancelling, p * log_ratio - p + q)

    return float(grid.integral_of(excess, log_p, log_q))
