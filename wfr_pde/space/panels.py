"""The integral of a density of points along an axis: what cells are cut by, and kept between grids."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call

FIRST_PANELS = 256  # what is narrower than a 4000th of the box, and stands alone, may be missed
MOST_PANELS = 2**17  # a density of points that is noisy is not followed further
SMALLEST_PANEL = 1e-14  # of the length: a jump of the density of points is not pinned down further
PANEL_ERROR = 1e-15  # of the number of points, or tenfold of those in the panel: the last two Legendre coefficients
EPS = float(np.finfo(np.float64).eps)  # rounding of the coordinates, which a steep density multiplies
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)  # of a panel: exact for its Legendre series, degree 15
# values at the nodes -> Legendre coefficients
TO_LEGENDRE = (np.arange(16) + 0.5)[:, None] * np.polynomial.legendre.legvander(NODES, 15).T * WEIGHTS


def checked_density(name: str, density: Callable[[Array], Any]) -> Callable[[Array], Array]:
    """Return the density of points as a function that checks its values wherever it is evaluated."""

    def checked(x: Array) -> Array:
        values = np.asarray(call(f"the density of points of axis {name}", density, x), dtype=np.float64)
        if values.shape != x.shape:
            raise ValueError(
                f"the density of points of axis {name} must return one value per coordinate: for {x.shape} coordinates "
                f"it returned shape {values.shape}"
            )
        good = np.isfinite(values) & (values > 0)
        if not good.all():
            place = np.unravel_index(int(np.argmin(good)), x.shape)
            raise ValueError(
                f"the density of points of axis {name} is {values[place]} at {x[place]:.6g}: it must be positive and "
                "finite, so that every place has cells"
            )
        return values

    return checked


def shared_out(density: Callable[[Array], Any], ends: ArrayLike) -> Array:
    """Integrate a density of points between neighbouring ends (n + 1,), increasing; shape (n,)."""
    x = np.asarray(ends, dtype=np.float64)
    panels = panels_of(checked_density("x", density), float(x[0]), float(x[-1]), density, ())
    return np.diff(panels.integral(x))


# integrals by the function that a density is made of, and how: they go with that function
_INTEGRALS: WeakKeyDictionary[Callable[[Array], Any], dict[tuple[Hashable, ...], Panels]] = WeakKeyDictionary()


def panels_of(
    density: Callable[[Array], Array],
    lower: float,
    upper: float,
    made_of: Callable[[Array], Any],
    how: tuple[Hashable, ...],
) -> Panels:
    """Integrate a density of points; the integral is kept as long as the function that the density is `made_of`.

    It does not depend on the number of cells, and a family of grids asks for it many times.
    """
    try:
        known = _INTEGRALS.setdefault(made_of, {})
    except TypeError:  # neither hashed nor referred to weakly, as functions of NumPy
        return Panels(density, lower, upper)
    key = (lower, upper, *how)
    if key not in known:
        known[key] = Panels(density, lower, upper)
    return known[key]


def _rounding(values: Array, left: Array, width: Array) -> Array:
    """Bound what rounding of the coordinates does to a density (p, 16) at the nodes of panels: (p,)."""
    steepest = np.abs(np.diff(values, axis=1) / np.diff(NODES)).max(axis=1) * 2 / width
    return np.asarray(EPS * (np.abs(left) + width) * steepest)


class Panels:
    """The integral N(x) of a density of points, by Legendre series on panels fine enough for rounding.

    Attributes
    ----------
    left, width : arrays (p,)
        The panels, from the lower wall to the upper.
    series : array (17, p)
        Legendre coefficients of the integral from the left end of a panel.
    before : array (p,)
        N at the left end of each panel.
    total : float
        N at the upper wall.
    """

    def __init__(self, density: Callable[[Array], Array], lower: float, upper: float) -> None:
        left = np.linspace(lower, upper, FIRST_PANELS + 1)[:-1]
        width = np.full(FIRST_PANELS, (upper - lower) / FIRST_PANELS)
        done: list[tuple[Array, Array, Array]] = []
        total, count = 0.0, 0
        while len(left):
            values = density(left[:, None] + width[:, None] * (0.5 + 0.5 * NODES))
            series = values @ TO_LEGENDRE.T
            total = max(total, float(np.sum(width * series[:, 0])))
            tail = np.abs(series[:, -2:]).sum(axis=1)
            good = (width * tail <= PANEL_ERROR * total) | (tail <= 10 * PANEL_ERROR * series[:, 0])
            good |= tail <= _rounding(values, left, width)
            good |= (width <= SMALLEST_PANEL * (upper - lower)) | (count + 2 * len(left) > MOST_PANELS)
            done.append((left[good], width[good], series[good]))
            count += int(good.sum())
            left, width = left[~good], width[~good] / 2
            left, width = np.concatenate([left, left + width]), np.concatenate([width, width])
        left, width, series = (np.concatenate(parts) for parts in zip(*done, strict=True))
        order = np.argsort(left)
        self.left, self.width, series = left[order], width[order], series[order].T
        self.series = np.zeros((17, len(order)))  # P_k is the derivative of (P_k+1 - P_k-1) / (2k + 1)
        odd = 2.0 * np.arange(16)[:, None] + 1
        self.series[1:] += series / odd
        self.series[:15] -= (series / odd)[1:]
        self.series[0] += series[0]
        self.series *= self.width / 2
        integrals = self.width * series[0]
        cumulative = np.cumsum(integrals)
        self.before, self.total = cumulative - integrals, float(cumulative[-1])

    def integral(self, x: Array) -> Array:
        """Evaluate the integral N at places (m,)."""
        index = np.clip(np.searchsorted(self.left, x, side="right") - 1, 0, len(self.left) - 1)
        u = 2 * (x - self.left[index]) / self.width[index] - 1
        return np.asarray(self.before[index] + np.polynomial.legendre.legval(u, self.series[:, index], tensor=False))

    def inverse(self, values: Array) -> Array:
        """Return the places (m,) where N has the given values (m,), by Newton's method kept inside the panel."""
        from wfr_pde.numerics.compiled.mesh_density import places_in_panels  # here, as it loads numba

        index = np.clip(np.searchsorted(self.before, values, side="right") - 1, 0, len(self.left) - 1)
        u = places_in_panels(index, np.ascontiguousarray(self.series.T), values - self.before[index])
        return np.asarray(self.left[index] + self.width[index] * (0.5 + 0.5 * u))
