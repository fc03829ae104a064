"""The Dataset of a certified solution: the density, its error bars, and where they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.storage import provenance
from wfr_pde.truth.certified.attempt import PARTS, RATIOS, Attempt

if TYPE_CHECKING:
    import xarray as xr


LONG_NAMES = {  # of the parts of the error
    "time": "part of the steps",
    "space": "part of the cells",
    "witness": "part of what is left in the equation",
    "mass": "part of the mass",
    "between": "part of what lies between the cells, or of a contradiction",
    "domain": "part of the box",
    "rounding": "part of rounding",
}


def dataset(best: Attempt, rtol: float, times: Array) -> xr.Dataset:
    """Make the Dataset of a solution in the schema of `solve`, at the save times as the user knows them."""
    import xarray as xr

    grid = best.grid
    first = best.result[0]
    coordinates = {name: value for name, value in first.coordinates().items() if not name.startswith("axis")}
    cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    coordinates["t"] = (("t",), times, {"long_name": "time", "units": "1"})  # type: ignore[assignment]
    log_density = np.stack([grid.backend.asnumpy(state.log_values) for state in best.result])
    attrs = {"long_name": "log density, normalised", "units": "nats"}
    variables: dict[str, Any] = {"log_density": (("t", *grid.names), log_density, attrs)}
    kl = best.value
    variables["kl"] = (("t",), kl, {"long_name": "KL(mu|pi)", "units": "nats"})
    for name, values, units in (("error_l1", best.l1, "1"), ("error_kl", best.kl, "nats")):
        words = {"error_l1": "bound of the L1 error", "error_kl": "bound of the error of KL"}[name]
        variables[name] = (("t",), best.total(values), {"long_name": words, "units": units})
        for part in PARTS:
            variables[f"{name}_{part}"] = (
                ("t",),
                values[part],
                {"long_name": f"{words}, {LONG_NAMES[part]}", "units": units},
            )
    if best.agreement is not None:
        attrs = {"long_name": "L1 distance to the other family of schemes", "units": "1"}
        variables["disagreement"] = (("t",), np.where(best.agreement.compared, best.agreement.distance, np.nan), attrs)
    attrs = {"long_name": "estimate of the error of log_density, infinite where unknown", "units": "nats"}
    variables["log_density_error"] = (("t", *grid.names), best.pointwise_error(), attrs)
    words = "bound by the modulus of what is left in the equation"
    variables["error_l1_residual"] = (("t",), best.residual, {"long_name": words, "units": "1"})
    return xr.Dataset(variables | cells, coords=coordinates, attrs=_attrs(best, rtol))


def _attrs(best: Attempt, rtol: float) -> dict[str, str | int | float]:
    """Return the attributes that say how the solution was made."""
    problem, grid = best.problem if best.problem.given is None else best.problem.given, best.grid
    frame = best.problem.frame
    return ({} if frame is None else {name: json.dumps(value) for name, value in frame.attrs.items()}) | {
        "title": "Ground truth of the WFR flow of KL",
        "energy": repr(problem.energy),
        "start": repr(problem.start),
        "transport_rate": problem.alpha,
        "reaction_rate": problem.beta,
        "rtol": rtol,
        "flow": repr(problem.flow(best.order)),
        "grid": json.dumps(grid.description()),
        "cells_per_axis": json.dumps([list(best.cells.grid(ratio).shape) for ratio in RATIOS]),
        "n_steps": len(best.steps) - 1,
        "evidence": json.dumps(best.evidence),
        "backend": grid.backend.name,
        "device": grid.backend.device,
        **provenance.dataset_attrs(),
        "wall_time": round(best.work.seconds - best.work.left(), 6),
    }
