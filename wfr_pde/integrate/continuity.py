"""Vector fields and densities: curl, the Helmholtz split, and what a velocity makes of a density.

A field is a function v(x, t) of points (..., d) and a number t, with values (..., d): a learned velocity, say.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import NumericalError
from wfr_pde.integrate.time_loop import save_times
from wfr_pde.numerics.splines import derivative
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]
Field = Callable[[Array, float], ArrayLike]

SHIFTS = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
WEIGHTS = np.array([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60  # central differences of order 6
STEP = 0.05  # cells between the points of a difference: (0.05 / 1.25)^6 / 140 = 3e-11 for what cells resolve
LOOSER = 30.0  # times the tolerance has the run that the error is measured with
LEVEL = 1e-15  # of the highest density: below, a density counts as this in the Helmholtz split
SPLIT_TOLERANCE = 1e-9  # of the norm of the field
MOST_ITERATIONS = 10_000
FACTORED = 40_000  # cells in three dimensions up to which the preconditioner is a factorisation


def curl(field: Field, x: ArrayLike, t: float, step: float = 1e-3) -> Array:
    """Antisymmetric part of the derivatives of a field: c_ij = d_i v_j - d_j v_i, by central differences of order 6.

    A velocity that is a gradient has none. The error is about step^6 |d^7 v| / 140 + 1e-16 |v| / step.

    Parameters
    ----------
    field : function (points (..., d), t) -> (..., d)
    x : array (..., d)
    t : float
    step : float
        Distance of the points of a difference.

    Returns
    -------
    array (..., d, d)
        In two dimensions c[..., 0, 1] is the usual curl.

    Raises
    ------
    ValueError
        If the field returns another shape, or what is not finite.
    """
    points = np.asarray(x, dtype=np.float64)
    if points.ndim == 0:
        raise ValueError("points must have shape (..., d), got a number: write x[..., None] in one dimension")
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be finite and positive, got {step}")
    d = points.shape[-1]
    values = _checked_values(field, _shifted(points, np.full(d, step)), float(t))
    jacobian = np.tensordot(values, WEIGHTS / step, axes=(1, 0))  # (j, ..., i): d_j v_i
    jacobian = np.moveaxis(jacobian, 0, -2)
    return jacobian - np.swapaxes(jacobian, -1, -2)


def _shifted(points: Array, steps: Array) -> Array:
    """`points` (..., d) moved along every axis to the six places of its central difference: (d, 6, ..., d)."""
    d = points.shape[-1]
    moves = SHIFTS[None, :, None] * np.diag(steps)[:, None, :]
    return points + moves.reshape(d, len(SHIFTS), *(1,) * (points.ndim - 1), d)


def _checked_values(field: Field, points: Array, t: float, what: str = "the field") -> Array:
    """Values of a field at points (..., d), if they are finite and of that shape."""
    values = np.asarray(field(points, t), dtype=np.float64)
    if values.shape != points.shape:
        raise ValueError(
            f"{what} must return one vector per point, shape (..., d) for points (..., d): for points of shape "
            f"{points.shape} it returned shape {values.shape}"
        )
    _check_finite(values, points, t, what)
    return values


def _check_finite(values: Array, points: Array, t: float, what: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), values.shape)
        at = points[place[: points.ndim - 1]].tolist()
        raise ValueError(f"{what} is {values[place]} at x={at}, t={t:.6g}: it must be finite where mass comes through")


def _divergence(field: Field, steps: Array) -> Callable[[Array, float], Array]:
    """div v by central differences of order 6."""

    def divergence(points: Array, t: float) -> Array:
        values = _checked_values(field, _shifted(points, steps), t)
        return _total(np.tensordot(WEIGHTS / h, values[k, ..., k], axes=(0, 0)) for k, h in enumerate(steps))

    return divergence


def _checked_scalar(function: Field, what: str) -> Callable[[Array, float], Array]:
    """A function of points (n, d) and t with values (n,), checked wherever it is evaluated."""

    def checked(points: Array, t: float) -> Array:
        values = np.asarray(function(points, t), dtype=np.float64)
        if values.shape != points.shape[:-1]:
            raise ValueError(
                f"{what} must return one number per point, shape (...) for points (..., d): for points of shape "
                f"{points.shape} it returned shape {values.shape}"
            )
        _check_finite(values, points, t, what)
        return values

    return checked


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
    """
    times = save_times(t)
    grid = _checked_grid(start, grid)
    if not 1e-13 <= rtol <= 1e-2:
        raise ValueError(f"rtol must be between 1e-13 and 0.01, got {rtol}")
    numbers = _Characteristics.of(field, start, grid, growth, divergence, rtol, 1.0)
    looser = _Characteristics.of(field, start, grid, growth, divergence, LOOSER * rtol, 2.0)
    frames, mass, error = _moved_frames(times, numbers, looser)
    if growth is None:
        error = error + np.abs(mass - 1)
    return _dataset(grid, times, frames, mass, error, start, field, rtol)


