"""Compiled loops of graded axes: densities of points, the inverse of their integral, and draws by mass."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from wfr_pde.numerics.typing import Array

AT_ONCE = 64  # coordinates that are summed for together, as vector instructions want them
NEWTON_ROUNDS = 60  # at most: so many halvings reach rounding where Newton's steps leave the bounds
LEAST_STEP = 1e-9  # of half a panel: a Newton step as small leaves its square, which is below rounding
MOST_TILT = 300.0  # nats that a density may change by before its exponential is taken anew


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def mean_of_order_eight(x: Array, places: Array, scales: Array, spread: float, period: float) -> Array:
    """Compute (1/n Σ_j (s_j² + (spread d_j)²)^-4)^(1/8) with d_j the distance of x from place j.

    If `period` > 0 the distance is that by the chord of the circle.
    """
    result = np.empty(len(x))
    distance, total = np.empty(AT_ONCE), np.empty(AT_ONCE)
    for first in range(0, len(x), AT_ONCE):
        own = x[first : first + AT_ONCE]
        total[:] = 0.0
        for j in range(len(places)):
            square = scales[j] ** 2
            for i in range(len(own)):
                distance[i] = own[i] - places[j]
            if period > 0:
                for i in range(len(own)):
                    distance[i] = period / np.pi * np.sin(np.pi * distance[i] / period)
            for i in range(len(own)):
                sum_of_squares = square + (spread * distance[i]) ** 2
                total[i] += 1 / (sum_of_squares * sum_of_squares) ** 2
        for i in range(len(own)):
            result[first + i] = (total[i] / len(places)) ** 0.125
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def places_in_panels(panels: Any, series: Array, wanted: Array) -> Array:
    """Return the places u (m,) in [-1, 1] where Legendre series take wanted values, by Newton's method.

    Parameters
    ----------
    panels : array (m,) of int
        Number of the series of every place.
    series : array (p, n)
        Coefficients of increasing functions that are zero at -1.
    wanted : array (m,)
    """
    # P_k+1 = up_k u P_k - down_k P_k-1, and P'_k+1 = P'_k-1 + (2k + 1) P_k
    degrees = np.arange(series.shape[1])
    up, down, odd = (2 * degrees + 1) / (degrees + 1), degrees / (degrees + 1), 2.0 * degrees + 1
    result = np.empty(len(wanted))
    u, slope = 0.0, 1.0
    for m in range(len(wanted)):
        c = series[panels[m]]
        low, high = -1.0, 1.0
        if m > 0 and panels[m] == panels[m - 1]:
            u += (wanted[m] - wanted[m - 1]) / slope
        else:
            u = wanted[m] / c[1::2].sum() - 1  # by half of the integral over the panel
        u = min(max(u, low), high)
        for _ in range(NEWTON_ROUNDS):
            before, here, slope_before, slope_here = 1.0, u, 0.0, 1.0
            value, slope = c[0] + c[1] * u, c[1]
            for k in range(1, len(c) - 1):
                slope_before, slope_here = slope_here, slope_before + odd[k] * here
                before, here = here, up[k] * u * here - down[k] * before
                value += c[k + 1] * here
                slope += c[k + 1] * slope_here
            excess = value - wanted[m]
            if excess <= 0:
                low = u
            if excess >= 0:
                high = u
            following = u - excess / slope
            if not low <= following <= high:
                following = 0.5 * (low + high)
            moved, u = abs(following - u), following
            if moved <= LEAST_STEP:
                break
        result[m] = u
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def cells_drawn_between(first: Array, second: Array, shares: Array) -> Any:
    """Return the numbers (m,) of cells up to which e^((1-s) first + s second) has given shares of its sum.

    From one s to the next every cell is multiplied by the same number, and exponentials are taken anew only where that
    would lose what was small.

    Parameters
    ----------
    first, second : arrays (n,)
        Finite.
    shares : array (m,)
        Between zero and one.

    Returns
    -------
    array of int (m,)
        For s = (k + 1/2)/m, k = 0, ..., m - 1, one of each.
    """
    m, n = len(shares), len(first)
    tilt = (second - first) / m
    factor = np.exp(tilt)
    kept_for = min(max(MOST_TILT / max(tilt.max() - tilt.min(), 1e-300), 1.0), float(m))
    mass, chosen = np.empty(n), np.empty(m, dtype=np.int64)
    for k in range(m):
        if k % int(kept_for) == 0:
            mass[:] = first + (k + 0.5) * tilt
            mass[:] = np.exp(mass - mass.max())
        else:
            mass *= factor
        wanted, held, cell = shares[k] * mass.sum(), mass[0], 0
        while held < wanted and cell < n - 1:
            cell += 1
            held += mass[cell]
        chosen[k] = cell
    return chosen
