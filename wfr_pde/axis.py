"""One axis of a grid: uniform cells, cells with given edges, or cells graded by a density of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[np.float64]]

EQUAL = 1e-12  # relative difference up to which given cells count as equal
FIRST_PANELS = 64
SMALLEST_PANEL = 1e-14  # of the length: a jump of the density of points is not pinned down further
PANEL_ERROR = 1e-14  # of the number of points: two halves of a panel agree with the whole
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)
NEWTON_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a grid, and whether its last cell meets the first.

    Attributes
    ----------
    name : str
    edges : array (n + 1,)
        Cell edges, increasing.
    centres : array (n,)
        Where the values live.
    widths : array (n,)
        Quadrature weights of the cells: ∫ f dx = Σ f(centres) widths.
    periodic : bool
    smooth : bool
        Whether edges and centres are images x(i), x(i + 1/2) of a smooth map x(s), and the widths its derivative:
        then the quadrature is spectrally accurate for smooth f that end inside the box. Cells with given edges
        have their middles as centres and their lengths as widths: the quadrature is of order 2.
    """

    name: str
    edges: Array
    centres: Array
    widths: Array
    periodic: bool
    smooth: bool = True

    @classmethod
    def uniform(cls, name: str, lower: float, upper: float, n: int, periodic: bool = False) -> Axis:
        """`n` equal cells."""
        edges = np.linspace(lower, upper, n + 1)
        # widths are equal to the last bit, so that kernels are symmetric to the last bit
        return cls(name, edges, 0.5 * (edges[:-1] + edges[1:]), np.full(n, (upper - lower) / n), periodic)

    @classmethod
    def from_edges(cls, name: str, edges: ArrayLike, periodic: bool = False) -> Axis:
        """Cells with the given edges.

        Raises
        ------
        ValueError
            If the edges are not finite and increasing, or fewer than five.
        """
        array = np.asarray(edges, dtype=np.float64)
        if array.ndim != 1 or len(array) < 5:
            raise ValueError(f"the edges of axis {name} must be at least 5 numbers (4 cells), got shape {array.shape}")
        if not np.isfinite(array).all():
            bad = int(np.argmin(np.isfinite(array)))
            raise ValueError(f"edge {bad} of axis {name} is {array[bad]}: edges must be finite")
        widths = np.diff(array)
        if not (widths > 0).all():
            bad = int(np.argmin(widths > 0))
            raise ValueError(
                f"the edges of axis {name} must increase, but edge {bad + 1} ({array[bad + 1]:.6g}) does not exceed "
                f"edge {bad} ({array[bad]:.6g}): sort them, and drop doubles"
            )
        if np.allclose(widths, widths.mean(), rtol=0, atol=EQUAL * (widths.mean() + np.abs(array).max())):
            return cls.uniform(name, array[0], array[-1], len(widths), periodic)
        return cls(name, array, 0.5 * (array[:-1] + array[1:]), widths, periodic, smooth=False)

    @classmethod
    def graded(
        cls, name: str, lower: float, upper: float, n: int, density: Callable[[Array], Any], periodic: bool = False
    ) -> Axis:
        """`n` cells between which a density of points is shared equally.

        With ρ the density and N(x) = ∫ρ from the lower wall, the map x(s) solves N(x) = s N(upper) / n.

        Parameters
        ----------
        name, lower, upper, n, periodic
        density : function of an array of coordinates -> array of the same shape
            Cells per length, up to a factor; positive. The smoother it is, the better the quadrature.

        Raises
        ------
        ValueError
            If the density is not positive and finite.
        """
        panels, cumulative = _integrated(_checked_density(name, density), lower, upper)
        total = cumulative[-1]
        positions = _inverted(density, panels, cumulative, total * np.arange(1, 2 * n) / (2 * n))
        edges = np.concatenate([[lower], positions[1::2], [upper]])
        centres = positions[0::2]
        widths = (total / n) / np.asarray(density(centres), dtype=np.float64)
        if not (np.diff(edges) > 0).all():
            raise ValueError(f"the density of points of axis {name} varies too much for cells of double precision")
        return cls(name, edges, centres, widths, periodic)

    def renamed(self, name: str, periodic: bool) -> Axis:
        """The same cells with another name and boundary."""
        return Axis(name, self.edges, self.centres, self.widths, periodic, self.smooth)

    def coarsened(self) -> Axis:
        """The axis with every two cells joined.

        Raises
        ------
        ValueError
            If the number of cells is odd.
        """
        if self.n % 2 or self.n < 8:
            raise ValueError(
                f"axis {self.name} has {self.n} cells: an even number of at least 8 can be joined in pairs"
            )
        if self.is_uniform:
            return Axis.uniform(self.name, self.edges[0], self.edges[-1], self.n // 2, self.periodic)
        edges = self.edges[::2]
        if not self.smooth:
            return Axis.from_edges(self.name, edges, self.periodic)
        return Axis(self.name, edges, self.edges[1::2], 2 * self._slope_at_edges()[1::2], self.periodic)

    def _slope_at_edges(self) -> Array:
        """The derivative x'(s) of the map at the edges: a spline through x' at the centres (n + 1,)."""
        from scipy.interpolate import make_interp_spline

        s, log_slope = np.arange(self.n) + 0.5, np.log(self.widths)
        if self.periodic:  # the spline forgets its ends within some cells
            s = np.concatenate([s[-12:] - self.n, s, s[:12] + self.n])
            log_slope = np.concatenate([log_slope[-12:], log_slope, log_slope[:12]])
        return np.exp(make_interp_spline(s, log_slope, k=5)(np.arange(self.n + 1)))

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all cells are equal."""
        return bool(np.all(self.widths == self.widths[0])) and self.smooth

    @cached_property
    def offsets(self) -> Array:
        """Cell centres (n,) measured from the lower wall, free of the rounding of a far-away origin."""
        if self.is_uniform:
            return (np.arange(self.n) + 0.5) * self.widths[0]
        return self.centres - self.edges[0]

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.edges) - 1

    @property
    def length(self) -> float:
        """Distance between the walls, or the period."""
        return float(self.edges[-1] - self.edges[0])

    @cached_property
    def dx(self) -> float:
        """Width of the widest cell."""
        return float(self.widths.max())

    def matches(self, other: Axis) -> bool:
        """Whether `other` has the same name, cells and boundary."""
        close = {"rtol": 1e-13, "atol": 1e-13 * self.length}
        return (
            (self.name, self.n, self.periodic) == (other.name, other.n, other.periodic)
            and np.allclose(self.edges, other.edges, **close)
            and np.allclose(self.centres, other.centres, **close)
            and np.allclose(self.widths, other.widths, rtol=1e-12)
        )


def _checked_density(name: str, density: Callable[[Array], Any]) -> Callable[[Array], Array]:
    """The density of points, checked wherever it is evaluated."""

    def checked(x: Array) -> Array:
        values = np.asarray(density(x), dtype=np.float64)
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


def _integrated(density: Callable[[Array], Array], lower: float, upper: float) -> tuple[Array, Array]:
    """Panels on which Gauss quadrature of the density has converged, and its integral up to each of their edges."""
    left = np.linspace(lower, upper, FIRST_PANELS + 1)[:-1]
    width = np.full(FIRST_PANELS, (upper - lower) / FIRST_PANELS)
    done: list[tuple[Array, Array, Array]] = []
    total = 0.0
    while len(left):
        halves = np.stack([_gauss(density, left, width / 2), _gauss(density, left + width / 2, width / 2)])
        fine, coarse = halves.sum(axis=0), _gauss(density, left, width)
        total = max(total, float(fine.sum()))
        good = np.abs(fine - coarse) <= PANEL_ERROR * total + 1e-14 * fine
        good |= width <= SMALLEST_PANEL * (upper - lower)
        done.append((left[good], width[good], fine[good]))
        left, width = left[~good], width[~good] / 2
        left, width = np.concatenate([left, left + width]), np.concatenate([width, width])
    starts, _, integrals = (np.concatenate(parts) for parts in zip(*done, strict=True))
    order = np.argsort(starts)
    return np.append(starts[order], upper), np.concatenate([[0.0], np.cumsum(integrals[order])])


def _gauss(density: Callable[[Array], Any], left: Array, width: Array) -> Array:
    """Integrals of the density over intervals."""
    x = left[:, None] + width[:, None] * (0.5 + 0.5 * NODES)
    return 0.5 * width * np.sum(WEIGHTS * np.asarray(density(x), dtype=np.float64), axis=1)


def _inverted(density: Callable[[Array], Any], panels: Array, cumulative: Array, values: Array) -> Array:
    """Places where the integral of the density has the given values, by Newton's method kept inside the panel."""
    index = np.clip(np.searchsorted(cumulative, values, side="right") - 1, 0, len(panels) - 2)
    left, low, high = panels[index], panels[index], panels[index + 1]
    wanted = values - cumulative[index]
    x = left + (high - left) * wanted / (cumulative[index + 1] - cumulative[index])
    for _ in range(NEWTON_ROUNDS):
        excess = _gauss(density, left, x - left) - wanted
        low, high = np.where(excess <= 0, x, low), np.where(excess >= 0, x, high)
        there = np.asarray(density(x), dtype=np.float64)
        following = x - excess / there
        following = np.where((following < low) | (following > high), 0.5 * (low + high), following)
        moved, x = np.abs(following - x), following
        if np.all(moved <= 4e-16 * np.abs(x) + 1e-14 * values[0] / there):
            break
    return x
