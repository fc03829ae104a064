"""Moving targets of diffusion models: data with more and more noise, and the same with time reversed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import instance, length, number, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import given_over, read_only
from wfr_pde.targets.arguments import call_repr
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.mixture import GaussianMixture
from wfr_pde.targets.noised_density import CellData, NoisedDensity
from wfr_pde.targets.schedules import Schedule, within

Law = TypeVar("Law", bound=Target)

KEPT = 32  # times of which the law is remembered
LOOKS = 65  # times at which boxes are asked for...
MARGIN = 0.01  # ...and what is added to every side, of the size of the box, for times between them
MOST_NOISE_TIME = 300.0  # beyond it e^(2 tau), the square of noise over signal, soon is no number


class MovingLaw(Target):
    """A base of laws that have a density only at a time."""

    moving = True

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Refuse: the density depends on time, use `at`."""
        raise ValueError(self._refusal("log_density(points)"))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Refuse: the score depends on time, use `at`."""
        raise ValueError(self._refusal("score(points)"))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Refuse: the law depends on time, use `at`."""
        raise ValueError(self._refusal("sample(n, rng)"))

    def _refusal(self, what: str) -> str:
        return f"a {type(self).__name__} moves, its law depends on time: use path.at(t).{what}"


@dataclass(frozen=True, eq=False)
class Noised(MovingLaw):
    """The forward path of a diffusion model: the law p_t of alpha(t) x + sigma(t) z, with x from the data.

    A moving target; t = 0 is the data. It has a density only at a time, `path.at(t)`: that of a Gaussian or of a
    mixture of Gaussians in closed form, that of a density on a grid by Gaussians about its cells, in the log-domain, so
    that it is right relative to its value far out, too.

    Parameters
    ----------
    data : Gaussian, GaussianMixture or Density
        p_0. Any other target goes on a grid first: ``grid.density(target)``, of equal cells. Beyond the box log p_0
        goes on as a falling parabola.
    schedule : Schedule
        `VP`, `VE` or `OU`.

    Raises
    ------
    TypeError
        If the data are of another kind.
    ValueError
        If their length scale is no number of a usual size, or the grid holds less than their mass.

    References
    ----------
    Song et al. (2021), arXiv:2011.13456.

    Examples
    --------
    At noise time log 2 half of N(1, 1) is left, in a law of the same variance:

    >>> import math
    >>> import wfr_pde as wfr
    >>> path = wfr.Noised(wfr.Gaussian(1.0, 1.0), wfr.OU(t_end=3.0))
    >>> path.at(math.log(2)).mean.round(6), path.at(math.log(2)).covariance.round(6)
    (array([0.5]), array([[1.]]))
    """

    data: Any
    schedule: Schedule
    _cells: CellData | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        instance("schedule", self.schedule, Schedule, "such as VP()")
        if hasattr(self.data, "grid") and hasattr(self.data, "log_values"):
            object.__setattr__(self, "_cells", CellData(self.data))
        elif isinstance(self.data, Target) and not isinstance(self.data, Gaussian | GaussianMixture):
            at_rest("data", self.data)
            raise TypeError(
                f"noise is added to a Gaussian, a GaussianMixture or a Density, got {shown(self.data)}: put it on a "
                "grid of equal cells, Noised(grid.density(target), schedule)"
            )
        else:
            instance("data", self.data, (Gaussian, GaussianMixture), "or a Density on a grid")
        object.__setattr__(self, "ndim", self.data.ndim)
        length("the length scale of the data", math.sqrt(self.scale))

    @override
    def __repr__(self) -> str:
        return call_repr(self) if self._cells is None else f"Noised(data={self._cells!r}, schedule={self.schedule!r})"

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave out the laws that are remembered."""
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    @cached_property
    def scale(self) -> float:
        """Square of the smallest length that matters in the data: one over the mean of |grad log p_0|² per axis.

        The variance of a Gaussian, the harmonic mean of the variances where they differ; of a mixture that of its
        components, not the distance between them.
        """
        if self._cells is not None:
            return self._cells.scale()
        if isinstance(self.data, Gaussian):
            return self.ndim / float(np.trace(self.data.precision))
        traces = [np.trace(component.precision) for component in self.data.components]
        return self.ndim / float(self.data.weights @ traces)

    @override
    def at(self, t: float) -> Target:
        """Return the law at a time of the schedule: `Gaussian`, `GaussianMixture`, or sums of Gaussians.

        Raises
        ------
        ValueError
            If t is outside of [0, schedule.t_end].
        """
        t = within("t", t, self.schedule.t_end, "times", self.schedule)
        kept = self.__dict__.setdefault("_kept", {})
        if t not in kept:
            made = self._made(t)
            while len(kept) >= KEPT:
                kept.pop(next(iter(kept)), None)
            kept[t] = made
        return kept[t]

    def _made(self, t: float) -> Target:
        alpha, variance = self.schedule.transition(self.schedule.noise_time(t))
        if self._cells is not None:
            return NoisedDensity(self._cells, alpha, math.sqrt(variance))
        if variance == 0:
            return self.data
        noise = variance * np.eye(self.ndim)
        if isinstance(self.data, Gaussian):
            return _gaussian(alpha * self.data.mean, alpha**2 * self.data.covariance + noise)
        means, covariances = alpha * self.data.means, alpha**2 * self.data.covariances + noise
        law = _unchecked(GaussianMixture, means=means, weights=self.data.weights, covariances=covariances)
        law.__dict__["components"] = tuple(map(_gaussian, means, covariances))
        return law

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the box of the whole `reversed` path."""
        return self.reversed().box(tail)

    def reversed(self, t_start: float | None = None, t_stop: float = 0.0) -> ReversedPath:
        """Return the path from noise to data, a moving target over s in [0, 1].

        Parameters
        ----------
        t_start : float, optional
            Time of the schedule at s = 0; by default its last.
        t_stop : float
            Time of the schedule at s = 1; by default 0, the data.

        Returns
        -------
        ReversedPath
        """
        return ReversedPath(self, t_start, t_stop)


