"""A box that holds the mass of several distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

Array = np.ndarray[Any, np.dtype[np.float64]]


def covering_box(distributions: Sequence[Target], tail: float) -> tuple[Array, Array]:
    """Box outside which every one of some distributions has a mass below `tail`: lower and upper corner (d,).

    Raises
    ------
    ValueError
        If there is no distribution, one has no such box (heavy tails, not integrable), or dimensions differ.
    """
    if not distributions:
        raise ValueError("Grid.covering needs at least one distribution: Grid.covering(target, start, shape=...)")
    if not 0 < tail < 1:
        raise ValueError(f"tail is a mass between 0 and 1, got {tail}")
    dimensions = [distribution.ndim for distribution in distributions]
    if len(set(dimensions)) != 1:
        raise ValueError(f"the distributions have different dimensions: {dimensions}")
    boxes = [distribution.box(tail) for distribution in distributions]
    return np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
