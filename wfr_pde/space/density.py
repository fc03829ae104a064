"""Densities: a measure on a grid, held by its logarithm, with moments, marginals and interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics import arguments
from wfr_pde.numerics.arguments import (
    finite,
    instance,
    knows_its_arguments,
    real_array,
    refuse_masked,
    shown,
    text,
)
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.regular_splines import RegularSpline
from wfr_pde.numerics.splines import QUINTIC
from wfr_pde.numerics.typing import Rng
from wfr_pde.numerics.user_calls import call
from wfr_pde.space.density_sampling import sample_density
from wfr_pde.space.frame import refuse_turned
from wfr_pde.space.grid import Grid
from wfr_pde.space.picture import page_of
from wfr_pde.space.stored_grid import check_dataset, number_of_frame

MAX_BEND = 20.0  # nats that a resolved log-density does not bend by from cell to cell...
MAX_DEPTH = 40.0  # ...within this many nats of its maximum


@dataclass(frozen=True, eq=False)
class Density(Record):
    """A probability density on a grid, held by its logarithm so that relative accuracy reaches the far tails.

    Parameters
    ----------
    grid : Grid
        The cells.
    log_values : array of shape grid.local_shape
        log mu at the cell centres, an array of the grid's backend, which is copied.
    origin : str
        What it was made from, in words, for provenance.
    log_mass : float, optional
        Logarithm of the mass that normalising took out since the start of a weighted diffusion, log Z; None where no
        account of it is kept.

    Raises
    ------
    ValueError
        If the shape is not the grid's.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(density.mass, 6), density.mean().round(6), density.covariance().round(6)
    (1.0, array([1.]), array([[1.]]))

    Between the cell centres log mu is a spline; at the mean it is -log(2 pi)/2:

    >>> density.log_prob([[1.0]]).round(6)
    array([-0.918939])
    """

    grid: Grid
    log_values: Any
    origin: str = field(default="", compare=False)
    log_mass: float | None = None

    def __post_init__(self) -> None:
        instance("grid", self.grid, Grid)
        text("origin", self.origin)
        if self.log_mass is not None:
            object.__setattr__(self, "log_mass", finite("log_mass", self.log_mass))
        if getattr(self.log_values, "shape", None) is None:
            raise TypeError(
                f"log_values must be an array of shape {self.grid.local_shape}, got {type(self.log_values).__name__}"
            )
        refuse_masked("log_values", self.log_values)
        if isinstance(self.log_values, np.ndarray) and self.log_values.dtype.kind != "f":
            object.__setattr__(self, "log_values", real_array("log_values", self.log_values))
        if self.log_values.shape != self.grid.local_shape:
            raise ValueError(
                f"log_values have shape {self.log_values.shape}, but the grid has shape {self.grid.local_shape}"
            )
        object.__setattr__(
            self, "log_values", self.grid.backend.read_only(self.grid.backend.xp.positive(self.log_values))
        )

    @classmethod
    def holding(cls, grid: Grid, log_values: Any, origin: str = "", log_mass: float | None = None) -> Density:
        """Make the density of an array that nobody else writes to, neither copied nor checked, as flows do.

        Parameters
        ----------
        grid : Grid
            The cells.
        log_values : array of shape grid.local_shape
            log mu at the cell centres.
        origin : str
            What it was made from, in words.
        log_mass : float, optional
            Logarithm of the mass that was taken out of it.

        Returns
        -------
        Density
        """
        density = cls.__new__(cls)
        held = {"grid": grid, "log_values": grid.backend.read_only(log_values), "origin": origin, "log_mass": log_mass}
        for name, value in held.items():
            object.__setattr__(density, name, value)
        return density

    @override
    def __repr__(self) -> str:
        return f"Density({self.origin + ' on ' if self.origin else ''}{self.grid!r})"

    def _repr_html_(self) -> str:
        """Draw a small picture, which notebooks show."""
        return page_of(self)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.grid.ndim

    def threads(self) -> AbstractContextManager[object]:
        """Return a context for many steps with states like this; see `Grid.threads`.

        Returns
        -------
        context manager
        """
        return self.grid.threads()

    @property
    def nbytes(self) -> int:
        """Bytes of the log-values."""
        return self.grid.backend.precision.itemsize * self.grid.local_size

    @property
    def values(self) -> Any:
        """Density mu at the cell centres."""
        return self.grid.backend.xp.exp(self.log_values)

    @property
    def mass(self) -> float:
        """Mass ∫ mu dx, one up to rounding for what is normalised."""
        return float(self.grid.integrate(self.values))

    def normalised(self) -> Density:
        """Return the same density with mass one; an account of the mass takes up what is taken out.

        Returns
        -------
        Density
        """
        taken = self.grid.log_integrate(self.log_values)
        log_mass = None if self.log_mass is None else self.log_mass + float(taken)
        return Density.holding(self.grid, self.log_values - taken, self.origin, log_mass)

    def is_finite(self) -> bool:
        """Return whether every log-value is finite.

        Returns
        -------
        bool
        """
        return self.grid.reductions.all_finite(self.log_values)

    def variables(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a Dataset stores of the state: name -> (dimensions, NumPy array).

        Returns
        -------
        dict
        """
        found = {"log_density": (self.grid.names, self.grid.backend.asnumpy(self.log_values))}
        return found if self.log_mass is None else found | {"log_mass": ((), np.array(self.log_mass))}

    def checkpoint(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a run needs to go on from here, to the same bits: name -> (dimensions, NumPy array).

        Returns
        -------
        dict
        """
        return self.variables()

    def coordinates(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a Dataset stores once of the space: cell centres and widths of all axes, and their names.

        Returns
        -------
        dict
            Name -> (dimensions, NumPy array).
        """
        axes, names = self.grid.axes, np.array(self.grid.names)
        return (
            {axis.name: ((axis.name,), axis.centres) for axis in axes}
            | {f"cell_width_{axis.name}": ((axis.name,), axis.widths) for axis in axes}
            | {f"cell_edge_{axis.name}": ((f"{axis.name}_edge",), axis.edges) for axis in axes if not axis.is_uniform}
            | {dim: ((dim,), names) for dim in ("axis", "axis_2")}  # for records of vectors and matrices
        )

    def from_variables(self, ds: Any) -> Density:
        """Return the state on the same grid with the stored values of one time.

        Parameters
        ----------
        ds : xarray.Dataset
            With `variables` at one time.

        Returns
        -------
        Density
        """
        values = self.grid.backend.asarray(np.asarray(ds["log_density"].values, dtype=np.float64))
        return Density(self.grid, values, log_mass=float(ds["log_mass"]) if "log_mass" in ds else None)

    @classmethod
    @knows_its_arguments
    def from_dataset(
        cls, ds: Any, index: int | None = None, backend: str = "numpy", *, t: float | None = None
    ) -> Density:
        """Read the density at one of the stored times of a Dataset that `solve` returned or wrote.

        Parameters
        ----------
        ds : xarray.Dataset
            With `log_density`.
        index : int, optional
            Number of the frame, the last one by default.
        backend : str
            Backend of the grid that it is put on.
        t : float, optional
            Time of the frame, in place of its number. It has to be stored: between stored times there is `Trajectory`.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            If the coordinates are not those of the grid, as after a selection, or values are NaN; if the axes of the
            grid are turned: see `ground_truth`, and use `Trajectory`; or if `t` is not stored, or both `index` and `t`
            are given.

        Examples
        --------
        Along the Fisher-Rao flow from N(2, 1) to N(0, 1) the mean is 2 exp(-t), 0.736 at t = 1:

        >>> import wfr_pde as wfr
        >>> rho = wfr.Grid(-8.0, 9.0, 128).density(wfr.Gaussian(2.0, 1.0))
        >>> ds = wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.FisherRao(), rho, t=[0, 0.5, 1, 1.5], dt=0.5)
        >>> round(float(wfr.Density.from_dataset(ds, t=1).mean()[0]), 3)
        0.736
        """
        check_dataset(ds, "log_density")
        refuse_turned(ds, "a density on the grid")
        log_density = ds["log_density"]
        grid = Grid.from_dataset(ds, backend)
        if log_density.ndim > grid.ndim:
            ds = ds.isel({log_density.dims[0]: number_of_frame(log_density, index, t)})
        elif t is not None:
            raise ValueError(f"t={shown(t)} chooses among stored times, but this Dataset holds one frame: leave t out")
        log_mass = float(ds["log_mass"]) if "log_mass" in ds else None
        values = np.asarray(ds["log_density"].values, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError("log_density of ds has NaN, which is no density: give ds as solve returns it")
        return cls(grid, grid.backend.asarray(values), log_mass=log_mass)

    def _marginal_mass(self, axes: tuple[int, ...]) -> np.ndarray:
        """Return the mass of the cells of the given axes, summed over the others; a NumPy array."""
        others = tuple(k for k in range(self.ndim) if k not in axes)
        return self.grid.backend.asnumpy(self.grid.reductions.sum_along(self.values * self.grid.cell_volume, others))

    def mean(self) -> np.ndarray:
        """Compute the mean of the coordinates, over the box on a periodic axis too.

        Returns
        -------
        array (d,)
        """
        return np.array([np.sum(self._marginal_mass((k,)) * axis.centres) for k, axis in enumerate(self.grid.axes)])

    def covariance(self) -> np.ndarray:
        """Compute the covariance matrix.

        Returns
        -------
        array (d, d)
        """
        centred = [axis.centres - m for axis, m in zip(self.grid.axes, self.mean(), strict=True)]
        result = np.empty((self.ndim, self.ndim))
        for i in range(self.ndim):
            result[i, i] = np.sum(self._marginal_mass((i,)) * centred[i] ** 2)
            for j in range(i):
                result[i, j] = result[j, i] = centred[j] @ self._marginal_mass((j, i)) @ centred[i]
        return result

    def expectation(self, function: Callable[[np.ndarray], ArrayLike]) -> np.ndarray:
        """Compute E_mu f for a function of points, by the midpoint rule.

        Parameters
        ----------
        function : function of points (..., d) -> (...) or (..., k)
            f, evaluated at the cell centres.

        Returns
        -------
        number, or array (k,)

        Raises
        ------
        ValueError
            If the values of the function have another shape.
        """
        arguments.function("function", function, "points (..., d) -> (...) or (..., k)")
        mass = self.grid.backend.asnumpy(self.values * self.grid.cell_volume)
        total: Any = 0.0
        for slab in self.grid.slabs():
            points = self.grid.points(slab)
            f = real_array("what function returns", call("function", function, points))
            if f.shape[: self.ndim] != points.shape[:-1]:
                raise ValueError(
                    f"the function must return one value per point, shape (...) or (..., k) for points (..., d): for "
                    f"points of shape {points.shape} it returned shape {f.shape}"
                )
            total = total + np.tensordot(mass[slab], f, axes=self.ndim)
        return np.asarray(self.grid.reductions.summed(total))[()]

    def marginal(self, axes: int | str | tuple[int | str, ...]) -> Density:
        """Compute the density of some of the coordinates, on the grid of their axes.

        Parameters
        ----------
        axes : int, str, or tuple of them
            Numbers or names of the axes.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            If an axis does not exist or is named twice.
        """
        wanted = list(axes) if isinstance(axes, Sequence) and not isinstance(axes, str) else [axes]
        names = self.grid.names
        keep: list[Any] = [names.index(a) if isinstance(a, str) and a in names else a for a in wanted]
        if not keep or not all(_is_axis(k) and 0 <= k < self.ndim for k in keep):
            raise ValueError(f"axes must be different axes in order, out of {names}, got {shown(axes)}")
        if keep != sorted(set(keep)):
            raise ValueError(f"axes must be different axes in order, out of {names}, got {shown(axes)}")
        grid = self.grid.along(keep)
        others = tuple(k for k in range(self.ndim) if k not in keep)
        if not others:
            return self
        weighted = self.log_values + self.grid.log_widths(others)
        return Density(grid, self.grid.reductions.log_sum_along(weighted, others))

    def _has_steps(self) -> bool:
        """Return whether the density jumps from cell to cell where it matters, so that a quintic spline would ring."""
        host = self.grid.reductions.whole(self.log_values)
        top = host.max()
        for k in range(self.ndim):
            lines = np.moveaxis(host, k, -1)
            bend = np.abs(lines[..., 2:] - 2 * lines[..., 1:-1] + lines[..., :-2])
            matters = np.maximum(np.maximum(lines[..., 2:], lines[..., :-2]), lines[..., 1:-1]) > top - MAX_DEPTH
            for joint in self.grid.axes[k].joints:  # no polynomial crosses it
                matters[..., max(joint - 2, 0) : joint] = False
            if (bend[matters] > MAX_BEND).any():
                return True
        return False

    @property
    def degree(self) -> int:
        """Degree of the spline behind `log_prob`: 5, or 1 where the density jumps from cell to cell."""
        return self._spline.degree

    @cached_property
    def _spline(self) -> RegularSpline:
        values = self.grid.reductions.whole(self.log_values)
        return RegularSpline([axis.cells for axis in self.grid.axes], values, 1 if self._has_steps() else QUINTIC)

    def log_prob(self, points: ArrayLike) -> np.ndarray:
        """Evaluate log mu at points, by a quintic spline of log mu; -inf outside the box.

        Segments of an axis with joints have splines of their own; at a joint the value is that of the one above. Beside
        walls where densities are powers of the distance, splines are those of a root of it. Where log mu bends by more
        than 20 nats from cell to cell, which no smooth curve follows, the interpolation is linear. On a periodic axis
        points are wrapped into the box.

        Parameters
        ----------
        points : array (..., d)
            In the units of the grid.

        Returns
        -------
        array (...)
        """
        return self._spline(self._as_points(points), outside=-np.inf)

    def on(self, grid: Grid) -> Density:
        """Interpolate the density at the cell centres of another grid, as `log_prob` does; it is not normalised anew.

        Parameters
        ----------
        grid : Grid
            Its centres in the box of this one. Axis by axis, so that large grids in 3D and 4D cost seconds.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            If the grid has another number of axes, or centres outside.
        """
        instance("grid", grid, Grid)
        if grid.ndim != self.ndim:
            raise ValueError(f"the density is {self.ndim}-dimensional, but the grid is {grid.ndim}-dimensional")
        for axis, other in zip(self.grid.axes, grid.axes, strict=True):
            if other.centres[0] < axis.edges[0] or other.centres[-1] > axis.edges[-1]:
                raise ValueError(
                    f"the grid has centres from {other.centres[0]:.6g} to {other.centres[-1]:.6g} along {other.name}, "
                    f"but the density ends at {axis.edges[0]:.6g} and {axis.edges[-1]:.6g}: use a smaller box"
                )
        values = self._spline.on([axis.centres for axis in grid.axes])
        return Density(grid, grid.backend.asarray(values), self.origin)

    def score(self, points: ArrayLike) -> np.ndarray:
        """Evaluate the gradient of log mu at points, of the spline of `log_prob`; NaN outside the box.

        Parameters
        ----------
        points : array (..., d)
            In the units of the grid.

        Returns
        -------
        array (..., d)
        """
        return self._spline.gradient(self._as_points(points))

    def _as_points(self, points: ArrayLike) -> np.ndarray:
        array = real_array("points", points)
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"points have shape {array.shape}, but the density is {self.ndim}-dimensional: "
                f"the last axis must have length {self.ndim}"
            )
        return array

    def sample(self, n: int, rng: Rng = None) -> np.ndarray:
        """Draw independent points from the density that `log_prob` interpolates.

        A cell is drawn by an upper bound of the density in it (its highest neighbour, with a margin), a point uniformly
        in the cell, and the point is accepted with the ratio of density to bound.

        Parameters
        ----------
        n : int
            Number of points.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, d)

        Raises
        ------
        NumericalError
            If the density exceeds the bound, as it can where the cells do not resolve it.
        """
        return sample_density(self, n, rng)


def _is_axis(number: Any) -> bool:
    """Return whether something is a whole number, and not True, False or a length of time, which counts as one."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool | np.timedelta64)
