"""Arrays of log-densities that go on beyond their ends, by parabolas that fall."""

from __future__ import annotations

import numpy as np

from wfr_pde.numerics.typing import Array


def continued(values: Array, k: int, before: int, after: int) -> Array:
    """Return log-values with cells beyond both ends of axis `k`, by the parabolas through the last three cells.

    Slope and curvature are clamped such that they fall: what does not fall would bring mass from where there is none.
    """
    lines = np.moveaxis(values, k, 0)
    below, above = _parabola(lines[0], lines[1], lines[2], before), _parabola(lines[-1], lines[-2], lines[-3], after)
    return np.moveaxis(np.concatenate([below[::-1], lines, above]), 0, k)


def _parabola(last: Array, second: Array, third: Array, count: int) -> Array:
    """Return `count` cells beyond the last, by the parabola through the last three, clamped to fall and bend down."""
    slope, curvature = np.minimum(last - second, 0.0), np.minimum(last - 2 * second + third, 0.0)
    steps = np.arange(1.0, count + 1).reshape(-1, *(1,) * last.ndim)
    return last + steps * slope + steps * (steps + 1) / 2 * curvature
