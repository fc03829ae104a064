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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy.special import gammaln, ndtri

from wfr_pde.deadline import check_deadline

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Ints = np.ndarray[Any, np.dtype[np.intp]]
    Bools = np.ndarray[Any, np.dtype[np.bool_]]
    Box = tuple[Array, Array]
    LogDensity = Callable[[Array], Array]

REACH = 1e16  # nothing is looked for beyond this distance from the origin
HUGE = 1e200  # log-densities beyond this would overflow in the quadratic models
RUNAWAY = 1e12  # a density whose mode or bulk lies further out than this has none
POINT = 1e-30  # steps of this length mean that the log-density is singular at a point, or ends there
WALL = 30.0  # the drop, in nats, that stands for "no density here" in a quadratic model
WIDE_TAIL = 1e-9  # modes are sought around a box of this tail, or a smaller one
N_ANYWHERE = (4096, 8192, 16384, 16384)  # points of the scans, in 1, 2, 3, 4 dimensions
N_INSIDE = (1024, 8192, 16384, 16384)
N_OUTSIDE = (4096, 32768, 65536, 65536)
FEW = 500  # starts that are climbed without choosing among them
MAX_MODES = 48
MAX_ROUNDS = 6  # of looking outside for further modes
FACE_ROUNDS = 24  # of following ridges that are found in the faces: |x| in 4D, with its kinks, has taken 16
N_RIDGES = 3  # ridges that are followed from slice to slice
SLICES = np.concatenate([[0.0], 0.5 * 4.0 ** np.arange(16)])  # first slices, in widths of the outermost mode
HEAVY_INDEX = 3.5  # tails P(|x| > r) ~ r^-index are refused below this index...
HEAVY_RATIO = 30.0  # ...if they also make the box so many times wider than the bulk


def find_box(target: Target, tail: float = 1e-12) -> Box:
    """Box outside which `target` has a relative mass below `tail`.

    Only values of the log-density are used (moments and samples, where the target knows them, serve as
    further starting points). Values -inf and NaN count as no density. The same input gives the same box.

    A mode much narrower than its distance from the rest can stay hidden: one of some thousand points has to
    fall into its region of attraction, which is about as large as that distance times the ratio of widths.

    Parameters
    ----------
    target : Target
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
    bulk = _find_bulk(density, modes)
    for n_round in range(MAX_ROUNDS):
        box = _find_faces(density, modes.held(bulk, wide), bulk, wide)
        more = _find_modes(density, *_points_outside(density, box))
        if n_round == 0:
            more = more.joined(_find_modes(density, *_points_inside(box)))
        more = more.select(more.unlike(modes) & more.matter(bulk, wide))
        modes, before = modes.joined(more), bulk
        bulk = _find_bulk(density, modes)
        if not np.any(more.reach_out(bulk, box, wide)) and abs(bulk.log_mass - before.log_mass) < 1.0:
            break
    else:
        raise ValueError(
            f"the search goes on finding mass outside of {_place(box[0])} to {_place(box[1])}, last at "
            f"{_place(more.x[0])}; {_remedy()}"
        )
    if tail > wide:
        box = _find_faces(density, modes.held(bulk, tail), bulk, tail)
    return box


def _first_modes(f: LogDensity, target: Target) -> _Modes:
    """The modes met from all over space, and then from all around the heaviest of them."""
    points, offsets = _first_points(target)
    modes = _find_modes(f, points, offsets)
    if modes.x.size == 0:
        raise ValueError(
            f"the log-density is finite at none of {len(points)} points tried at distances 1e-3 to 1e6 from "
            f"the origin (at {_place(points[0])} it is {_raw(target, points[0])}); {_remedy()}"
        )
    around = _offsets(target.ndim, 0.5, 1e4, len(points) // 2)
    for centre in np.argsort(-modes.log_mass, kind="stable")[:2]:
        offsets = around @ modes.steps[centre]
        more = _find_modes(f, modes.x[centre] + offsets, offsets)
        modes = modes.joined(more.select(more.unlike(modes)))
    return modes


def _guarded(target: Target) -> LogDensity:
    """The log-density with NaN, ±huge values and places out of reach as -inf; shape (..., d) to (...)."""

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


# --- starting points ----------------------------------------------------------------------------------


def _quasi_random(n: int, dim: int) -> Array:
    """`n` evenly spread points of the unit cube: the additive sequence of Roberts (2018)."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dim + 1))  # the root of r^(dim+1) = r + 1, a generalised golden ratio
    return (0.5 + np.arange(1, n + 1)[:, None] * ratio ** -np.arange(1.0, dim + 1)) % 1.0


