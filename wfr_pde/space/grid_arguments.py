"""Arguments of a grid: checked, and given per axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wfr_pde.numerics.arguments import check_fit, choice, number, real_array, refuse_no_entries, shown, whole
from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.counted import counted
from wfr_pde.space.axis import Axis

BOUNDARIES = ("no-flux", "periodic")  # values of the argument `boundary`
AXIS_NAMES = ("x", "y", "z", "w")  # by default; more axes need names of their own
FARTHEST = 1e150  # coordinate of a box: squares of larger ones are beyond double precision
# dimensions and variables of a Dataset, which no axis can be named as
RESERVED_NAMES = frozenset({"t", "t_kept", "axis", "axis_2", "mode", "particle", "dim", "seed", "log_density"})


def values_of_cells(name: str, values: Any, shape: tuple[int, ...], backend: Backend) -> Any:
    """Return the argument `name` of a sum over cells as an array of the backend with one value per cell."""
    if type(values) is not np.ndarray or values.dtype.kind not in "fiubc":
        foreign = hasattr(values, "shape") and not isinstance(values, np.ndarray | np.generic)
        if backend.xp is np or not foreign:
            values = backend.asarray(real_array(name, values))
    if tuple(values.shape) != shape:
        raise ValueError(f"{name} must have the shape of the grid, {shape}, one per cell, got {tuple(values.shape)}")
    return values


def corners(lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper corner (d,) of a box, if the arguments are that."""
    low, high = np.atleast_1d(real_array("lower", lower)), np.atleast_1d(real_array("upper", upper))
    if low.ndim != 1 or low.shape != high.shape or len(low) == 0:
        raise ValueError(
            "lower and upper must be one number per axis each, but have the shapes "
            f"{np.shape(lower)} and {np.shape(upper)}"
        )
    if len(low) > len(AXIS_NAMES):
        raise ValueError(f"lower and upper have {len(low)} axes, but grids have at most {len(AXIS_NAMES)}")
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(
            f"the box needs finite lower < upper on every axis, got lower={low.tolist()} and upper={high.tolist()}"
        )
    if max(np.abs(low).max(), np.abs(high).max()) > FARTHEST:
        raise ValueError(
            f"lower={low.tolist()} and upper={high.tolist()} go beyond {FARTHEST:g}, where squares are beyond double "
            "precision: use other units of length"
        )
    return low, high


def axis_names(names: Any, d: int) -> tuple[str, ...]:
    """Return the names of the axes: those given, if they fit, else x, y, z, w."""
    refuse_no_entries("names", names)
    result = AXIS_NAMES[:d] if names is None else tuple(names) if isinstance(names, Iterable) else (names,)
    if len(result) != d or not all(map(_is_axis_name, result)) or len(set(result)) != d:
        raise ValueError(
            f"names must be {d} different axis names of letters, digits and _, other than "
            f"{', '.join(sorted(RESERVED_NAMES))}, cell_... and ..._edge, got {shown(names)}"
        )
    return result


def check_max_cut(max_cut: float) -> None:
    """Refuse what is no share of a mass."""
    if not 0 < number("max_cut", max_cut) <= 1:
        raise ValueError(f"max_cut is a share of the mass in (0, 1], got {max_cut}")


def _is_axis_name(name: Any) -> bool:
    """Return whether a Dataset can have an axis of that name."""
    fit = isinstance(name, str) and name.isidentifier() and name not in RESERVED_NAMES
    return fit and not name.startswith("cell_") and not name.endswith("_edge")


def axis_of(name: str, lower: float, upper: float, n: int, grading: Any, periodic: bool) -> Axis:
    """Make one axis: of equal cells, graded, or of the given cells."""
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


def gradings_per_axis(grading: Any, d: int) -> tuple[Any, ...]:
    """Return the gradings of `d` axes: for each None, a density of points, or the cells; one alone where d = 1."""
    refuse_no_entries("grading", grading)
    single = grading is None or callable(grading) or isinstance(grading, Axis)
    if not single and not isinstance(grading, Iterable):
        grading = [grading]
    if single and grading is not None and d > 1:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {shown(grading)}")
    per_axis = (grading,) * d if single else tuple(grading)
    for entry in per_axis:
        if not (entry is None or callable(entry) or isinstance(entry, Axis)):
            raise ValueError(
                f"grading takes a function of the coordinate (the density of points) or None per axis, got "
                f"{shown(entry)}; for given edges use Grid.from_edges"
            )
    if len(per_axis) != d:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {len(per_axis)}")
    return tuple(per_axis)


def cells_per_axis(shape: Any, d: int) -> tuple[int, ...]:
    """Return the numbers of cells of `d` axes, from one for all or one for each."""
    each = shape if isinstance(shape, Sequence | np.ndarray) and not isinstance(shape, str | bytes) else None
    cells = [shape] * d if each is None or (isinstance(each, np.ndarray) and each.ndim == 0) else list(each)
    if len(cells) != d:
        number = counted(d, "whole number")
        raise ValueError(f"shape must be {number} of at least 4 cells, one per axis, got {shown(shape)}")
    result = tuple(whole("shape", n, 4, "the number of cells along an axis") for n in cells)
    check_fit("shape", result, 8 * 4 * sum(result))  # edges, centres and widths
    return result


def boundaries_per_axis(boundary: Any, d: int) -> tuple[str, ...]:
    """Return the boundary conditions of `d` axes, from one for all or one for each."""
    refuse_no_entries("boundary", boundary)
    per_axis = (boundary,) * d if isinstance(boundary, str) else boundary
    if not isinstance(per_axis, Sequence | np.ndarray) or len(per_axis) != d:
        raise ValueError(f"boundary must be one of {BOUNDARIES}, or {d} of them, got {shown(boundary)}")
    return tuple(choice("boundary", str(one) if isinstance(one, np.str_) else one, BOUNDARIES) for one in per_axis)
