"""Jump rates of the finite-volume chain: a Markov jump process on the cells in detailed balance with pi."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid


def scharfetter_gummel(rise: Array) -> Array:
    """Evaluate the Bernoulli function B(z) = z / (e^z - 1) of the rise z of V.

    Scharfetter and Gummel (1969), doi:10.1109/T-ED.1969.16566; Chang and Cooper (1970),
    doi:10.1016/0021-9991(70)90001-X.
    """
    size = np.abs(rise)
    small = size < 1e-300
    downhill = np.where(small, 1.0, size / -np.expm1(-np.where(small, 1.0, size)))  # B(-|z|)
    return np.where(rise > 0, downhill * np.exp(-size), downhill)  # B(z) = B(-z) e^-z


def square_root(rise: Array) -> Array:
    """Evaluate e^(-z/2) of the rise z of V, the square-root approximation.

    Lie, Fackeldey and Weber (2013), doi:10.1137/120874485; Heida (2018), doi:10.1142/S0218202518500562.
    """
    with np.errstate(over="ignore"):
        return np.exp(-0.5 * rise)


def log_scharfetter_gummel(rise: Array) -> Array:
    """Evaluate log(z / (e^z - 1)) of the rise z of V, also where the Bernoulli function itself underflows."""
    size = np.maximum(np.abs(rise), 1e-300)
    return np.log(size) - np.log(-np.expm1(-size)) - np.maximum(rise, 0.0)


# values of the argument `flux`: weight functions b of the rise of V, and their logarithms where b underflows
FLUXES = {"scharfetter-gummel": scharfetter_gummel, "square-root": square_root}
LOG_FLUXES = {"scharfetter-gummel": log_scharfetter_gummel, "square-root": lambda rise: -0.5 * rise}
UNDERFLOW = 1e-290  # rates below have lost digits, or are zero
BESIDE_JOINT = 8  # centres of a segment from which V is continued by one cell beyond it: of that order in dx
MOST_BEND = 4.0  # largest second differences of V that the continuation may bend by: more where cells do not resolve V


def face_distances(axis: Axis) -> Array:
    """Return the distances (n - 1,) between neighbouring cell centres; on a periodic axis (n,), the wrap last."""
    inner = np.diff(axis.centres)
    if not axis.periodic:
        return inner
    wrap = (axis.edges[-1] - axis.centres[-1]) + (axis.centres[0] - axis.edges[0])
    return np.append(inner, wrap)


def jump_rates(grid: Grid, log_pi: Array, axis: int, flux: str) -> tuple[Array, Array]:
    """Compute the rates from every cell to its lower and to its upper neighbour along one axis, for diffusivity 1.

    With w the cell widths, d the distances of their centres and b the weight function of the flux,
    r(i -> j) = b(V_j - V_i) / (d_ij w_i); b(z) = b(-z) e^-z makes w_i pi_i r(i -> j) symmetric. The generator
    acts on f = mu/pi by (L f)_i = Σ_j r(i -> j) (f_j - f_i).

    At a joint of the axis V may have a kink or a jump: the two halves of the distance are resistances in series,
    see `_across_joint`.

    Parameters
    ----------
    grid : Grid
    log_pi : NumPy array of shape grid.shape
        -V up to a constant.
    axis : int
    flux : str
        A key of `FLUXES`.

    Returns
    -------
    down, up : arrays of shape grid.shape
        Zero through no-flux walls; around the wrap of a periodic axis.

    Raises
    ------
    ValueError
        If a rate overflows.
    """
    weight = FLUXES[flux]
    with np.errstate(under="ignore"):
        down, up, rise = _rates_by(weight, np.divide, grid, log_pi, axis, 0.0)
        for i, j, *logs in _joint_rates(grid, log_pi, axis, flux):
            up[i], down[j] = np.exp(logs[0]), np.exp(logs[1])
    _check_finite(rise, grid.axes[axis], down, up, flux)
    return down, up


def log_jump_rates(grid: Grid, log_pi: Array, axis: int, flux: str) -> tuple[Array, Array]:
    """Compute the logarithms of the `jump_rates`, which do not underflow where V is steep; -inf through walls."""
    down, up, _ = _rates_by(LOG_FLUXES[flux], lambda a, b: a - np.log(b), grid, log_pi, axis, -np.inf)
    for i, j, *logs in _joint_rates(grid, log_pi, axis, flux):
        up[i], down[j] = logs
    return down, up


Index = tuple[Any, ...]


def _joint_rates(grid: Grid, log_pi: Array, axis: int, flux: str) -> list[tuple[Index, Index, Array, Array]]:
    """Return for every joint of an axis the indices of the cells below and above it, and the logarithms of the rates.

    Where there are joints, the wrap of a periodic axis is one of them.
    """
    cells, potential = grid.axes[axis], -np.moveaxis(log_pi, axis, 0)
    if not cells.joints:
        return []
    pairs = list(zip(cells.segments[:-1], cells.segments[1:], strict=True))
    if cells.periodic:
        pairs.append((cells.segments[-1], cells.segments[0]))
    found = []
    for below, above in pairs:
        low, high = (tuple([slice(None)] * axis + [k]) for k in (below.stop - 1, above.start))
        found.append((low, high, *_across_joint(cells, potential, below, above, flux)))
    return found


def _across_joint(axis: Axis, potential: Array, below: slice, above: slice, flux: str) -> tuple[Array, Array]:
    """Return logarithms of the rates up and down between the cells beside a joint; `potential` has the axis first.

    A segment is continued by one cell beyond the joint, of its own V. With R = R_1 + R_2 the resistance that the flux
    gives to the distance from its last centre to that of the continued cell, R_1 of it the half up to the joint,

        F = (f_above - f_below) / (R_1 of the segment below + R_1 of the segment above).

    This is what is left of: both segments with the flux of everywhere else and a value of f in the continued cell,
    f at the joint interpolated between the two centres with the weights R_2 and R_1, f and F the same on both
    sides. All of that is unchanged if the direction along a segment is turned, so that the error has even powers of dx
    only, up to the error of the continuation, of order `BESIDE_JOINT`.
    """
    low, high = below.stop - 1, above.start
    to_low = _half_resistance(axis, potential, below, True, flux)
    to_high = _half_resistance(axis, potential, above, False, flux)
    rise = potential[high] - potential[low]
    up = -np.logaddexp(to_low, to_high + rise) - np.log(axis.widths[low])
    down = -np.logaddexp(to_low - rise, to_high) - np.log(axis.widths[high])
    return up, down


def _half_resistance(axis: Axis, potential: Array, cells: slice, at_top: bool, flux: str) -> Array:
    """Return log of pi times the resistance between the centre beside a joint and the joint, from one segment alone."""
    count = min(BESIDE_JOINT, cells.stop - cells.start)
    if at_top:
        nearest, joint = slice(cells.stop - count, cells.stop), axis.edges[cells.stop]
    else:
        nearest, joint = slice(cells.start, cells.start + count), axis.edges[cells.start]
    turn = 1 if at_top else -1
    distances = turn * (joint - axis.centres[nearest])[::turn]  # of the centres, the nearest last
    half = distances[-1]
    beyond = -_continued(distances) if axis.smooth else half
    rise = _continued(potential[nearest][::turn]) - potential[nearest][::turn][-1]
    share = half / (half + beyond) if flux == "scharfetter-gummel" else 1.0
    return np.asarray(np.log(half) - LOG_FLUXES[flux](share * rise))


def _continued(values: Array) -> Array:
    """Extrapolate the values along the first axis by one place, by the polynomial through all of them.

    Where the values do not look smooth it stays near the straight line through the last two.
    """
    count = len(values)
    weights = [(-1) ** (k + 1) * math.comb(count, k) for k in range(count, 0, -1)]
    following = np.tensordot(np.array(weights, dtype=np.float64), values, axes=1)
    if count < 3:
        return np.asarray(following)
    straight = 2 * values[-1] - values[-2]
    bend = MOST_BEND * np.abs(np.diff(values, 2, axis=0)).max(axis=0)
    return np.asarray(np.clip(following, straight - bend, straight + bend))


def _rates_by(
    weight: Callable[[Array], Array],
    divide: Callable[[Array, Array], Array],
    grid: Grid,
    log_pi: Array,
    axis: int,
    none: float,
) -> tuple[Array, Array, Array]:
    """Return the rates down and up, or their logarithms, and the rises of V from cell to cell along the (last) axis."""
    cells = grid.axes[axis]
    lines = np.moveaxis(log_pi, axis, -1)
    distance = face_distances(cells)
    rise = lines[..., :-1] - lines[..., 1:]  # of V, upwards
    if cells.periodic:
        rise = np.concatenate([rise, lines[..., -1:] - lines[..., :1]], axis=-1)
    up, down = np.full(lines.shape, none), np.full(lines.shape, none)
    up[..., : rise.shape[-1]] = divide(weight(rise), distance)
    into = divide(weight(-rise), distance)  # from the cell above a face down through it
    if cells.periodic:
        down[...] = np.roll(into, 1, axis=-1)
    else:
        down[..., 1:] = into
    down, up = divide(down, cells.widths), divide(up, cells.widths)
    return np.moveaxis(down, -1, axis), np.moveaxis(up, -1, axis), rise


def _check_finite(rise: Array, cells: Axis, down: Array, up: Array, flux: str) -> None:
    if np.isfinite(down).all() and np.isfinite(up).all():
        return
    face = int(np.unravel_index(np.argmax(np.abs(rise)), rise.shape)[-1])
    remedy = 'flux="scharfetter-gummel"' if flux == "square-root" else "a smoother target"
    raise ValueError(
        f"the jump rates of the {flux} flux overflow: V jumps by {np.abs(rise).max():.4g} nats from one cell to the "
        f"next along {cells.name}, near {cells.edges[face + 1]:.6g}; use more cells there, or {remedy}"
    )
