"""Save times, and the numbers of those whose state is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import real_array, shown


def save_times(t: ArrayLike) -> np.ndarray:
    """Save times as an array, if they are finite, increasing, and at least two.

    Raises
    ------
    ValueError
    """
    times = np.atleast_1d(real_array("t", t))
    if times.ndim == 1 and len(times) == 1:
        raise ValueError(
            f"t needs at least two save times, as the first is the time of the start, got {times.tolist()}: for the "
            f"state {times[0]:g} later write t=[0, {times[0]:g}]"
        )
    if times.ndim != 1 or len(times) == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(f"t must be finite, increasing save times, got {np.array2string(times, threshold=6)}")
    return times


def kept_frames(keep: Any, times: np.ndarray) -> tuple[frozenset[int], str]:
    """Return the numbers of the frames to keep, and the argument `keep` in words."""
    if isinstance(keep, str):
        if keep not in ("all", "last"):
            raise ValueError(f'keep must be "all", "last" or some of the save times, got {shown(keep)}')
        return frozenset(range(len(times)) if keep == "all" else [len(times) - 1]), keep
    wanted = np.empty((0, 0)) if keep is None or isinstance(keep, bool) else np.atleast_1d(real_array("keep", keep))
    if wanted.ndim != 1:
        raise ValueError(f'keep must be "all", "last" or some of the save times, got {shown(keep)}')
    nearest = np.abs(times[:, None] - wanted[None, :]).argmin(axis=0)
    missing = ~(np.abs(times[nearest] - wanted) <= 1e-9 * max(1.0, float(np.abs(times).max())))
    if missing.any():
        raise ValueError(f"keep has the time {wanted[missing][0]}, which is not among the save times t")
    kept = np.unique(nearest)
    return frozenset(kept.tolist()), "times " + json.dumps(times[kept].tolist())
