"""The heat kernel of one axis, by mirror images or eigenfunctions."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.space.axis import Axis

NEGLIGIBLE = 40.0  # nats below a sum at which an image is lost in rounding, e^-40 = 4e-18


def log_heat_kernel(axis: Axis, time: float, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
    """Return log of the heat kernel of u_t = u_xx on one axis, times the width of the source cell: (n, n), or a part.

    Entry (i, j) is log g(x_i, x_j; time) + log w_j, with all mirror images x + 2kL, 2a - x + 2kL at no-flux walls
    or all wraps x + kL, summed until they underflow relative to the nearest; for long times by the eigenfunctions
    of the axis, where a few terms suffice.
    """
    to, x, length = axis.offsets[rows, None], axis.offsets[columns], axis.length
    period = length if axis.periodic else 2 * length
    if time > period**2 / 16:
        log_g = _by_eigenfunctions(axis, to, x, time)
    else:
        distance = np.abs(to - x)
        if axis.periodic:
            distance = np.minimum(distance, length - distance)
        # images relative to the nearest one: the exponents are differences of squares, without cancellation
        relative = np.zeros_like(distance)
        for k in range(-_wraps(time, period), _wraps(time, period) + 1):
            shift = k * period
            relative += np.exp(-shift * (shift + 2 * distance) / (4 * time))
            if not axis.periodic:
                # the image at -x_j + shift: its squared distance exceeds the nearest one's by this
                a, b = to + x - shift, distance
                relative += np.exp(-(a - b) * (a + b) / (4 * time))
        log_g = -(distance**2) / (4 * time) + np.log(relative) - 0.5 * math.log(4 * math.pi * time)
    return log_g + np.log(axis.widths[columns])


def _wraps(time: float, period: float) -> int:
    """Return the number of wraps on each side beyond which images are below rounding: k (k - 1) period² / 4t > 40."""
    return math.ceil(0.5 + math.sqrt(0.25 + NEGLIGIBLE * 4 * time / period**2))


def _by_eigenfunctions(axis: Axis, to: np.ndarray, x: np.ndarray, time: float) -> np.ndarray:
    """Sum the heat kernel from its cosines (and sines on a periodic axis)."""
    base = (2 if axis.periodic else 1) * math.pi / axis.length
    kernel = np.ones((len(to), len(x)))
    for k in range(1, 64):
        decay = math.exp(-((base * k) ** 2) * time)
        if decay < 1e-20:
            break
        product = np.cos(base * k * to) * np.cos(base * k * x)
        if axis.periodic:
            product += np.sin(base * k * to) * np.sin(base * k * x)
        kernel += 2 * decay * product
    return np.log(kernel / axis.length)
