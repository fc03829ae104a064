"""Faces of a box: each is moved out until little enough mass is beyond it."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.modes import Bulk, Modes, margin
from wfr_pde.targets.box.refusals import coordinates, refuse_heavy, remedy
from wfr_pde.targets.box.slices import Slices, axes_of_faces, climb_slices, first_slices, log_tails, next_slices
from wfr_pde.targets.box.starting_points import quasi_random
from wfr_pde.targets.box.types import LogDensity

FACE_ROUNDS = 24  # most rounds of following ridges that are found in the faces: |x| in 4D, with its kinks, has taken 16
# tails P(|x| > r) ~ r^-index below this index are refused: at 3.5 a tail of 1e-12 begins at 2,700 widths of the bulk...
HEAVY_INDEX = 3.5
HEAVY_RATIO = 30.0  # ...but only if the box is so many times wider than the bulk; else a grid can hold it


def find_faces(f: LogDensity, modes: Modes, bulk: Bulk, tail: float) -> tuple[Array, Array]:
    """Move each face to where the mass beyond it is the tail's share of one face, with a safety margin.

    Returns the corners of the box, two arrays (d,).
    """
    ndim = bulk.median.size
    limit = bulk.log_mass + np.log(tail) - margin(ndim)
    slices = first_slices(f, modes, bulk)
    for _ in range(FACE_ROUNDS):
        slices, place = _refined(f, slices, limit, tail)
        known = np.max(np.where(slices.place == place[:, None], slices.log_mass, -np.inf), axis=1)
        # A low ridge that leads out of the midst of the mass starts at no mode: look for it in the faces.
        found = _searched_faces(f, place)
        if np.any(found.log_mass[:, 0] > known + 1.0):
            slices = _retraced(f, slices, found, bulk)
            continue
        # Ripples of the density may have hidden between the slices: look closely, just beyond the faces.
        width = np.repeat(np.sum(place.reshape(-1, 2), axis=1), 2)
        close_by = place[:, None] + width[:, None] * 0.1 * (np.arange(1, 33) / 32) ** 2
        slices = slices.joined(next_slices(f, slices, close_by))
        beyond = np.where(slices.place > place[:, None], log_tails(slices), -np.inf)
        if np.all(beyond <= limit):
            break
    else:
        raise ValueError(
            f"the mass beyond {coordinates(-place[0::2])} to {coordinates(place[1::2])} cannot be bounded: the "
            f"log-density is too rough there; {remedy()}"
        )
    _refuse_heavy_tails(f, slices, place, bulk)
    return -place[0::2], place[1::2]


def _refined(f: LogDensity, slices: Slices, limit: float, tail: float) -> tuple[Slices, Array]:
    """Add slices until the place where the mass beyond is `limit` is known to 1 % of the box.

    Returns the slices, and that place in front of each face (F,).
    """
    faces = np.arange(len(slices.place))
    for _ in range(60):
        tails = log_tails(slices)
        if np.any(tails[:, -1] > limit):
            face = int(np.argmax(tails[:, -1] > limit))
            _refuse_slices(f, slices, face, -1)
        # The outermost slice that cuts off too much, and the next one outwards.
        inner = np.max(np.where(tails > limit, np.arange(tails.shape[1]), 0), axis=1)
        low, high = slices.place[faces, inner], slices.place[faces, inner + 1]
        defined = np.isfinite(slices.log_mass[faces, inner + 1])
        width = np.repeat(np.sum(high.reshape(-1, 2), axis=1), 2)
        # Where the density ends at a wall, its place is wanted exactly, from the inside.
        exact = np.maximum(0.01 * tail * width, 2 * np.spacing(np.abs(low)))
        close = np.where(defined, 1e-2 * width, exact)
        if np.all(high - low <= close):
            break
        after = slices.place[faces, np.minimum(inner + 2, tails.shape[1] - 1)]
        after = np.clip(after, high + 0.2 * (high - low), high + 2 * (high - low))
        within = low[:, None] + (high - low)[:, None] * np.arange(1, 7) / 7
        beyond = high[:, None] + (after - high)[:, None] * np.array([0.2, 0.5, 0.8])
        slices = slices.joined(next_slices(f, slices, np.hstack([within, beyond])))
    return slices, np.where(defined, high, low)


def _searched_faces(f: LogDensity, place: Array) -> Slices:
    """Return one slice at each face, climbed from points all over that face."""
    ndim, lower, upper = len(place) // 2, -place[0::2], place[1::2]
    axis, _ = axes_of_faces(ndim)
    points = lower + (upper - lower) * quasi_random(16 * ndim, ndim)
    x = np.broadcast_to(points, (2 * ndim, 1, *points.shape))
    across = 0.05 * np.diag(upper - lower)
    steps = np.stack([np.delete(across, i, axis=0) for i in axis])[:, None, None]
    steps = np.broadcast_to(steps, (*x.shape[:3], ndim - 1, ndim))
    return climb_slices(f, place[:, None], x, steps)


def _retraced(f: LogDensity, slices: Slices, found: Slices, bulk: Bulk) -> Slices:
    """Climb the slices again, also from where the ridges in `found`, one slice each, run through them."""
    axis, sign = axes_of_faces(bulk.median.size)
    centre = (sign * bulk.median[axis])[:, None]
    reach = ((slices.place - centre) / (found.place - centre))[:, :, None, None]
    on_ray = bulk.median + reach * (found.x - bulk.median)
    x = np.concatenate([slices.x, on_ray, np.broadcast_to(found.x, on_ray.shape)], axis=2)
    steps = np.broadcast_to(found.steps, (*on_ray.shape[:3], *found.steps.shape[3:]))
    return climb_slices(f, slices.place, x, np.concatenate([slices.steps, steps, steps], axis=2))


def _refuse_heavy_tails(f: LogDensity, slices: Slices, place: Array, bulk: Bulk) -> None:
    """Refuse a box that is so wide only because the tails fall like a small power of the distance."""
    axis, sign = axes_of_faces(bulk.median.size)
    distance = place - sign * bulk.median[axis]
    for face in np.flatnonzero(distance > HEAVY_RATIO * bulk.spread[axis]):
        # Log-normal tails, too, look like a power nearby; a thousand times further out they do not.
        far = int(np.searchsorted(slices.place[face], slices.place[face, 0] + 1e3 * distance[face]))
        far = min(far, slices.place.shape[1] - 1)
        if _index(slices, int(face), far) < HEAVY_INDEX:
            _refuse_slices(f, slices, int(face), far)


def _index(slices: Slices, face: int, level: int) -> float:
    """Return the power in P(beyond r) ~ r^-index, from a slice and the one before it."""
    mass = slices.log_mass[face, [level - 1, level]]
    if not np.all(np.isfinite(mass)):
        return np.inf
    distance = slices.place[face, [level - 1, level]] - slices.place[face, 0]
    return float((mass[0] - mass[1]) / np.log(distance[1] / distance[0]) - 1.0)


def _refuse_slices(f: LogDensity, slices: Slices, face: int, level: int) -> NoReturn:
    level %= slices.place.shape[1]
    x = slices.x[face, level, 0]
    axis, sign = axes_of_faces(x.size)
    shift = sign[face] * np.eye(x.size)[axis[face]]
    refuse_heavy(x, shift, float(f(x)), _index(slices, face, level))
