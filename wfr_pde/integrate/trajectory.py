"""The densities of a run as a function of place and time: `Trajectory`."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows.base import checked_rate
from wfr_pde.integrate.diagnostics import mode_masses
from wfr_pde.integrate.helmholtz_split import helmholtz
from wfr_pde.integrate.rate_of_change import RateOfChange
from wfr_pde.integrate.target_departure import TargetDeparture
from wfr_pde.integrate.time_interpolation import TimeInterpolation
from wfr_pde.integrate.trajectory_errors import TrajectoryErrors
from wfr_pde.integrate.trajectory_points import TrajectoryPoints, groups
from wfr_pde.integrate.truth_protocol import StatedProblem
from wfr_pde.numerics.arguments import function, instance, number, real_array, shown
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.numerics.vector_fields import Field
from wfr_pde.space.density import Density
from wfr_pde.space.frame import Frame, refuse_turned, stored_frame
from wfr_pde.space.grid import Grid
from wfr_pde.space.picture import page_of
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target
from wfr_pde.targets.from_text import stored_distribution
from wfr_pde.targets.turned import turned

if TYPE_CHECKING:
    import xarray as xr


class _Dispatched(Record):
    """Base of `Trajectory` alone, above which its arguments are those of its own."""

    def __new__(cls, *args: Any, **named: Any) -> Any:
        """Make a trajectory; of a tree of factors one in any dimension."""
        ds = args[0] if args else named.get("ds")
        if hasattr(ds, "children"):
            from wfr_pde.integrate.product_trajectory import ProductTrajectory  # here, as it is made of trajectories

            return ProductTrajectory(*args, **{"tree" if name == "ds" else name: one for name, one in named.items()})
        return super().__new__(cls, *args, **named)


@dataclass(frozen=True, eq=False)
class Trajectory(_Dispatched):
    """Density, score, velocity and growth of a run at any place and time between its save times: a `Truth`.

    In time the log-densities of up to eight frames are interpolated and normalised, in x by splines of degree 5. With
    the target and both rates, rates of change of the frames come from the equation, and every rule is judged by its
    residual in it (`time_interpolation`): a bound of the L1 error that owes nothing to the agreement of interpolations.
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
    ds : xarray.Dataset or xarray.DataTree
        What `solve`, `ground_truth` or `continuity` returned. A tree, as `ground_truth` returns it in any dimension,
        gives a `ProductTrajectory`.
    target : Target, optional
        pi, needed by `velocity` and `growth`; with it errors are bounds, and smaller. The run must obey the equation
        with it: of steps that are large, the residual is large.
    transport_rate, reaction_rate : float, optional
        alpha, beta; by default those of the attributes, where the run has them.

    Raises
    ------
    ValueError, TypeError
        If the Dataset holds no densities, or the target does not fit.

    Examples
    --------
    The WFR flow from N(1, 1) to N(0, 1), between its save times: its mean is exp(-2 t), and the transport moves mass
    with the velocity -d/dx log(mu/pi) = -exp(-2 t):

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0)
    >>> truth = wfr.ground_truth(target, start, np.linspace(0.0, 1.0, 9), rtol=1e-6)
    >>> path = wfr.Trajectory(truth, target)
    >>> path.mean(0.3).round(4), path.velocity([1.0], 0.3).round(4), bool(path.error_l1(0.3) < 1e-5)
    (array([0.5488]), array([-0.5488]), True)
    """

    ds: xr.Dataset = field(repr=False)
    target: Target | None = None
    transport_rate: float | None = None
    reaction_rate: float | None = None
    grid: Grid = field(init=False, compare=False)
    times: Array = field(init=False, repr=False, compare=False)
    frame: Frame = field(init=False, repr=False, compare=False)
    _interpolation: TimeInterpolation = field(init=False, repr=False, compare=False)
    _points: TrajectoryPoints = field(init=False, repr=False, compare=False)
    _errors: TrajectoryErrors = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = getattr(self.ds, "data_vars", {})
        if "log_density" not in names or "grid" not in self.ds.attrs:
            raise ValueError(
                "a Trajectory needs densities on a grid: give ds as solve or ground_truth return it, unchanged, not "
                f"{list(names) if names else shown(self.ds)}"
            )
        grid = Grid.from_dataset(self.ds)
        frames = self.ds["log_density"]
        if frames.ndim != grid.ndim + 1 or frames.shape[1:] != grid.shape or len(frames) == 0:
            raise ValueError(
                f"log_density has dimensions {frames.dims} and shape {frames.shape}, but must have the time and the "
                f"axes of the grid, {grid.names} of shape {grid.shape}"
            )
        if not np.isfinite(frames.values).all():
            raise ValueError(
                "log_density of ds has NaN or inf, which are not interpolated: give ds as solve returns it"
            )
        times = np.array(self.ds[frames.dims[0]].values, dtype=np.float64)
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError(f"the times of the frames must increase, got {np.array2string(times, threshold=6)}")
        if self.target is not None:
            instance("target", self.target, Target, "such as Gaussian(mean=0, covariance=1)")
        if self.target is not None and self.target.ndim != grid.ndim:
            raise ValueError(
                f"the target is {dimension_in_words(self.target)}, but the grid is {grid.ndim}-dimensional"
            )
        for name, what in (("transport_rate", "the transport"), ("reaction_rate", "the reaction")):
            rate = self.ds.attrs.get(name) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, None if rate is None else checked_rate(rate, what, name))
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "frame", stored_frame(self.ds, grid.ndim))
        object.__setattr__(self, "times", times)
        values = given_over(np.array(frames.values, dtype=np.float64))  # a copy, as the Dataset may change
        interpolation = TimeInterpolation(grid, times, values, self._equation())
        object.__setattr__(self, "_interpolation", interpolation)
        object.__setattr__(self, "_points", TrajectoryPoints(interpolation, self.frame))
        object.__setattr__(self, "_errors", TrajectoryErrors(self.ds, interpolation, self.reaction_rate))

    def _equation(self) -> RateOfChange | None:
        """Return the equation, where all that it needs is known."""
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

    @property
    def problem(self) -> StatedProblem:
        """What is known of the flow: the target as given, or else as the run names it; the start that it names."""
        target = self._stored("energy") if self.target is None else self.target
        return StatedProblem(target, self._stored("start"), self.transport_rate, self.reaction_rate)

    def _stored(self, attribute: str) -> Target | None:
        """Return the distribution that the run names, or None where no distribution can be made from its text."""
        try:
            return stored_distribution(self.ds, attribute)
        except ValueError:
            return None

    def _repr_html_(self) -> str:
        """Draw a small picture of the last frame, which notebooks show."""
        last = Density(self.grid, self._interpolation.log_values_at(*self._interpolation.place(float(self.times[-1]))))
        return f"<div>{page_of(last)}<code>{html.escape(repr(self))}</code></div>"

    # The density

    def at(self, t: float) -> Density:
        """Return the density at a time, on the grid of the run.

        Parameters
        ----------
        t : float
            A time of the run.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            If the axes of the grid are turned, or the time is outside the run.
        """
        refuse_turned(self.ds, "a density on the grid")
        return self._at(t)

    def _at(self, t: float) -> Density:
        """Return the density at a time, in the coordinates of the grid."""
        return Density(self.grid, self._interpolation.log_values_at(*self._interpolation.place(_number(t))))

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate log mu_t(x); -inf outside the box.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        values = self._points.evaluated(x, t, lambda density, points: density.log_prob(points))
        return values - self._points.log_mass(x, t)

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the gradient of log mu_t at x; NaN outside the box.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)
        """
        return self.frame.outer_vectors(self._points.evaluated(x, t, lambda density, points: density.score(points)))

    def velocity(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the transport velocity -alpha grad log(mu_t/pi) at x; NaN outside the box.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)

        Raises
        ------
        ValueError
            Without the target or the transport rate.
        """
        target, alpha = self._target("velocity"), self._rate("transport_rate", "velocity")
        points, times = self._points.broadcast(x, t)
        score = np.empty(points.shape)
        for time, where in groups(times) if target.moving else ((0.0, slice(None)),):
            score[where] = target.at(float(time)).score(points[where])
        return alpha * (score.reshape(self._points.shape(x, t)) - self.score(x, t))

    def growth(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the reaction rate -beta (g - E g), g = log(mu_t/pi), at x; its mean over mu_t is zero.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            Without the target or the reaction rate.
        """
        target, beta = self._target("growth"), self._rate("reaction_rate", "growth")
        inner = self._inner_target
        points, times = self._points.broadcast(x, t)
        log_pi, mean = np.empty(len(points)), np.empty(len(points))
        for time, where in groups(times):
            now = inner.at(float(time))
            log_pi[where] = now.log_density(self.frame.inner(points[where]))
            density = self._at(float(time))
            on_grid = self.grid.evaluate(now.log_density) if target.moving else self._log_target
            mean[where] = self.grid.integrate(density.values * (density.log_values - on_grid))
        g = self.log_prob(x, t).ravel() - log_pi
        return np.where(np.isfinite(g), -beta * (g - mean), np.nan).reshape(self._points.shape(x, t)[:-1])

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw independent points from mu_t.

        Parameters
        ----------
        n : int
            Number of points.
        t : float
            A time of the run.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, d)
        """
        return self.frame.outer(self._at(t).sample(n, rng))

    def mean(self, t: ArrayLike) -> Array:
        """Compute the mean of mu_t.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)
        """
        return self.frame.outer(self._over_times(t, Density.mean))

    def covariance(self, t: ArrayLike) -> Array:
        """Compute the covariance matrix of mu_t.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d, d)
        """
        found = self._over_times(t, Density.covariance)
        return found if self.frame.is_given else self.frame.rotation @ found @ self.frame.rotation.T

    def mode_masses(self, centres: ArrayLike, t: ArrayLike) -> Array:
        """Compute the masses of mu_t nearest to each of some centres; see `diagnostics.mode_masses`.

        Parameters
        ----------
        centres : array (k, d)
            Usually the modes of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., k)
        """
        record = mode_masses(self.frame.inner(real_array("centres", centres)))
        energy: Any = None  # the record does not look at it
        return self._over_times(t, lambda density: record(density, energy))

    def helmholtz(self, field: Field, t: float) -> xr.Dataset:
        """Split a vector field into what moves mu_t and what does not; see `helmholtz_split.helmholtz`.

        Parameters
        ----------
        field : function (points (..., d), t) -> (..., d)
            Asked at the cell centres.
        t : float
            A time of the run.

        Returns
        -------
        xarray.Dataset
            With the two parts and their norms.

        Raises
        ------
        ValueError
            If the axes of the grid are turned, or the field has other values.
        """
        function("field", field, "(points (..., d), t) -> (..., d)")
        return helmholtz(self.at(t), field, _number(t))

    # Errors

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound the L1 error of the density `at` times; without the target it is an estimate.

        The error of the frames counts with the larger one of both neighbours: what other frames are off by is part of
        the residual. Without the equation it is their sum with the weights of the interpolation, where that is more; a
        run of `solve` has none. The interpolation counts with its largest error in the interval. The bound is at most
        2, the distance of any two densities, which is stated where nothing is known (see `remedy`).

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        float, or array (...)
        """
        return self._errors.l1(_times(t))

    def log_prob_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate the error of `log_prob` at x, in nats; NaN outside the box.

        It is infinite, that is unknown, more than `holds_within(t)` nats below the top.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        return self._pointwise(x, t, 0)

    def score_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate the length of the error of `score` at x; NaN outside the box.

        It is infinite, that is unknown, more than `holds_within(t)` nats below the top.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        return self._pointwise(x, t, 1)

    def holds_within(self, t: ArrayLike) -> Any:
        """Return how many nats below the top of the density pointwise errors are claimed.

        Down to there all of them are below half a nat, as far as is known. The number is zero where nothing is claimed,
        and infinite where everything in the box is.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        float, or array (...)
        """
        wanted = _times(t)
        return np.array([self._errors.claims(float(time))[2] for time in wanted.ravel()]).reshape(wanted.shape)[()]

    def remedy(self, t: float) -> str:
        """Say what to ask the run for, where the density at a time is not resolved (`error_l1` above 0.1).

        Parameters
        ----------
        t : float
            A time of the run.

        Returns
        -------
        str
            Empty where the density is resolved.
        """
        return self._errors.remedy(_number(t))

    def _pointwise(self, x: ArrayLike, t: ArrayLike, which: int) -> Array:
        """Estimate the errors of log mu (0) or of its gradient (1) at points."""
        points, times = self._points.broadcast(x, t)
        log_prob = np.ravel(self.log_prob(x, t))
        result = np.full(len(points), np.nan)
        cells, inside = self._points.cells(points)
        for time, where in groups(times):
            nats, slopes, within = self._errors.claims(time)
            top = float(self._interpolation.log_values_at(*self._interpolation.place(time)).max())
            errors = (nats, slopes)[which][tuple(index[where] for index in cells)]
            errors = errors + self._departure(points[where], time, which)
            errors = np.where(top - log_prob[where] < within, errors, np.inf)
            result[where] = np.where(inside[where], errors, np.nan)
        return result.reshape(self._points.shape(x, t)[:-1])

    # What is needed for it

    def _departure(self, points: Array, time: float, which: int) -> Array:
        """Return by how much V does what the splines through the centres cannot show, now and where it began."""
        if self.target is None:
            return np.zeros(len(points))
        degree = self._interpolation.densities[self._interpolation.place(time)[1]].degree
        times = (time, float(self.times[0])) if self.target.moving else (time,)
        inner = self.frame.inner(points)
        return np.maximum.reduce([self._target_departure(inner, t, degree, which) for t in times])

    @cached_property
    def _target_departure(self) -> TargetDeparture:
        return TargetDeparture(self.grid, self._inner_target)

    @cached_property
    def _log_target(self) -> Array:
        """log pi on the grid, of a target at rest."""
        return self.grid.evaluate(self._inner_target.log_density)

    def _over_times(self, t: ArrayLike, function: Callable[[Density], Array]) -> Array:
        times = _times(t)
        values = np.array([function(with_corrected_masses(self._at(time))) for time in times.ravel()])
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


def _times(t: Any) -> Array:
    """Return the argument `t` as times (...), of which there is at least one."""
    times = real_array("t", t)
    if times.size == 0:
        raise ValueError("t must be one time or more, got none")
    return times


def _number(t: Any) -> float:
    """Return a time as a float, of which there may be only one here."""
    return number("t", t)
