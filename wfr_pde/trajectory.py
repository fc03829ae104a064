"""The densities of a run as a function of place and time: `Trajectory`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.continuity import Field, helmholtz
from wfr_pde.diagnostics import mode_masses
from wfr_pde.flows.base import checked_rate
from wfr_pde.grid import Grid
from wfr_pde.measures import Density, Rng
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]

SHIFTS = (None, 1.0, 0.25, 1 / 16, 1 / 64)  # in first intervals; None: the time itself
COUNTS = (1, 2, 4, 6, 8)  # frames that the interpolation goes through
PROBES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9)  # of an interval, where the orders are compared
CONVERGED, DOUBTFUL = 6.0, 100.0  # times the difference of two orders: E = d (6 + 100 ratio)
FEW = 6  # frames below which two orders say too little
ROUNDING = 3e-14


@dataclass(frozen=True)
class _Rule:
    """How an interval between two frames is interpolated.

    Attributes
    ----------
    shift : float or None
        The variable is log(t - t_0 + shift), or t.
    higher, lower : tuples of int
        Numbers of the frames that the polynomial goes through, and those of the lower order it is held against.
    factor : float
        What the difference of the two is multiplied by.
    error : float
        Largest estimate of the L1 error in the interval.
    """

    shift: float | None
    higher: tuple[int, ...]
    lower: tuple[int, ...]
    factor: float
    error: float


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Density, score, velocity and growth of a run at any place and time between its save times.

    In time the log-densities of up to eight frames are interpolated and normalised, in x by splines of degree 5. The
    variable of the polynomial, t or log(t - t_0 + c), and the number of frames are chosen in every interval, by which
    two orders agree best. What stays unresolved are starts that widen many times over before the second frame: ask the
    run for times like ``[0, *np.geomspace(t_1, t_n, n)]``, with t_1 about the variance of the start over the transport
    rate.

    Points x have shape (..., d). A time t is a number or an array that broadcasts with the shape (...) of the points;
    results have the broadcast shape. Times outside the run are refused; places outside the box have a log-density of
    -inf and everything else NaN.

    Errors are estimates: the difference of two orders of the interpolation in time, times 6 + 100 q, where q is the
    ratio in which such differences fell; at save times they are zero. On Gaussian flows with known answers none of 1600
    of the L1 estimates was below the true error, half were less than 80 times above; at single places, where
    differences cross zero, one in twenty is too small. They do not cover the splines in x. What the frames themselves
    are off by is added by `error_l1` alone, where the run has it (that of `ground_truth`).

    `log_prob` sums over the grid once for every different time, `score` and `velocity` do not.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `solve`, `ground_truth` or `continuity`.
    target : Target, optional
        pi, needed by `velocity` and `growth`.
    transport_rate, reaction_rate : float, optional
        alpha, beta; by default those of the attributes, where the run has them.

    Raises
    ------
    ValueError, TypeError
        If the Dataset holds no densities, or the target does not fit.
    """

    ds: xr.Dataset = field(repr=False)
    target: Target | None = None
    transport_rate: float | None = None
    reaction_rate: float | None = None
    grid: Grid = field(init=False)
    times: Array = field(init=False, repr=False)
    _frames: Array = field(init=False, repr=False)
    _cache: dict[Any, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        names = getattr(self.ds, "data_vars", {})
        if "log_density" not in names or "grid" not in self.ds.attrs:
            raise ValueError("a Trajectory needs densities on a grid: the Dataset of solve or ground_truth, unchanged")
        grid = Grid.from_dataset(self.ds)
        frames = self.ds["log_density"]
        if frames.ndim != grid.ndim + 1 or frames.shape[1:] != grid.shape or len(frames) == 0:
            raise ValueError(
                f"log_density has dimensions {frames.dims} and shape {frames.shape}, but must have the time and the "
                f"axes of the grid, {grid.names} of shape {grid.shape}"
            )
        times = np.asarray(self.ds[frames.dims[0]].values, dtype=np.float64)
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError(f"the times of the frames must increase, got {np.array2string(times, threshold=6)}")
        if self.target is not None and not isinstance(self.target, Target):
            raise TypeError(f"target must be a distribution such as Gaussian(0, 1), got {type(self.target).__name__}")
        if self.target is not None and self.target.ndim != grid.ndim:
            raise ValueError(f"the target is {self.target.ndim}-dimensional, but the grid has {grid.ndim} axes")
        for name, what in (("transport_rate", "the transport"), ("reaction_rate", "the reaction")):
            rate = self.ds.attrs.get(name) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, None if rate is None else checked_rate(float(rate), what))
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "_frames", np.asarray(frames.values, dtype=np.float64))

    # The density

    def at(self, t: float) -> Density:
        """The density at a time."""
        time, k = self._located(self._number(t))
        return Density(self.grid, self._log_values(float(time), int(k)))

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """log mu_t(x), shape (...); -inf outside the box."""
        return self._evaluated(x, t, lambda density, points: density.log_prob(points)) - self._log_mass(x, t)

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Gradient of log mu_t at x, shape (..., d); NaN outside the box."""
        return self._evaluated(x, t, lambda density, points: density.score(points))

    def velocity(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Transport velocity -alpha grad log(mu_t/pi) at x, shape (..., d).

        Raises
        ------
        ValueError
            Without the target or the transport rate.
        """
        target, alpha = self._target("velocity"), self._rate("transport_rate", "velocity")
        points, times = self._broadcast(x, t)
        score = np.empty(points.shape)
        for time, where in _groups(times) if target.moving else ((0.0, slice(None)),):
            score[where] = target.at(float(time)).score(points[where])
        return alpha * (score.reshape(self._shape(x, t)) - self.score(x, t))

    def growth(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Reaction rate -beta (g - E g), g = log(mu_t/pi), at x, shape (...); its mean over mu_t is zero.

        Raises
        ------
        ValueError
            Without the target or the reaction rate.
        """
        target, beta = self._target("growth"), self._rate("reaction_rate", "growth")
        points, times = self._broadcast(x, t)
        log_pi, mean = np.empty(len(points)), np.empty(len(points))
        for time, where in _groups(times):
            now = target.at(float(time))
            log_pi[where] = now.log_density(points[where])
            density = self.at(float(time))
            key = ("log_pi", float(time) if target.moving else None)
            if key not in self._cache and not target.moving:
                self._cache[key] = self.grid.evaluate(now.log_density)
            on_grid = self.grid.evaluate(now.log_density) if target.moving else self._cache[key]
            mean[where] = self.grid.integrate(density.values * (density.log_values - on_grid))
        g = self.log_prob(x, t).ravel() - log_pi
        return np.where(np.isfinite(g), -beta * (g - mean), np.nan).reshape(self._shape(x, t)[:-1])

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """`n` independent draws (n, d) from mu_t."""
        return self.at(t).sample(n, rng)

    def mean(self, t: ArrayLike) -> Array:
        """Mean (d,) of mu_t; (..., d) for times (...)."""
        return self._over_times(t, Density.mean)

    def covariance(self, t: ArrayLike) -> Array:
        """Covariance (d, d) of mu_t; (..., d, d) for times (...)."""
        return self._over_times(t, Density.covariance)

    def mode_masses(self, centres: ArrayLike, t: ArrayLike) -> Array:
        """Mass (k,) of mu_t nearest to each of `centres` (k, d); (..., k) for times (...).

        See `diagnostics.mode_masses`.
        """
        record = mode_masses(centres)
        energy: Any = None  # the record does not look at it
        return self._over_times(t, lambda density: record(density, energy))

    def helmholtz(self, field: Field, t: float) -> xr.Dataset:
        """A vector field split into what moves mu_t and what does not; see `continuity.helmholtz`."""
        return helmholtz(self.at(t), field, self._number(t))

    # Errors

    def error_l1(self, t: ArrayLike) -> Any:
        """Estimate of the L1 error of the density at times (...): that of the frames, and of the interpolation.

        The frames' own errors are combined with the weights of the interpolation, and never less than those of both
        neighbours count; a run of `solve` has none. The interpolation counts with its largest in the interval. At most
        2, the distance of any two densities.
        """
        wanted = np.asarray(t, dtype=np.float64)
        times, index = self._located(wanted.ravel())
        result = np.empty(len(times))
        stored = np.asarray(self.ds["error_l1"].values) if "error_l1" in self.ds else np.zeros(len(self.times))
        if len(stored) != len(self.times):  # a run that kept some of its frames
            stored = self.ds["error_l1"].sel(t=self.times).values
        for i, (time, k) in enumerate(zip(times, index, strict=True)):
            same = np.flatnonzero(self.times == time)
            if len(same):
                result[i] = stored[same[0]]
                continue
            rule = self._rule(int(k))
            weights = np.abs(self._weights(rule.shift, rule.higher, time))
            frames = max(float(weights @ stored[list(rule.higher)]), *stored[k : k + 2])
            result[i] = min(2.0, frames + rule.error)
        return result.reshape(wanted.shape)[()]

    def log_prob_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate of the error in time of `log_prob` at x, shape (...); NaN outside the box."""

        def evaluate(density: Density, points: Array) -> Array:
            return density.log_prob(points)

        difference = self._evaluated(x, t, evaluate, "lower") - self._log_mass(x, t, "lower")
        with np.errstate(invalid="ignore"):  # -inf - -inf outside the box
            return self._factors(x, t) * np.abs(difference - self.log_prob(x, t))

    def score_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate of the error in time of `score` at x, a length, shape (...); NaN outside the box."""
        lower = self._evaluated(x, t, lambda density, points: density.score(points), "lower")
        return self._factors(x, t) * np.linalg.norm(lower - self.score(x, t), axis=-1)

    # Times and points

    def _number(self, t: Any) -> float:
        if np.ndim(t) != 0:
            raise ValueError(f"t must be a number here, got an array of shape {np.shape(t)}")
        return float(t)

    def _located(self, t: ArrayLike) -> tuple[Array, np.ndarray]:
        """Times within the run, and the numbers of their intervals."""
        times = np.asarray(t, dtype=np.float64)
        first, last = self.times[0], self.times[-1]
        slack = 1e-12 * max(abs(first), abs(last))
        outside = ~((times >= first - slack) & (times <= last + slack))
        if outside.any():
            bad = times[outside].ravel()[0]
            raise ValueError(f"t={bad:.6g} is outside the run, which has times from {first:.6g} to {last:.6g}")
        times = np.clip(times, first, last)
        index = np.searchsorted(self.times, times, side="right") - 1
        return times, np.clip(index, 0, max(len(self.times) - 2, 0))

    def _shape(self, x: ArrayLike, t: ArrayLike) -> tuple[int, ...]:
        """Shape (..., d) of points and times together."""
        points, times = np.shape(x), np.shape(t)
        d = self.grid.ndim
        if len(points) == 0 or points[-1] != d:
            hint = "; write x[..., None] for a plain array of positions" if d == 1 else ""
            raise ValueError(
                f"points have shape {points}, but the run is {d}-dimensional: the last axis must have length {d}{hint}"
            )
        try:
            return (*np.broadcast_shapes(points[:-1], times), d)
        except ValueError:
            raise ValueError(
                f"times of shape {times} do not broadcast with points of shape {points}: one time, or one per point, "
                f"shape {points[:-1]}"
            ) from None

    def _broadcast(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
        """Points (m, d) and times (m,)."""
        shape = self._shape(x, t)
        points = np.broadcast_to(np.asarray(x, dtype=np.float64), shape).reshape(-1, shape[-1])
        return points, self._located(np.broadcast_to(np.asarray(t, dtype=np.float64), shape[:-1]).ravel())[0]

    def _over_times(self, t: ArrayLike, function: Callable[[Density], Array]) -> Array:
        times = np.asarray(t, dtype=np.float64)
        values = np.array([function(self.at(time)) for time in times.ravel()])
        return values.reshape(*times.shape, *values.shape[1:])

    def _target(self, what: str) -> Target:
        if self.target is None:
            raise ValueError(f"{what} needs the target: Trajectory(ds, target)")
        return self.target

    def _rate(self, name: str, what: str) -> float:
        rate = getattr(self, name)
        if rate is None:
            raise ValueError(f"{what} needs the rate, which this run does not say: Trajectory(ds, target, {name}=...)")
        return float(rate)

    # Interpolation in time

    def _variable(self, shift: float | None, t: Any) -> Any:
        """The variable of the polynomial."""
        since = np.asarray(t) - self.times[0]
        return since if shift is None else np.log(since + shift)

    def _weights(self, shift: float | None, frames: tuple[int, ...], t: Any) -> Array:
        """Lagrange weights (..., n) of some frames for times (...)."""
        nodes, places = self._variable(shift, self.times[list(frames)]), self._variable(shift, t)
        weights = np.ones((*np.shape(places), len(frames)))
        for j in range(len(frames)):
            for i in range(len(frames)):
                if i != j:
                    weights[..., j] *= (places - nodes[i]) / (nodes[j] - nodes[i])
        return weights

    def _window(self, shift: float | None, k: int, count: int) -> tuple[int, ...]:
        """Numbers of the frames nearest to the middle of interval `k`."""
        places = self._variable(shift, self.times)
        middle = 0.5 * (places[k] + places[k + 1])
        first, last = k, k + 1
        while last - first + 1 < count:
            below = middle - places[first - 1] if first > 0 else math.inf
            above = places[last + 1] - middle if last + 1 < len(places) else math.inf
            first, last = (first - 1, last) if below <= above else (first, last + 1)
        return tuple(range(first, last + 1))

    def _combined(self, shift: float | None, frames: tuple[int, ...], t: float) -> Array:
        """Normalised interpolated log-values."""
        weights = self._weights(shift, frames, t)
        values = np.tensordot(weights, self._frames[list(frames)], axes=1)
        return values - self.grid.log_integrate(values)

    def _log_values(self, t: float, k: int) -> Array:
        same = np.flatnonzero(self.times == t)
        if len(same):
            return self._frames[same[0]]
        rule = self._rule(k)
        return self._combined(rule.shift, rule.higher, t)

    def _rule(self, k: int) -> _Rule:
        if k not in self._cache:
            self._cache[k] = self._chosen_rule(k)
        return self._cache[k]

    def _chosen_rule(self, k: int) -> _Rule:
        """The variable and the order whose estimate of the error is least."""
        if len(self.times) == 1:
            return _Rule(None, (0,), (0,), 0.0, 0.0)
        most = len(self.times)
        counts = [n for n in COUNTS if n <= most] if most > 3 else list(range(1, most + 1))
        first = self.times[1] - self.times[0]
        best: _Rule | None = None
        for share in SHIFTS:
            shift = None if share is None else share * first
            windows = [(k + 1,), *(self._window(shift, k, n) for n in counts[1:])]
            differences = self._differences(shift, windows, k)
            ratios = np.ones(len(differences))
            ratios[1:] = np.minimum(differences[1:] / differences[:-1], 1)
            ratios[2:] = np.maximum(ratios[2:], ratios[1:-1])
            factors = CONVERGED + DOUBTFUL * ratios
            for i, factor in enumerate(factors):
                error = min(2.0, float(differences[i] * factor))
                if best is None or error < best.error:
                    best = _Rule(shift, windows[i + 1], windows[i], float(factor), error)
        assert best is not None
        if most < FEW:
            frames = np.exp(self._frames[k : k + 2])
            apart = float(self.grid.integrate(np.abs(frames[1] - frames[0])))
            best = _Rule(best.shift, best.higher, best.lower, best.factor, max(best.error, apart))
        return best

    def _differences(self, shift: float | None, windows: list[tuple[int, ...]], k: int) -> Array:
        """Largest L1 distances of one order and the next over the places that are looked at."""
        result = np.full(len(windows) - 1, ROUNDING)
        for share in PROBES:
            time = float(self.times[k] + share * (self.times[k + 1] - self.times[k]))
            before = np.exp(self._frames[k if share < 0.5 else k + 1])
            for i, frames in enumerate(windows[1:]):
                with np.errstate(over="ignore", invalid="ignore"):
                    now = np.exp(self._combined(shift, frames, time))
                distance = float(self.grid.integrate(np.abs(now - before)))
                result[i] = max(result[i], distance if math.isfinite(distance) else 2.0)
                before = now
        return result

    # Evaluation

    @cached_property
    def _densities(self) -> list[Density]:
        return [Density(self.grid, frame) for frame in self._frames]

    def _evaluated(
        self, x: ArrayLike, t: ArrayLike, function: Callable[[Density, Array], Array], order: str = "higher"
    ) -> Array:
        """Σ weights(t) function(frame, x) over the frames of each interval."""
        shape = self._shape(x, t)
        points, times = self._broadcast(x, t)
        index = self._located(times)[1]
        result = np.empty((len(points), *function(self._densities[0], points[:0]).shape[1:]))
        for k in np.unique(index):
            where = np.flatnonzero(index == k)
            rule = self._rule(int(k))
            frames: tuple[int, ...] = getattr(rule, order)
            weights = self._weights(rule.shift, frames, times[where])
            values = np.stack([function(self._densities[frame], points[where]) for frame in frames])
            weights = weights.T.reshape(len(frames), len(where), *(1,) * (values.ndim - 2))
            with np.errstate(invalid="ignore"):
                total = np.sum(np.where(weights == 0, 0, weights) * values, axis=0)
            result[where] = np.where(np.isneginf(values[0]), -np.inf, total)
        return result.reshape(shape[:-1] + result.shape[1:])

    def _log_mass(self, x: ArrayLike, t: ArrayLike, order: str = "higher") -> Array:
        """Logarithm of the mass before it is normalised, at the times that go with the points."""
        shape = self._shape(x, t)
        times = self._located(np.asarray(t, dtype=np.float64).ravel())[0]
        unique, back = np.unique(times, return_inverse=True)
        intervals = self._located(unique)[1]
        masses = np.zeros(len(unique))
        for i, (time, k) in enumerate(zip(unique, intervals, strict=True)):
            rule = self._rule(int(k))
            frames: tuple[int, ...] = getattr(rule, order)
            weights = self._weights(rule.shift, frames, time)
            masses[i] = self.grid.log_integrate(np.tensordot(weights, self._frames[list(frames)], axes=1))
        return np.broadcast_to(masses[back].reshape(np.shape(t)), shape[:-1])

    def _factors(self, x: ArrayLike, t: ArrayLike) -> Array:
        """What differences of orders are multiplied by; zero at save times."""
        times, index = self._located(np.asarray(t, dtype=np.float64).ravel())
        factors = np.array([self._rule(int(k)).factor for k in index])
        factors[np.isin(times, self.times)] = 0.0
        return np.broadcast_to(factors.reshape(np.shape(t)), self._shape(x, t)[:-1])


def _groups(times: Array) -> list[tuple[float, np.ndarray]]:
    """The different times, and the numbers of the points of each."""
    unique, back = np.unique(times, return_inverse=True)
    order = np.argsort(back, kind="stable")
    parts = np.split(order, np.searchsorted(back[order], np.arange(1, len(unique))))
    return list(zip(unique.tolist(), parts, strict=True))
