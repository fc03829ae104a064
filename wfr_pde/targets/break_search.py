"""Kinks and jumps of a function that names none: found by zooming in on second differences along lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array

Function = Callable[[Array], Array]

FIRST_LOOKS = 20_000  # places on a line: kinks closer to each other than a few spacings are seen as one
CANDIDATES = 40  # places with the largest second differences that are zoomed in on: more breaks than that are not found
WINDOW = 33  # places in a window: enough for quantiles of fourth differences that a few kinks do not move
ZOOM = 4.0  # how much narrower a window is than the one before: a smooth bend falls by as much, a kink stays
ZOOMS = 11  # windows: with FIRST_LOOKS the last is 5e-11 of the length wide, beyond which rounding hides most kinks
PERSISTS = 0.5  # share of the slope's jump that must be left in the last window: a smooth bend has lost 3/4 in one
ENOUGH = 3  # windows that it has to last, after which it may drown in rounding: a smooth bend is down to 1/64 then
# roundings of the values that a second difference has to exceed: those of sums of some hundred terms stay below
NOISE = 200.0
# quantile of fourth differences, their size over second ones, and what a bend has to exceed: kinks in 40 % of a window
# do not count as noise
MOST, FOURTH, TIMES = 0.6, 3.0, 10.0
ROUND = 60.0  # neighbours on either side whose median second difference one is compared with
SAME = 1e-6  # of the length: kinks of different lines this close to each other are one hyperplane
SAME_KINK = 1e-7  # of the length: kinks of one line closer to each other are one
# first looks on both sides of a kink in which there may be another one, and rounds of looking so
BESIDE, ROUNDS_BESIDE = 4.0, 3
LOOKS_BESIDE, CANDIDATES_BESIDE = 1000, 4  # places looked at there, 250 times finer than at first, and zoomed in on
LINES = 5  # lines parallel to every axis; a kink on all of them at one place counts as a hyperplane
# places on each of them, by dimension: fewer than on a line alone, as there are more lines
LOOKS_ALONG = {2: 4000, 3: 2500}
CANDIDATES_ALONG = {2: 10, 3: 6}  # places on each that are zoomed in on, by dimension


def find_kinks(
    function: Function, lower: float, upper: float, looks: int = FIRST_LOOKS, candidates: int = CANDIDATES
) -> Array:
    """Find the places in (lower, upper) where a function jumps or has a jump in its slope.

    Windows around the most suspicious of many places are made narrower and narrower. In a window of width w the largest
    second difference over the step, max |f(x+h) - 2 f(x) + f(x-h)| / h, falls like w where f is smooth, stays where f'
    jumps, and grows where f does. What is no larger than the noise of f does not count. That noise is the part of the
    fourth differences which two windows have alike: where large terms cancel in f, it is larger than the size of f
    tells.

    Parameters
    ----------
    function : function of an array (n,) -> array (n,)
        What may have kinks; values that are not finite count as 0.
    lower, upper : float
        Ends of the line.
    looks : int
        Places looked at first.
    candidates : int
        Windows that are narrowed, at most.

    Returns
    -------
    array
        Increasing; jumps to the last place, kinks to about 1e-9 of the length, less where noise hides the rest.
    """
    found = _kinks(function, lower, upper, looks, candidates)
    width = BESIDE * (upper - lower) / looks
    beside = list(found)
    for _ in range(ROUNDS_BESIDE):  # a second one that the first looks did not tell from the first
        news = []
        for place in beside:
            gap = SAME_KINK * (upper - lower)
            for low, high in ((place - width, place - gap), (place + gap, place + width)):
                low, high = max(low, lower), min(high, upper)
                if high > low:
                    news += _kinks(function, low, high, LOOKS_BESIDE, CANDIDATES_BESIDE)
        beside = [one for one in news if all(abs(one - other) > SAME_KINK * (upper - lower) for other in found)]
        beside = [one for k, one in enumerate(beside) if all(abs(one - other) > gap for other in beside[:k])]
        found += beside
        if not beside:
            break
    return np.sort(np.array(found))


def _kinks(function: Function, lower: float, upper: float, looks: int, candidates: int) -> list[float]:
    """Find kinks and jumps by one search along the line: looks at equal distances, then zooming in on candidates."""
    length = upper - lower
    x = lower + length * (np.arange(looks) + 0.5) / looks
    values = _finite(function(x))
    bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
    around = _running_median(bends)
    ratio = bends / (around + NOISE * np.finfo(float).eps * (1 + np.abs(values[1:-1])))
    order = np.argsort(-ratio)
    found: list[float] = []
    tried: list[int] = []
    for i in order.tolist():
        if ratio[i] < 3 or len(tried) >= candidates:
            break
        if any(abs(i - other) <= 2 for other in tried):
            continue
        tried.append(i)
        check_deadline()
        place = _zoomed(function, float(x[i + 1]), 4 * length / looks, lower, upper)
        if place is not None and all(abs(place - other) > SAME_KINK * length for other in found):
            found.append(place)
    return found


def find_hyperplanes(function: Function, lower: Array, upper: Array, through: Array) -> tuple[tuple[Array, ...], bool]:
    """Find hyperplanes x_k = c in a box across which a function jumps, or has a jump in its slope, along lines.

    A kink that lies at the same place of all lines parallel to an axis is such a hyperplane. What is missing on a line
    is looked for there once more.

    Parameters
    ----------
    function : function of an array (n, d) -> array (n,)
        What may have kinks; values that are not finite count as 0.
    lower, upper : arrays (d,)
        Corners of the box.
    through : array (m, d)
        Points of the lines; better where there is mass.

    Returns
    -------
    tuple of d arrays, bool
        The places c along every axis, and whether there are kinks that are no such hyperplanes.
    """
    d = len(lower)
    looks, candidates = LOOKS_ALONG.get(d, LOOKS_ALONG[3]), CANDIDATES_ALONG.get(d, CANDIDATES_ALONG[3])
    places, elsewhere = [], False
    for k in range(d):
        lines = [_along(function, point, k) for point in through]
        found = [find_kinks(line, float(lower[k]), float(upper[k]), looks, candidates) for line in lines]
        on_all, others = _on_all(lines, found, float(lower[k]), float(upper[k]), 4 / looks)
        places.append(on_all)
        elsewhere |= others
    return tuple(places), elsewhere


def _along(function: Function, point: Array, k: int) -> Function:
    """Return the function on the line through a point along axis k."""

    def line(x: Array) -> Array:
        points = np.repeat(point[None], len(x), axis=0)
        points[:, k] = x
        return function(points)

    return line


def _on_all(
    lines: Sequence[Function], found: Sequence[Array], lower: float, upper: float, width: float
) -> tuple[Array, bool]:
    """Return places of kinks that all lines have, the median of each, and whether there are others."""
    length = upper - lower
    everywhere = np.sort(np.concatenate(found))
    groups = np.split(everywhere, np.flatnonzero(np.diff(everywhere) > SAME * length) + 1)
    places, others = [], False
    for group in groups if len(everywhere) else ():
        middle, seen = float(np.median(group)), []
        for line, known in zip(lines, found, strict=True):
            near = known[np.abs(known - middle) <= SAME * length]
            place = float(near[0]) if len(near) else _zoomed(line, middle, width * length, lower, upper)
            if place is None or abs(place - middle) > SAME * length:
                others = True
                break
            seen.append(place)
        else:
            places.append(float(np.median(seen)))
    return np.array(places), others


def _finite(values: Any) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, 0.0)


def _running_median(values: Array) -> Array:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(values, size=2 * int(ROUND) + 1, mode="nearest"))


def _noise(values: Array) -> float:
    """Estimate the noise of the values in a window as a second difference would show it.

    It is what remains after a polynomial of degree 3, except at the places of a few kinks.
    """
    return float(np.quantile(np.abs(np.diff(values, 4)), MOST)) / FOURTH


def _zoomed(function: Function, place: float, width: float, lower: float, upper: float) -> float | None:
    """Return the kink or jump near a place, if there is one."""
    first: float | None = None
    before = noise = 0.0
    narrowest = (upper - lower) * 4 / FIRST_LOOKS * ZOOM ** (1.5 - ZOOMS)
    zooms = max(ZOOMS, math.ceil(math.log(width / narrowest, ZOOM)))
    for zoom in range(zooms):
        x = np.linspace(max(place - width / 2, lower), min(place + width / 2, upper), WINDOW)
        values = np.asarray(function(x), dtype=np.float64)
        if not np.isfinite(values).all():
            return None
        step = float(x[1] - x[0])
        if not step > 0:  # narrower than the last digits of the place
            return place if zoom > ENOUGH else None
        bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
        k = int(bends.argmax())
        here = _noise(values)
        noise, before = max(noise, min(before, here)), here  # what is smooth would be far less in a narrower window
        if bends[k] <= max(NOISE * np.finfo(float).eps * float(np.abs(values).max()), TIMES * noise):
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
    return _of_jump(function, place, width)


def _of_jump(function: Function, place: float, width: float) -> float:
    """Return the place itself, or where the function jumps beside it, to the last place."""
    low, high = place - width, place + width
    before, left, right, after = np.asarray(function(np.array([low - 2 * width, low, high, high + 2 * width])))
    if not abs(right - left) > TIMES * (abs(left - before) + abs(after - right)):
        return place
    while low < (middle := 0.5 * (low + high)) < high:
        is_left = abs(float(function(np.array([middle]))[0]) - left) < 0.5 * abs(right - left)
        low, high = (middle, high) if is_left else (low, middle)
    return high
