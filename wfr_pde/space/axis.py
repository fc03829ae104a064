"""One axis of a grid: uniform cells, cells with given edges, graded by a density of points, or in segments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import UnevenCellsError
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.regular_splines import Cells
from wfr_pde.numerics.typing import Array
from wfr_pde.space.panels import checked_density, panels_of

EQUAL = 1e-12  # relative difference up to which given cells count as equal
MAX_WIDTH_ERROR = 0.4  # most log-ratio of the width of a cell, by the density at its centre, to its length


@dataclass(frozen=True, eq=False)
class Axis(Record):
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
    joints : tuple of int
        Numbers of the inner edges where segments meet, increasing: at each of them the target may have a kink or a
        jump, and the map x(s) too. Within a segment everything is smooth. Where there are joints, the wrap of a
        periodic axis is one of them, without being listed.
    roots : (float, float)
        Powers p of the maps at the lower and the upper wall: the distance from it is s^p times a power series in s^p,
        see `towards_wall`. 1 where a wall is like any other place.
    """

    name: str
    edges: Array
    centres: Array
    widths: Array
    periodic: bool
    smooth: bool = True
    joints: tuple[int, ...] = ()
    roots: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        joints = tuple(int(joint) for joint in self.joints)
        if any(b <= a for a, b in itertools.pairwise((0, *joints, self.n))):
            raise ValueError(
                f"the joints of axis {self.name} must be numbers of inner edges, increasing, from 1 to {self.n - 1}, "
                f"got {self.joints}"
            )
        object.__setattr__(self, "joints", joints)

    @classmethod
    def uniform(cls, name: str, lower: float, upper: float, n: int, periodic: bool = False) -> Axis:
        """Make an axis of `n` equal cells."""
        edges = np.linspace(lower, upper, n + 1)
        # widths are equal to the last bit, so that kernels are symmetric to the last bit
        return cls(name, edges, 0.5 * (edges[:-1] + edges[1:]), np.full(n, (upper - lower) / n), periodic)

    @classmethod
    def from_edges(cls, name: str, edges: ArrayLike, periodic: bool = False) -> Axis:
        """Make an axis of cells with the given edges.

        Raises
        ------
        ValueError
            If the edges are not finite and increasing, or fewer than five.
        """
        array = real_array("edges", edges)
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
        """Make an axis of `n` cells between which a density of points is shared equally.

        With ρ the density and N(x) = ∫ρ from the lower wall, the map x(s) solves N(x) = s N(upper) / n.

        Parameters
        ----------
        name, lower, upper, n, periodic
        density : function of an array of coordinates -> array of the same shape
            Cells per length, up to a factor; positive. The smoother it is, the better the quadrature.

        Raises
        ------
        ValueError
            If the density is not positive and finite, or changes too much within a cell.
        """
        return cls._graded(name, lower, upper, n, density, periodic=periodic)

    @classmethod
    def _graded(
        cls,
        name: str,
        lower: float,
        upper: float,
        n: int,
        density: Callable[[Array], Any],
        *,
        made_of: Callable[[Array], Any] | None = None,
        how: tuple[Hashable, ...] = (),
        periodic: bool = False,
    ) -> Axis:
        """Make cells as `graded` does; a density may be `made_of` another, and `how` tells apart what is made of it."""
        made_of = density if made_of is None else made_of
        density = checked_density(name, density)
        panels = panels_of(density, lower, upper, made_of, how)
        positions = panels.inverse(panels.total * np.arange(1, 2 * n) / (2 * n))
        edges = np.concatenate([[lower], positions[1::2], [upper]])
        centres = positions[0::2]
        widths = (panels.total / n) / density(centres)
        if not ((edges[:-1] < centres) & (centres < edges[1:])).all():
            raise ValueError(f"the density of points of axis {name} varies too much for cells of double precision")
        uneven = np.abs(np.log(widths / np.diff(edges)))
        if uneven.max() > MAX_WIDTH_ERROR:
            raise UnevenCellsError(
                f"the density of points of axis {name} jumps, or changes many times over, within a cell of {n} near "
                f"{centres[int(uneven.argmax())]:.6g}: make it smoother, use more cells, or give the edges to "
                "Grid.from_edges"
            )
        return cls(name, edges, centres, widths, periodic)

    @classmethod
    def towards_wall(
        cls,
        name: str,
        lower: float,
        upper: float,
        n: int,
        density: Callable[[Array], Any],
        power: float,
        reach: float,
        upper_wall: bool = False,
    ) -> Axis:
        """Make an axis of `n` cells whose distance from one wall is the power p of a regular variable.

        With y the distance from the wall, cells share the density ρ(x) (1 + reach / y)^(1 - 1/p) equally. Its integral
        is y^(1/p) times a smooth function of y, so that y = s^p times a smooth function of s^p, s the number of
        cells from the wall: near it cells are as in s^p, beyond the reach as without it.

        Parameters
        ----------
        name, lower, upper, n
        density : function of an array of coordinates -> array of the same shape
            Cells per length, up to a factor, but for the wall; positive.
        power : float
            p >= 1.
        reach : float
            Distance over which the wall is felt.
        upper_wall : bool
            Whether it is the upper wall.

        Raises
        ------
        ValueError
            As `graded`; if the power is below one, or the first centre is not told from the wall in double precision.
        """
        if not (power >= 1 and reach > 0):
            raise ValueError(f"cells towards a wall need power >= 1 and reach > 0, got {power} and {reach}")
        wall, side = (upper, -1.0) if upper_wall else (lower, 1.0)

        def in_root(u: Array) -> Array:
            # the factor y^(1/p - 1) of the density and du/dy cancel
            distance = np.asarray(u) ** power
            return np.asarray(density(wall + side * distance)) * (distance + reach) ** (1 - 1 / power)

        how = (wall, side, power, reach)
        root = cls._graded(name, 0.0, (upper - lower) ** (1 / power), n, in_root, made_of=density, how=how)
        edges, centres = (wall + side * at**power for at in (root.edges, root.centres))
        widths = power * root.centres ** (power - 1) * root.widths
        if upper_wall:
            edges, centres, widths = edges[::-1], centres[::-1], widths[::-1]
        edges = edges.copy()
        edges[0], edges[-1] = lower, upper
        if not (np.all(np.diff(edges) > 0) and np.all((edges[:-1] < centres) & (centres < edges[1:]))):
            raise ValueError(
                f"cells of axis {name} that go to the wall at {wall:.6g} as the power {power:.4g} are not told apart "
                f"in double precision there: shift the coordinate so that the wall is at 0, or use fewer cells than {n}"
            )
        roots = (1.0, power) if upper_wall else (power, 1.0)
        return cls(name, edges, centres.copy(), widths.copy(), False, roots=roots)

    @classmethod
    def joined(cls, segments: Sequence[Axis], periodic: bool = False) -> Axis:
        """Join axes, one after the other, as the segments of one axis with the name of the first.

        Raises
        ------
        ValueError
            If a segment does not begin where the last one ends.
        """
        for a, b in itertools.pairwise(segments):
            if a.edges[-1] != b.edges[0]:
                raise ValueError(
                    f"a segment of axis {segments[0].name} ends at {a.edges[-1]:.17g}, but the next one begins at "
                    f"{b.edges[0]:.17g}: give both the same edge"
                )
        edges = np.concatenate([segments[0].edges[:1], *(part.edges[1:] for part in segments)])
        centres, widths = (
            np.concatenate(parts) for parts in ([a.centres for a in segments], [a.widths for a in segments])
        )
        begin = np.cumsum([0, *(part.n for part in segments[:-1])]).tolist()
        joints = sorted({*begin[1:]} | {j + s for part, s in zip(segments, begin, strict=True) for j in part.joints})
        smooth = all(part.smooth for part in segments)
        roots = segments[0].roots[0], segments[-1].roots[1]
        return cls(segments[0].name, edges, centres, widths, periodic, smooth=smooth, joints=tuple(joints), roots=roots)

    @cached_property
    def segments(self) -> tuple[slice, ...]:
        """The cells between joints; all of them where there are none."""
        ends = (0, *self.joints, self.n)
        return tuple(slice(a, b) for a, b in itertools.pairwise(ends))

    def segment(self, cells: slice) -> Axis:
        """Return one of the `segments` as an axis between walls."""
        edges = self.edges[cells.start : cells.stop + 1]
        roots = self.roots[0] if cells.start == 0 else 1.0, self.roots[1] if cells.stop == self.n else 1.0
        return Axis(self.name, edges, self.centres[cells], self.widths[cells], False, self.smooth, roots=roots)

    def in_root(self, points: Array, share: float = 1.0) -> Array:
        """Return coordinates (m,) in which cells are regular at the walls: y^(share / p) of the distance y from a wall.

        Increasing; the coordinates themselves where both `roots` are 1, and where both are not (such an axis has
        a joint between its walls, and its segments are what to ask).
        """
        low, high = self.roots
        if (low == 1) == (high == 1):
            return points
        if low != 1:
            return np.asarray(np.maximum(points - self.edges[0], 0.0) ** (share / low))
        return -np.asarray(np.maximum(self.edges[-1] - points, 0.0) ** (share / high))

    @cached_property
    def cells(self) -> Cells:
        """What splines through values at the centres are made from."""
        return Cells(self.centres, self.edges, self.periodic, self.joints, self.roots)

    def renamed(self, name: str, periodic: bool) -> Axis:
        """Return the same cells with another name and boundary."""
        return replace(self, name=name, periodic=periodic)

    def coarsened(self) -> Axis:
        """Return the axis with every two cells joined.

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
        if self.joints:
            odd = [joint for joint in self.joints if joint % 2]
            if odd:
                raise ValueError(
                    f"axis {self.name} has a joint at edge {odd[0]}: cells can be joined in pairs where all joints "
                    "are even edges"
                )
            return Axis.joined([self.segment(cells).coarsened() for cells in self.segments], self.periodic)
        if self.roots != (1.0, 1.0):
            return self._coarsened_in_root()
        edges = self.edges[::2]
        if not self.smooth:
            return Axis.from_edges(self.name, edges, self.periodic)
        return Axis(self.name, edges, self.edges[1::2], 2 * self._slope_at_edges()[1::2], self.periodic)

    def _coarsened_in_root(self) -> Axis:
        """Return the axis as `coarsened` does, where the map is the power of a regular one."""
        regular = Axis(self.name, self.in_root(self.edges), self.in_root(self.centres), self.widths, False)
        power, distances = max(self.roots), np.abs(regular.centres)
        slopes = self.widths / (power * distances ** (power - 1))
        joined = Axis(self.name, regular.edges, regular.centres, slopes, False).coarsened()
        widths = power * np.abs(joined.centres) ** (power - 1) * joined.widths
        return Axis(self.name, self.edges[::2], self.edges[1::2], widths, False, roots=self.roots)

    def _slope_at_edges(self) -> Array:
        """Return the derivative x'(s) of the map at the edges (n + 1,), by a spline through x' at the centres."""
        from scipy.interpolate import make_interp_spline

        s, log_slope = np.arange(self.n) + 0.5, np.log(self.widths)
        if self.periodic:  # the spline forgets its ends within some cells
            s = np.concatenate([s[-12:] - self.n, s, s[:12] + self.n])
            log_slope = np.concatenate([log_slope[-12:], log_slope, log_slope[:12]])
        return np.exp(make_interp_spline(s, log_slope, k=5)(np.arange(self.n + 1)))

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all cells are equal, and none of their edges is a joint."""
        return not self.joints and bool(np.all(self.widths == self.widths[0])) and self.smooth

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
        """Return whether `other` has the same name, cells, joints and boundary."""
        same = (self.name, self.n, self.periodic, self.joints) == (other.name, other.n, other.periodic, other.joints)
        pairs = ((self.edges, other.edges), (self.centres, other.centres)) if same else ()
        return (
            same
            and all(np.allclose(a, b, rtol=1e-13, atol=1e-13 * self.length) for a, b in pairs)
            and np.allclose(self.widths, other.widths, rtol=1e-12, atol=0)
        )
