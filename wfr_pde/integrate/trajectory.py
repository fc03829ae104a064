"""The densities of a run as a function of place and time: `Trajectory`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows.base import checked_rate
from wfr_pde.integrate.continuity import Field, helmholtz
from wfr_pde.integrate.diagnostics import mode_masses
from wfr_pde.integrate.rate_of_change import RateOfChange
from wfr_pde.integrate.spline_errors import largest_around, spline_errors
from wfr_pde.integrate.time_interpolation import KNOWN, MARGIN, Frames, Rule
from wfr_pde.numerics.splines import QUINTIC, TensorSpline
from wfr_pde.space.density import Density, Rng
from wfr_pde.space.frame import Frame, refuse_turned, stored_frame
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target
from wfr_pde.targets.turned import turned

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]

UNTOLD = 10.0  # nats below the top, down to which frames that say nothing of their pointwise errors are taken as right
SHARPEST = 4.0  # a L1 error is taken to be spread over a quarter of the width of the density at least


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Density, score, velocity and growth of a run at any place and time between its save times.

    In time the log-densities of up to eight frames are interpolated and normalised, in x by splines of degree 5. With
    the target and both rates, rates of change of the frames come from the equation, and every rule is judged by its
    residual in it (`between_frames`): a bound of the L1 error that owes nothing to the agreement of interpolations.
    Without the target it is the difference of two orders, with wide margins. A rule that weights frames by more than 20
    is not used.

    Where save times are clustered, or a start widens many times over before the second frame, no rule resolves an
    interval: the geometric mean of the two neighbours is returned, and `error_l1` states 2 (less where both are near
    the target); `remedy` says so, and what to ask for. ``[0, *np.geomspace(t_1, t_n, n)]`` serves, with t_1 about the
    variance of the start over the transport rate.

    Points x have shape (..., d). A time t is a number or an array that broadcasts with the shape (...) of the points;
    results have the broadcast shape. Times outside the run are refused; places outside the box have a log-density of
    -inf and everything else NaN.

    Pointwise errors, `log_prob_error` and `score_error`, hold at places at most `holds_within(t)` nats below the top of
    the density, and are infinite, that is unknown, elsewhere. They have three parts: interpolation in time, splines in
    x, and what the frames are off by. Of the last the run's variable `log_density_error` tells (nats, infinite where
    unknown), which is followed as far as it goes. A run without it is taken no further than 10 nats down, and its
    `error_l1`, where it has that, is taken as spread over a quarter of the width of the density or more.

    `log_prob` sums over the grid once for every different time, `score` and `velocity` do not.

    A run in turned coordinates y = Q'(x - c) (`ground_truth` with attributes `rotation` and `centre`) is read in x:
    points, draws, moments and vectors are mapped, and the box is turned. `at` and `helmholtz`, which give densities and
    fields on the grid, refuse it.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `solve`, `ground_truth` or `continuity`.
    target : Target, optional
        pi, needed by `velocity` and `growth`; with it errors are bounds, and smaller. The run must obey the equation
        with it: of steps that are large, the residual is large.
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
    frame: Frame = field(init=False, repr=False)
    _frames: Frames = field(init=False, repr=False)
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
        object.__setattr__(self, "frame", stored_frame(self.ds, grid.ndim))
        object.__setattr__(self, "times", times)
        values = np.asarray(frames.values, dtype=np.float64)
        object.__setattr__(self, "_frames", Frames(grid, times, values, self._equation()))

    def _equation(self) -> RateOfChange | None:
        """The equation, where all that it needs is known."""
        if self.target is None or self.transport_rate is None or self.reaction_rate is None:
            return None
        return RateOfChange(self.grid, self._inner_target, self.transport_rate, self.reaction_rate)

    @cached_property
    def _inner_target(self) -> Any:
        """The target in the coordinates of the grid."""
        frame = self.frame
        if self.target is None or frame.is_given:
            return self.target
        return turned(self.target, frame.rotation, frame.centre)

    # The density

    def at(self, t: float) -> Density:
        """The density at a time, on the grid.

        Raises
        ------
        ValueError
            If the axes of the grid are turned.
        """
        refuse_turned(self.ds, "a density on the grid")
        return self._at(t)

    def _at(self, t: float) -> Density:
        """The density at a time in the coordinates of the grid."""
        time, k = self._located(self._number(t))
        return Density(self.grid, self._log_values(float(time), int(k)))

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """log mu_t(x), shape (...); -inf outside the box."""
        return self._evaluated(x, t, lambda density, points: density.log_prob(points)) - self._log_mass(x, t)

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Gradient of log mu_t at x, shape (..., d); NaN outside the box."""
        return self.frame.outer_vectors(self._evaluated(x, t, lambda density, points: density.score(points)))

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
        inner = self._inner_target
        points, times = self._broadcast(x, t)
        log_pi, mean = np.empty(len(points)), np.empty(len(points))
        for time, where in _groups(times):
            now = inner.at(float(time))
            log_pi[where] = now.log_density(self.frame.inner(points[where]))
            density = self._at(float(time))
            key = ("log_pi", float(time) if target.moving else None)
            if key not in self._cache and not target.moving:
                self._cache[key] = self.grid.evaluate(now.log_density)
            on_grid = self.grid.evaluate(now.log_density) if target.moving else self._cache[key]
            mean[where] = self.grid.integrate(density.values * (density.log_values - on_grid))
        g = self.log_prob(x, t).ravel() - log_pi
        return np.where(np.isfinite(g), -beta * (g - mean), np.nan).reshape(self._shape(x, t)[:-1])

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """`n` independent draws (n, d) from mu_t."""
        return self.frame.outer(self._at(t).sample(n, rng))

    def mean(self, t: ArrayLike) -> Array:
        """Mean (d,) of mu_t; (..., d) for times (...)."""
        return self.frame.outer(self._over_times(t, Density.mean))

    def covariance(self, t: ArrayLike) -> Array:
        """Covariance (d, d) of mu_t; (..., d, d) for times (...)."""
        found = self._over_times(t, Density.covariance)
        return found if self.frame.is_given else self.frame.rotation @ found @ self.frame.rotation.T

    def mode_masses(self, centres: ArrayLike, t: ArrayLike) -> Array:
        """Mass (k,) of mu_t nearest to each of `centres` (k, d); (..., k) for times (...).

        See `diagnostics.mode_masses`.
        """
        record = mode_masses(self.frame.inner(centres))
        energy: Any = None  # the record does not look at it
        return self._over_times(t, lambda density: record(density, energy))

    def helmholtz(self, field: Field, t: float) -> xr.Dataset:
        """A vector field split into what moves mu_t and what does not; see `continuity.helmholtz`."""
        return helmholtz(self.at(t), field, self._number(t))

    # Errors

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound of the L1 error of the density at times (...): that of the frames, and of the interpolation.

        Of the frames' own errors the larger of both neighbours counts: what other frames are off by is part of the
        residual. Without the equation it is their sum with the weights of the interpolation, where that is more; a run
        of `solve` has none. The interpolation counts with its largest in the interval. At most
        2, the distance of any two densities, which is what is stated where nothing is known (see `remedy`). Without the
        target it is an estimate.
        """
        wanted = np.asarray(t, dtype=np.float64)
        times, index = self._located(wanted.ravel())
        result = np.empty(len(times))
        stored = np.zeros(len(self.times)) if self._stored_l1 is None else self._stored_l1
        for i, (time, k) in enumerate(zip(times, index, strict=True)):
            same = np.flatnonzero(self.times == time)
            if len(same):
                result[i] = stored[same[0]]
                continue
            rule = self._frames.rule(int(k))
            frames = float(stored[k : k + 2].max())
            if not rule.substituted:
                frames = max(frames, float(np.abs(rule.weights(time)[0]) @ stored[list(rule.frames)]))
            result[i] = min(2.0, frames + rule.error)
        return result.reshape(wanted.shape)[()]

    def log_prob_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate of the error of `log_prob` at x, in nats, shape (...); NaN outside the box.

        Infinite, that is unknown, more than `holds_within(t)` nats below the top.
        """
        return self._pointwise(x, t, 0)

    def score_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate of the error of `score` at x, a length, shape (...); NaN outside the box.

        Infinite, that is unknown, more than `holds_within(t)` nats below the top.
        """
        return self._pointwise(x, t, 1)

    def holds_within(self, t: ArrayLike) -> Any:
        """Nats below the top of the density at times (...), down to which pointwise errors are claimed.

        Down to there all of them are below half a nat, as far as is known. Zero where nothing is claimed, infinite
        where everything in the box is.
        """
        wanted = np.asarray(t, dtype=np.float64)
        return np.array([self._claims(float(time))[2] for time in wanted.ravel()]).reshape(wanted.shape)[()]

    def remedy(self, t: float) -> str:
        """What to ask the run for where the density at a time is not resolved, `error_l1` above 0.1; "" elsewhere."""
        time, k = self._located(self._number(t))
        if len(self.times) == 1 or (self.times == time).any() or self._frames.rule(int(k)).error <= 0.1:
            return ""
        spans = np.diff(self.times)
        before, after = self.times[k], self.times[k + 1]
        around = [float(spans[i]) for i in (k - 1, k + 1) if 0 <= i < len(spans)]
        clustered = any(max(span / spans[k], spans[k] / span) > 10 for span in around)
        cause = (
            f"save times are clustered (this interval is {spans[k]:.3g} long, its neighbours "
            f"{', '.join(f'{span:.3g}' for span in around)})"
            if clustered
            else "too much happens between the two"
        )
        if self._frames.equation is None and len(around) < 2:
            cause += ", and there are few frames"
        hint = "" if self._frames.equation is not None else ", and give the target: Trajectory(ds, target)"
        return (
            f"between the save times {before:.6g} and {after:.6g} the density is known to {self.error_l1(time):.2g} "
            f"in L1 alone: {cause}; ask the run for times that grow steadily from a scale that resolves the start, "
            f"[t_0, *(t_0 + np.geomspace(variance/transport_rate, t_n - t_0, n))], with some of them between these"
            f"{hint}"
        )

    @cached_property
    def _stored_l1(self) -> Array | None:
        """Errors of the frames, where the run has them."""
        if "error_l1" not in self.ds:
            return None
        stored = np.asarray(self.ds["error_l1"].values, dtype=np.float64)
        if len(stored) != len(self.times):  # a run that kept some of its frames
            stored = np.asarray(self.ds["error_l1"].sel(t=self.times).values, dtype=np.float64)
        return stored

    def _depth(self, log_values: Array) -> Array:
        """Nats below the top."""
        return np.asarray(log_values.max() - log_values)

    def _frame_error(self, number: int) -> Array:
        """Pointwise error of a frame in nats, in every cell, infinite where unknown."""
        key = ("frame", number)
        if key not in self._cache:
            values = self._frames.log_values[number]
            if "log_density_error" in self.ds:
                stored = self.ds["log_density_error"]
                if len(stored) != len(self.times):
                    stored = stored.sel(t=self.times)
                error = np.abs(np.asarray(stored[number].values, dtype=np.float64))
                error = np.where(np.isnan(error), np.inf, error)
            else:
                depth = self._depth(values)
                l1 = 0.0 if self._stored_l1 is None else float(self._stored_l1[number])
                error = np.where(depth <= UNTOLD, SHARPEST * l1 * np.exp(np.minimum(depth, UNTOLD)), np.inf)
            self._cache[key] = largest_around(self.grid, error, 1)
        return self._cache[key]

    def _spline_error(self, number: int) -> tuple[Array, Array]:
        """Errors of the spline of a frame, and of its gradient, in every cell."""
        key = ("spline", number)
        if key not in self._cache:
            density = self._densities[number]
            degree = 1 if density._has_steps() else QUINTIC
            self._cache[key] = spline_errors(self.grid, density.log_values, degree)
        return self._cache[key]

    def _claims(self, t: float) -> tuple[Array, Array, float]:
        """Errors of log mu and of its gradient in every cell at a time, and down to how many nats they are claimed."""
        if ("claims", t) not in self._cache:
            for key in [key for key in self._cache if key[0] == "claims"]:
                del self._cache[key]
            self._cache["claims", t] = self._found_claims(t)
        return self._cache["claims", t]

    def _found_claims(self, t: float) -> tuple[Array, Array, float]:
        time, k = self._where(t)
        values = self._log_values(time, k)
        depth = self._depth(values)
        same = np.flatnonzero(self.times == time)
        if len(same):
            weights, frames = {int(same[0]): 1.0}, [int(same[0])]
            nats, slopes = np.zeros(self.grid.shape), np.zeros(self.grid.shape)
        else:
            rule = self._frames.rule(k)
            sizes = np.abs(rule.weights(time)[0])
            weights = dict(zip(rule.frames, sizes.tolist(), strict=True))
            frames = sorted({*rule.frames, k, min(k + 1, len(self.times) - 1)})
            nats, slopes = rule.allows(self._past_depth(depth, k))
        total = sum(weights.values())
        own = max(1.0, total) * np.maximum.reduce([self._frame_error(number) for number in frames])
        narrowest = min(float(axis.widths.min()) for axis in self.grid.axes)
        slopes = slopes + 2 * own / narrowest
        nats = nats + own
        for number, weight in weights.items():
            of_values, of_slopes = self._spline_error(number)
            nats, slopes = nats + weight * of_values, slopes + weight * of_slopes
        unknown = ~(nats <= KNOWN)
        within = float(depth[unknown].min()) if unknown.any() else math.inf
        return nats, slopes, within

    def _past_depth(self, depth: Array, k: int) -> Array:
        """How far down the residual counts that made the error of every cell.

        Transport brings errors from where the mass was; a reaction leaves them in their place, which both neighbouring
        frames may have far lower.
        """
        if self.reaction_rate != 0:
            around = [self._depth(self._frames.log_values[i]) for i in (k, k + 1)]
            depth = np.maximum.reduce([depth, *around])
        return 1.1 * largest_around(self.grid, depth, 1) + MARGIN

    def _pointwise(self, x: ArrayLike, t: ArrayLike, which: int) -> Array:
        """Errors of log mu (0) or of its gradient (1) at points."""
        points, times = self._broadcast(x, t)
        log_prob = np.ravel(self.log_prob(x, t))
        result = np.full(len(points), np.nan)
        wrapped, inside = self._densities[0]._spline.wrap(self.frame.inner(points))
        cells = tuple(
            np.clip(np.searchsorted(axis.edges, wrapped[:, i], side="right") - 1, 0, axis.n - 1)
            for i, axis in enumerate(self.grid.axes)
        )
        for time, where in _groups(times):
            nats, slopes, within = self._claims(time)
            top = float(self._log_values(*self._where(time)).max())
            errors = (nats, slopes)[which][tuple(index[where] for index in cells)]
            errors = np.where(top - log_prob[where] < within, errors, np.inf)
            result[where] = np.where(inside[where], errors, np.nan)
        return result.reshape(self._shape(x, t)[:-1])

    def _where(self, t: float) -> tuple[float, int]:
        """A time within the run and the number of its interval."""
        time, k = self._located(t)
        return float(time), int(k)

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
        values = np.array([function(self._at(time)) for time in times.ravel()])
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

    # Evaluation

    def _log_values(self, t: float, k: int) -> Array:
        same = np.flatnonzero(self.times == t)
        if len(same):
            return self._frames.log_values[same[0]]
        return self._frames.normalised(self._frames.rule(k), t)

    @cached_property
    def _densities(self) -> list[Density]:
        return [Density(self.grid, values) for values in self._frames.log_values]

    def _rate_spline(self, number: int) -> _RateSpline:
        key = ("rate", number)
        if key not in self._cache:
            self._cache[key] = _RateSpline(self.grid, self._frames.rate(number))
        return self._cache[key]

    def _evaluated(self, x: ArrayLike, t: ArrayLike, function: Callable[[Any, Array], Array]) -> Array:
        """Σ weights(t) function(frame, x) over the frames of each interval, and over their rates of change."""
        shape = self._shape(x, t)
        points, times = self._broadcast(x, t)
        points = self.frame.inner(points)
        index = self._located(times)[1]
        result = np.empty((len(points), *function(self._densities[0], points[:0]).shape[1:]))
        for k in np.unique(index):
            where = np.flatnonzero(index == k)
            rule: Rule = self._frames.rule(int(k))
            of_values, of_rates = rule.weights(times[where])
            terms: list[tuple[Array, Any]] = [
                (of_values[:, i], self._densities[frame]) for i, frame in enumerate(rule.frames)
            ]
            if rule.hermite:
                terms += [(of_rates[:, i], self._rate_spline(frame)) for i, frame in enumerate(rule.frames)]
            total = np.zeros((len(where), *result.shape[1:]))
            outside = np.isneginf(function(self._densities[rule.frames[0]], points[where]))
            with np.errstate(invalid="ignore"):
                for weight, density in terms:
                    values = function(density, points[where])
                    weight = weight.reshape(len(where), *(1,) * (values.ndim - 1))
                    total = total + np.where(weight == 0, 0, weight) * np.where(weight == 0, 0, values)
            result[where] = np.where(outside, -np.inf, total)
        return result.reshape(shape[:-1] + result.shape[1:])

    def _log_mass(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Logarithm of the mass before it is normalised, at the times that go with the points."""
        shape = self._shape(x, t)
        times = self._located(np.asarray(t, dtype=np.float64).ravel())[0]
        unique, back = np.unique(times, return_inverse=True)
        intervals = self._located(unique)[1]
        masses = np.zeros(len(unique))
        for i, (time, k) in enumerate(zip(unique, intervals, strict=True)):
            masses[i] = self.grid.log_integrate(self._frames.interpolated(self._frames.rule(int(k)), time))
        return np.broadcast_to(masses[back].reshape(np.shape(t)), shape[:-1])


class _RateSpline:
    """The rate of change of a frame between the cells, evaluated like a `Density`."""

    def __init__(self, grid: Grid, rates: Array) -> None:
        axes = grid.axes
        self._spline = TensorSpline(
            [axis.centres for axis in axes], [axis.edges for axis in axes], rates, [axis.periodic for axis in axes]
        )

    def log_prob(self, points: Array) -> Array:
        """Its values at points."""
        return self._spline(points)

    def score(self, points: Array) -> Array:
        """Its gradient at points."""
        return self._spline.gradient(points)


def _groups(times: Array) -> list[tuple[float, np.ndarray]]:
    """The different times, and the numbers of the points of each."""
    unique, back = np.unique(times, return_inverse=True)
    order = np.argsort(back, kind="stable")
    parts = np.split(order, np.searchsorted(back[order], np.arange(1, len(unique))))
    return list(zip(unique.tolist(), parts, strict=True))
