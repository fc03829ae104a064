"""The noun `Grid`: a box cut into cells, and the sums and products over them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.backends import Backend, get_backend
from wfr_pde.numerics.cellwise import Passes, Piece
from wfr_pde.space.axis import Axis

if TYPE_CHECKING:
    from wfr_pde.space.density import Density
    from wfr_pde.targets.base import Target

BOUNDARIES = ("no-flux", "periodic")
AXIS_NAMES = ("x", "y", "z", "w")
RESERVED_NAMES = frozenset({"t", "t_kept", "axis", "axis_2", "mode", "particle", "dim", "seed", "log_density"})
CELLS_PER_SLAB = 2**15  # points of one slab of `evaluate`, so that the temporaries of a target stay in cache
CHEAP = 8  # pieces from which threads are worth their start for an addition
ARRAYS_OF_A_DENSITY = 4  # at most, while a distribution is put on the grid and checked
SHARED_PRODUCT = 2e7  # operations of a product, a third of a millisecond, from which threads share it
PROBES = 1024  # places where the log-density between cells is looked at
BETWEEN = 0.05  # nats that it may differ from what the cells around suggest, for four fifths of the mass
ASIDE = 0.381966  # cells: no simple fraction, which what repeats from cell to cell might share
SHIFTS = range(-2, 4)  # the cells around, for interpolation of order 6 there
NARROWEST_SD = 1.25  # in cells: a Gaussian of this width is sampled to e^(-2 pi^2 1.25^2) = 4e-14
OF_ORDER_TWO = 0.01  # error of a mass that is let pass where edges are given, and the quadrature is of order 2
UNRESOLVED_MASS = 0.01  # share of the mass that may sit in features narrower than that


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """A box [lower, upper] in d dimensions cut into cells; values live at the cell centres.

    Arrays over the grid have shape `shape`, index order ``ij``: ``values[i, j]`` sits at ``(x_i, y_j)``.

    Parameters
    ----------
    lower, upper : float or sequence of d floats
        Corners of the box, in the units of the target.
    shape : int or sequence of d ints
        Number of cells per axis, at least 4 each.
    boundary : {"no-flux", "periodic"} or one of them per axis
        No-flux walls keep the mass in the box; a periodic axis wraps.
    backend : str or Backend
        Array library and device; "numpy" by default.
    names : sequence of d str, optional
        Axis names; x, y, z, w by default.
    max_cut : float
        The largest share of a distribution's mass that the box may cut off before that is an error.
        Give 1 where the walls are real and the distribution is meant to end there.
    grading : function, or sequence of d functions or None, optional
        Density of points of an axis: a positive function of an array of coordinates, in cells per length up to a
        factor; None for equal cells. `Grid.covering(..., graded=True)` finds one, `Grid.from_edges` takes cells
        as they are.

    Raises
    ------
    ValueError
        If the box is empty or not finite, or the number of cells, boundaries, names or gradings does not fit.
    """

    lower: Any
    upper: Any
    shape: Any
    boundary: Any = "no-flux"
    backend: Any = "numpy"
    names: Any = None
    max_cut: float = 1e-6
    grading: Any = None
    axes: tuple[Axis, ...] = field(init=False)  # everything about cells is read from them

    def __post_init__(self) -> None:
        lower, upper = (np.atleast_1d(np.asarray(end, dtype=np.float64)) for end in (self.lower, self.upper))
        if lower.ndim != 1 or lower.shape != upper.shape:
            raise ValueError(f"lower and upper must be two numbers per axis, got {self.lower} and {self.upper}")
        d = len(lower)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
            raise ValueError(
                f"the box needs finite lower < upper on every axis, got {lower.tolist()} and {upper.tolist()}"
            )
        names = AXIS_NAMES[:d] if self.names is None else tuple(self.names)
        if len(names) != d or len(set(names)) != d or not all(map(_is_axis_name, names)):
            raise ValueError(
                f"names must be {d} different axis names of letters, digits and _, other than "
                f"{', '.join(sorted(RESERVED_NAMES))}, cell_... and ..._edge, got {names}"
            )
        if not 0 < self.max_cut <= 1:
            raise ValueError(f"max_cut is a share of the mass in (0, 1], got {self.max_cut}")
        shape, boundary = _per_axis_cells(self.shape, d), _per_axis_boundary(self.boundary, d)
        gradings = _per_axis_grading(self.grading, d)
        axes = tuple(
            _axis(name, low, high, n, grading, kind == "periodic")
            for name, low, high, n, grading, kind in zip(names, lower, upper, shape, gradings, boundary, strict=True)
        )
        fields = {
            "lower": tuple(lower.tolist()),
            "upper": tuple(upper.tolist()),
            "shape": shape,
            "boundary": boundary,
            "backend": get_backend(self.backend),
            "names": names,
            "grading": tuple(None if axis.is_uniform else axis for axis in axes),
            "axes": axes,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        graded = "".join(
            f", {axis.name} graded from {axis.widths.min():.3g} to {axis.dx:.3g}"
            for axis in self.axes
            if not axis.is_uniform
        )
        return (
            f"Grid(lower={self.lower}, upper={self.upper}, shape={self.shape}, boundary={self.boundary}, "
            f"backend={self.backend.name!r}, names={self.names}{graded})"
        )

    @classmethod
    def covering(
        cls,
        *distributions: Target,
        shape: int | Sequence[int],
        tail: float = 1e-12,
        graded: bool = False,
        **options: Any,
    ) -> Grid:
        """Grid on a box outside which every one of `distributions` has a mass below `tail`.

        Parameters
        ----------
        *distributions : Target
            Usually the target and the start.
        shape : int or sequence of int
            Number of cells per axis.
        tail : float
            Mass that each distribution may have outside the box.
        graded : bool
            Whether the cells are graded by the local scales of the distributions along every axis, see `graded`:
            worth it where those differ tenfold and more.
        **options
            Passed to `Grid`: boundary, backend, names, max_cut.

        Raises
        ------
        ValueError
            If a distribution has no such box (heavy tails, not integrable), or dimensions differ.
        """
        if not distributions:
            raise ValueError("Grid.covering needs at least one distribution: Grid.covering(target, start, shape=...)")
        if not 0 < tail < 1:
            raise ValueError(f"tail is a mass between 0 and 1, got {tail}")
        dimensions = [distribution.ndim for distribution in distributions]
        if len(set(dimensions)) != 1:
            raise ValueError(f"the distributions have different dimensions: {dimensions}")
        boxes = [distribution.box(tail) for distribution in distributions]
        lower = np.min([box[0] for box in boxes], axis=0)
        upper = np.max([box[1] for box in boxes], axis=0)
        grid = cls(lower, upper, shape, **options)
        return grid.graded(*distributions) if graded else grid

    def graded(self, *distributions: Target) -> Grid:
        """The same box and number of cells, graded by the local scales of some distributions along every axis.

        Parameters
        ----------
        *distributions : Target
            Usually the target and the start; what a flow from one to the other passes through is resolved too, as
            far as the geometric means of the two show it.

        Raises
        ------
        ValueError
            If a distribution moves, or the cells are too few to be graded.
        """
        from wfr_pde.space.mesh_density import densities_of_points

        periodic = [axis.periodic for axis in self.axes]
        densities = densities_of_points(distributions, np.asarray(self.lower), np.asarray(self.upper), periodic)
        return dataclasses.replace(self, grading=densities)

    @property
    def ndim(self) -> int:
        """Number of dimensions d."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @classmethod
    def from_edges(cls, *edges: ArrayLike, **options: Any) -> Grid:
        """Grid with the given cell edges, one array (n + 1,) per axis.

        Values live in the middles of the cells, and the quadrature is of order 2 in their widths; a `grading`
        keeps it spectral.

        Parameters
        ----------
        *edges : arrays
        **options
            Passed to `Grid`: boundary, backend, names, max_cut.

        Raises
        ------
        ValueError
            If the edges of an axis are not finite and increasing.
        """
        if not edges:
            raise ValueError("Grid.from_edges needs the edges of the cells, an array per axis")
        names = [*(options.get("names") or AXIS_NAMES), *(f"number {k}" for k in range(len(edges)))]
        return cls._of_axes([Axis.from_edges(str(names[k]), cells) for k, cells in enumerate(edges)], **options)

    @classmethod
    def _of_axes(cls, axes: Sequence[Axis], **options: Any) -> Grid:
        """Grid with the cells of some axes."""
        lower, upper = [axis.edges[0] for axis in axes], [axis.edges[-1] for axis in axes]
        return cls(lower, upper, [axis.n for axis in axes], grading=axes, **options)

    def coarsened(self) -> Grid:
        """The grid with every two cells joined along every axis.

        Raises
        ------
        ValueError
            If the number of cells of an axis is odd, or below 8.
        """
        return self.with_axes([axis.coarsened() for axis in self.axes])

    def along(self, keep: Sequence[int]) -> Grid:
        """The grid of some of the axes, by number."""
        return self.with_axes([self.axes[k] for k in keep])

    def with_axes(self, axes: Sequence[Axis]) -> Grid:
        """A grid of other axes, with the same options."""
        return Grid._of_axes(
            axes,
            boundary=["periodic" if axis.periodic else "no-flux" for axis in axes],
            backend=self.backend,
            names=[axis.name for axis in axes],
            max_cut=self.max_cut,
        )

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all cells are equal."""
        return all(axis.is_uniform for axis in self.axes)

    @cached_property
    def cell_volume(self) -> Any:
        """Volume of the cells: a number where all are equal, else an array of shape `shape`."""
        if self.is_uniform:
            return float(math.prod(axis.length / axis.n for axis in self.axes))
        return self.backend.xp.exp(self.log_cell_volume)

    @cached_property
    def log_cell_volume(self) -> Any:
        """Logarithm of `cell_volume`."""
        if self.is_uniform:
            return math.log(self.cell_volume)
        return self.log_widths(range(self.ndim)) + self.backend.asarray(np.zeros(self.shape))

    def log_widths(self, axes: Iterable[int]) -> Any:
        """Sum of the logarithms of the cell widths along some axes, of a shape that broadcasts over the grid."""
        total = np.zeros((1,) * self.ndim)
        for k in axes:
            total = total + np.log(self.axes[k].widths).reshape([-1 if i == k else 1 for i in range(self.ndim)])
        return self.backend.asarray(total)

    @classmethod
    def from_dataset(cls, ds: Any, backend: str | Backend = "numpy") -> Grid:
        """The grid of a Dataset that `solve` returned or wrote."""
        description = json.loads(ds.attrs["grid"])
        smooth, joints, roots = (description.pop(what, {}) for what in ("graded", "joints", "roots"))
        grading = [
            Axis(
                name,
                np.asarray(ds[f"cell_edge_{name}"].values, dtype=np.float64),
                np.asarray(ds[name].values, dtype=np.float64),
                np.asarray(ds[f"cell_width_{name}"].values, dtype=np.float64),
                periodic=False,
                smooth=smooth[name],
                joints=tuple(joints.get(name, ())),
                roots=tuple(roots.get(name, (1.0, 1.0))),
            )
            if name in smooth
            else None
            for name in description["names"]
        ]
        return cls(**description, backend=backend, grading=grading)

    def description(self) -> dict[str, Any]:
        """What makes the grid, but for the backend and the cells of graded axes, in plain types."""
        more = {
            "joints": {axis.name: list(axis.joints) for axis in self.axes if axis.joints},
            "roots": {axis.name: list(axis.roots) for axis in self.axes if axis.roots != (1.0, 1.0)},
        }
        return {
            "lower": list(self.lower),
            "upper": list(self.upper),
            "shape": list(self.shape),
            "boundary": list(self.boundary),
            "names": list(self.names),
            "max_cut": self.max_cut,
            "graded": {axis.name: axis.smooth for axis in self.axes if not axis.is_uniform},
        } | {what: values for what, values in more.items() if values}

    def matches(self, other: Grid) -> bool:
        """Whether `other` has the same cells, boundaries and axis names."""
        return self.ndim == other.ndim and all(a.matches(b) for a, b in zip(self.axes, other.axes, strict=True))

    # Reductions: every sum over space goes through these.

    def sum(self, values: Any) -> Any:
        """Sum over all cells."""
        return self.backend.xp.sum(values)

    def max(self, values: Any) -> Any:
        """Largest value over all cells."""
        return self.backend.xp.max(values)

    def min(self, values: Any) -> Any:
        """Smallest value over all cells."""
        return self.backend.xp.min(values)

    # What goes over all cells does so piece by piece, so that temporaries stay in cache, and threads share it.

    def pieces(self, axis: int = 0, cells: int | None = None) -> list[Piece]:
        """Pieces of the grid, slices of one axis, of about so many cells."""
        n = self.shape[axis]
        rows = max(1, (self.backend.chunk if cells is None else cells) * n // self.size)
        return [Piece.along(self.shape, axis, start, min(start + rows, n)) for start in range(0, n, rows)]

    @cached_property
    def _chunks(self) -> list[Piece]:
        """Pieces that stay in cache."""
        return self.pieces()

    @cached_property
    def passes(self) -> Passes:
        """Passes over the pieces, as they are fastest for so many cells."""
        return self.backend.passes(self.size)

    def _for_pieces(self, function: Callable[[Piece], Any], least: int = 2) -> list[Any]:
        """The values of a function for all pieces, by threads if there are at least so many."""
        if len(self._chunks) < least:
            return [function(piece) for piece in self._chunks]
        return self.backend.map(function, self._chunks)

    def _each(self, function: Callable[..., Any], *arrays: Any, least: int = 2) -> list[Any]:
        """The values of function(piece, arrays there) for all pieces."""
        return self._for_pieces(lambda piece: function(piece, *(array[piece.index] for array in arrays)), least)

    def _sum_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Sum over all cells of a function of arrays."""
        first, *others = self._each(lambda _, *values: self.backend.xp.sum(function(*values)), *arrays)
        return sum(others, first)

    def range(self, values: Any) -> tuple[float, float]:
        """Smallest and largest value over all cells."""
        xp = self.backend.xp
        return joined(self._each(lambda _, values: (xp.min(values), xp.max(values)), values, least=CHEAP))

    def in_place(self, function: Callable[..., None], values: Any, *others: Any) -> Any:
        """`values`, changed by a function(values, others) that works in place."""
        self._each(lambda _, *pieces: function(*pieces), values, *others, least=CHEAP)
        return values

    def weighted_sum(self, scale: float, x: Any, y: Any) -> tuple[Any, float, float]:
        """scale x + y as a new array, its smallest and its largest value."""
        out = self.passes.empty(x)
        ends = self._for_pieces(lambda piece: self.passes.add(piece, scale, x, y, out), CHEAP)
        return out, *joined(ends)

    def log_mixture(self, x: Any, y: Any, s: float) -> Any:
        """(x - y) s + y, less the logarithm of the integral of its exponential: a new array; y itself where x = y."""
        out, volume = self.passes.empty(x), self.cell_volume
        masses = self._for_pieces(lambda piece: self.passes.mix(piece, x, y, s, volume, out))
        return self.of_mass_one(out, masses)

    def of_mass_one(self, log_values: Any, masses: list[tuple[Any, Any]]) -> Any:
        """`log_values`, less the logarithm of what `Passes.log_mass` says of their pieces: in place."""
        log_mass = self._log_total(masses)

        def shift(piece: Piece) -> None:
            log_values[piece.index] -= log_mass

        self._for_pieces(shift, CHEAP)
        return log_values

    def _log_total(self, masses: list[tuple[Any, Any]]) -> Any:
        """Logarithm of the sum of what `Passes.log_mass` says of pieces."""
        xp = self.backend.xp
        (top, total), *others = masses
        for other_top, mass in others:
            highest = xp.maximum(top, other_top)
            total = total * xp.exp(top - highest) + mass * xp.exp(other_top - highest)
            top = highest
        return top + xp.log(total)

    def integral_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """The integral of a function of arrays over space, piece by piece; as `integrate`."""
        if self.is_uniform:
            return self._sum_of(function, *arrays) * self.cell_volume
        return self._sum_of(lambda volume, *values: volume * function(*values), self.cell_volume, *arrays)

    def integrate(self, values: Any) -> Any:
        """∫ values dx by the midpoint rule: spectrally accurate for smooth values that end inside the box.

        (On axes with given edges of unequal cells it is of order 2.)
        """
        if self.is_uniform:
            return self.sum(values) * self.cell_volume
        return self.sum(values * self.cell_volume)

    def log_integrate(self, log_values: Any) -> Any:
        """Log ∫ exp(log_values) dx, without overflow."""
        volume = self.cell_volume
        masses = self._each(lambda piece, values: self.passes.log_mass(piece, values, volume), log_values)
        return self._log_total(masses)

    def threads(self) -> AbstractContextManager[object]:
        """Context for many steps on this grid: threads share the pieces, or one does all where they are too small.

        Threads that wait for each other cost more than they save there, and many times more if other work keeps a
        core busy. Results do not depend on the number of threads.
        """
        return self.backend.threads(2 * max(self.shape) * self.size >= SHARED_PRODUCT)

    # Functions on the grid

    def points(self, slab: slice = slice(None)) -> np.ndarray:
        """Cell centres, shape (n_1, ..., n_d, d), or those of a slab of the first axis; a NumPy array."""
        centres = [axis.centres for axis in self.axes]
        centres[0] = centres[0][slab]
        return np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)

    def slabs(self) -> list[slice]:
        """Slices of the first axis that keep the points of one slab few."""
        return [piece.index[0] for piece in self.pieces(0, CELLS_PER_SLAB)]

    def evaluate(self, function: Callable[[np.ndarray], ArrayLike]) -> Any:
        """Values of a function of points (..., d) -> (...) at all cell centres; an array of the backend.

        Raises
        ------
        MemoryError
            Before anything is allocated, if a density on this grid would not fit.
        """
        needed, available = ARRAYS_OF_A_DENSITY * 8 * self.size, self.backend.available_memory()
        if available is not None and needed > available:
            raise MemoryError(
                f"a density on {self.size} cells needs about {needed / 2**30:.3g} GiB while it is checked, but "
                f"{available / 2**30:.3g} GiB are free: use fewer cells than {self.shape}"
            )
        values = np.empty(self.shape)
        for slab in self.slabs():
            values[slab] = function(self.points(slab))
        return self.backend.asarray(values)

    def log_density(self, distribution: Target, what: str = "the distribution", checked: bool = True) -> Any:
        """Log-density of `distribution` normalised on the grid, checked: an array of shape `shape`.

        Parameters
        ----------
        distribution : Target
        what : str
            What it is, for messages.
        checked : bool
            Whether the box and the cells are checked; finiteness always is.

        Raises
        ------
        ValueError
            If it is not finite in a cell, is cut off by the box by more than `max_cut`, or has features too
            narrow for the cells.
        """
        if distribution.ndim != self.ndim:
            raise ValueError(
                f"{what} {distribution!r} is {distribution.ndim}-dimensional, but the grid has {self.ndim} axes"
            )
        log_values = self.evaluate(distribution.log_density)
        self._check_finite(log_values, distribution, what)
        log_mass = self.log_integrate(log_values)
        if not math.isfinite(float(log_mass)):
            raise ValueError(f"{what} {distribution!r} has a mass of e^{float(log_mass)} in the box")
        log_values -= log_mass
        if checked:
            self.check_resolved(log_values, f"{what} {distribution!r}")
            self._check_between_cells(log_values, float(log_mass), distribution, what)
            self._check_cut(log_values, float(log_mass), distribution, what)
        return log_values

    def density(self, distribution: Target) -> Density:
        """The normalised `Density` of a distribution; see `log_density` for the errors."""
        from wfr_pde.space.density import Density

        if not hasattr(distribution, "log_density"):
            raise TypeError(
                f"grid.density takes a distribution such as Gaussian(0, 1), got {type(distribution).__name__}: "
                "a Density is on its grid already"
            )
        return Density(self, self.log_density(distribution, "the start"), origin=repr(distribution))

    def _check_finite(self, log_values: Any, distribution: Target, what: str) -> None:
        if math.isfinite(float(self.sum(log_values))):
            return
        host = self.backend.asnumpy(log_values)
        bad = ~np.isfinite(host)
        if not bad.any():  # only the sum overflowed
            return
        index = np.unravel_index(int(np.argmax(bad)), self.shape)
        place = [float(axis.centres[i]) for axis, i in zip(self.axes, index, strict=True)]
        raise ValueError(
            f"{what} {distribution!r} has log-density {host[index]} at {dict(zip(self.names, place, strict=True))} "
            f"(and is not finite in {int(bad.sum())} of {self.size} cells): every cell needs a positive, finite "
            "density; choose a box inside the region where it is defined, or correct the formula"
        )

    def _check_cut(self, log_values: Any, log_mass: float, distribution: Target, what: str) -> None:
        """Compare the mass in the box with the whole: by the known normaliser, or by the box that the mass needs."""
        if self.max_cut >= 1:
            return
        box, would_do = None, ""
        if distribution.log_normaliser is not None:
            cut = -math.expm1(log_mass - distribution.log_normaliser)
            if abs(cut) <= self.max_cut:
                return
            box = self._box_of(distribution)
            covered = box is not None and self._contains(box)
            if covered and abs(cut) <= OF_ORDER_TWO and not all(axis.smooth for axis in self.axes):
                return
            if cut < 0 or covered:
                raise ValueError(
                    f"the cells are too wide for {what} {distribution!r}: the midpoint rule gives a mass of 1 "
                    f"{'-' if cut > 0 else '+'} {abs(cut):.2g} on a grid of {self.shape}; use more cells"
                )
        else:
            if distribution.support is not None and self._contains(distribution.support):
                return
            cut = self._mass_beyond_walls(log_values)
            if not all(axis.periodic for axis in self.axes):
                box = self._box_of(distribution)
            if box is not None:
                cut = 0.0 if self._contains(box) else self._share_outside(distribution, box)
            if cut <= self.max_cut:
                return
        if box is not None and not any(axis.periodic for axis in self.axes):
            would_do = "a box from {} to {} would do, or Grid.covering(target, start, shape=...), ".format(
                *_rounded(box)
            )
        raise ValueError(
            f"the box from {list(self.lower)} to {list(self.upper)} cuts off {cut:.3g} of the mass of {what} "
            f"{distribution!r} (allowed: max_cut={self.max_cut:g}); {would_do}"
            "or give Grid(..., max_cut=1) if the walls are meant to be there"
        )

    def _share_outside(self, distribution: Target, box: tuple[np.ndarray, np.ndarray]) -> float:
        """Share of the mass outside this grid's box, on coarse cells that cover both boxes."""
        n = max(8, round(CELLS_PER_SLAB ** (1 / self.ndim)))
        wide = Grid(np.minimum(box[0], self.lower), np.maximum(box[1], self.upper), n)
        points = wide.points()
        with np.errstate(all="ignore"):  # places where the density is not defined hold no mass
            log_values = np.asarray(distribution.log_density(points))
        values = np.exp(np.where(np.isfinite(log_values), log_values - np.nanmax(log_values), -np.inf))
        inside = np.all((points >= self.lower) & (points <= self.upper), axis=-1)
        return float(values[~inside].sum() / values.sum())

    def _contains(self, box: tuple[np.ndarray, np.ndarray]) -> bool:
        """Whether `box` lies in the grid's box, up to rounding."""
        slack = 1e-9 * (np.asarray(self.upper) - np.asarray(self.lower))
        return bool(
            np.all(np.asarray(box[0]) >= self.lower - slack) and np.all(np.asarray(box[1]) <= self.upper + slack)
        )

    def _mass_beyond_walls(self, log_values: Any) -> float:
        """Mass beyond the no-flux walls if the density goes on as in the last two layers (infinite if it rises)."""
        xp = self.backend.xp
        beyond = 0.0
        for k, axis in enumerate(self.axes):
            if axis.periodic:
                continue
            others = tuple(i for i in range(self.ndim) if i != k)
            marginal = self.backend.asnumpy(xp.sum(xp.exp(log_values) * self.cell_volume, axis=others))
            marginal = marginal / axis.widths
            for wall, last, inner in ((axis.edges[0], 0, 1), (axis.edges[-1], -1, -2)):
                if marginal[last] == 0:
                    continue
                ratio = marginal[inner] / marginal[last]
                if ratio <= 1:
                    return math.inf
                rate = math.log(ratio) / abs(axis.centres[last] - axis.centres[inner])
                beyond += float(marginal[last]) * math.exp(-rate * abs(wall - axis.centres[last])) / rate
        return beyond

    def _check_between_cells(self, log_values: Any, log_mass: float, distribution: Target, what: str) -> None:
        """Refuse what varies between the cell centres, by the log-density somewhat aside of where the mass is."""
        host = self.backend.asnumpy(log_values)
        mass = np.cumsum(np.exp(host + self.backend.asnumpy(self.log_widths(range(self.ndim)))).ravel())
        quantiles = (np.arange(PROBES) + 0.5) / PROBES * mass[-1]
        cells = np.unravel_index(np.minimum(np.searchsorted(mass, quantiles), self.size - 1), self.shape)
        centres = np.stack([axis.centres[i] for axis, i in zip(self.axes, cells, strict=True)], axis=-1)
        for k, axis in enumerate(self.axes):
            inner = np.full(PROBES, True) if axis.periodic else (cells[k] >= 2) & (cells[k] < axis.n - 3)
            for joint in axis.joints:
                inner &= (cells[k] < joint - 3) | (cells[k] >= joint + 2)
            if axis.n < 6 or not inner.any():
                continue
            points = centres[inner]
            points[:, k] += ASIDE * axis.widths[cells[k][inner]]
            there = np.asarray(distribution.log_density(points)) - log_mass
            expected = np.zeros(len(points))
            for shift, weight in zip(SHIFTS, _aside_weights(axis, cells[k][inner]), strict=True):
                index = [c[inner] for c in cells]
                index[k] = (index[k] + shift) % axis.n
                expected += weight * host[tuple(index)]
            off = ~(np.abs(there - expected) <= BETWEEN)
            if off.mean() > 0.2:
                worst = int(np.argmax(np.abs(there - expected)))
                raise ValueError(
                    f"the cells are too wide for {what} {distribution!r}: it varies between their centres along "
                    f"{axis.name} (at {points[worst].tolist()} the log-density is {there[worst]:.4g}, the cells around "
                    f"suggest {expected[worst]:.4g}); use many more cells than {axis.n}, or a smoother formula"
                )

    def _box_of(self, distribution: Target) -> tuple[np.ndarray, np.ndarray] | None:
        """The box that would do, where there is one."""
        try:
            return distribution.box(self.max_cut)
        except ValueError:
            return None

    def check_resolved(self, log_values: Any, what: str) -> None:
        """Refuse features narrower than the cells resolve, by the curvature of the log-density from cell to cell.

        A Gaussian of standard deviation sd has the second difference -(dx/sd)^2 along an axis (sd the
        conditional one, which is what a product grid has to resolve).

        Parameters
        ----------
        log_values : array of shape `shape`
            Of a density of mass one.
        what : str
            What it is, for messages.

        Raises
        ------
        ValueError
            If more than 1 % of the mass is in features of a standard deviation below 1.25 cells.
        """
        xp = self.backend.xp
        volume = self.cell_volume
        for k, axis in enumerate(self.axes):
            if self._narrow_mass(log_values, k) <= UNRESOLVED_MASS:
                continue
            curvature = self._cell_curvature(log_values, k)
            mass = xp.exp(log_values) * volume
            if not axis.periodic:  # the cells at the walls have no neighbour beyond
                inner = tuple(slice(1, -1) if i == k else slice(None) for i in range(self.ndim))
                curvature, mass = curvature[inner], mass[inner]
            for below in axis.joints:  # nor have those at joints
                joint = below if axis.periodic else below - 1
                beside = tuple(slice(max(joint - 1, 0), joint + 1) if i == k else slice(None) for i in range(self.ndim))
                curvature[beside] = 0.0
            narrow = curvature * NARROWEST_SD**2 > 1 + 1e-6
            narrow_mass = xp.where(narrow, mass, xp.zeros_like(mass))
            unresolved = float(self.sum(narrow_mass))
            ends = tuple(slice(None, None, axis.n - 1) if i == k else slice(None) for i in range(self.ndim))
            if axis.periodic and float(self.sum(narrow_mass[ends])) > 0.5 * unresolved:
                raise ValueError(
                    f"{what} is not periodic along {axis.name}: its log-density jumps where the "
                    f"axis wraps, from {axis.edges[0]:.4g} to {axis.edges[-1]:.4g}; shift the box so that its mass "
                    'is inside, or use boundary="no-flux"'
                )
            weighted = xp.where(narrow, curvature * mass, xp.zeros_like(mass))
            cells = math.sqrt(float(self.sum(weighted)) / unresolved)  # over the standard deviation there
            along = self.backend.asnumpy(xp.sum(narrow_mass, axis=tuple(i for i in range(self.ndim) if i != k)))
            widths = axis.widths if axis.periodic else axis.widths[1:-1]
            width = float(np.sum(along * widths)) / unresolved
            spread = math.sqrt(max(0.0, float(np.sum(along * (widths - width) ** 2)) / unresolved))
            sd, needed = width / cells, math.ceil(axis.n * cells * NARROWEST_SD * (1 + 2 * spread / width))
            remedy = "or a smaller box" if axis.is_uniform else "or a grading with more of them there"
            raise ValueError(
                f"the cells are too wide for {what}: along {axis.name}, {unresolved:.2g} of its "
                f"mass is in features of standard deviation about {sd:.3g}, but the cells are {width:.3g} wide "
                f"(needed: sd >= {NARROWEST_SD} cells); use about {needed} cells there, {remedy}"
            )

    def _narrow_mass(self, log_values: Any, k: int) -> float:
        """Mass in features along axis `k` narrower than the cells resolve, slab by slab of another axis."""
        xp, volume = self.backend.xp, self.cell_volume
        across = 0 if k > 0 or self.ndim == 1 else 1
        rows = max(1, self.backend.chunk * self.shape[across] // self.size) if self.ndim > 1 else self.size
        total: Any = 0.0
        for start in range(0, self.shape[across], rows):
            stop = min(start + rows, self.shape[across])
            slab = tuple(slice(start, stop) if i == across else slice(None) for i in range(self.ndim))
            values = log_values[slab]
            mass = xp.exp(values) * (volume if self.is_uniform else volume[slab])
            narrow = self._cell_curvature(values, k) * NARROWEST_SD**2 > 1 + 1e-6
            masses = xp.where(narrow, mass, xp.zeros_like(mass))
            if not self.axes[k].periodic:  # the cells at the walls have no neighbour beyond
                masses = masses[tuple(slice(1, -1) if i == k else slice(None) for i in range(self.ndim))]
            for below in self.axes[k].joints:  # nor have those at joints
                joint = below if self.axes[k].periodic else below - 1
                masses[
                    tuple(slice(max(joint - 1, 0), joint + 1) if i == k else slice(None) for i in range(self.ndim))
                ] = 0
            total = total + xp.sum(masses)
        return float(total)

    def _cell_curvature(self, log_values: Any, k: int) -> Any:
        """Minus the second derivative of the log-density along axis `k`, times the cell width squared."""
        xp, axis = self.backend.xp, self.axes[k]
        above, below = xp.roll(log_values, -1, axis=k), xp.roll(log_values, 1, axis=k)
        if axis.is_uniform:
            return 2 * log_values - above - below
        wrap = (axis.edges[-1] - axis.centres[-1]) + (axis.centres[0] - axis.edges[0])
        faces = np.append(np.diff(axis.centres), wrap)
        upper, lower = faces, np.roll(faces, 1)
        scale = 2 * axis.widths**2 / (upper + lower)
        place = [-1 if i == k else 1 for i in range(self.ndim)]
        weights = [self.backend.asarray((scale / distance).reshape(place)) for distance in (upper, lower)]
        return weights[0] * (log_values - above) + weights[1] * (log_values - below)


def joined(ends: list[tuple[Any, Any]]) -> tuple[float, float]:
    """Smallest and largest of pieces as of the whole; not a number if one is."""
    lows, highs = ([float(end) for end in side] for side in zip(*ends, strict=True))
    if len(ends) == 1:
        return lows[0], highs[0]
    return float(np.min(lows)), float(np.max(highs))


def _aside_weights(axis: Axis, cells: np.ndarray) -> list[np.ndarray]:
    """Lagrange weights of the centres around some cells for the place `ASIDE` of their centres."""
    nodes = [
        axis.centres[(cells + shift) % axis.n] + axis.length * ((cells + shift) // axis.n) - axis.centres[cells]
        for shift in SHIFTS
    ]
    place = ASIDE * axis.widths[cells]
    return [
        np.prod([(place - other) / (node - other) for other in nodes if other is not node], axis=0) for node in nodes
    ]


def _rounded(box: tuple[np.ndarray, np.ndarray]) -> tuple[list[float], list[float]]:
    """A box rounded outwards, to a thousandth of its width."""
    unit = 10.0 ** np.floor(np.log10((box[1] - box[0]) / 1000))
    ends = np.floor(box[0] / unit) * unit, np.ceil(box[1] / unit) * unit
    lower, upper = ([float(f"{value:.12g}") for value in end] for end in ends)
    return lower, upper


def _is_axis_name(name: Any) -> bool:
    """Whether a Dataset can have an axis of that name."""
    fit = isinstance(name, str) and name.isidentifier() and name not in RESERVED_NAMES
    return fit and not name.startswith("cell_") and not name.endswith("_edge")


def _axis(name: str, lower: float, upper: float, n: int, grading: Any, periodic: bool) -> Axis:
    """The cells of one axis."""
    if grading is None:
        return Axis.uniform(name, lower, upper, n, periodic)
    if isinstance(grading, Axis):
        cells, wanted = (grading.n, grading.edges[0], grading.edges[-1]), (n, lower, upper)
        if cells != wanted:
            raise ValueError(
                f"the grading of axis {name} is of "
                + "{} cells from {:.6g} to {:.6g}, but the grid asks for {} cells from {:.6g} to {:.6g}".format(
                    *cells, *wanted
                )
                + ": give the density of points again"
            )
        return grading.renamed(name, periodic)
    return Axis.graded(name, lower, upper, n, grading, periodic)


def _per_axis_grading(grading: Any, d: int) -> tuple[Any, ...]:
    """Grading per axis: None, a density of points, or the cells themselves."""
    single = grading is None or callable(grading) or isinstance(grading, Axis)
    if not single and not isinstance(grading, Iterable):
        grading = [grading]
    per_axis = (grading,) if single and d == 1 else (None,) * d if grading is None else grading
    if single and grading is not None and d > 1:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {grading!r}")
    for entry in per_axis:
        if not (entry is None or callable(entry) or isinstance(entry, Axis)):
            raise ValueError(
                f"grading takes a function of the coordinate (the density of points) or None per axis, got {entry}; "
                "for given edges use Grid.from_edges"
            )
    if len(per_axis) != d:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {len(per_axis)}")
    return tuple(per_axis)


def _per_axis_cells(shape: Any, d: int) -> tuple[int, ...]:
    """Number of cells per axis."""
    cells = (shape,) * d if np.ndim(shape) == 0 else tuple(shape)
    if len(cells) != d or any(int(n) != n or n < 4 for n in cells):
        raise ValueError(f"shape must be {d} whole numbers of at least 4 cells, got {shape}")
    return tuple(int(n) for n in cells)


def _per_axis_boundary(boundary: Any, d: int) -> tuple[str, ...]:
    """Boundary condition per axis."""
    per_axis = (boundary,) * d if isinstance(boundary, str) else tuple(boundary)
    if len(per_axis) != d or any(name not in BOUNDARIES for name in per_axis):
        raise ValueError(f"boundary must be one of {BOUNDARIES}, or {d} of them, got {boundary!r}")
    return per_axis
