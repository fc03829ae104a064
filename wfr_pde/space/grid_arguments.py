"""Arguments of a grid: checked, and given per axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wfr_pde.space.axis import Axis

BOUNDARIES = ("no-flux", "periodic")
AXIS_NAMES = ("x", "y", "z", "w")
RESERVED_NAMES = frozenset({"t", "t_kept", "axis", "axis_2", "mode", "particle", "dim", "seed", "log_density"})


def corners(lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (d,) of a box."""
    low, high = (np.atleast_1d(np.asarray(end, dtype=np.float64)) for end in (lower, upper))
    if low.ndim != 1 or low.shape != high.shape:
        raise ValueError(f"lower and upper must be two numbers per axis, got {lower} and {upper}")
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"the box needs finite lower < upper on every axis, got {low.tolist()} and {high.tolist()}")
    return low, high


def axis_names(names: Any, d: int) -> tuple[str, ...]:
    """Names of the axes."""
    result = AXIS_NAMES[:d] if names is None else tuple(names)
    if len(result) != d or len(set(result)) != d or not all(map(_is_axis_name, result)):
        raise ValueError(
            f"names must be {d} different axis names of letters, digits and _, other than "
            f"{', '.join(sorted(RESERVED_NAMES))}, cell_... and ..._edge, got {result}"
        )
    return result


def check_max_cut(max_cut: float) -> None:
    """Refuse what is no share of a mass."""
    if not 0 < max_cut <= 1:
        raise ValueError(f"max_cut is a share of the mass in (0, 1], got {max_cut}")


def _is_axis_name(name: Any) -> bool:
    """Whether a Dataset can have an axis of that name."""
    fit = isinstance(name, str) and name.isidentifier() and name not in RESERVED_NAMES
    return fit and not name.startswith("cell_") and not name.endswith("_edge")


def axis_of(name: str, lower: float, upper: float, n: int, grading: Any, periodic: bool) -> Axis:
    """The cells of one axis."""
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
    """Grading per axis: None, a density of points, or the cells themselves."""
    single = grading is None or callable(grading) or isinstance(grading, Axis)
    if not single and not isinstance(grading, Iterable):
        grading = [grading]
    per_axis = (grading,) if single and d == 1 else (None,) * d if grading is None else grading
    if single and grading is not None and d > 1:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {grading!r}")
    for entry in per_axis:
        if not (entry is None or callable(entry) or isinstance(entry, Axis)):
            raise ValueError(
                f"grading takes a function of the coordinate (the density of points) or None per axis, got {entry}; "
                "for given edges use Grid.from_edges"
            )
    if len(per_axis) != d:
        raise ValueError(f"grading must be {d} functions or None, one per axis, got {len(per_axis)}")
    return tuple(per_axis)


def cells_per_axis(shape: Any, d: int) -> tuple[int, ...]:
    """Number of cells per axis."""
    cells = (shape,) * d if np.ndim(shape) == 0 else tuple(shape)
    if len(cells) != d or any(int(n) != n or n < 4 for n in cells):
        raise ValueError(f"shape must be {d} whole numbers of at least 4 cells, got {shape}")
    return tuple(int(n) for n in cells)


def boundaries_per_axis(boundary: Any, d: int) -> tuple[str, ...]:
    """Boundary condition per axis."""
    per_axis = (boundary,) * d if isinstance(boundary, str) else tuple(boundary)
    if len(per_axis) != d or any(name not in BOUNDARIES for name in per_axis):
        raise ValueError(f"boundary must be one of {BOUNDARIES}, or {d} of them, got {boundary!r}")
    return per_axis
