"""A target from values on a grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.targets.arguments import Array, box_of, fingerprint
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    from wfr_pde.interpolation import TensorSpline


@dataclass(frozen=True, eq=False)
class GridTarget(Target):
    """The distribution with given values at the cell centres of a box: V = -(spline through the logs).

    The spline is a tensor product of degree 5; outside the box the log-density is -inf and the score NaN.

    Parameters
    ----------
    values : array (n_1, ..., n_d) or xarray.DataArray
        Density (positive, unnormalised) at the cell centres; axis i is coordinate i. A DataArray brings its
        own box: its coordinates are the centres.
    lower, upper : float or array (d,)
        Corners of the box, half a cell outside the first and last centre. Not for a DataArray.
    log : bool
        The values are log-densities; implied for a DataArray named "log_density".
    periodic : bool or sequence of bool
        Whether the axes wrap around.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, zero or negative (naming its place), the box is missing or empty, an
        axis has fewer than two cells or coordinates are not uniform.
    """

    values: Any
    lower: Any = None
    upper: Any = None
    log: bool = False
    periodic: Any = False
    _spline: TensorSpline = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values, log = self.values, self.log
        if hasattr(values, "coords") and hasattr(values, "dims"):
            log = log or values.name == "log_density"
            lower, upper = self._box_of_coordinates(values)
        elif self.lower is None or self.upper is None:
            raise ValueError("an array of values needs its box: give lower and upper")
        else:
            lower, upper = self.lower, self.upper
        values = np.array(values, dtype=np.float64)
        if values.ndim == 0 or min(values.shape) < 2:
            raise ValueError(f"values need at least two cells along every axis, got shape {values.shape}")
        values.setflags(write=False)
        support = box_of("(lower, upper)", (lower, upper), values.ndim)
        periodic = tuple(bool(p) for p in np.broadcast_to(self.periodic, (values.ndim,)))
        converted = {"values": values, "lower": support[0], "upper": support[1], "log": bool(log)}
        converted |= {"periodic": periodic, "support": support, "ndim": values.ndim}
        for name, value in converted.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_spline", self._make_spline(*support))

    def __repr__(self) -> str:
        box = f"lower={self.lower.tolist()}, upper={self.upper.tolist()}"
        options = f"log={self.log}, periodic={self.periodic}"
        return f"GridTarget({fingerprint(self.values)}, {box}, {options})"

    def _box_of_coordinates(self, values: Any) -> tuple[list[float], list[float]]:
        if self.lower is not None or self.upper is not None:
            raise ValueError("a DataArray brings its own box in its coordinates: leave out lower and upper")
        lower, upper = [], []
        for dim in values.dims:
            if dim not in values.coords or values.sizes[dim] < 2:
                raise ValueError(
                    f"dimension {dim!r} needs at least two cells with coordinates (their centres); "
                    f"take one place along others, as in values.isel({dim}=-1)"
                )
            centres = np.asarray(values.coords[dim].values, dtype=np.float64)
            width = (centres[-1] - centres[0]) / (len(centres) - 1)
            uniform = centres[0] + width * np.arange(len(centres))
            if not (width > 0 and np.allclose(centres, uniform, rtol=0, atol=1e-6 * width)):
                raise ValueError(
                    f"coordinate {dim!r} must rise in equal steps, as cell centres do: "
                    f"values.sortby({dim!r}), or values.interp onto equal steps"
                )
            lower.append(centres[0] - width / 2)
            upper.append(centres[-1] + width / 2)
        return lower, upper

    @property
    def log_values(self) -> Array:
        """Log-density at the cell centres."""
        return self.values if self.log else np.log(self.values)

    def _make_spline(self, lower: Array, upper: Array) -> TensorSpline:
        from wfr_pde.interpolation import TensorSpline

        wrong = ~np.isfinite(self.values) | (not self.log and self.values <= 0)
        edges = [np.linspace(a, b, n + 1) for a, b, n in zip(lower, upper, self.values.shape, strict=True)]
        centres = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
        if np.any(wrong):
            cell = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = [float(axis[i]) for axis, i in zip(centres, cell, strict=True)]
            what = "log-densities must be finite" if self.log else "densities must be positive and finite"
            raise ValueError(
                f"{what}, but the value at {place} (cell {cell}) is {self.values[cell]}: "
                "give log-densities with log=True, or a smaller box"
            )
        return TensorSpline(centres, edges, self.log_values, self.periodic)

    def log_density(self, points: ArrayLike) -> Array:
        """Spline through the log-values at points (..., d), shape (...); -inf outside the box."""
        return self._spline(self.as_points(points), outside=-np.inf)

    def score(self, points: ArrayLike) -> Array:
        """Gradient of the spline at points (..., d), shape (..., d); NaN outside the box."""
        return self._spline.gradient(self.as_points(points))
