"""The Helmholtz split of a vector field with respect to a density: what moves it, and what leaves it as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.splines import derivative
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import Field, checked_values, total
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage.provenance import dataset_attrs

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 1e-15  # of the highest density: below, a density counts as this in the Helmholtz split
SPLIT_TOLERANCE = 1e-9  # of the norm of the field
MOST_ITERATIONS = 10_000  # of conjugate gradients, after which the split is an error
FACTORED = 40_000  # cells in three dimensions up to which the preconditioner is a factorisation


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

    Examples
    --------
    A rotation leaves N(0, I) as it is; all of its norm, sqrt(E |x|²) = sqrt(2), is in that part:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> from wfr_pde.integrate.helmholtz_split import helmholtz
    >>> density = wfr.Grid([-8.0, -8.0], [8.0, 8.0], 48).density(wfr.Gaussian([0.0, 0.0], 1.0))
    >>> rotation = lambda points, t: np.stack([-points[..., 1], points[..., 0]], axis=-1)
    >>> parts = helmholtz(density, rotation)
    >>> abs(round(float(parts.gradient_norm), 4)), round(float(parts.divergence_free_norm), 4)
    (0.0, 1.4142)
    """
    grid = density.grid
    field_values = checked_values(field, grid.points(), float(t))
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
    """Return the matrix (n, n) from values at the cell centres to the derivative of their spline of degree 5 there."""
    if not axis.periodic:
        return derivative(axis.centres, axis.edges, np.eye(axis.n), 0, False)
    from scipy.interpolate import make_interp_spline

    # periodic to the last bit: else a sawtooth of 1e9 has a constant derivative, and a wind around the circle is a
    # gradient
    nodes = np.append(axis.centres, axis.centres[0] + axis.length)
    spline = make_interp_spline(nodes, np.eye(axis.n)[np.arange(axis.n + 1) % axis.n], k=5, bc_type="periodic")
    return spline(axis.centres, nu=1)


def _along(matrix: Array, values: Array, axis: int) -> Array:
    """Return the product of a matrix with values along one axis."""
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def _potential(grid: Grid, matrices: list[Array], weights: Array, v: Array) -> Array:
    """Return the phi that minimises Σ weights |D phi - v|², by conjugate gradients."""
    precondition = _preconditioner(grid, weights)
    size = float(np.sum(weights[..., None] * v**2))
    phi = np.zeros(grid.shape)
    residual = total(_along(m.T, weights * v[..., k], k) for k, m in enumerate(matrices))
    step, before = phi, math.inf
    for _ in range(MOST_ITERATIONS):
        solved = precondition(residual.ravel()).reshape(grid.shape)
        now = float(np.sum(residual * solved))  # about the squared norm of the error of the gradient
        if now <= SPLIT_TOLERANCE**2 * size:
            return phi
        step = solved + now / before * step
        along = [_along(m, step, k) for k, m in enumerate(matrices)]
        length = now / float(np.sum(weights * total(part**2 for part in along)))
        phi = phi + length * step
        residual = residual - length * total(
            _along(m.T, weights * part, k) for k, (m, part) in enumerate(zip(matrices, along, strict=True))
        )
        before = now
    raise NumericalError(
        f"the Helmholtz split did not converge in {MOST_ITERATIONS} iterations on {grid.shape} cells (off by "
        f"{math.sqrt(before / size):.1e} of the field): the cells do not resolve the density, or the field is rough"
    )


def _preconditioner(grid: Grid, weights: Array) -> Callable[[Array], Array]:
    """Make a solver of the finite-volume operator of some weights, or of its diagonal where cells are too many."""
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
    """Return the two parts and their norms."""
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
    return xr.Dataset(variables | cells, coords=coordinates, attrs=attrs | dataset_attrs())
