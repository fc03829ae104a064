"""Tensor-product grids: a box cut into cells, their places and volumes."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import flag, instance
from wfr_pde.numerics.backends import Backend, get_backend
from wfr_pde.numerics.cellwise import Cellwise
from wfr_pde.numerics.records import Record
from wfr_pde.space import grid_arguments as arguments
from wfr_pde.space.axis import Axis
from wfr_pde.space.cell_volumes import CellVolumes
from wfr_pde.space.covering import covering_box
from wfr_pde.space.reductions import Reductions
from wfr_pde.space.stored_grid import check_coordinates, grid_description, stored_arguments
from wfr_pde.storage.schema_version import check_schema
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    from wfr_pde.space.density import Density
    from wfr_pde.space.heat.product import HeatKernel

CELLS_PER_SLAB = 2**15  # points of one slab of `evaluate`, so that the temporaries of a target stay in cache

P = ParamSpec("P")
R = TypeVar("R")


def _of_reductions(method: Callable[Concatenate[Reductions, P], R]) -> Callable[Concatenate[Grid, P], R]:
    """Make a method of a grid that calls the one of the same name of its `reductions`."""

    @functools.wraps(method)
    def call(grid: Grid, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = getattr(grid.reductions, method.__name__)(*args, **kwargs)
        return result

    return call


def _of_values(method: Callable[Concatenate[Reductions, P], R]) -> Callable[Concatenate[Grid, P], R]:
    """Make a method as `_of_reductions` does, of values at all cells, which are checked."""
    signature = inspect.signature(method)
    _, name = signature.parameters

    @functools.wraps(method)
    def call(grid: Grid, *args: P.args, **kwargs: P.kwargs) -> R:
        values = args[0] if len(args) == 1 and not kwargs else signature.bind(grid, *args, **kwargs).arguments[name]
        checked = arguments.values_of_cells(name, values, grid.local_shape, grid.backend)
        result: R = getattr(grid.reductions, method.__name__)(checked)
        return result

    return call


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Record):
    """A box [lower, upper] in d dimensions cut into cells; values live at the cell centres.

    Arrays over the grid have shape `local_shape`, which is `shape`, index order ``ij``: ``values[i, j]`` sits at
    ``(x_i, y_j)``.

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

    Examples
    --------
    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> grid = wfr.Grid([-8.0, -8.0], [8.0, 8.0], (64, 32))
    >>> [axis.dx for axis in grid.axes], grid.local_shape
    ([0.25, 0.5], (64, 32))
    >>> x, y = np.moveaxis(grid.points(), -1, 0)
    >>> round(float(grid.integrate(np.exp(-(x**2 + y**2) / 2))) / np.pi, 6)
    2.0
    """

    lower: Any
    upper: Any
    shape: Any
    boundary: Any = "no-flux"
    _: KW_ONLY
    backend: Any = "numpy"
    names: Any = None
    max_cut: float = 1e-6
    grading: Any = None
    axes: tuple[Axis, ...] = field(init=False)  # everything about cells is read from them

    def __post_init__(self) -> None:
        lower, upper = arguments.corners(self.lower, self.upper)
        d = len(lower)
        names = arguments.axis_names(self.names, d)
        arguments.check_max_cut(self.max_cut)
        shape, boundary = arguments.cells_per_axis(self.shape, d), arguments.boundaries_per_axis(self.boundary, d)
        gradings = arguments.gradings_per_axis(self.grading, d)
        axes = tuple(
            arguments.axis_of(name, low, high, n, grading, kind == "periodic")
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

    @override
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

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave out of copies and pickles what is computed from the fields, and computed again."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def covering(
        cls,
        *distributions: Target,
        shape: int | Sequence[int],
        tail: float = 1e-12,
        graded: bool = False,
        **options: Any,
    ) -> Grid:
        """Make a grid on a box outside which every one of `distributions` has a mass below `tail`.

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
        flag("graded", graded)
        lower, upper = covering_box(distributions, tail)
        grid = cls(lower, upper, shape, **options)
        return grid.graded(*distributions) if graded else grid

    def graded(self, *distributions: Target) -> Grid:
        """Return the same box with as many cells, graded by the local scales of distributions along every axis.

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

        if not distributions:
            raise ValueError("graded needs at least one of distributions, such as the target")
        for k, distribution in enumerate(distributions):
            instance(f"distributions[{k}]", distribution, Target, "such as Gaussian(mean=0, covariance=1)")
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

    # Two names for two things that are the same in one process: `shape` and `size` count the cells of the whole grid,
    # and decide; `local_shape` is that of arrays. A grid over several processes holds a slab of the first axis in each.

    @property
    def local_cells(self) -> tuple[slice, ...]:
        """Numbers of the cells along every axis that this process has arrays of: of all cells."""
        return tuple(slice(0, n) for n in self.shape)

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Shape of the arrays over the grid in this process."""
        return self.volumes.local_shape

    @property
    def local_size(self) -> int:
        """Number of cells that this process has arrays of."""
        return math.prod(self.local_shape)

    @classmethod
    def from_edges(cls, *edges: ArrayLike, **options: Any) -> Grid:
        """Make a grid with given cell edges, one array (n + 1,) per axis.

        Values live in the middles of the cells, and the quadrature is of order 2 in their widths; a `grading` keeps it
        spectral.

        Parameters
        ----------
        *edges : arrays
            Increasing, in the units of the target.
        **options
            Passed to `Grid`: boundary, backend, names, max_cut.

        Returns
        -------
        Grid

        Raises
        ------
        ValueError
            If the edges of an axis are not finite and increasing.
        """
        if not edges:
            raise ValueError("Grid.from_edges needs the edges of the cells, an array per axis")
        names = [*(options.get("names") or arguments.AXIS_NAMES), *(f"number {k}" for k in range(len(edges)))]
        return cls._of_axes([Axis.from_edges(str(names[k]), cells) for k, cells in enumerate(edges)], **options)

    @classmethod
    def _of_axes(cls, axes: Sequence[Axis], **options: Any) -> Grid:
        """Make a grid with the cells of some axes."""
        lower, upper = [axis.edges[0] for axis in axes], [axis.edges[-1] for axis in axes]
        return cls(lower, upper, [axis.n for axis in axes], grading=axes, **options)

    def coarsened(self) -> Grid:
        """Return the grid with every two cells joined along every axis.

        Raises
        ------
        ValueError
            If the number of cells of an axis is odd, or below 8.
        """
        return self.with_axes([axis.coarsened() for axis in self.axes])

    def along(self, keep: Sequence[int]) -> Grid:
        """Return the grid of the axes with the numbers `keep`."""
        return self.with_axes([self.axes[k] for k in keep])

    def with_axes(self, axes: Sequence[Axis]) -> Grid:
        """Return a grid of other `axes`, with the same options."""
        return Grid._of_axes(
            axes,
            boundary=["periodic" if axis.periodic else "no-flux" for axis in axes],
            backend=self.backend,
            names=[axis.name for axis in axes],
            max_cut=self.max_cut,
        )

    @cached_property
    def volumes(self) -> CellVolumes:
        """Volumes of the cells."""
        return CellVolumes(self.axes, self.backend, self.local_cells)

    @property
    def is_uniform(self) -> bool:
        """Whether all cells are equal."""
        return self.volumes.are_equal

    @property
    def cell_volume(self) -> Any:
        """Volume of the cells: a number where all are equal, else an array."""
        return self.volumes.volume

    @property
    def log_cell_volume(self) -> Any:
        """Logarithm of `cell_volume`."""
        return self.volumes.log_volume

    def log_widths(self, axes: Iterable[int]) -> Any:
        """Sum the logarithms of the cell widths along `axes`: an array of a shape that broadcasts over the grid."""
        return self.volumes.log_widths(axes)

    def along_axis(self, k: int, values: np.ndarray) -> Any:
        """Return `values` (n,) of the cells of axis number `k` as an array that broadcasts over those on the grid."""
        return self.volumes.along_axis(k, values)

    @classmethod
    def from_dataset(cls, ds: Any, backend: str | Backend = "numpy") -> Grid:
        """Read the grid of a Dataset `ds` that `solve` returned or wrote, to use it with `backend`."""
        check_schema(getattr(ds, "attrs", {}), "the Dataset")
        grid = cls(**stored_arguments(ds), backend=backend)
        check_coordinates(ds, grid)
        return grid

    def description(self) -> dict[str, Any]:
        """Return what makes the grid, but for the backend and the cells of graded axes, in plain types."""
        return grid_description(self)

    def matches(self, other: Grid) -> bool:
        """Return whether the grid `other` has the same cells, boundaries and axis names."""
        return self.ndim == other.ndim and all(a.matches(b) for a, b in zip(self.axes, other.axes, strict=True))

    # Sums over the cells: `Reductions` makes them all.

    @cached_property
    def reductions(self) -> Reductions:
        """Sums, integrals and extremes over the cells."""
        return Reductions(self.shape, self.backend, self.volumes)

    sum = _of_values(Reductions.sum)
    max = _of_values(Reductions.max)
    min = _of_values(Reductions.min)
    range = _of_values(Reductions.range)
    joined = _of_reductions(Reductions.joined)
    integrate = _of_values(Reductions.integrate)
    log_integrate = _of_values(Reductions.log_integrate)
    integral_of = _of_reductions(Reductions.integral_of)
    in_place = _of_reductions(Reductions.in_place)
    weighted_sum = _of_reductions(Reductions.weighted_sum)
    log_mixture = _of_reductions(Reductions.log_mixture)
    of_mass_one = _of_reductions(Reductions.of_mass_one)
    chunks = _of_reductions(Reductions.chunks)
    threads = _of_reductions(Reductions.threads)

    @property
    def cellwise(self) -> Cellwise:
        """Operations cell by cell on the chunks, as they are fastest for so many cells."""
        return self.reductions.cellwise

    # The heat kernel

    def heat_kernel(self, time: float) -> HeatKernel:
        """Return the heat kernel of u_t = Laplace u over `time`, a product of one matrix per axis.

        It is made once for all that use it at the same time, and goes with the last of them.
        """
        from wfr_pde.space.heat.product import HeatKernel
        from wfr_pde.space.heat.shared import shared_kernel

        return shared_kernel(self, time, HeatKernel)

    def coarser(self, time: float) -> Grid | None:
        """Return a grid with cells up to twice as wide whose heat kernel over `time` can stand for that of this grid.

        It is None if it does not pay. Equal cells may be of any number; of others, every two are joined, as in
        `coarsened`.
        """
        from wfr_pde.space.heat.coarser import coarser_grid

        return coarser_grid(self, time)

    # Functions on the grid

    def points(self, slab: slice = slice(None)) -> np.ndarray:
        """Return the cell centres `(*local_shape, d)`, or those of a `slab` of the first axis; a NumPy array."""
        centres = [axis.centres[cells] for axis, cells in zip(self.axes, self.local_cells, strict=True)]
        centres[0] = centres[0][slab]
        return np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)

    def slabs(self) -> list[slice]:
        """Return slices of the first axis such that the points of one slab are few."""
        return [chunk.index[0] for chunk in self.chunks(0, CELLS_PER_SLAB)]

    def evaluate(self, function: Callable[[np.ndarray], ArrayLike]) -> Any:
        """Evaluate a function of points at all cell centres, slab by slab.

        Parameters
        ----------
        function : function of points (..., d) -> (...)
            Asked at the cell centres.

        Returns
        -------
        array of shape local_shape, of the backend

        Raises
        ------
        MemoryError
            Before anything is allocated, if a density on this grid would not fit.
        """
        from wfr_pde.space.discretise import values_on

        return values_on(self, function)

    def log_density(self, distribution: Target, what: str = "the distribution", checked: bool = True) -> Any:
        """Evaluate the log-density of a distribution, normalised on the grid, and check it.

        Parameters
        ----------
        distribution : Target
            What is put on the grid.
        what : str
            What it is, for messages.
        checked : bool
            Whether the box and the cells are checked; finiteness always is.

        Returns
        -------
        array of shape local_shape, of the backend

        Raises
        ------
        ValueError
            If it is not finite in a cell, is cut off by the box by more than `max_cut`, or has features too narrow for
            the cells.
        """
        from wfr_pde.space.discretise import log_density_on

        return log_density_on(self, distribution, what, checked)

    def density(self, distribution: Target) -> Density:
        """Return the normalised density of a distribution on the grid.

        Parameters
        ----------
        distribution : Target
            What is put on the grid.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            As `log_density`.
        """
        from wfr_pde.space.discretise import discretise

        return discretise(self, distribution)

    def check_resolved(self, log_values: Any, what: str) -> None:
        """Refuse features of a density that are narrower than the cells resolve; `what` names it in the message.

        Parameters
        ----------
        log_values : array of shape local_shape
            Logarithm of the density.
        what : str
            What the density is, for the message.

        Raises
        ------
        ValueError
            If more than 1 % of the mass is in features of a standard deviation below 1.25 cells.
        """
        from wfr_pde.space.checks import check_resolved

        check_resolved(self, log_values, what)