def _offsets(ndim: int, low: float, high: float, n: int) -> Array:
    """`n` vectors of lengths from `low` to `high`, all scales and directions alike, and some on the axes."""
    if ndim == 1:
        lengths = np.geomspace(low, high, n // 2)[:, None]
        return np.concatenate([lengths, -lengths])
    uniform = _quasi_random(n, ndim + 1)
    normal = ndtri(uniform[:, 1:])
    lengths = low * (high / low) ** uniform[:, :1]
    on_axes = np.geomspace(low, high, 40)[:, None, None] * np.vstack([np.eye(ndim), -np.eye(ndim)])
    scattered = lengths * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.concatenate([scattered, on_axes.reshape(-1, ndim)])


def _first_points(target: Target) -> tuple[Array, Array]:
    """Points (n, d) at all scales around the origin and where the target knows its mass; and their offsets.

    The offset of a point is its place relative to the centre of its scan. Its length is the scale there.
    """
    ndim = target.ndim
    points = [_offsets(ndim, 1e-3, 1e6, N_ANYWHERE[min(ndim, 4) - 1])]
    offsets = [points[0]]
    known = target.moments()
    if known is not None:
        spread = float(np.sqrt(np.max(np.diag(known[1]))))
        offsets.append(_offsets(ndim, 0.1 * spread, 100 * spread, 64))
        points.append(known[0] + offsets[-1])
    try:
        points.append(np.asarray(target.sample(64, rng=0), dtype=np.float64))
        offsets.append(points[-1] - np.mean(points[-1], axis=0))
    except (ValueError, NotImplementedError):  # no sampler is known: the other points have to do
        pass
    return np.concatenate(points), np.concatenate(offsets)


def _points_outside(f: LogDensity, box: Box) -> tuple[Array, Array]:
    """Points outside a box where the density falls towards the box: the way to a mode that was missed.

    They are sought at all distances from the faces. Also returns offsets, as `_first_points`.
    """
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    uniform = _quasi_random(N_OUTSIDE[min(middle.size, 4) - 1], middle.size + 1)
    normal = ndtri(uniform[:, 1:])
    normal /= np.max(np.abs(normal), axis=1, keepdims=True)
    beyond = 1e-3 * 1e6 ** uniform[:, :1]
    points = middle + half * (1 + beyond) * normal
    falls = f(middle + half * (1 + 0.98 * beyond) * normal) < f(points)
    return points[falls], (half * beyond * normal)[falls]


def _points_inside(box: Box) -> tuple[Array, Array]:
    """Points all over a box, and their offsets from its middle."""
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    offsets = half * (2 * _quasi_random(N_INSIDE[min(middle.size, 4) - 1], middle.size) - 1)
    return middle + offsets, offsets


def _peaks(points: Array, offsets: Array, values: Array) -> Ints:
    """Indices of the points that are higher than their neighbours (of all, if they are few), highest first."""
    n, ndim = points.shape
    if n <= FEW:
        top = np.arange(n)
    elif ndim == 1:
        order = np.argsort(points[:, 0], kind="stable")
        padded = np.concatenate([[-np.inf], values[order], [-np.inf]])
        top = order[(padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:])]
    else:
        from scipy.spatial import cKDTree  # slow to import, and not needed in one dimension

        # Neighbours in direction and in the logarithm of the distance: alike at all scales.
        lengths = np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-300)
        features = np.hstack([np.log(lengths), offsets / lengths])
        near = cKDTree(features).query(features, k=2 + 2 * ndim)[1]
        top = np.flatnonzero(values >= np.max(values[near], axis=1))
    top = top[np.isfinite(values[top])]
    return top[np.argsort(-values[top], kind="stable")]


# --- climbing -----------------------------------------------------------------------------------------


