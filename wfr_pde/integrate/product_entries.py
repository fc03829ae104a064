"""The factors that a tree says it holds, laws of some of the coordinates of a product, and values by times."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import instance, real_array, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.targets.gaussian import Gaussian

KINDS = ("grid", "gaussian", "radial")


def marginal_of(law: ProductLaw, coordinates: int | Sequence[int]) -> Density | Gaussian:
    """Return the law of some coordinates of one factor of a product.

    Raises
    ------
    ValueError
        If they are not coordinates of one factor, or several of a radial one.
    """
    if not isinstance(coordinates, Sequence | np.ndarray):
        return law.marginal(coordinates)
    if len(coordinates) == 1:
        return law.marginal(coordinates[0])
    places = [law.place(k) for k in coordinates]
    numbers = [j for _, j in places]
    blocks = [next(i for i, block in enumerate(law.blocks) if k < block.stop) for k in coordinates]
    if not blocks or len(set(blocks)) > 1 or sorted(set(numbers)) != numbers:
        raise ValueError(
            f"coordinates must be increasing numbers of coordinates of one factor, which are {list(law.blocks)}, got "
            f"{shown(coordinates)}: factors are independent, so give those of one after another"
        )
    factor = places[0][0]
    if isinstance(factor, Gaussian):
        return Gaussian(factor.mean[numbers], factor.covariance[np.ix_(numbers, numbers)])
    if isinstance(factor, Density):
        return factor.marginal(tuple(numbers))
    raise ValueError(f"of a radial factor the law of a single coordinate is known, got {shown(coordinates)}")


def entries_of(tree: Any) -> list[dict[str, Any]]:
    """Return the entries of the attribute `factors` of a tree, if it is one of a run in any dimension."""
    import xarray as xr

    instance("tree", tree, xr.DataTree, "as ground_truth returns it of a target that splits")
    if "factors" not in tree.attrs:
        raise ValueError("tree has no attribute factors: give it as ground_truth returns it, unchanged")
    entries: list[dict[str, Any]] = json.loads(tree.attrs["factors"])
    for entry in entries:
        if entry["node"] not in tree.children or entry["kind"] not in KINDS:
            raise ValueError(
                f"the tree has no node for the factor {entry}: nodes are {list(tree.children)}, kinds {KINDS}"
            )
    return entries


def by_time(t: ArrayLike, function: Callable[[float], float]) -> Array:
    """Return the values of a function at times (...), each time once."""
    times = checked_times(t)
    different, places = np.unique(times, return_inverse=True)
    return np.array([function(time) for time in different.tolist()])[places].reshape(times.shape)


def checked_times(t: Any) -> Array:
    """Return the argument `t` as times (...), of which there is at least one."""
    times = real_array("t", t)
    if times.size == 0:
        raise ValueError("t must be one time or more, got none")
    return times
