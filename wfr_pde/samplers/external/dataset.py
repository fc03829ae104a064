"""Samples of any method as a Dataset, in the schema of `solve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfr_pde.integrate.schema import state_attrs, time_coordinate
from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    import xarray as xr


def particle_dataset(times: Array, positions: Array, log_weights: Array, attrs: dict[str, Any]) -> xr.Dataset:
    """Put particles (..., t, particle, dim) in the schema of `solve`; in front there may be the dimension `seed`."""
    import xarray as xr

    dims = ("seed", "t", "particle", "dim")[-positions.ndim :]
    variables = {
        "position": (dims, positions, state_attrs("position")),
        "log_weight": (dims[:-1], log_weights, state_attrs("log_weight")),
    }
    coordinates = {"t": time_coordinate(times)}
    return xr.Dataset(variables, coords=coordinates, attrs=attrs)