@cache
def _stencil(k: int) -> Array:
    """Offsets that determine a quadratic in k variables: ± each axis, then the sums of two axes."""
    eye = np.eye(k)
    pairs = [eye[i] + eye[j] for i, j in combinations(range(k), 2)]
    return np.vstack([eye, -eye, *pairs])


def _climb(f: LogDensity, x: Array, steps: Array, n_rounds: int, tol: float) -> tuple[Array, Array, Array, Bools]:
    """Local maxima of `f` from many starts at once: places (n, d), values (n,), steps (n, k, d), settled (n,).

    The rows of `steps` span the directions in which a start may move. They serve as stencil of a quadratic
    model, as trust region and as whitening in one: a row's length becomes that at which `f` drops by about
    half a nat, so that at a Gaussian mode stepsᵀ·steps is the covariance.
    """
    x, steps, values = x.copy(), steps.copy(), f(x)
    settled = np.full(len(x), steps.shape[1] == 0)
    for _ in range(n_rounds):
        moving = np.flatnonzero(~settled)
        if moving.size == 0:
            break
        x[moving], values[moving], steps[moving], settled[moving] = _climb_once(
            f, x[moving], values[moving], steps[moving], tol
        )
    return x, values, steps, settled


def _climb_once(f: LogDensity, x: Array, value: Array, steps: Array, tol: float) -> tuple[Array, Array, Array, Bools]:
    """One round of `_climb`: fit a quadratic, go to the best of the points it proposes, rescale the steps."""
    k = steps.shape[1]
    around = x[:, None, :] + _stencil(k) @ steps
    raw = f(around)
    defined = np.isfinite(value)
    model = np.where(np.isfinite(raw), raw, value[:, None] - WALL)
    change = np.where(defined[:, None], model, 0.0) - np.where(defined, value, 0.0)[:, None]
    slope = (change[:, :k] - change[:, k : 2 * k]) / 2
    curvature = np.empty((len(x), k, k))
    curvature[:, range(k), range(k)] = change[:, :k] + change[:, k : 2 * k]
    for column, (i, j) in enumerate(combinations(range(k), 2), start=2 * k):
        curvature[:, i, j] = curvature[:, j, i] = change[:, column] - change[:, i] - change[:, j]
    bend, rotation = np.linalg.eigh(curvature)
    steps = np.swapaxes(rotation, 1, 2) @ steps  # from here on along the principal axes of the model
    slope = (np.swapaxes(rotation, 1, 2) @ slope[:, :, None])[:, :, 0]

    newton = slope / np.maximum(-bend, 1e-12)
    # Where the model is convex it has no maximum: follow the slope to the edge of the trust region.
    bounded = np.where(bend < 0, np.clip(newton, -3, 3), 3 * np.sign(slope))
    moves = bounded[:, None, :] * np.array([0.1, 0.3, 1.0, 3.0, 10.0])[:, None]
    moves = np.concatenate([moves, np.where(bend < 0, newton, bounded)[:, None, :]], axis=1)
    proposed = np.concatenate([x[:, None, :], around, x[:, None, :] + moves @ steps], axis=1)
    heights = np.concatenate([value[:, None], raw, f(proposed[:, 1 + raw.shape[1] :])], axis=1)
    best = np.argmax(heights, axis=1)
    rows = np.arange(len(x))
    reached = heights[rows, best]

    # Half the way, in logarithms, to the length where the drop is half a nat: the whole way would alternate
    # for ever between two lengths at a quartic mode. Growing is bounded as the model is not known outside.
    scale = np.clip(np.maximum(-bend, 1e-12) ** -0.25, 1 / 30, 4.0)
    gain = np.where(defined, reached - np.where(defined, value, 0.0), np.inf)
    settled = (gain < tol) & np.all(np.abs(np.log(scale)) < 0.25, axis=1)
    settled |= np.max(np.abs(steps), axis=(1, 2)) < POINT
    steps = _independent(steps * scale[:, :, None])
    return proposed[rows, best], reached, steps, settled


