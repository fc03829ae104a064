"""Slices of constant coordinate through a density, with the ridges in them and their masses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.climbing import climb
from wfr_pde.targets.box.modes import Bulk, Modes, log_sphere
from wfr_pde.targets.box.types import Bools, Ints, LogDensity

N_RIDGES = 3  # ridges of a slice that are followed to the next: those below the third are lost; time grows with it
# places of the first slices, in widths of the outermost mode: up to 5e8 of them, so that heavy tails are seen
SLICES = np.concatenate([[0.0], 0.5 * 4.0 ** np.arange(16)])


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of constant coordinate through a density, L of them in front of each of F faces, sorted outwards.

    `place` (F, L) is the coordinate times the sign of the face, so that it grows outwards. Every slice has up to R
    ridges, local maxima within the slice: `x` (F, L, R, d) is where they are, `steps` (F, L, R, d-1, d) their widths,
    as for `climb`. `log_mass` (F, L) is the logarithm of the integral over the slice.
    """

    place: Array
    x: Array
    steps: Array
    log_mass: Array

    def joined(self, other: Slices) -> Slices:
        """Return these slices and the others, sorted outwards."""
        names = list(self.__dataclass_fields__)
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)], axis=1) for name in names}
        order = np.argsort(both["place"], axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        return Slices(*(both[name][rows, order] for name in names))


def axes_of_faces(ndim: int) -> tuple[Ints, Array]:
    """Return axis and sign of each of the 2 d faces: lower and upper in turn."""
    return np.repeat(np.arange(ndim), 2), np.tile([-1.0, 1.0], ndim)


def first_slices(f: LogDensity, modes: Modes, bulk: Bulk) -> Slices:
    """Make slices at geometric distances from the outermost mode.

    The ridges of a slice are climbed from the modes that are expected to be highest in it.
    """
    axis, sign = axes_of_faces(modes.x.shape[1])
    covariance = modes.covariance
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    outermost = np.argmax(sign[:, None] * modes.x[:, axis].T, axis=1)
    start = np.maximum(sign * modes.x[outermost, axis], sign * bulk.median[axis])
    unit = np.maximum(spread[outermost, axis], 1e-3 * bulk.spread[axis])
    place = start[:, None] + unit[:, None] * SLICES

    shift = sign[:, None, None] * place[:, :, None] - modes.x[:, axis].T[:, None, :]
    predicted = modes.value - 0.5 * (shift / spread[:, axis].T[:, None, :]) ** 2
    best = np.argsort(-predicted, axis=2, kind="stable")[:, :, np.arange(3) % len(modes.value)]
    shift = np.take_along_axis(shift, best, axis=2)[..., None]
    # Once along the correlation with the other coordinates, once straight ahead.
    lean = (covariance / spread[:, :, None] ** 2)[best, axis[:, None, None]]
    ahead = np.eye(len(axis) // 2)[axis][:, None, None, :]
    x = np.concatenate([modes.x[best] + shift * lean, modes.x[best] + shift * ahead], axis=2)
    steps = _conditional_steps(modes.steps)[best, axis[:, None, None]]
    slices = climb_slices(f, place, x, np.concatenate([steps, steps], axis=2))
    # A ridge found in one slice may be the way to a higher one in the next.
    left, right = np.maximum(np.arange(len(SLICES)) - 1, 0), np.minimum(np.arange(len(SLICES)) + 1, 16)
    x = np.concatenate([slices.x, slices.x[:, left], slices.x[:, right]], axis=2)
    steps = np.concatenate([slices.steps, slices.steps[:, left], slices.steps[:, right]], axis=2)
    return climb_slices(f, place, x, steps)


def _conditional_steps(steps: Array) -> Array:
    """Return steps (n, d, d-1, d) within the slices along each axis, from the steps (n, d, d) of modes."""
    n, ndim, _ = steps.shape
    result = np.zeros((n, ndim, ndim - 1, ndim))
    for i in range(ndim if ndim > 1 else 0):
        # A rotation of the steps whose first row alone leaves the slice; its other rows span it.
        rotation = np.linalg.qr(steps[:, :, i, None], mode="complete")[0]
        result[:, i] = np.swapaxes(rotation, 1, 2)[:, 1:] @ steps
        result[:, i, :, i] = 0.0
    return result


def next_slices(f: LogDensity, slices: Slices, place: Array) -> Slices:
    """Make slices at new places, climbed from the ridges of the slices on either side."""
    right = np.stack([np.searchsorted(old, new) for old, new in zip(slices.place, place, strict=True)])
    left, right = np.maximum(right - 1, 0), np.minimum(right, slices.place.shape[1] - 1)
    rows = np.arange(len(place))[:, None]
    # A slice where no density was found may have been missed: start from the last one before it instead.
    known = np.where(np.isfinite(slices.log_mass), np.arange(slices.place.shape[1]), 0)
    left = np.maximum.accumulate(known, axis=1)[rows, left]
    x = np.concatenate([slices.x[rows, left], slices.x[rows, right]], axis=2)
    steps = np.concatenate([slices.steps[rows, left], slices.steps[rows, right]], axis=2)
    return climb_slices(f, place, x, steps)


def climb_slices(f: LogDensity, place: Array, x: Array, steps: Array) -> Slices:
    """Climb to the ridges of the slices at `place` (F, L) from x (F, L, P, d), and keep the best few."""
    ndim, n_starts = x.shape[-1], x.shape[2]
    axis, sign = axes_of_faces(ndim)
    on_axis = np.arange(ndim) == axis[:, None, None, None]
    x = np.where(on_axis, (sign[:, None] * place)[:, :, None, None], x)
    shape = place.shape
    flat, value, steps, _ = climb(
        f, x.reshape(-1, ndim), steps.reshape(x.size // ndim, ndim - 1, ndim), n_rounds=12, tol=0.02
    )
    flat, value = flat.reshape(-1, n_starts, ndim), value.reshape(-1, n_starts)
    steps = steps.reshape(len(value), n_starts, ndim - 1, ndim)

    best = np.argsort(-value, axis=1, kind="stable")
    rows = np.arange(len(best))[:, None]
    flat, value, steps = flat[rows, best], value[rows, best], steps[rows, best]
    # Take different ridges first, higher ones first among these.
    repeated = _repeated(flat, steps)
    best = np.argsort(repeated, axis=1, kind="stable")[:, :N_RIDGES]
    flat, value, steps, repeated = flat[rows, best], value[rows, best], steps[rows, best], repeated[rows, best]
    log_mass = np.where(repeated, -np.inf, _slice_mass(f, flat, value, steps))
    return Slices(
        place,
        flat.reshape(*shape, N_RIDGES, ndim),
        steps.reshape(*shape, N_RIDGES, ndim - 1, ndim),
        np.logaddexp.reduce(log_mass, axis=1).reshape(shape),
    )


def _repeated(x: Array, steps: Array) -> Bools:
    """Tell which of the points (n, P, d) lie within the steps of one that comes before it."""
    apart = x[:, :, None, :] - x[:, None, :, :]
    # Length in units of the steps: the least-norm z with z · steps = apart.
    inverse = np.linalg.pinv(steps)
    distance = np.linalg.norm(apart @ inverse, axis=3)
    earlier = np.tril(np.ones(distance.shape[1:], dtype=bool), k=-1)
    return np.any((distance < 1) & earlier, axis=2)


def _slice_mass(f: LogDensity, x: Array, value: Array, steps: Array) -> Array:
    """Integrate the density around a ridge, in its slice, over shells at doubling distances; returns the logarithm.

    For a Gaussian it agrees with Laplace's formula; unlike that, it sees a wide foot under a peak.
    """
    k = steps.shape[-2]
    if k == 0:
        return value
    radii = 0.5 * 2.0 ** np.arange(10)
    rays = np.concatenate([steps, -steps], axis=-2)
    values = f(x[..., None, None, :] + radii[:, None, None] * rays[..., None, :, :])
    # A ray that meets another ridge must not count that one's height at this one's distance.
    values = np.minimum.accumulate(np.minimum(values, value[..., None, None]), axis=-2)
    shells = np.logaddexp.reduce(values, axis=-1) - np.log(2 * k) + k * np.log(radii) + np.log(np.log(2))
    core = value + k * np.log(radii[0] / np.sqrt(2)) - np.log(k)
    gram = steps @ np.swapaxes(steps, -1, -2)
    log_volume = 0.5 * np.linalg.slogdet(gram)[1] + log_sphere(k)
    return np.logaddexp(core, np.logaddexp.reduce(shells, axis=-1)) + log_volume


def log_tails(slices: Slices) -> Array:
    """Integrate the mass beyond each slice, the log-mass being linear in between; returns logarithms (F, L)."""
    before, after = slices.log_mass[:, :-1], slices.log_mass[:, 1:]
    length = np.diff(slices.place, axis=1)
    higher, lower = np.maximum(before, after), np.minimum(before, after)
    drop = np.where(np.isfinite(lower), higher - np.where(np.isfinite(lower), lower, 0.0), 0.0)
    mean = -np.expm1(-np.maximum(drop, 1e-9)) / np.maximum(drop, 1e-9)
    pieces = higher + np.log(np.maximum(length, 1e-300) * mean)
    beyond = slices.log_mass[:, -1:] + np.log(slices.place[:, -1:] - slices.place[:, :1])
    return np.logaddexp.accumulate(np.concatenate([pieces, beyond], axis=1)[:, ::-1], axis=1)[:, ::-1]