def _gaussian(mean: Array, covariance: Array) -> Gaussian:
    """Return a Gaussian of a mean and a covariance that need no checks."""
    return _unchecked(Gaussian, mean=mean, covariance=covariance)


def _unchecked(kind: type[Law], **held: Array) -> Law:
    """Return a law of arrays that need no checks, which take most of the time where a law is asked at many times."""
    law = kind.__new__(kind)
    for name, array in held.items():
        object.__setattr__(law, name, given_over(array) if array.flags.owndata else read_only(array))
    object.__setattr__(law, "ndim", next(iter(held.values())).shape[-1])
    return law


@dataclass(frozen=True, eq=False)
class ReversedPath(MovingLaw):
    """The path of a diffusion model from noise to data: at(s) is p_t with t = schedule_time(s), for s in [0, 1].

    Equal steps of s are equal steps of u = ½ log(v + sigma²/alpha²), with v the `scale` of the data, a variance: of
    ∫ dtau / (alpha² v + sigma²) over the noise time tau = ½ ∫ g² dt. Steps are so fine where the law changes fast, near
    the data; uniform ones in tau would have to be about five times as many.

    Parameters
    ----------
    path : Noised
        The forward path.
    t_start : float, optional
        Time of the schedule at s = 0; by default its last.
    t_stop : float
        Time of the schedule at s = 1.

    Raises
    ------
    ValueError
        If the times are outside of the schedule's, or not in order.

    Examples
    --------
    Data of variance 1 have at all noise times the variance 1, so that noise time runs evenly:

    >>> import wfr_pde as wfr
    >>> back = wfr.Noised(wfr.Gaussian(1.0, 1.0), wfr.OU(t_end=3.0)).reversed()
    >>> [round(back.noise_time(s), 6) for s in (0.0, 0.5, 1.0)]
    [3.0, 1.5, 0.0]
    >>> round(back.noise_rate(0.5), 6)
    3.0
    """

    path: Noised
    t_start: float | None = None
    t_stop: float = 0.0

    def __post_init__(self) -> None:
        instance("path", self.path, Noised, "such as Noised(Gaussian(0, 1), VP())")
        schedule = self.path.schedule
        start = (
            schedule.t_end
            if self.t_start is None
            else within("t_start", self.t_start, schedule.t_end, "times", schedule)
        )
        stop = within("t_stop", self.t_stop, schedule.t_end, "times", schedule)
        if not stop < start:
            raise ValueError(f"t_stop must be below t_start, as time runs from noise to data, got {stop} and {start}")
        object.__setattr__(self, "t_start", start)
        object.__setattr__(self, "t_stop", stop)
        object.__setattr__(self, "ndim", self.path.ndim)
        most = schedule.noise_time(start)
        if schedule.drift_factor != 0 and most > MOST_NOISE_TIME:
            raise ValueError(
                f"t_start={start:.6g} is a noise time of {most:.6g}, at which nothing of the data is left in double "
                f"precision: use an earlier one, with a noise time of {MOST_NOISE_TIME:g} at most"
            )

    __repr__ = call_repr

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return self.path.schedule

    @cached_property
    def _ratios(self) -> tuple[float, float]:
        """Return sigma² / alpha² at t_stop, and log of v + sigma²/alpha² at t_start over that at t_stop."""
        last, first = (self._ratio(self.schedule.noise_time(number("t", t))) for t in (self.t_stop, self.t_start))
        return last, math.log1p((first - last) / (self.path.scale + last))

    def _ratio(self, tau: float) -> float:
        """Return sigma² / alpha² at a noise time."""
        k = self.schedule.drift_factor
        return 2 * tau if k == 0 else math.expm1(-2 * k * tau) / -k

    def _ratio_at(self, s: float) -> float:
        """Return sigma² / alpha² at s, without cancellation near the data."""
        last, span = self._ratios
        return last + (self.path.scale + last) * math.expm1((1 - s) * span)

    def _checked(self, s: float) -> float:
        return within("s", s, 1.0, "times (schedule_time turns them into those of the schedule)", self)

    def noise_time(self, s: float) -> float:
        """Return the noise time tau = ½ ∫ g² dt at s; it falls.

        Parameters
        ----------
        s : float
            In [0, 1].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If s is outside.
        """
        s, k = self._checked(s), self.schedule.drift_factor
        if s in (0.0, 1.0):
            return self.schedule.noise_time(number("t", self.t_stop if s else self.t_start))
        ratio = self._ratio_at(s)
        return ratio / 2 if k == 0 else math.log1p(-k * ratio) / (-2 * k)

    def noise_rate(self, s: float) -> float:
        """Return -dtau/ds, the noise time that passes per unit of s: what rates per noise time are multiplied by.

        Parameters
        ----------
        s : float
            In [0, 1].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If s is outside.
        """
        ratio = self._ratio_at(self._checked(s))
        return self._ratios[1] * (self.path.scale + ratio) / (2 * (1 - self.schedule.drift_factor * ratio))

    def schedule_time(self, s: float) -> float:
        """Return the time t of the schedule at s, at which a score is asked.

        Parameters
        ----------
        s : float
            In [0, 1].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If s is outside.
        """
        s = self._checked(s)
        if s in (0.0, 1.0):
            return number("t", self.t_stop if s else self.t_start)
        return self.schedule.time(min(self.noise_time(s), self.schedule.noise_time(self.schedule.t_end)))

    @override
    def at(self, t: float) -> Target:
        """Return the law at s = t in [0, 1].

        Raises
        ------
        ValueError
            If it is outside.
        """
        return self.path.at(self.schedule_time(t))

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box around those of 65 times, a hundredth wider on every side."""
        lower, upper = zip(*(self.at(float(s)).box(tail) for s in np.linspace(0, 1, LOOKS)), strict=True)
        least, most = np.min(lower, axis=0), np.max(upper, axis=0)
        return least - MARGIN * (most - least), most + MARGIN * (most - least)