def _independent(steps: Array) -> Array:
    """The same steps (n, k, d), but within reach, and of full rank where rounding has made them parallel."""
    lengths = np.linalg.norm(steps, axis=2, keepdims=True)
    steps = steps / lengths
    lengths = np.minimum(lengths, REACH)
    cosines = steps @ np.swapaxes(steps, 1, 2)
    bad = np.flatnonzero(np.linalg.det(cosines) < 1e-6)
    steps = steps * lengths
    if bad.size:
        _, sizes, axes = np.linalg.svd(steps[bad], full_matrices=False)
        steps[bad] = np.maximum(sizes, 1e-10 * sizes[:, :1])[:, :, None] * axes
    return steps


# --- modes and mass -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Modes:
    """Local maxima: places (n, d), log-densities (n,), steps (n, d, d) of half a nat.

    `width` (n,) is the distance, in steps, of the shell around the mode that holds the most mass, `log_mass`
    (n,) its mass. Places that are not `settled` (n,) were still climbing: at a wall, or in a long valley.
    """

    x: Array
    value: Array
    steps: Array
    settled: Bools
    width: Array
    log_mass: Array

    def select(self, index: Any) -> _Modes:
        return _Modes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def joined(self, other: _Modes) -> _Modes:
        return _Modes(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__dataclass_fields__)
        )

    def matter(self, bulk: _Bulk, tail: float) -> Bools:
        """Which modes weigh more than the tail.

        A place on a slope may well lie in the tail, so it only counts if it is in the midst of the mass.
        """
        limit = np.where(self.settled, np.log(tail) - _margin(self.x.shape[1]), -5.0)
        return self.log_mass > bulk.log_mass + limit

    def held(self, bulk: _Bulk, tail: float) -> _Modes:
        """The modes that a box has to hold: the heaviest, and all that matter."""
        heaviest = np.arange(len(self.x)) == np.argmax(self.log_mass)
        return self.select(heaviest | self.matter(bulk, tail))

    def unlike(self, modes: _Modes) -> Bools:
        """Which of these modes are none of `modes`."""
        known = np.zeros(len(self.x), dtype=bool)
        for x, steps in zip(modes.x, modes.steps, strict=True):
            known |= np.linalg.norm((self.x - x) @ np.linalg.pinv(steps, rtol=1e-300), axis=1) < 1
        return ~known

    def reach_out(self, bulk: _Bulk, box: Box, tail: float) -> Bools:
        """Which modes have more than the tail outside of a box, were they Gaussian."""
        deviations = np.sqrt(2 * np.maximum(self.log_mass - bulk.log_mass - np.log(tail), 0.0))
        reach = deviations[:, None] * np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        slack = 0.02 * (box[1] - box[0])
        return np.any((self.x - reach < box[0] - slack) | (self.x + reach > box[1] + slack), axis=1)

    @property
    def covariance(self) -> Array:
        return np.swapaxes(self.steps, 1, 2) @ self.steps


def _find_modes(f: LogDensity, points: Array, offsets: Array) -> _Modes:
    """The modes into whose regions of attraction some of the points fall."""
    ndim = points.shape[1]
    values = f(points)
    top = _peaks(points, offsets, values)[: 2 * FEW]
    scale = np.maximum(np.linalg.norm(offsets[top], axis=1), POINT)
    steps = 0.02 * scale[:, None, None] * np.eye(ndim)
    # Most starts meet soon, so only few have to be carried on to the end.
    x, value, steps, _ = _climb(f, points[top], steps, n_rounds=10, tol=1e-3)
    keep = _distinct(x, value, steps, 8 * MAX_MODES)
    keep = keep[value[keep] >= np.max(value, initial=-np.inf) - 500]  # lost in a long valley, deep in a tail
    x, value, steps, settled = _climb(f, x[keep], steps[keep], n_rounds=60, tol=1e-3)
    keep = _distinct(x, value, steps, MAX_MODES)
    x, value, steps, settled = x[keep], value[keep], steps[keep], settled[keep]
    # Only the highest counts: lower ones may be lost on a plain far away.
    if value.size and (np.max(np.abs(x[0])) > RUNAWAY or value[0] > 10 * RUNAWAY):
        _refuse_rising(x[0], float(value[0]))
    return _Modes(x, value, steps, settled, *_shells(f, x, value, steps))


