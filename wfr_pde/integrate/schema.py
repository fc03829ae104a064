"""The schema of a run's Dataset: names, dimensions, units and attributes of its variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.arguments import real_array


def time_coordinate(times: np.ndarray, dim: str = "t") -> tuple[Any, np.ndarray, dict[str, str]]:
    """Return the dimensions, values and attributes of the coordinate of save times."""
    return (dim,), times, {"long_name": "time", "units": "1"}


def state_attrs(name: str) -> dict[str, str]:
    """Return the attributes `long_name` and `units` of a variable that holds states."""
    words = {
        "log_density": "log density, normalised",
        "log_mass": "log of the mass that normalising took out",
        "position": "particle position",
        "log_weight": "log weight, normalised",
    }
    return {"long_name": words[name], "units": "nats" if name.startswith("log_") else "1"}


def recorded(name: str, value: Any, expected: tuple[int, ...] | None, t: float) -> np.ndarray:
    """Return the value of a record as an array of real numbers, of the `expected` shape where that is known.

    Raises
    ------
    ValueError
        For what cannot be stored: complex numbers, texts, dates, objects, masked values, or another shape.
    """
    where = f"the record {name!r} at t={t:.6g}"
    numbers = real_array(where, value)
    if expected is not None and numbers.shape != expected:
        raise ValueError(
            f"{where} has the shape {numbers.shape}, but had {expected} before: a record keeps its shape (fill up with "
            "numpy.nan)"
        )
    array = np.asarray(value)
    return array if array.dtype.kind in "fiub" else numbers


def record_variable(name: str, record: Any, values: np.ndarray) -> tuple[Any, np.ndarray, dict[str, str]]:
    """Return the dimensions, values and attributes of a record."""
    dims = getattr(record, "dims", None)
    if dims is None or len(dims) != values.ndim - 1:
        dims = tuple(f"{name}_{k}" for k in range(values.ndim - 1))
    attrs = {"long_name": getattr(record, "long_name", name), "units": getattr(record, "units", "1")}
    return ("t", *dims), values, attrs


def is_reserved(name: str) -> bool:
    """Return whether a Dataset uses a name itself, so that no record can have it."""
    return name in ("t", "t_kept", "log_density", "log_mass", "position", "log_weight") or name.startswith("cell_")
