"""Local maxima of a log-density from many starts at once, by a trust-region method without derivatives."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.types import Bools, LogDensity

REACH = 1e16  # largest coordinate that is looked at; squares of it and of its differences are far from overflow
POINT = 1e-30  # length of steps at which a climb ends: the log-density is singular at a point, or ends there
# of the second difference: a larger slope at a maximum belongs to a jump; 1/2 would be a drop on one side alone
ONE_SIDED = 0.4
WALL = 30.0  # drop in nats that stands for "no density here" in a quadratic model: large beside the half nat of a step


@cache
def _stencil(k: int) -> Array:
    """Return offsets that determine a quadratic in k variables: ± each axis, then the sums of two axes."""
    eye = np.eye(k)
    pairs = [eye[i] + eye[j] for i, j in combinations(range(k), 2)]
    return np.vstack([eye, -eye, *pairs])


def climb(f: LogDensity, x: Array, steps: Array, n_rounds: int, tol: float) -> tuple[Array, Array, Array, Bools]:
    """Climb to local maxima of `f` from many starts at once.

    The rows of `steps` span the directions in which a start may move. They are used three times: as the stencil of a
    quadratic model, as its trust region, and to whiten it. The length of a row becomes the distance at which `f` drops
    by about half a nat, so that at a Gaussian mode stepsᵀ·steps is the covariance.

    Parameters
    ----------
    f : function of points (..., d) -> (...)
        Log-density; -inf where there is none.
    x : array (n, d)
        Starts.
    steps : array (n, k, d)
        First steps of each start.
    n_rounds : int
        Most rounds of fitting, moving and rescaling.
    tol : float
        A place has settled when a round gains less than this, in nats, and hardly changes the lengths of the steps.

    Returns
    -------
    tuple
        Places (n, d), values (n,), steps (n, k, d), and whether each place has settled (n,).
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
    """Make one round of `climb`: fit a quadratic, go to the best of the points it proposes, rescale the steps."""
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
    gain = np.where(defined, reached - np.where(defined, value, 0.0), np.inf)
    bend = _bend_inside(bend, slope, gain < tol)
    scale = np.clip(np.maximum(-bend, 1e-12) ** -0.25, 1 / 30, 4.0)
    settled = (gain < tol) & np.all(np.abs(np.log(scale)) < 0.25, axis=1)
    settled |= np.max(np.abs(steps), axis=(1, 2)) < POINT
    steps = _independent(steps * scale[:, :, None])
    return proposed[rows, best], reached, steps, settled


def _bend_inside(bend: Array, slope: Array, at_top: Bools) -> Array:
    """Return second differences along principal axes; at a maximum beside a jump, from the smaller of the two drops.

    The drop across a jump stays as large when steps get shorter, so that steps would become ever shorter. At walls they
    should, as the density may be infinite there.
    """
    one_sided = at_top[:, None] & (bend > -WALL) & (np.abs(slope) > ONE_SIDED * -bend)
    one_sided &= np.abs(slope) <= -0.5 * bend
    return np.where(one_sided, bend + 2 * np.abs(slope), bend)


def _independent(steps: Array) -> Array:
    """Cut steps (n, k, d) to the reach, and make them of full rank where rounding has made them parallel."""
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
