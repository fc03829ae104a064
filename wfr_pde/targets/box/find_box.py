"""A box that holds a target's mass, found from the values of its log-density alone.

The search goes in three steps, each in a few large batches of points.

1. *Modes*: points at all length scales, climbed by a trust-region method that needs no derivatives.
2. *Mass*: importance sampling from Gaussians fitted to the modes, at their own and at their widest scale.
3. *Faces*: far out along an axis the marginal density is that of the ridges in the slice (the profile)
   times the volume under them. Its integral from a face outwards is the mass that the face cuts off.

Then the outside is scanned for modes that were missed. Wherever an estimate may err, the margin makes the box
wider.
"""

from __future__ import annotations

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.climbing import REACH
from wfr_pde.targets.box.faces import find_faces
from wfr_pde.targets.box.modes import Modes, find_bulk, find_modes
from wfr_pde.targets.box.refusals import coordinates, raw_value, remedy
from wfr_pde.targets.box.starting_points import first_points, points_inside, points_outside, scattered_offsets
from wfr_pde.targets.box.types import Box, LogDensity, Searchable

HUGE = 1e200  # a log-density beyond it counts as none: it would overflow in the quadratic models
# modes are sought around a box of this tail, or of a smaller one: they are easier to meet around a wide box
WIDE_TAIL = 1e-9
# most rounds of looking outside for further modes; every one takes thousands of values of the log-density
MAX_ROUNDS = 6


def find_box(target: Searchable, tail: float = 1e-12) -> Box:
    """Find a box outside which `target` has a relative mass below `tail`.

    Only values of the log-density are used (moments and samples, where the target knows them, serve as
    further starting points). Values -inf and NaN count as no density. The same input gives the same box.

    A mode much narrower than its distance from the rest can stay hidden: one of some thousand points has to
    fall into its region of attraction, which is about as large as that distance times the ratio of widths.

    Parameters
    ----------
    target : Target, or anything with its `log_density`, `ndim`, `moments` and `sample`
        In 1 to 4 dimensions; its normalising constant need not be known.
    tail : float
        Mass that may lie outside, relative to the whole.

    Returns
    -------
    lower, upper : arrays (d,)

    Raises
    ------
    ValueError
        If the log-density is nowhere finite, rises without bound, or falls too slowly for any grid.
    """
    if not 0 < tail < 1:
        raise ValueError(f"tail={tail} must lie between 0 and 1, for example 1e-12")
    density = _guarded(target)
    modes = _first_modes(density, target)
    # Even if a narrow box is asked for, modes are easier to meet around a wide one.
    wide = min(tail, WIDE_TAIL)
    bulk = find_bulk(density, modes)
    for n_round in range(MAX_ROUNDS):
        box = find_faces(density, modes.held(bulk, wide), bulk, wide)
        more = find_modes(density, *points_outside(density, box))
        if n_round == 0:
            more = more.joined(find_modes(density, *points_inside(box)))
        more = more.select(more.unlike(modes) & more.matter(bulk, wide))
        modes, before = modes.joined(more), bulk
        bulk = find_bulk(density, modes)
        if not np.any(more.reach_out(bulk, box, wide)) and abs(bulk.log_mass - before.log_mass) < 1.0:
            break
    else:
        raise ValueError(
            f"the search goes on finding mass outside of {coordinates(box[0])} to {coordinates(box[1])}, last at "
            f"{coordinates(more.x[0])}; {remedy()}"
        )
    if tail > wide:
        box = find_faces(density, modes.held(bulk, tail), bulk, tail)
    return box


def _first_modes(f: LogDensity, target: Searchable) -> Modes:
    """Find modes from starts all over space, and then from starts around the heaviest of them."""
    points, offsets = first_points(target)
    modes = find_modes(f, points, offsets)
    if modes.x.size == 0:
        raise ValueError(
            f"the log-density is finite at none of {len(points)} points tried at distances 1e-3 to 1e6 from "
            f"the origin (at {coordinates(points[0])} it is {raw_value(target, points[0])}); {remedy()}"
        )
    around = scattered_offsets(target.ndim, 0.5, 1e4, len(points) // 2)
    for centre in np.argsort(-modes.log_mass, kind="stable")[:2]:
        offsets = around @ modes.steps[centre]
        more = find_modes(f, modes.x[centre] + offsets, offsets)
        modes = modes.joined(more.select(more.unlike(modes)))
    return modes


def _guarded(target: Searchable) -> LogDensity:
    """Return the log-density as a function (..., d) -> (...), -inf where it is NaN, huge or out of reach."""

    def density(points: Array) -> Array:
        check_deadline()
        flat = points.reshape(-1, points.shape[-1])
        # The search probes where a log-density overflows or takes the logarithm of a negative number:
        # that is expected, means "no density here", and is no concern of the caller.
        with np.errstate(all="ignore"):
            values = np.asarray(target.log_density(flat), dtype=np.float64)
            outside = np.any(~(np.abs(flat) <= REACH), axis=1) | ~(np.abs(values) < HUGE)
        return np.where(outside, -np.inf, values).reshape(points.shape[:-1])

    return density
