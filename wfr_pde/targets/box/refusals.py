"""Errors of the search for a box: what is wrong with a distribution, where, and what to do."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.types import Searchable

RUNAWAY = 1e12  # a mode or bulk farther from the origin than this is taken for none: doubles are 1e-4 apart there


def refuse_heavy(x: Array, shift: Array, value: float, index: float | None) -> NoReturn:
    """Refuse tails that are too heavy for any box.

    Parameters
    ----------
    x : array (d,)
        Where that is seen.
    shift : array (d,)
        The same place from the middle of the mass.
    value : float
        Log-density there.
    index : float or None
        The power in P(beyond r) ~ r^-index, where it is known.
    """
    what = "the density falls too slowly to be integrable"
    if index is not None and index > 0:
        what = f"the mass beyond a distance r falls only like r^-{index:.2g}, too slowly for a grid"
    raise ValueError(f"{_towards(shift)} {what} (log-density {value:.6g} at {coordinates(x)}); {remedy()}")


def refuse_rising(x: Array, value: float) -> NoReturn:
    """Refuse a log-density that rises without bound, as seen at `x`."""
    where = _towards(x) if np.max(np.abs(x)) > RUNAWAY else "near a point"
    raise ValueError(
        f"{where} the log-density rises without bound ({value:.6g} at {coordinates(x)}), "
        f"so it is not integrable; {remedy()}"
    )


def _towards(shift: Array) -> str:
    axis = int(np.argmax(np.abs(shift)))
    return f"on the {'upper' if shift[axis] > 0 else 'lower'} side of axis {axis}"


def coordinates(x: Array) -> str:
    """Write a point as text."""
    return f"x = ({', '.join(f'{value:.6g}' for value in x)})"


def remedy() -> str:
    """Say what to do where no box is found."""
    return (
        "correct the target, or, if its mass is known to lie in a box, name that box: give "
        "support=(lower, upper) to the target or build Grid(lower=..., upper=...)"
    )


def raw_value(target: Searchable, x: Array) -> str:
    """Write the target's own answer at one point as text."""
    with np.errstate(all="ignore"):  # the answer is shown, warnings about it would say less
        return f"{float(np.asarray(target.log_density(x))):.6g}"
