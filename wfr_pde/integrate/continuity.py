"""The continuity equation: a density moved by a given velocity, by the method of characteristics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.save_times import save_times
from wfr_pde.integrate.schema import state_attrs, time_coordinate
from wfr_pde.numerics.characteristics import along_characteristics
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import Field, checked_scalar, checked_values, divergence_of
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

STEP = 0.05  # cells between the points of a difference: (0.05 / 1.25)^6 / 140 = 3e-11 for what cells resolve
LOOSER = 30.0  # times the tolerance has the run that the error is measured with


def continuity(
    field: Field,
    start: Target | Density,
    t: ArrayLike,
    grid: Grid | None = None,
    *,
    growth: Field | None = None,
    divergence: Field | None = None,
    rtol: float = 1e-9,
) -> xr.Dataset:
    """Move a density by a given velocity, and let it grow: so that a learned field can be held against the truth.

    d_t mu + div(mu v) = mu (r - E_mu r), by characteristics dX/ds = v(X, s), X(t) = x, backwards to the start:

        log mu_t(x) = log mu_0(X(t_0)) + ∫ (r - div v)(X(s), s) ds + const.

    Every save time is reached from the start itself, so that nothing is interpolated but a start that is a `Density`;
    right relative to the value in the tails too. The cost grows with the square of the number of save times.

    Parameters
    ----------
    field : function (points (..., d), t) -> (..., d)
        The velocity v, smooth; at walls it should point along them. On a periodic axis it is asked inside the box.
    start : Target or Density
        mu at time t[0]. A distribution is known everywhere; a Density only in its box.
    t : array (n,)
        Save times, increasing.
    grid : Grid, optional
        Where the result is wanted; by default that of the start.
    growth : function (points (..., d), t) -> (...), optional
        The rate r; its mean over mu does not matter.
    divergence : function (points (..., d), t) -> (...), optional
        div v; by default differences over a twentieth of the narrowest cell, too close for a field in single precision.
    rtol : float
        Tolerance of the integration along characteristics (order 8).

    Returns
    -------
    xarray.Dataset
        In the schema of `solve`: `log_density` (t, x, ...), normalised; `error_l1` (t): twice the L1 distance to a run
        with 30 times the tolerance and differences over twice the distance, plus, without growth, what the mass is off
        by; `mass` (t): the mass on the grid, of a start of mass one, before it is normalised.

    Raises
    ------
    ValueError, TypeError
        For input or values of the field that do not fit, or a characteristic that leaves the box of a Density.
    NumericalError
        If the integration along the characteristics fails.

    Examples
    --------
    The velocity v = -x makes N(e^{-t}, e^{-2t}) of N(1, 1):

    >>> import wfr_pde as wfr
    >>> from wfr_pde.integrate.continuity import continuity
    >>> moved = continuity(lambda points, t: -points, wfr.Gaussian(1.0, 1.0), [0.0, 1.0], wfr.Grid(-8.0, 8.0, 256))
    >>> last = wfr.Density.from_dataset(moved)
    >>> last.mean().round(4), last.covariance().round(4)
    (array([0.3679]), array([[0.1353]]))
    """
    times = save_times(t)
    grid = _checked_grid(start, grid)
    if not 1e-13 <= rtol <= 1e-2:
        raise ValueError(f"rtol must be between 1e-13 and 0.01, got {rtol}")
    best, looser = (
        _Characteristics.of(
            grid, start, field=field, growth=growth, divergence=divergence, rtol=factor * rtol, spread=spread
        )
        for factor, spread in ((1.0, 1.0), (LOOSER, 2.0))
    )
    frames, mass, error = _moved_frames(times, best, looser)
    if growth is None:
        error = error + np.abs(mass - 1)
    ds = _dataset(grid, times, frames, mass, error)
    named = getattr(field, "__qualname__", repr(field))
    return ds.assign_attrs({"start": repr(start), "field": named, "rtol": rtol})


def _moved_frames(times: Array, best: _Characteristics, looser: _Characteristics) -> tuple[Array, Array, Array]:
    """Return normalised log-densities, masses before that, and twice the L1 distances of two runs, at some times."""
    grid = best.grid
    first = best.log_values(float(times[0]), float(times[0]))
    frames, mass, error = [], [], []
    for time in times:
        values, rough = (run.log_values(float(times[0]), float(time)) for run in (best, looser))
        total = grid.log_integrate(values)
        mass.append(math.exp(total - grid.log_integrate(first)))
        frames.append(values - total)
        distance = np.abs(np.exp(frames[-1]) - np.exp(rough - grid.log_integrate(rough)))
        error.append(2 * float(grid.integrate(distance)))
    return np.stack(frames), np.array(mass), np.array(error)


def _checked_grid(start: Any, grid: Grid | None) -> Grid:
    if not isinstance(start, Target | Density):
        raise TypeError(f"start must be a distribution or a Density, got {type(start).__name__}")
    if grid is None:
        if not isinstance(start, Density):
            raise ValueError("a start that is a distribution needs a grid: continuity(field, start, t, grid)")
        grid = start.grid
    if grid.ndim != start.ndim:
        raise ValueError(f"the start is {start.ndim}-dimensional, but the grid is {grid.ndim}-dimensional")
    if grid.backend.name != "numpy":
        raise ValueError(f"the characteristics need a grid of the numpy backend, got {grid.backend.name!r}")
    return grid


@dataclass(frozen=True)
class _Characteristics:
    """The integration along characteristics with one tolerance."""

    grid: Grid
    start: Target | Density
    field: Field
    rate: Callable[[Array, float], Array]  # r - div v
    rtol: float

    @classmethod
    def of(
        cls,
        grid: Grid,
        start: Target | Density,
        *,
        field: Field,
        growth: Field | None,
        divergence: Field | None,
        rtol: float,
        spread: float,
    ) -> _Characteristics:
        """Prepare the integration, with differences over `spread` twentieths of the narrowest cells."""
        lower, length = np.array(grid.lower), np.array(grid.upper) - np.array(grid.lower)
        periodic = np.array([axis.periodic for axis in grid.axes])

        def wrapped(function: Field) -> Field:
            return lambda x, t: function(np.where(periodic, lower + (x - lower) % length, x), t)

        steps = spread * STEP * np.array([axis.widths.min() for axis in grid.axes])
        field = wrapped(field)
        if divergence is None:
            minus = divergence_of(field, steps)
        else:
            minus = checked_scalar(wrapped(divergence), "the divergence")
        if growth is None:
            return cls(grid, start, field, lambda x, t: -minus(x, t), rtol)
        plus = checked_scalar(wrapped(growth), "the growth")
        return cls(grid, start, field, lambda x, t: plus(x, t) - minus(x, t), rtol)

    def log_start(self, points: Array) -> Array:
        """Return log mu_0 at points (n, d), up to a constant."""
        if isinstance(self.start, Density):
            values = self.start.log_prob(points)
            outside = ~np.isfinite(values)
            if outside.any():
                raise ValueError(
                    f"a characteristic comes from {points[int(np.argmax(outside))].tolist()}, outside the box of the "
                    "start: give the start as a distribution, which is known everywhere, or on a wider box"
                )
            return values
        lower, length = np.array(self.grid.lower), np.array(self.grid.upper) - np.array(self.grid.lower)
        periodic = np.array([axis.periodic for axis in self.grid.axes])
        return self.start.log_density(np.where(periodic, lower + (points - lower) % length, points))

    def log_values(self, t0: float, t: float) -> Array:
        """Return log mu_t at the cell centres, up to a constant."""
        result = np.empty(self.grid.shape)
        for slab in self.grid.slabs():
            points = self.grid.points(slab)
            flat = self._moved(points.reshape(-1, self.grid.ndim), t0, t)
            result[slab] = flat.reshape(points.shape[:-1])
        return result

    def _moved(self, points: Array, t0: float, t: float) -> Array:
        if t == t0:
            return self.log_start(points)
        end, change = along_characteristics(
            velocity=lambda x, s: checked_values(self.field, x, s),
            rate=self.rate,
            points=points,
            t=t,
            t_end=t0,
            rtol=self.rtol,
            lengths=np.array([axis.length for axis in self.grid.axes]),
        )
        return self.log_start(end) - change


def _dataset(grid: Grid, times: Array, frames: Array, mass: Array, error: Array) -> xr.Dataset:
    """Put the densities into the schema of `solve`."""
    import xarray as xr

    coordinates: dict[str, Any] = {
        name: value for name, value in Density(grid, frames[0]).coordinates().items() if not name.startswith("axis")
    }
    cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    coordinates["t"] = time_coordinate(times)
    variables: dict[str, Any] = {
        "log_density": (("t", *grid.names), frames, state_attrs("log_density")),
        "error_l1": (("t",), error, {"long_name": "estimate of the L1 error", "units": "1"}),
        "mass": (("t",), mass, {"long_name": "mass before it is normalised", "units": "1"}),
    }
    attrs = {"title": "Density moved by a given velocity", "grid": json.dumps(grid.description())}
    return xr.Dataset(variables | cells, coords=coordinates, attrs=attrs | dataset_attrs())
