"""Frames of a run as a function of time, by any rule; and the variables and windows that rules are made of."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from wfr_pde.integrate.interpolation_rules import Rule, Variable
from wfr_pde.integrate.rate_of_change import RateOfChange
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid
from wfr_pde.space.quadrature import ORDER, log_volume_for

SHIFTS = (8.0, 1.0, 0.25, 1 / 16, 1 / 64)  # of log(t - t_0 + shift), in first intervals of the run
OWN_SHIFTS = (8.0, 1.0, 0.125)  # in intervals of their own
COUNTS = (2, 4, 6, 8)  # frames that a polynomial goes through
MOST_WEIGHT = 20.0  # Lebesgue constant above which a rule is not used: errors of frames would grow by so much
ONE = 1e-12  # logarithm of a sum of what is normalised by it
LOWER_ORDER = 5  # of weights at kinks and walls, whose sums tell how good the others are
FRAMES_OF_SUMS = 4  # by which sums over the cells are interpolated
PROBES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9)  # of an interval, where orders are compared
ROUNDING = 3e-14  # added to every error


@dataclass(frozen=True, eq=False)
class FrameInterpolation:
    """Frames of a run, and rules applied to them.

    Parameters
    ----------
    grid : Grid
    times : array (n,)
    log_values : array (n, ...)
        Normalised log-densities.
    equation : RateOfChange, optional
        Where it is known.
    """

    grid: Grid
    times: Array
    log_values: Array
    equation: RateOfChange | None = None
    _rates: dict[int, Array] = field(init=False, repr=False, default_factory=dict)
    _log_sums: dict[tuple[int, int], float] = field(init=False, repr=False, default_factory=dict)
    _log_volumes: dict[int, Array] = field(init=False, repr=False, default_factory=dict)
    _mass_doubts: dict[tuple[int, Variable], float] = field(init=False, repr=False, default_factory=dict)

    def rate(self, number: int) -> Array:
        """Return d_t log mu at a frame, by the equation."""
        assert self.equation is not None
        if number not in self._rates:
            self._rates[number] = self.equation(self.log_values[number], float(self.times[number]))
        return self._rates[number]

    def interpolated(self, rule: Rule, t: float) -> Array:
        """Return the log-values of a rule at a time, not normalised."""
        return self.weighted_sum(rule, *rule.weights(t))

    def normalised(self, rule: Rule, t: float) -> Array:
        """Return the log-values of a rule at a time, normalised as the frames are."""
        values, log_mass = self.interpolated_with_mass(rule, t)
        return values - log_mass

    def interpolated_with_mass(self, rule: Rule, t: float) -> tuple[Array, float]:
        """Return the log-values of a rule at a time, and the logarithm of the mass that they have too much.

        The sum over the cells of a density of mass one is not one where narrow features cut through the mass, and at
        kinks and walls it is only as good as the weights there. So it is interpolated from those of the frames, and not
        set to one.
        """
        values = self.interpolated(rule, t)
        if self._sums_are_one:
            return values, float(self.grid.log_integrate(values))
        return values, self._log_mass(values, rule.variable, t, ORDER)

    @cached_property
    def _sums_are_one(self) -> bool:
        """Whether frames are normalised by their sums over the cells, as those of a run on a grid are."""
        sums = [float(self.grid.log_integrate(values)) for values in self.log_values]
        return max(map(abs, sums)) < ONE

    def _log_mass(self, values: Array, variable: Variable, t: float, order: int) -> float:
        """Return the logarithm of the mass that values have too much, by sums with weights of an order."""
        expected = self._log_sums_between(variable, self._interval(t), FRAMES_OF_SUMS, np.array([t]), order)[0]
        return self._log_sum(values, order) - float(expected)

    def mass_doubt(self, rule: Rule, t: float) -> float:
        """Return what is not known of that mass: by how much sums at times between two frames differ that are
        interpolated in other variables of time, and between both neighbours alone; and what weights of a lower order
        make of it.

        That is the most at any time between them, as two may agree by chance at one.
        """
        k = self._interval(t)
        if self._sums_are_one or t in (float(self.times[k]), float(self.times[k + 1])):
            return 0.0
        key = (k, rule.variable)
        if key not in self._mass_doubts:
            times = np.array(self.inner_times(k))
            chosen = self._log_sums_between(rule.variable, k, FRAMES_OF_SUMS, times)
            others = [
                self._log_sums_between(variable, k, count, times)
                for variable in self.variables(k)
                for count in (FRAMES_OF_SUMS, 2)
            ]
            of_weights = max(self._doubt_of_weights(rule, time) for time in times.tolist())
            self._mass_doubts[key] = float(np.abs(np.array(others) - chosen).max()) + of_weights
        return self._mass_doubts[key]

    def _doubt_of_weights(self, rule: Rule, t: float) -> float:
        """Return the difference of the mass by weights of two orders."""
        values = self.interpolated(rule, t)
        masses = [self._log_mass(values, rule.variable, t, order) for order in (ORDER, LOWER_ORDER)]
        return abs(masses[0] - masses[1])

    def _interval(self, t: float) -> int:
        """Return the number of the interval between frames that holds a time."""
        return int(np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, len(self.times) - 2))

    def _log_sums_between(self, variable: Variable, k: int, count: int, times: Array, order: int = ORDER) -> Array:
        """Return logarithms of the sum over the cells at times (m,) in interval `k`, by those of some frames.

        Where so many are weighted by too much, both neighbours tell them.
        """
        one = self.made(variable, self.window(variable, k, min(count, len(self.times))))
        if not self.is_sound(one, k):
            one = self.made(variable, (k, k + 1))
        sums = [self._log_sum_of_frame(number, order) for number in one.frames]
        return np.array([float(np.dot(one.weights(float(t))[0], sums)) for t in times])

    def _log_sum_of_frame(self, number: int, order: int) -> float:
        """Return the logarithm of the sum over the cells of a frame."""
        if (number, order) not in self._log_sums:
            self._log_sums[number, order] = self._log_sum(self.log_values[number], order)
        return self._log_sums[number, order]

    def _log_sum(self, log_values: Array, order: int) -> float:
        """Return the logarithm of the sum over the cells, with weights of an order at kinks and walls."""
        volume = self._log_volumes.get(order)
        if volume is None:
            volume = log_volume_for(self.grid, log_values, order)
            if all(root == 1 for axis in self.grid.axes for root in axis.roots):  # else it depends on the density
                self._log_volumes[order] = volume
        total = log_values + volume
        top = float(total.max())
        return top + math.log(float(np.exp(total - top).sum()))

    def weighted_sum(self, rule: Rule, weights: Array, of_rates: Array) -> Array:
        """Return the weighted sum of the log-values of a rule's frames, and of their rates of change."""
        with np.errstate(all="ignore"):
            total = np.tensordot(weights, self.log_values[list(rule.frames)], axes=1)
            if rule.hermite:
                for number, weight in zip(rule.frames, of_rates, strict=True):
                    total = total + weight * self.rate(number)
        return np.asarray(total)

    def made(self, variable: Variable, frames: tuple[int, ...], hermite: bool = False) -> Rule:
        """Make a rule whose errors are not known yet."""
        return Rule(variable, frames, self.times[list(frames)], hermite)

    def judged(self, rule: Rule, error: float, nats: Array, slopes: Array) -> Rule:
        """Return a rule with its errors."""
        return dataclasses.replace(rule, error=error, nats=nats, slopes=slopes)

    def linear(self, k: int) -> Rule:
        """Make the rule of the geometric mean of both neighbours, which stays between them."""
        return self.made(Variable("t", float(self.times[0])), (k, k + 1))

    def variables(self, k: int) -> list[Variable]:
        """Return the variables of time that tell the two frames of an interval apart."""
        start, first = float(self.times[0]), float(self.times[1] - self.times[0])
        own = float(self.times[k + 1] - self.times[k])
        scales = {share * first for share in SHIFTS} | {share * own for share in OWN_SHIFTS}
        variables = [Variable("t", start), *(Variable("log", start, scale) for scale in sorted(scales))]
        if self.equation is not None and self.equation.reaction_rate > 0:
            variables.append(Variable("decay", float(self.times[k]), self.equation.reaction_rate))
        return [variable for variable in variables if variable.separates(self.times[k : k + 2])]

    def window(self, variable: Variable, k: int, count: int) -> tuple[int, ...]:
        """Return the numbers of the frames nearest to the middle of interval `k`."""
        with np.errstate(all="ignore"):
            places = variable(self.times)
        middle = 0.5 * (places[k] + places[k + 1])
        first, last = k, k + 1
        while last - first + 1 < count:
            below = middle - places[first - 1] if first > 0 else math.inf
            above = places[last + 1] - middle if last + 1 < len(places) else math.inf
            first, last = (first - 1, last) if below <= above else (first, last + 1)
        return tuple(range(first, last + 1))

    def is_sound(self, rule: Rule, k: int) -> bool:
        """Return whether frames are told apart, finite, and not weighted by more than `MOST_WEIGHT`."""
        if not rule.variable.separates(rule.times) or (rule.hermite and not rule.variable.moves(rule.times)):
            return False
        inner = self.times[k] + (self.times[k + 1] - self.times[k]) * np.array(PROBES)
        return rule.lebesgue(inner) <= MOST_WEIGHT

    def inner_times(self, k: int) -> list[float]:
        """Return the times in an interval at which rules are compared."""
        return [float(self.times[k] + share * (self.times[k + 1] - self.times[k])) for share in PROBES]