def _moved_frames(times: Array, best: _Characteristics, looser: _Characteristics) -> tuple[Array, Array, Array]:
    """Normalised log-densities, masses before that, and twice the L1 distances of two runs, at some times."""
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
        raise ValueError(f"the start is {start.ndim}-dimensional, but the grid has {grid.ndim} axes")
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
        field: Field,
        start: Target | Density,
        grid: Grid,
        growth: Field | None,
        divergence: Field | None,
        rtol: float,
        spread: float,
    ) -> _Characteristics:
        """With differences over `spread` twentieths of the narrowest cells."""
        lower, length = np.array(grid.lower), np.array(grid.upper) - np.array(grid.lower)
        periodic = np.array([axis.periodic for axis in grid.axes])

        def wrapped(function: Field) -> Field:
            return lambda x, t: function(np.where(periodic, lower + (x - lower) % length, x), t)

        steps = spread * STEP * np.array([axis.widths.min() for axis in grid.axes])
        field = wrapped(field)
        if divergence is None:
            minus = _divergence(field, steps)
        else:
            minus = _checked_scalar(wrapped(divergence), "the divergence")
        if growth is None:
            return cls(grid, start, field, lambda x, t: -minus(x, t), rtol)
        plus = _checked_scalar(wrapped(growth), "the growth")
        return cls(grid, start, field, lambda x, t: plus(x, t) - minus(x, t), rtol)

    def log_start(self, points: Array) -> Array:
        """log mu_0 at points (n, d), up to a constant."""
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
        """log mu_t at the cell centres, up to a constant."""
        result = np.empty(self.grid.shape)
        for slab in self.grid.slabs():
            points = self.grid.points(slab)
            flat = self._moved(points.reshape(-1, self.grid.ndim), t0, t)
            result[slab] = flat.reshape(points.shape[:-1])
        return result

    def _moved(self, points: Array, t0: float, t: float) -> Array:
        if t == t0:
            return self.log_start(points)
        from scipy.integrate import solve_ivp  # here, as it is slow to import

        n, d = points.shape
        lengths = np.array([axis.length for axis in self.grid.axes])
        scale = np.concatenate([np.tile(lengths, n), np.ones(n)])

        def slope(s: float, state: Array) -> Array:
            x = state[: n * d].reshape(n, d)
            return np.concatenate([_checked_values(self.field, x, s).ravel(), self.rate(x, s)])

        begin = np.concatenate([points.ravel(), np.zeros(n)])
        run = solve_ivp(slope, (t, t0), begin, method="DOP853", rtol=self.rtol, atol=self.rtol * scale, t_eval=[t0])
        if not run.success:
            raise NumericalError(f"the characteristics from t={t:.6g} back to t={t0:.6g} failed: {run.message}")
        end = run.y[:, -1]
        return self.log_start(end[: n * d].reshape(n, d)) - end[n * d :]


