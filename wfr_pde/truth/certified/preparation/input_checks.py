"""Checks of what is given to `ground_truth`: a box that cuts mass, axes that do not wrap, digits lost to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.typing import Array, Mask
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid
    from wfr_pde.truth.certified.problem import Problem


EPS = float(np.finfo(np.float64).eps)  # of double precision
SEAM_CUT = 1e-6  # mass that may be at the seam of an axis that wraps, of what does not wrap itself
SEAM = 1e-3  # of the period, on both sides of the seam
MORE = 1e-2  # of the allowed cut: what the box that is searched for may leave out
PANELS, NODES = (4096, 64, 12, 6), (4, 3, 3, 2)  # of the quadrature per axis, in 1 to 4 dimensions
POINTS = 128  # where a function is compared with itself a period on: more cost time only
PERIODS = {  # that an axis is meant to have where it has another one: for messages
    f"2 pi = {2 * math.pi}": 2 * math.pi,
    f"pi = {math.pi}": math.pi,
    "1": 1.0,
    "2": 2.0,
    "360": 360.0,
    "180": 180.0,
    "24": 24.0,
}
REPEATS = 1e-8  # nats that it may differ by
GRADIENTS = 1e-5  # relative to the largest: finite differences have an error of about 1e-9 of the values
ZOOMS = 5  # rounds in which panels move to where the scales are small: each tells scales a cell narrower
SHELLS, DRAWS = 20, 4096  # around the box, each twice as wide, where a density is asked whether it has a mass
FALLS = 2.0  # nats by which the mass in the outer half of them must be below that in the inner, if it has
HUGE = 1e200  # size of a log-density that stands for infinity
BULK = 14.0  # nats below the top: 2e-7 of a Gaussian in one dimension is below
BULK_CELLS = (1024, 48, 14, 7)  # per axis, in 1 to 4 dimensions: 1024 to 2744 in all
NOISE_POINTS, NOISE_STEPS = 256, (1, 2, 3, 5)  # where V is looked at, and last digits between its values
LARGEST_ROUNDING = 0.1  # nats: a density that rounding changes by a tenth is refused, whatever the tolerance
SINGLE = 1e-5  # of epsilons: those of single precision are below, of half precision above
START_POINTS = 1000  # at which V of the target is looked at where the start is: more cost time only


def check_input(problem: Problem, grid: Grid, max_cut: float) -> None:
    """Do all the checks below on the box of a grid: `check_box`, `check_periodic` and `check_coordinates`.

    Parameters
    ----------
    problem : Problem
    grid : Grid
        Of which the box and the boundary are looked at.
    max_cut : float
        As of `check_box`.

    Raises
    ------
    ValueError
    """
    periodic = [axis.periodic for axis in grid.axes]
    check_box(problem, grid.lower, grid.upper, periodic, max_cut)
    check_periodic(problem, grid.lower, grid.upper, periodic, max_cut)
    check_coordinates(problem, grid.lower, grid.upper)


def check_box(
    problem: Problem, lower: ArrayLike, upper: ArrayLike, periodic: Sequence[bool], max_cut: float = 1e-6
) -> None:
    """Refuse a box with no-flux walls that cut off mass of the start or the target.

    What is cut off is known from closed forms (Gaussians and mixtures of them), else from the box that the mass needs
    and a quadrature over it. A density that has no mass without the walls, as V = 0, is what it is because of them, and
    one that is not defined beyond them has none there: then the walls are meant. `support=` is the user's word.

    Parameters
    ----------
    problem : Problem
    lower, upper : arrays (d,)
        The box.
    periodic : sequence of d bools
        Axes without walls; `check_periodic` looks at them.
    max_cut : float
        Share of the mass that may be cut off, in (0, 1]; 1 where the walls are meant.

    Raises
    ------
    ValueError
        If more than that is cut off, or `max_cut` is no such share.
    """
    if not 0 < max_cut <= 1:
        raise ValueError(f"max_cut is a share of the mass in (0, 1], got {max_cut}: 1 where the walls are meant")
    low, high = _corners(lower, upper)
    walls = [not wraps for wraps in periodic]
    if max_cut == 1 or not any(walls):
        return
    for what, distribution in _distributions(problem):
        share = cut_mass(distribution, low, high, walls, max_cut)
        if share is None or share <= max_cut:
            continue
        raise ValueError(
            f"the box from {low.tolist()} to {high.tolist()} cuts off {share:.3g} of the mass of {what} "
            f"{distribution!r} (allowed: max_cut={max_cut:g}): {_would_do(distribution, low, high, walls, max_cut)}"
            "give max_cut=1 if the walls are meant to be there"
        )


def check_periodic(
    problem: Problem, lower: ArrayLike, upper: ArrayLike, periodic: Sequence[bool], max_cut: float = 1e-6
) -> None:
    """Refuse periodic axes along which the start or the target is not periodic, or has another period.

    V and its gradient are compared at x and x + L, L the length of the box. What does not repeat itself is let pass if
    its mass is inside, with at most 1e-6 (or `max_cut`, if that is less) within a thousandth of the period of the seam
    or beyond: `max_cut=1` is about walls, and there are none here.

    Parameters
    ----------
    problem, lower, upper, periodic, max_cut
        As of `check_box`.

    Raises
    ------
    ValueError
        If a density jumps at the seam.
    """
    low, high = _corners(lower, upper)
    for axis in np.flatnonzero(periodic):
        for what, distribution in _distributions(problem):
            mismatch = _mismatch(distribution, low, high, int(axis), float(high[axis] - low[axis]), problem.rtol)
            if mismatch is not None:
                _check_seam(what, distribution, low, high, int(axis), min(max_cut, SEAM_CUT), mismatch)


def check_coordinates(problem: Problem, lower: ArrayLike, upper: ArrayLike) -> None:
    """Refuse coordinates, and constants in V, that leave too few digits for the density.

    Parameters
    ----------
    problem, lower, upper
        As of `check_box`.

    Raises
    ------
    ValueError
        If rounding changes a log-density by more than 0.1 nat where the mass is, or by more than the tolerance where
        it is computed in single precision.
    """
    for what, distribution in _distributions(problem):
        found = _roundings(distribution, *_corners(lower, upper))
        rounded = max(found.coordinates, found.potential)
        if found.epsilon > EPS and rounded > problem.rtol:
            numbers = "single precision (float32)" if found.epsilon < SINGLE else "half precision (float16)"
            raise ValueError(
                f"V of {what} {distribution!r} is computed in {numbers}, which rounds it by "
                f"{rounded:.1g} nats where the mass is: too much for rtol={problem.rtol:g}. Let it return float64 (in "
                'JAX: jax.config.update("jax_enable_x64", True)), or ask for a larger rtol'
            )
        if found.coordinates > LARGEST_ROUNDING:
            raise ValueError(
                f"the coordinates eat the digits of {what} {distribution!r}: they are of the size {found.place:.3g}, "
                f"and to the next double there its log-density changes by {found.coordinates:.2g} nats; shift the "
                "origin to where the mass is, or use a larger unit of length"
            )
        if found.potential > LARGEST_ROUNDING:
            raise ValueError(
                f"V of {what} {distribution!r} is of the size {found.size:.3g} where the mass is, and rounded to "
                f"{found.potential:.2g} nats: subtract a constant from it, or write it without terms that large"
            )


def coordinate_rounding(problem: Problem, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the nats by which rounding the coordinates changes a log-density, at most in its bulk.

    eps is that of double precision, or of the numbers that the target computes with (`Target.machine_epsilon`).

    Parameters
    ----------
    problem, lower, upper
        As of `check_box`.

    Returns
    -------
    float
        The largest over start and target, and the places within 14 nats of their tops.
    """
    return max(found.coordinates for found in _all_roundings(problem, lower, upper))