def _distinct(x: Array, value: Array, steps: Array, limit: int) -> Ints:
    """Indices of the highest of all points that lie within each other's steps, highest first."""
    order = np.argsort(-value, kind="stable")
    order = order[np.isfinite(value[order])]
    keep: list[int] = []
    while order.size and len(keep) < limit:
        first = int(order[0])
        keep.append(first)
        apart = (x[order] - x[first]) @ np.linalg.pinv(steps[first], rtol=1e-300)
        order = order[np.linalg.norm(apart, axis=1) > 1]
    return np.array(keep, dtype=np.intp)


def _shells(f: LogDensity, x: Array, value: Array, steps: Array) -> tuple[Array, Array]:
    """Distance, in steps, of the heaviest shell around each mode, and the log-mass of that shell.

    Where the density rises again along a ray, towards another mode, it is taken as constant.
    """
    n, ndim = x.shape
    corners = np.array(list(product([-1.0, 1.0], repeat=ndim))) / np.sqrt(ndim)
    rays = np.unique(np.vstack([np.eye(ndim), -np.eye(ndim), corners]), axis=0) @ steps
    # Ratio 4, or more where the steps have shrunk to a point: the shells have to go on beyond RUNAWAY.
    lengths = np.max(np.abs(rays), axis=(1, 2))
    ratio = np.maximum(4.0, (1e3 * RUNAWAY / lengths) ** (1 / 28))[:, None]
    radii = 0.125 * ratio ** np.arange(30)
    values = f(x[:, None, None, :] + radii[:, :, None, None] * rays[:, None])
    values = np.minimum.accumulate(np.minimum(values, value[:, None, None]), axis=1)
    log_volume = np.linalg.slogdet(steps)[1][:, None] + ndim * np.log(radii) + _log_sphere(ndim)
    masses = np.logaddexp.reduce(values, axis=2) - np.log(values.shape[2]) + log_volume
    masses += np.log(np.log(ratio))
    heaviest = np.argmax(masses, axis=1)
    width, log_mass = radii[np.arange(n), heaviest], masses[np.arange(n), heaviest]
    if n:
        top = int(np.argmax(log_mass))
        ray = int(np.argmax(values[top, heaviest[top]]))
        shift = width[top] * rays[top, ray]
        if np.max(np.abs(shift)) > RUNAWAY:
            _refuse_heavy(x[top] + shift, shift, values[top, heaviest[top], ray], None)
    return width, log_mass


def _log_sphere(ndim: int) -> float:
    """Logarithm of the surface of the unit sphere in R^d."""
    return float(np.log(2) + ndim / 2 * np.log(np.pi) - gammaln(ndim / 2))


@dataclass(frozen=True, eq=False)
class _Bulk:
    """Where most of the mass is: log of the whole mass, and per axis median and spread (half of 68 %)."""

    log_mass: float
    median: Array
    spread: Array


def _find_bulk(f: LogDensity, modes: _Modes) -> _Bulk:
    """Importance sampling from Gaussians at the modes; what they miss makes the mass an under-estimate."""
    ndim = modes.x.shape[1]
    modes = modes.select(np.argsort(-modes.log_mass, kind="stable")[:24])
    wide = modes.select(modes.width > 2 * np.sqrt(ndim))
    x = np.concatenate([modes.x, modes.x, wide.x])
    widened = wide.steps * (wide.width / np.sqrt(ndim))[:, None, None]
    steps = np.concatenate([modes.steps, 3 * modes.steps, widened])

    normal = ndtri(_quasi_random(64 * ndim, ndim))
    points = (x[:, None, :] + normal @ steps).reshape(-1, ndim)
    inverse = np.linalg.inv(steps)
    scaled = np.einsum("md,mdk->mk", x, inverse)
    distance = np.stack([points @ a - b for a, b in zip(inverse, scaled, strict=True)])
    log_proposals = -0.5 * np.sum(distance**2, axis=2) - np.linalg.slogdet(steps)[1][:, None]
    log_proposal = np.logaddexp.reduce(log_proposals, axis=0) - np.log(len(x)) - ndim / 2 * np.log(2 * np.pi)
    log_weights = f(points) - log_proposal
    log_mass = float(np.logaddexp.reduce(log_weights) - np.log(len(points)))

    weights = np.exp(log_weights - np.max(log_weights))
    order = np.argsort(points, axis=0)
    cumulative = np.cumsum(weights[order], axis=0) / np.sum(weights)
    quantiles = np.array(
        [[points[order[np.searchsorted(cumulative[:-1, i], q), i], i] for i in range(ndim)] for q in (0.16, 0.5, 0.84)]
    )
    # One point may carry all the weight; the heaviest mode is at least as wide as its steps.
    spread = np.maximum((quantiles[2] - quantiles[0]) / 2, np.sqrt(np.diag(modes.covariance[0])))
    return _Bulk(log_mass, quantiles[1], spread)