def _dataset(
    grid: Grid, times: Array, frames: Array, mass: Array, error: Array, start: Any, field: Any, rtol: float
) -> xr.Dataset:
    """The densities in the schema of `solve`."""
    import xarray as xr

    coordinates: dict[str, Any] = {
        name: value for name, value in Density(grid, frames[0]).coordinates().items() if not name.startswith("axis")
    }
    cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    coordinates["t"] = (("t",), times, {"long_name": "time", "units": "1"})
    variables: dict[str, Any] = {
        "log_density": (("t", *grid.names), frames, {"long_name": "log density, normalised", "units": "nats"}),
        "error_l1": (("t",), error, {"long_name": "estimate of the L1 error", "units": "1"}),
        "mass": (("t",), mass, {"long_name": "mass before it is normalised", "units": "1"}),
    }
    attrs = {
        "title": "Density moved by a given velocity",
        "start": repr(start),
        "field": getattr(field, "__qualname__", repr(field)),
        "grid": json.dumps(grid.description()),
        "rtol": rtol,
    }
    return xr.Dataset(variables | cells, coords=coordinates, attrs=attrs)


def helmholtz(density: Density, field: Field, t: float = 0.0) -> xr.Dataset:
    """Split a vector field into the part that moves a density and the part that does not.

    v = grad phi + w with div(mu w) = 0, and w along the walls: the projection on gradients in L²(mu), so that
    ∫ mu |v|² = ∫ mu |grad phi|² + ∫ mu |w|². Derivatives are those of splines of degree 5 along every axis, D, and phi
    minimises Σ_cells mu |D phi - v|²: D* mu D phi = D* mu v by conjugate gradients, with the finite-volume operator
    of weights mu, factored, as preconditioner (its diagonal above 40 000 cells in three dimensions). The split is
    orthogonal to the tolerance; for smooth fields its error falls like dx^5. Where mu is below 1e-15 of its maximum
    it counts as this much: out there the split is that of the raised density, of no weight in the norms.

    Parameters
    ----------
    density : Density
    field : function (points (..., d), t) -> (..., d)
        Asked at the cell centres.
    t : float
        Handed to the field.

    Returns
    -------
    xarray.Dataset
        `phi` (x, ...) of mean zero over mu; `gradient` and `divergence_free` (x, ..., axis); their norms
        (∫ mu |.|²)^½ as `gradient_norm`, `divergence_free_norm`; `norm` of the field.

    Raises
    ------
    ValueError
        If the field is not finite at a cell centre or has the wrong shape.
    NumericalError
        If the iteration does not converge.
    """
    grid = density.grid
    field_values = _checked_values(field, grid.points(), float(t))
    log_mu = grid.backend.asnumpy(density.log_values)
    volume = grid.backend.asnumpy(grid.backend.asarray(np.zeros(grid.shape)) + grid.cell_volume)
    mu = np.exp(log_mu)
    weights = np.maximum(mu, LEVEL * mu.max()) * volume
    matrices = [_derivative_matrix(axis) for axis in grid.axes]
    phi = _potential(grid, matrices, weights, field_values)
    phi = phi - np.sum(mu * volume * phi) / np.sum(mu * volume)
    gradient = np.stack([_along(matrix, phi, k) for k, matrix in enumerate(matrices)], axis=-1)
    return _split_dataset(density, phi, gradient, field_values, mu * volume, float(t))


def _derivative_matrix(axis: Axis) -> Array:
    """Derivative at the cell centres of the spline of degree 5 through values there, (n, n)."""
    if not axis.periodic:
        return derivative(axis.centres, axis.edges, np.eye(axis.n), 0, False)
    from scipy.interpolate import make_interp_spline

    # periodic to the last bit: else a sawtooth of 1e9 has a constant derivative, and a wind around the circle is a
    # gradient
    nodes = np.append(axis.centres, axis.centres[0] + axis.length)
    spline = make_interp_spline(nodes, np.eye(axis.n)[np.arange(axis.n + 1) % axis.n], k=5, bc_type="periodic")
    return spline(axis.centres, nu=1)