def potential_rounding(problem: Problem, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the nats by which V is rounded in its bulk: eps max|V|, or the noise of V if that is more.

    Noise is what is left of V(x + h) - V(x) less h times the mean slope at both ends, for h of a few last digits: it
    shows large terms in the formula of V that cancel.

    Parameters
    ----------
    problem, lower, upper
        As of `check_box`.

    Returns
    -------
    float
        The largest over start and target, and the places within 14 nats of their tops.
    """
    return max(found.potential for found in _all_roundings(problem, lower, upper))


def rounding_in_the_start(problem: Problem, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the nats by which V of the target is rounded where the start has its mass: eps max|V| there.

    Parameters
    ----------
    problem, lower, upper
        As of `check_box`.
    """
    points, _ = _bulk(problem.start, *_corners(lower, upper))
    points = points[:: max(1, len(points) // START_POINTS)]
    sizes = [np.abs(_values(place, points)) for place in problem.places]
    return EPS * max(float(np.max(size[np.isfinite(size)], initial=0.0)) for size in sizes)


def cut_mass(
    distribution: Target, lower: Array, upper: Array, free: Sequence[bool], tail: float = 1e-6
) -> float | None:
    """Return the share of the mass beyond the ends of some axes, along the others of that in the box.

    Parameters
    ----------
    distribution : Target
        At rest.
    lower, upper : arrays (d,)
    free : sequence of d bools
        The axes whose ends count.
    tail : float
        The share from which it matters: smaller ones may be off.

    Returns
    -------
    float or None
        None where there is no mass to speak of: a density that is not integrable.
    """
    parts = getattr(distribution, "components", None)
    if parts is not None and hasattr(distribution, "weights"):
        shares = [cut_mass(part, lower, upper, free, tail) or 0.0 for part in parts]
        return float(np.dot(distribution.weights, shares))
    if isinstance(distribution, Gaussian):
        return _gaussian_cut(distribution, lower, upper, free)
    which = np.asarray(free, dtype=bool)
    try:
        box = _box_of(distribution, lower, upper, which, MORE * tail)
    except ValueError:
        return _share_in_shells(distribution, lower, upper, which)
    if np.all((box[0] >= lower) & (box[1] <= upper) | ~which):
        return 0.0
    return share_outside(distribution, lower, upper, which, box)


@dataclass(frozen=True)
class _Rounding:
    """Rounding of one log-density, in nats, and the sizes of coordinates and V that it comes from."""

    coordinates: float
    potential: float
    place: float
    size: float
    epsilon: float  # of the numbers in which it is computed


@dataclass(frozen=True, eq=False)
class _Strip(Target):
    """A density within the box along some axes, and nothing beyond."""

    whole: Target
    lower: Array
    upper: Array
    cut: Mask  # (d,), the axes along which it ends

    @property
    @override
    def ndim(self) -> int:  # type: ignore[override]
        return self.whole.ndim

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return the log-density of the whole inside the box, -inf outside."""
        points = self.as_points(points)
        inside = np.all((points >= self.lower) & (points <= self.upper) | ~self.cut, axis=-1)
        values = np.full(points.shape[:-1], -np.inf)
        values[inside] = self.whole.log_density(points[inside])
        return values

    @override
    def score(self, points: ArrayLike) -> Array:
        return self.whole.score(points)


def _corners(lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
    low, high = (np.atleast_1d(np.asarray(end, dtype=np.float64)) for end in (lower, upper))
    return low, high


def _distributions(problem: Problem) -> list[tuple[str, Target]]:
    """Start and target, the latter at some times if it moves, with what they are called."""
    return [("the start", problem.start), *(("the target", place) for place in problem.places)]


def _values(distribution: Target, points: Array) -> Array:
    """Evaluate the log-density at points, -inf where there is none."""
    with np.errstate(all="ignore"):  # beyond the walls it may not be defined
        values = np.asarray(distribution.log_density(points), dtype=np.float64)
    return np.where(np.isnan(values), -np.inf, values)


def _slopes(distribution: Target, points: Array) -> Array:
    """Evaluate the score at points, 0 where there is none."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.asarray(distribution.score(points)), nan=0.0, posinf=0.0, neginf=0.0)


# --- mass -----------------------------------------------------------------------------------------------


def _gaussian_cut(gaussian: Gaussian, lower: Array, upper: Array, free: Sequence[bool]) -> float:
    """Return the share of a Gaussian beyond the walls as if its axes were independent, else right to a factor d."""
    from scipy.special import ndtr

    sd = np.sqrt(gaussian.covariance.diagonal())
    beyond = ndtr((lower - gaussian.mean) / sd) + ndtr((gaussian.mean - upper) / sd)
    with np.errstate(divide="ignore"):  # all of it beyond
        return float(-np.expm1(np.log1p(-np.minimum(beyond[np.asarray(free, dtype=bool)], 1.0)).sum()))


def _box_of(distribution: Target, lower: Array, upper: Array, free: Mask, tail: float) -> tuple[Array, Array]:
    """Return the box that the mass needs; raise ValueError where there is none."""
    if distribution.support is not None or free.all():
        return distribution.box(tail)
    return _Strip(distribution, lower, upper, ~free).box(tail)


def share_outside(distribution: Target, lower: Array, upper: Array, free: Mask, box: tuple[Array, Array]) -> float:
    """Return the share of the mass outside, by quadrature over both boxes on panels that end at the walls."""
    d = distribution.ndim
    low = np.where(free, np.minimum(box[0], lower), lower)
    high = np.where(free, np.maximum(box[1], upper), upper)
    x, w = np.polynomial.legendre.leggauss(NODES[min(d, 4) - 1])
    nodes, weights, inside = [], [], []
    for k, edges in enumerate(_panels(distribution, low, high, PANELS[min(d, 4) - 1])):
        edges = np.union1d(edges, np.clip([lower[k], upper[k]], low[k], high[k]))
        half = np.diff(edges)[:, None] / 2
        nodes.append(((edges[:-1, None] + half) + half * x).ravel())
        weights.append((half * w).ravel())
        inside.append((nodes[k] >= lower[k]) & (nodes[k] <= upper[k]) | ~free[k])
    values = _values(distribution, np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1))
    masses = np.exp(values - values.max()) * _product(weights)
    return float(masses[~_product(inside).astype(bool)].sum() / masses.sum())


def _product(factors: Sequence[Array]) -> Array:
    """Return the outer product of one array (n_k,) per axis."""
    product: Any = 1
    for k, factor in enumerate(factors):
        product = product * factor.reshape([-1 if i == k else 1 for i in range(len(factors))])
    return np.asarray(product)


def _panels(distribution: Target, lower: Array, upper: Array, n: int) -> list[Array]:
    """Return the edges (n + 1,) per axis, dense where the scales are small; equal where they cannot be told."""
    try:
        with np.errstate(all="ignore"):  # scales of the size of the last digit, and places where nothing is defined
            densities = densities_of_points([distribution], lower, upper, [False] * len(lower))
    except ValueError:
        return [np.linspace(a, b, n + 1) for a, b in zip(lower, upper, strict=True)]
    return [_shared_out(p, float(a), float(b), n) for p, a, b in zip(densities, lower, upper, strict=True)]


def _shared_out(density: Callable[[Array], Array], lower: float, upper: float, n: int) -> Array:
    """Return the edges (n + 1,) between which a density of points is shared about equally."""
    edges = np.linspace(lower, upper, n + 1)
    for _ in range(ZOOMS):
        share = np.append(0.0, np.cumsum(density((edges[1:] + edges[:-1]) / 2) * np.diff(edges)))
        edges = np.interp(np.linspace(0, share[-1], n + 1), share, edges)
    return edges


def _share_in_shells(distribution: Target, lower: Array, upper: Array, free: Mask) -> float | None:
    """Return the share of the mass outside, from shells around the box; None if they do not run out."""
    d, sides = distribution.ndim, int(free.sum())
    centre, half = (lower + upper) / 2, (upper - lower) / 2
    u = np.random.default_rng(0).uniform(-1, 1, (DRAWS, d))
    inside = _log_mean(_values(distribution, centre + half * u)) + d * math.log(2)
    shells = []
    radius = (1 + (2.0**sides - 1) * (np.arange(DRAWS) + 0.5) / DRAWS) ** (1 / sides)  # uniform between the cubes
    onto = u / np.abs(u[:, free]).max(axis=-1, keepdims=True)
    for k in range(SHELLS):
        places = centre + half * np.where(free, onto * (radius * 2.0**k)[:, None], u)
        values = _values(distribution, places)
        if np.any(values > HUGE):
            return None
        volume = d * math.log(2) + sides * k * math.log(2) + math.log(2.0**sides - 1)
        shells.append(_log_mean(np.where(values < -HUGE, -np.inf, values)) + volume)
    near, far = max(shells[: SHELLS // 2]), max(shells[SHELLS // 2 :])
    if far > -np.inf and far > near - FALLS:
        return None
    outside = np.logaddexp.reduce(shells)
    return float(np.exp(outside - np.logaddexp(outside, inside))) if outside > -np.inf else 0.0


def _log_mean(values: Array) -> float:
    """Return the logarithm of the mean of exponentials."""
    top = values.max()
    return float(top + np.log(np.mean(np.exp(values - top)))) if np.isfinite(top) else float(top)


def _would_do(distribution: Target, lower: Array, upper: Array, walls: Sequence[bool], tail: float) -> str:
    """Say which box would hold the mass, where there is one."""
    free = np.asarray(walls, dtype=bool)
    try:
        box = _box_of(distribution, lower, upper, free, tail)
    except ValueError:
        return "no box holds it (its tails are too heavy, or it has no end); "
    low = np.where(free, np.minimum(box[0], lower), lower)
    high = np.where(free, np.maximum(box[1], upper), upper)
    unit = 10.0 ** np.floor(np.log10((high - low) / 1000))
    low, high = (
        np.where(low < lower, np.floor(low / unit) * unit, low),
        np.where(high > upper, np.ceil(high / unit) * unit, high),
    )
    ends = [[float(f"{value:.12g}") for value in end] for end in (low, high)]
    return f"a box from {ends[0]} to {ends[1]} holds it; "


# --- periodic axes --------------------------------------------------------------------------------------


def _mismatch(distribution: Target, lower: Array, upper: Array, axis: int, period: float, rtol: float) -> str | None:
    """Say how a log-density differs from itself a period on; None if it does not."""
    places = lower + (upper - lower) * np.random.default_rng(0).uniform(0, 1, (POINTS, len(lower)))
    beyond = places.copy()
    beyond[:, axis] += period
    here, there = _values(distribution, places), _values(distribution, beyond)
    slopes = _slopes(distribution, places)
    known = np.isfinite(here) & np.isfinite(there)
    if not np.array_equal(np.isfinite(here), np.isfinite(there)):
        worst = int(np.argmax(np.isfinite(here) != np.isfinite(there)))
        return _said(places[worst], beyond[worst], here[worst], there[worst])
    coordinate = np.maximum(np.abs(places), np.abs(beyond))
    noise = EPS * (1 + np.abs(here) + (coordinate * np.abs(slopes)).sum(axis=-1))
    gaps = np.where(known, np.abs(np.where(known, here, 0) - np.where(known, there, 0)), 0)
    off = gaps > min(REPEATS, 0.01 * rtol) + 64 * noise
    if off.any():
        worst = int(np.argmax(gaps))
        return _said(places[worst], beyond[worst], here[worst], there[worst])
    steep = np.abs(slopes).max(axis=-1)
    turned = np.abs(slopes - _slopes(distribution, beyond)).max(axis=-1)
    if np.any(turned > GRADIENTS * (1 + steep.max())):
        worst = int(np.argmax(turned))
        return f"the gradients at {places[worst].tolist()} and {beyond[worst].tolist()} differ by {turned[worst]:.2g}"
    return None


def _said(here: Array, there: Array, value: float, other: float) -> str:
    x, y = ([float(f"{c:.6g}") for c in place] for place in (here, there))
    gap = f", {abs(value - other):.2g} off" if math.isfinite(value - other) else ""
    return f"the log-density is {value:.6g} at {x}, and {other:.6g} a period on, at {y}{gap}"


def _check_seam(
    what: str, distribution: Target, lower: Array, upper: Array, axis: int, allowed: float, mismatch: str
) -> None:
    """Refuse what does not repeat itself, unless the seam is where nothing is."""
    length = float(upper[axis] - lower[axis])
    free = np.arange(len(lower)) == axis
    aside = SEAM * length * free
    share = cut_mass(distribution, lower + aside, upper - aside, free.tolist(), allowed)
    if share is not None and share <= allowed:
        return
    name = f"axis {axis}, which is from {float(lower[axis])} to {float(upper[axis])} and so has the period {length}"
    for words, period in PERIODS.items():
        if _mismatch(distribution, lower, upper, axis, period, 1.0) is None:
            raise ValueError(
                f"{what} {distribution!r} does not fit on {name}: {mismatch}; it repeats itself after "
                f"{words}: make the axis that long to the last digit, or a multiple of it"
            )
    much = "no finite mass without the walls" if share is None else f"{share:.2g} of its mass at the seam or beyond it"
    raise ValueError(
        f"{what} {distribution!r} is not periodic along {name}: {mismatch}, and it has {much} (allowed: {allowed:g}); "
        "shift the box so that its mass is inside, wrap it (sum the density over its images), "
        'or use boundary="no-flux"'
    )


# --- digits ---------------------------------------------------------------------------------------------


def _all_roundings(problem: Problem, lower: ArrayLike, upper: ArrayLike) -> list[_Rounding]:
    corners = _corners(lower, upper)
    return [_roundings(distribution, *corners) for _, distribution in _distributions(problem)]


def _roundings(distribution: Target, lower: Array, upper: Array) -> _Rounding:
    """Return what rounding does to a log-density in its bulk; it is computed once for a box."""
    known = distribution.__dict__.setdefault("_roundings", {})
    box = (tuple(lower.tolist()), tuple(upper.tolist()))
    if box not in known:
        points, values = _bulk(distribution, lower, upper)
        slopes = np.abs(_slopes(distribution, points))
        place = np.abs(points).max(axis=0)
        size = float(np.abs(values).max())
        returned = np.asarray(distribution.log_density(points[:1])).dtype
        epsilon = max(distribution.machine_epsilon, float(np.finfo(returned).eps) if returned.kind == "f" else EPS)
        coordinates = epsilon * float((slopes * place).sum(axis=-1).max())
        noise = _noise(distribution, points[:: max(1, len(points) // NOISE_POINTS)], place)
        known[box] = _Rounding(coordinates, max(epsilon * size, noise), float(place.max()), size, epsilon)
    found: _Rounding = known[box]
    return found


def _bulk(distribution: Target, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return points (m, d) of a graded grid near the top of a log-density, and its values there (m,)."""
    d = len(lower)
    centres = []
    for edges in _panels(distribution, lower, upper, BULK_CELLS[min(d, 4) - 1]):
        centres.append((edges[1:] + edges[:-1]) / 2)
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, d)
    values = _values(distribution, points)
    near = np.isfinite(values) & (values > values.max() - BULK)
    if not near.any():
        raise ValueError(
            f"{distribution!r} has no finite log-density in the box from {lower.tolist()} to {upper.tolist()}: "
            "give a box inside the region where it is defined"
        )
    return points[near], values[near]


def _noise(distribution: Target, points: Array, place: Array) -> float:
    """Return the largest deviation of a log-density from its slope over a few last digits of the coordinates."""
    here, slope = _values(distribution, points), _slopes(distribution, points)
    largest = 0.0
    for steps in NOISE_STEPS:
        moved = points + 2 * steps * EPS * place
        there = _values(distribution, moved)
        expected = ((moved - points) * (slope + _slopes(distribution, moved)) / 2).sum(axis=-1)
        gaps = np.abs(there - here - expected)
        largest = max(largest, float(np.max(gaps[np.isfinite(gaps)], initial=0.0)))
    return largest
