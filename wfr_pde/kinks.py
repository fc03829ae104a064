"""Kinks and jumps of a function of one coordinate that names none: found by zooming in on second differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.deadline import check_deadline

Array = np.ndarray[Any, np.dtype[np.float64]]

FIRST_LOOKS = 20_000  # places on the line
CANDIDATES = 40  # of the largest second differences over their surroundings
WINDOW = 33  # places in a window
ZOOM = 4.0  # how much narrower a window is than the one before
ZOOMS = 11
PERSISTS = 0.5  # share of the slope's jump that is still there in the last window
ENOUGH = 3  # windows in which it is still there, after which it may end in rounding
NOISE = 200.0  # of the rounding of the values, that a second difference has to exceed
ROUND = 60.0  # neighbouring places over which a second difference is compared with the median


def find_kinks(function: Callable[[Array], Array], lower: float, upper: float) -> Array:
    """Places in (lower, upper) where a function jumps or has a jump in its slope.

    In a window of width w the largest second difference over the step, max |f(x+h) - 2 f(x) + f(x-h)| / h, falls like w
    where f is smooth, stays where f' jumps, and grows where f does. Windows around the most suspicious places are made
    narrower and narrower.

    Parameters
    ----------
    function : function of an array (n,) -> array (n,)
    lower, upper : float

    Returns
    -------
    array
        Increasing; to about 1e-9 of the length.
    """
    length = upper - lower
    x = lower + length * (np.arange(FIRST_LOOKS) + 0.5) / FIRST_LOOKS
    values = _finite(function(x))
    bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
    around = _running_median(bends)
    ratio = bends / (around + NOISE * np.finfo(float).eps * (1 + np.abs(values[1:-1])))
    order = np.argsort(-ratio)
    found: list[float] = []
    tried: list[int] = []
    for i in order.tolist():
        if ratio[i] < 3 or len(tried) >= CANDIDATES:
            break
        if any(abs(i - other) <= 2 for other in tried):
            continue
        tried.append(i)
        check_deadline()
        place = _zoomed(function, float(x[i + 1]), 4 * length / FIRST_LOOKS, lower, upper)
        if place is not None and all(abs(place - other) > 1e-7 * length for other in found):
            found.append(place)
    return np.sort(np.array(found))


def _finite(values: Any) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, 0.0)


def _running_median(values: Array) -> Array:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(values, size=2 * int(ROUND) + 1, mode="nearest"))


def _zoomed(function: Callable[[Array], Array], place: float, width: float, lower: float, upper: float) -> float | None:
    """The kink or jump near a place, if there is one."""
    first = None
    for zoom in range(ZOOMS):
        x = np.linspace(max(place - width / 2, lower), min(place + width / 2, upper), WINDOW)
        values = np.asarray(function(x), dtype=np.float64)
        if not np.isfinite(values).all():
            return None
        step = float(x[1] - x[0])
        bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
        k = int(bends.argmax())
        noise = NOISE * np.finfo(float).eps * float(np.abs(values).max())
        if bends[k] <= noise:
            return place if zoom > ENOUGH else None
        slope = float(bends[k]) / step
        if first is None:
            first = slope
        elif slope < PERSISTS * first:
            return None
        # a kink between two places bends at both: their mean, by how much each bends
        lo, hi = max(k - 1, 0), min(k + 2, len(bends))
        weights = bends[lo:hi]
        place = float(np.sum(weights * x[lo + 1 : hi + 1]) / weights.sum())
        width /= ZOOM
    return place