def _along(matrix: Array, values: Array, axis: int) -> Array:
    """Product of a matrix with values along one axis."""
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def _potential(grid: Grid, matrices: list[Array], weights: Array, v: Array) -> Array:
    """The phi that minimises Σ weights |D phi - v|², by conjugate gradients."""
    precondition = _preconditioner(grid, weights)
    size = float(np.sum(weights[..., None] * v**2))
    phi = np.zeros(grid.shape)
    residual = _total(_along(m.T, weights * v[..., k], k) for k, m in enumerate(matrices))
    step, before = phi, math.inf
    for _ in range(MOST_ITERATIONS):
        solved = precondition(residual.ravel()).reshape(grid.shape)
        now = float(np.sum(residual * solved))  # about the squared norm of the error of the gradient
        if now <= SPLIT_TOLERANCE**2 * size:
            return phi
        step = solved + now / before * step
        along = [_along(m, step, k) for k, m in enumerate(matrices)]
        length = now / float(np.sum(weights * _total(part**2 for part in along)))
        phi = phi + length * step
        residual = residual - length * _total(
            _along(m.T, weights * part, k) for k, (m, part) in enumerate(zip(matrices, along, strict=True))
        )
        before = now
    raise NumericalError(
        f"the Helmholtz split did not converge in {MOST_ITERATIONS} iterations on {grid.shape} cells (off by "
        f"{math.sqrt(before / size):.1e} of the field): the cells do not resolve the density, or the field is rough"
    )


def _total(parts: Iterable[Array]) -> Array:
    """The sum of some arrays."""
    return functools.reduce(np.add, parts)


def _preconditioner(grid: Grid, weights: Array) -> Callable[[Array], Array]:
    """Solves with the finite-volume operator of some weights, or with its diagonal where it is too large to factor."""
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import splu

    number = np.arange(grid.size).reshape(grid.shape)
    rows, columns, values = [], [], []
    for k, axis in enumerate(grid.axes):
        following = np.roll(number, -1, axis=k)
        distance = np.roll(axis.centres, -1) - axis.centres
        distance[-1] += axis.length
        conductance = np.sqrt(weights * np.roll(weights, -1, axis=k))
        conductance = conductance / (distance**2).reshape([-1 if i == k else 1 for i in range(grid.ndim)])
        keep = tuple(slice(None, None if axis.periodic or i != k else -1) for i in range(grid.ndim))
        rows.append(number[keep].ravel())
        columns.append(following[keep].ravel())
        values.append(conductance[keep].ravel())
    i, j, c = (np.concatenate(parts) for parts in (rows, columns, values))
    adjacency = coo_array((c, (i, j)), shape=(grid.size, grid.size)).tocsc()
    adjacency = adjacency + adjacency.T
    diagonal = np.asarray(adjacency.sum(axis=0)).ravel()
    if grid.ndim > 2 and grid.size > FACTORED:
        return lambda residual: residual / diagonal
    # a little more than the diagonal, as constants are in the kernel
    matrix = diags_array(diagonal * (1 + 1e-9)).tocsc() - adjacency
    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve


def _split_dataset(density: Density, phi: Array, gradient: Array, field: Array, mass: Array, t: float) -> xr.Dataset:
    """The two parts and their norms."""
    import xarray as xr

    rest = field - gradient
    names = density.grid.names
    coordinates = {name: value for name, value in density.coordinates().items() if name != "axis_2"}
    cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    variables: dict[str, Any] = {
        "phi": (names, phi, {"long_name": "potential of the gradient part"}),
        "gradient": ((*names, "axis"), gradient, {"long_name": "part that moves the density"}),
        "divergence_free": ((*names, "axis"), rest, {"long_name": "part that leaves the density as it is"}),
    }
    for name, part in (("gradient_norm", gradient), ("divergence_free_norm", rest), ("norm", field)):
        value = math.sqrt(float(np.sum(mass * np.sum(part**2, axis=-1))))
        variables[name] = ((), value, {"long_name": "root of the mean square over mu"})
    attrs = {"title": "Helmholtz split of a vector field", "grid": json.dumps(density.grid.description()), "time": t}
    return xr.Dataset(variables | cells, coords=coordinates, attrs=attrs)