# --- faces --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Slices:
    """Slices of constant coordinate, in front of F faces, L of them each, sorted outwards.

    `place` (F, L) is the coordinate times the sign of the face, so that it always grows outwards; `x`
    (F, L, R, d), `steps` (F, L, R, d-1, d) are the ridges; `log_mass` (F, L) is the integral of the slice.
    """

    place: Array
    x: Array
    steps: Array
    log_mass: Array

    def joined(self, other: _Slices) -> _Slices:
        names = list(self.__dataclass_fields__)
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)], axis=1) for name in names}
        order = np.argsort(both["place"], axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        return _Slices(*(both[name][rows, order] for name in names))


def _axes(ndim: int) -> tuple[Ints, Array]:
    """Axis and sign of each of the 2 d faces: lower and upper in turn."""
    return np.repeat(np.arange(ndim), 2), np.tile([-1.0, 1.0], ndim)


def _margin(ndim: int) -> float:
    """Nats by which the mass beyond a face has to lie below the tail: a share for each face, and safety."""
    # One nat for the mass, half a nat per axis for volumes of slices that are not Gaussian.
    return float(np.log(2 * ndim)) + 1.0 + 0.5 * ndim


def _find_faces(f: LogDensity, modes: _Modes, bulk: _Bulk, tail: float) -> tuple[Array, Array]:
    """Move each face to where the mass beyond it is the tail's share for one face, with a margin."""
    ndim = bulk.median.size
    limit = bulk.log_mass + np.log(tail) - _margin(ndim)
    slices = _first_slices(f, modes, bulk)
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
        slices = slices.joined(_next_slices(f, slices, close_by))
        beyond = np.where(slices.place > place[:, None], _log_tails(slices), -np.inf)
        if np.all(beyond <= limit):
            break
    else:
        raise ValueError(
            f"the mass beyond {_place(-place[0::2])} to {_place(place[1::2])} cannot be bounded: the log-density is "
            f"too rough there; {_remedy()}"
        )
    _refuse_heavy_tails(f, slices, place, bulk)
    return -place[0::2], place[1::2]


def _refined(f: LogDensity, slices: _Slices, limit: float, tail: float) -> tuple[_Slices, Array]:
    """Add slices until it is known to 1 % of the box where the mass beyond is `limit`; and those places (F,)."""
    faces = np.arange(len(slices.place))
    for _ in range(60):
        tails = _log_tails(slices)
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
        slices = slices.joined(_next_slices(f, slices, np.hstack([within, beyond])))
    return slices, np.where(defined, high, low)


def _searched_faces(f: LogDensity, place: Array) -> _Slices:
    """The slices at the faces, one each, climbed from points all over them."""
    ndim, lower, upper = len(place) // 2, -place[0::2], place[1::2]
    axis, _ = _axes(ndim)
    points = lower + (upper - lower) * _quasi_random(16 * ndim, ndim)
    x = np.broadcast_to(points, (2 * ndim, 1, *points.shape))
    across = 0.05 * np.diag(upper - lower)
    steps = np.stack([np.delete(across, i, axis=0) for i in axis])[:, None, None]
    steps = np.broadcast_to(steps, (*x.shape[:3], ndim - 1, ndim))
    return _climb_slices(f, place[:, None], x, steps)


def _retraced(f: LogDensity, slices: _Slices, found: _Slices, bulk: _Bulk) -> _Slices:
    """The slices climbed again, also from where the ridges in `found` (one slice each) meet them."""
    axis, sign = _axes(bulk.median.size)
    centre = (sign * bulk.median[axis])[:, None]
    reach = ((slices.place - centre) / (found.place - centre))[:, :, None, None]
    on_ray = bulk.median + reach * (found.x - bulk.median)
    x = np.concatenate([slices.x, on_ray, np.broadcast_to(found.x, on_ray.shape)], axis=2)
    steps = np.broadcast_to(found.steps, (*on_ray.shape[:3], *found.steps.shape[3:]))
    return _climb_slices(f, slices.place, x, np.concatenate([slices.steps, steps, steps], axis=2))


def _first_slices(f: LogDensity, modes: _Modes, bulk: _Bulk) -> _Slices:
    """Slices at geometric distances from the outermost mode, each climbed from the modes that it cuts best."""
    axis, sign = _axes(modes.x.shape[1])
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
    slices = _climb_slices(f, place, x, np.concatenate([steps, steps], axis=2))
    # A ridge found in one slice may be the way to a higher one in the next.
    left, right = np.maximum(np.arange(len(SLICES)) - 1, 0), np.minimum(np.arange(len(SLICES)) + 1, 16)
    x = np.concatenate([slices.x, slices.x[:, left], slices.x[:, right]], axis=2)
    steps = np.concatenate([slices.steps, slices.steps[:, left], slices.steps[:, right]], axis=2)
    return _climb_slices(f, place, x, steps)


def _conditional_steps(steps: Array) -> Array:
    """Steps (n, d, d-1, d) within the slices along each axis, from the steps (n, d, d) of a mode."""
    n, ndim, _ = steps.shape
    result = np.zeros((n, ndim, ndim - 1, ndim))
    for i in range(ndim if ndim > 1 else 0):
        # A rotation of the steps whose first row alone leaves the slice; its other rows span it.
        rotation = np.linalg.qr(steps[:, :, i, None], mode="complete")[0]
        result[:, i] = np.swapaxes(rotation, 1, 2)[:, 1:] @ steps
        result[:, i, :, i] = 0.0
    return result


def _next_slices(f: LogDensity, slices: _Slices, place: Array) -> _Slices:
    """Slices at new places, climbed from the ridges of the slices on either side."""
    right = np.stack([np.searchsorted(old, new) for old, new in zip(slices.place, place, strict=True)])
    left, right = np.maximum(right - 1, 0), np.minimum(right, slices.place.shape[1] - 1)
    rows = np.arange(len(place))[:, None]
    # A slice where no density was found may have been missed: start from the last one before it instead.
    known = np.where(np.isfinite(slices.log_mass), np.arange(slices.place.shape[1]), 0)
    left = np.maximum.accumulate(known, axis=1)[rows, left]
    x = np.concatenate([slices.x[rows, left], slices.x[rows, right]], axis=2)
    steps = np.concatenate([slices.steps[rows, left], slices.steps[rows, right]], axis=2)
    return _climb_slices(f, place, x, steps)


def _climb_slices(f: LogDensity, place: Array, x: Array, steps: Array) -> _Slices:
    """Ridges of the slices at `place` (F, L), climbed from x (F, L, P, d); the best few are kept."""
    ndim, n_starts = x.shape[-1], x.shape[2]
    axis, sign = _axes(ndim)
    on_axis = np.arange(ndim) == axis[:, None, None, None]
    x = np.where(on_axis, (sign[:, None] * place)[:, :, None, None], x)
    shape = place.shape
    flat, value, steps, _ = _climb(
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
    return _Slices(
        place,
        flat.reshape(*shape, N_RIDGES, ndim),
        steps.reshape(*shape, N_RIDGES, ndim - 1, ndim),
        np.logaddexp.reduce(log_mass, axis=1).reshape(shape),
    )


def _repeated(x: Array, steps: Array) -> Bools:
    """Which of the points (n, P, d) lie within the steps of one that comes before it."""
    apart = x[:, :, None, :] - x[:, None, :, :]
    # Length in units of the steps: the least-norm z with z · steps = apart.
    inverse = np.linalg.pinv(steps)
    distance = np.linalg.norm(apart @ inverse, axis=3)
    earlier = np.tril(np.ones(distance.shape[1:], dtype=bool), k=-1)
    return np.any((distance < 1) & earlier, axis=2)


def _slice_mass(f: LogDensity, x: Array, value: Array, steps: Array) -> Array:
    """Log-integral of the density around a ridge, in its slice, by shells at doubling distances.

    Unlike Laplace's formula, which for a Gaussian it agrees with, it sees a wide foot under a peak.
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
    log_volume = 0.5 * np.linalg.slogdet(gram)[1] + _log_sphere(k)
    return np.logaddexp(core, np.logaddexp.reduce(shells, axis=-1)) + log_volume


def _log_tails(slices: _Slices) -> Array:
    """Log of the mass beyond each slice: the integral of straight pieces of the log-mass against the place."""
    before, after = slices.log_mass[:, :-1], slices.log_mass[:, 1:]
    length = np.diff(slices.place, axis=1)
    higher, lower = np.maximum(before, after), np.minimum(before, after)
    drop = np.where(np.isfinite(lower), higher - np.where(np.isfinite(lower), lower, 0.0), 0.0)
    mean = -np.expm1(-np.maximum(drop, 1e-9)) / np.maximum(drop, 1e-9)
    pieces = higher + np.log(np.maximum(length, 1e-300) * mean)
    beyond = slices.log_mass[:, -1:] + np.log(slices.place[:, -1:] - slices.place[:, :1])
    return np.logaddexp.accumulate(np.concatenate([pieces, beyond], axis=1)[:, ::-1], axis=1)[:, ::-1]


# --- refusals -----------------------------------------------------------------------------------------


def _refuse_heavy_tails(f: LogDensity, slices: _Slices, place: Array, bulk: _Bulk) -> None:
    """Refuse a box that is so wide only because the tails fall like a small power of the distance."""
    axis, sign = _axes(bulk.median.size)
    distance = place - sign * bulk.median[axis]
    for face in np.flatnonzero(distance > HEAVY_RATIO * bulk.spread[axis]):
        # Log-normal tails, too, look like a power nearby; a thousand times further out they do not.
        far = int(np.searchsorted(slices.place[face], slices.place[face, 0] + 1e3 * distance[face]))
        far = min(far, slices.place.shape[1] - 1)
        if _index(slices, int(face), far) < HEAVY_INDEX:
            _refuse_slices(f, slices, int(face), far)


def _index(slices: _Slices, face: int, level: int) -> float:
    """The power in P(beyond r) ~ r^-index, from a slice and the one before it."""
    mass = slices.log_mass[face, [level - 1, level]]
    if not np.all(np.isfinite(mass)):
        return np.inf
    distance = slices.place[face, [level - 1, level]] - slices.place[face, 0]
    return float((mass[0] - mass[1]) / np.log(distance[1] / distance[0]) - 1.0)


def _refuse_slices(f: LogDensity, slices: _Slices, face: int, level: int) -> NoReturn:
    level %= slices.place.shape[1]
    x = slices.x[face, level, 0]
    axis, sign = _axes(x.size)
    shift = sign[face] * np.eye(x.size)[axis[face]]
    _refuse_heavy(x, shift, float(f(x)), _index(slices, face, level))


def _refuse_heavy(x: Array, shift: Array, value: float, index: float | None) -> NoReturn:
    what = "the density falls too slowly to be integrable"
    if index is not None and index > 0:
        what = f"the mass beyond a distance r falls only like r^-{index:.2g}, too slowly for a grid"
    raise ValueError(f"{_towards(shift)} {what} (log-density {value:.6g} at {_place(x)}); {_remedy()}")


def _refuse_rising(x: Array, value: float) -> NoReturn:
    where = _towards(x) if np.max(np.abs(x)) > RUNAWAY else "near a point"
    raise ValueError(
        f"{where} the log-density rises without bound ({value:.6g} at {_place(x)}), "
        f"so it is not integrable; {_remedy()}"
    )


def _towards(shift: Array) -> str:
    axis = int(np.argmax(np.abs(shift)))
    return f"on the {'upper' if shift[axis] > 0 else 'lower'} side of axis {axis}"


def _place(x: Array) -> str:
    return f"x = ({', '.join(f'{value:.6g}' for value in x)})"


def _remedy() -> str:
    return (
        "correct the target, or, if its mass is known to lie in a box, name that box: give "
        "support=(lower, upper) to the target or build Grid(lower=..., upper=...)"
    )


def _raw(target: Target, x: Array) -> str:
    """The target's own answer at one point, as text."""
    with np.errstate(all="ignore"):  # the answer is shown, warnings about it would say less
        return f"{float(np.asarray(target.log_density(x))):.6g}"
