"""Rules that interpolate log-densities between save times, and what is known of their errors.

A rule is a polynomial in a variable of time through the log-densities of some frames or, where the equation is known,
through their rates of change too (Hermite). Two kinds of evidence say how far a rule is off.

With the equation: m, the interpolant, obeys it but for the residual r = d_t log m - (right-hand side at m). For the
Wasserstein flow the L1 error grows by at most ∫ E_m|r| dt, as the flow contracts in L1. With a reaction the mean is
over the law of the ancestors of the mass, which lies between the densities of the interval: the largest of them is
taken in every cell, and twice the integral. This does not look at any other interpolation. Beside it, a target at rest
pulls: with D the distance to it at the frame before, the error is at most D + |m - pi| (Wasserstein), or
sqrt(2 KL) + |m - pi| (with reaction), since both fall.

Without the equation: differences of orders, those of another variable, and what leaves the range of the frames around.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.integrate.rate_of_change import RateOfChange, derivative_matrices, gradient_size
from wfr_pde.space.grid import Grid
from wfr_pde.space.relative_entropy import relative_entropy

Array = np.ndarray[Any, np.dtype[np.float64]]

SHIFTS = (8.0, 1.0, 0.25, 1 / 16, 1 / 64)  # of log(t - t_0 + shift), in first intervals of the run
OWN_SHIFTS = (8.0, 1.0, 0.125)  # in intervals of their own
COUNTS = (2, 4, 6, 8)  # frames that a polynomial goes through
HERMITE_COUNTS = (2, 3, 4)
MOST_WEIGHT = 20.0  # Lebesgue constant above which a rule is not used: errors of frames would grow by so much
PROBES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9)  # of an interval, where orders are compared
RANKING, INTEGRAL = 3, 8  # places of the residual in an interval, to rank rules and to bound their errors
BEST_VARIABLES, BEST_RULES = 3, 3  # that go on after the first looks
QUADRATURE = 1.5  # what the integral of the residual is multiplied by
CONVERGED, DOUBTFUL = 10.0, 150.0  # times the difference of two orders: E = d (10 + 150 ratio)
FALLS = (1.0, 0.1)  # an error is at least the difference of the orders before, and a tenth of the one before that
ALIKE = 5.0  # times the least error: rules of other variables that claim no more must agree with the best
FAR = 4.0  # spans of the frames of a rule beyond which further frames are no evidence
TORN = 0.5  # difference of two orders, beyond the first, after which further ones say nothing
FEW = 6  # frames below which two orders say too little
SPIKE = 2.0  # times the largest mass of a cell in the frames around
POINTWISE = 2.0  # what pointwise integrals of the residual are multiplied by
ROUNDING = 3e-14
KNOWN = 0.5  # nats: a larger pointwise error is called unknown
LEVELS = np.concatenate([[0.25], 0.25 * 1.08 ** np.arange(1, 150)])  # nats below the top, up to 24,000
MARGIN = 1.0  # nats further down that the past of a place is looked for


@dataclass(frozen=True)
class Variable:
    """A variable of time: t - t_0, log(t - t_0 + scale), or (1 - e^{-scale (t - t_0)})/scale."""

    kind: str
    origin: float
    scale: float = 0.0

    def __call__(self, t: Any) -> Any:
        """Its value at a time."""
        since = np.asarray(t, dtype=np.float64) - self.origin
        if self.kind == "log":
            return np.log(since + self.scale)
        return -np.expm1(-self.scale * since) / self.scale if self.kind == "decay" else since

    def slope(self, t: Any) -> Any:
        """Its derivative at a time."""
        since = np.asarray(t, dtype=np.float64) - self.origin
        if self.kind == "log":
            return 1 / (since + self.scale)
        return np.exp(-self.scale * since) if self.kind == "decay" else np.ones_like(since)

    def separates(self, times: Array) -> bool:
        """Whether it tells the times apart in floating point."""
        with np.errstate(all="ignore"):
            values = self(times)
        size = max(np.abs(values).max(), 1e-300)
        return bool(np.isfinite(values).all() and (np.diff(values) > 1e-10 * size).all())


@dataclass(frozen=True, eq=False)
class Rule:
    """How log mu is interpolated in an interval, and how far off it is.

    Attributes
    ----------
    variable : Variable
    frames : tuple of int
        Numbers of the frames that the polynomial goes through.
    times : array (n,)
        Their times.
    hermite : bool
        Whether it has the rates of change of the frames, too.
    substituted : bool
        Whether the error comes from the equation: then it starts from that of the frame before.
    error : float
        Largest L1 error in the interval, bound or estimate, at most 2, but for what the frames are off by.
    nats, slopes : arrays (levels,)
        Largest error of log mu (nats), and of its gradient (1/length), among places at most so far below the top
        (`LEVELS`); infinite where unknown.
    """

    variable: Variable
    frames: tuple[int, ...]
    times: Array
    hermite: bool = False
    substituted: bool = False
    error: float = 2.0
    nats: Array = field(default_factory=lambda: np.full(len(LEVELS), np.inf))
    slopes: Array = field(default_factory=lambda: np.full(len(LEVELS), np.inf))

    @cached_property
    def _nodes(self) -> Array:
        return np.asarray(self.variable(self.times))

    def weights(self, t: Any) -> tuple[Array, Array]:
        """Weights (..., n) of the log-densities, and of their rates of change, for times (...)."""
        return self._weights(self.variable(t))

    def weights_of_rate(self, t: float) -> tuple[Array, Array]:
        """The same for the rate of change of the interpolant, by a complex step."""
        step = 1e-30
        values, rates = self._weights(self.variable(t) + 1j * step)
        slope = self.variable.slope(t) / step
        return values.imag * slope, rates.imag * slope

    def _weights(self, places: Any) -> tuple[Any, Any]:
        nodes, n = self._nodes, len(self.frames)
        places = np.asarray(places)
        lagrange = np.ones((*places.shape, n), dtype=places.dtype)
        for j in range(n):
            for i in range(n):
                if i != j:
                    lagrange[..., j] = lagrange[..., j] * (places - nodes[i]) / (nodes[j] - nodes[i])
        if not self.hermite:
            return lagrange, np.zeros_like(lagrange)
        apart = nodes[:, None] - nodes + np.diag(np.full(n, np.inf))
        sums = np.sum(1 / apart, axis=1)  # derivative of a Lagrange polynomial at its own node
        from_node = places[..., None] - nodes
        values = (1 - 2 * sums * from_node) * lagrange**2
        return values, from_node * lagrange**2 / self.variable.slope(self.times)

    def lebesgue(self, t: Array) -> float:
        """Largest sum of the sizes of the weights at some times."""
        return float(np.abs(self.weights(t)[0]).sum(axis=-1).max())

    def allows(self, depth: Array) -> tuple[Array, Array]:
        """Errors of log mu and of its gradient at places so many nats below the top."""
        index = np.searchsorted(LEVELS, np.asarray(depth))
        inside = index < len(LEVELS)
        index = np.minimum(index, len(LEVELS) - 1)
        return np.where(inside, self.nats[index], np.inf), np.where(inside, self.slopes[index], np.inf)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of a run, and the choice of a rule for every interval.

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
    _rules: dict[int, Rule] = field(init=False, repr=False, default_factory=dict)
    _rates: dict[int, Array] = field(init=False, repr=False, default_factory=dict)

    def rule(self, k: int) -> Rule:
        """How interval `k` is interpolated."""
        if k not in self._rules:
            self._rules[k] = self._chosen(k)
        return self._rules[k]

    def rate(self, number: int) -> Array:
        """d_t log mu at a frame, by the equation."""
        assert self.equation is not None
        if number not in self._rates:
            self._rates[number] = self.equation(self.log_values[number], float(self.times[number]))
        return self._rates[number]

    def interpolated(self, rule: Rule, t: float) -> Array:
        """Log-values of a rule at a time, not normalised."""
        return self._sum(rule, *rule.weights(t))

    def normalised(self, rule: Rule, t: float) -> Array:
        """Log-values of a rule at a time, of mass one on the grid."""
        values = self.interpolated(rule, t)
        return values - self.grid.log_integrate(values)

    def _sum(self, rule: Rule, weights: Array, of_rates: Array) -> Array:
        with np.errstate(all="ignore"):
            total = np.tensordot(weights, self.log_values[list(rule.frames)], axes=1)
            if rule.hermite:
                for number, weight in zip(rule.frames, of_rates, strict=True):
                    total = total + weight * self.rate(number)
        return np.asarray(total)

    # Choice

    def _chosen(self, k: int) -> Rule:
        if len(self.times) == 1:
            nothing = np.zeros(len(LEVELS))
            return self._with(self._made(Variable("t", self.times[0]), (0,)), 0.0, nothing, nothing)
        if self.equation is not None and np.isfinite(self.log_values[k : k + 2]).all():
            found = self._by_residual(k)
            if found is not None:
                return found
        return self._by_agreement(k)

    def _made(self, variable: Variable, frames: tuple[int, ...], hermite: bool = False) -> Rule:
        return Rule(variable, frames, self.times[list(frames)], hermite)

    def _with(self, rule: Rule, error: float, nats: Array, slopes: Array) -> Rule:
        return dataclasses.replace(rule, error=error, nats=nats, slopes=slopes)

    def _linear(self, k: int) -> Rule:
        """The geometric mean of both neighbours, which goes nowhere that they do not."""
        return self._made(Variable("t", float(self.times[0])), (k, k + 1))

    def _variables(self, k: int) -> list[Variable]:
        """Variables of time that tell the two frames of an interval apart."""
        start, first = float(self.times[0]), float(self.times[1] - self.times[0])
        own = float(self.times[k + 1] - self.times[k])
        scales = {share * first for share in SHIFTS} | {share * own for share in OWN_SHIFTS}
        variables = [Variable("t", start), *(Variable("log", start, scale) for scale in sorted(scales))]
        if self.equation is not None and self.equation.reaction_rate > 0:
            variables.append(Variable("decay", float(self.times[k]), self.equation.reaction_rate))
        return [variable for variable in variables if variable.separates(self.times[k : k + 2])]

    def _window(self, variable: Variable, k: int, count: int) -> tuple[int, ...]:
        """Numbers of the frames nearest to the middle of interval `k`."""
        with np.errstate(all="ignore"):
            places = variable(self.times)
        middle = 0.5 * (places[k] + places[k + 1])
        first, last = k, k + 1
        while last - first + 1 < count:
            below = middle - places[first - 1] if first > 0 else math.inf
            above = places[last + 1] - middle if last + 1 < len(places) else math.inf
            first, last = (first - 1, last) if below <= above else (first, last + 1)
        return tuple(range(first, last + 1))

    def _sound(self, rule: Rule, k: int) -> bool:
        """Whether frames are told apart, finite, and not weighted by more than `MOST_WEIGHT`."""
        if not rule.variable.separates(rule.times):
            return False
        inner = self.times[k] + (self.times[k + 1] - self.times[k]) * np.array(PROBES)
        return rule.lebesgue(inner) <= MOST_WEIGHT

    # With the equation

    def _by_residual(self, k: int) -> Rule | None:
        """The rule with the least residual; nothing if the equation cannot be evaluated here."""
        if not all(np.isfinite(self.rate(number)).all() for number in (k, k + 1)):
            return None
        near = [self._made(variable, (k, k + 1), True) for variable in self._variables(k)]
        near.sort(key=lambda rule: self._residual(rule, k, RANKING)[0])
        rules = near[:BEST_VARIABLES]
        for variable in [rule.variable for rule in rules]:
            counts = [(n, False) for n in COUNTS] + [(n, True) for n in HERMITE_COUNTS[1:]]
            for count, hermite in counts:
                if count <= len(self.times):
                    rule = self._made(variable, self._window(variable, k, count), hermite)
                    if self._sound(rule, k):
                        rules.append(rule)
        rules.sort(key=lambda rule: self._residual(rule, k, RANKING)[0])
        best: Rule | None = None
        for rule in rules[:BEST_RULES]:
            error, nats, slopes = self._residual(rule, k, INTEGRAL)
            if best is None or error < best.error:
                best = self._with(rule, min(error, 2.0), nats, slopes)
        assert best is not None
        linear = best if best.error < 2 else self._with(self._linear(k), 2.0, best.nats * np.inf, best.slopes * np.inf)
        error = min(linear.error, self._by_pull(linear, k))
        return dataclasses.replace(linear, substituted=True, error=error)

    def _places(self, variable: Variable, k: int, count: int) -> tuple[Array, Array]:
        """Times in an interval, denser at its ends, and what they weigh in an integral over time."""
        angles = (np.arange(count) + 0.5) * (math.pi / 2 / count)
        low, high = (float(variable(self.times[i])) for i in (k, k + 1))
        shares = np.sin(angles) ** 2
        left, right = float(self.times[k]), float(self.times[k + 1])
        if variable.kind == "log":
            times = variable.origin + np.exp(low + (high - low) * shares) - variable.scale
        elif variable.kind == "decay":
            value = low + (high - low) * shares
            times = variable.origin - np.log1p(-variable.scale * value) / variable.scale
        else:
            times = left + (right - left) * shares
        times = np.clip(times, left, right)
        spans = np.sin(2 * angles) * (math.pi / 2 / count) * (high - low)
        return times, spans / variable.slope(times)

    def _residual(self, rule: Rule, k: int, count: int) -> tuple[float, Array, Array]:
        """∫ E|r| over an interval, and the same of the largest |r| and |grad r| down to every level."""
        assert self.equation is not None
        alone = self.equation.reaction_rate == 0
        envelope = np.exp(np.maximum(self.log_values[k], self.log_values[k + 1])) if not alone else None
        total = np.zeros(self.grid.shape)
        nats, slopes = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
        for time, span in zip(*self._places(rule.variable, k, count), strict=True):
            values = self.normalised(rule, float(time))
            density = np.exp(values)
            with np.errstate(all="ignore"):
                rate = self._sum(rule, *rule.weights_of_rate(float(time)))
                if self.equation.transport_rate == 0:  # of the normalised density; with a transport see below
                    rate = rate - float(self.grid.integrate(density * rate))
                residual = rate - self.equation(values, float(time))
                size = np.abs(residual)  # its mean is zero but where cells do not resolve m, which must show
            if not np.isfinite(float(self.grid.integrate(density * size))) or self._is_spike(density, k):
                return math.inf, nats + np.inf, slopes + np.inf
            total += span * size * (density if alone else 1.0)
            if envelope is not None:
                envelope = np.maximum(envelope, density)
            if count == INTEGRAL:
                depth = values.max() - values
                nats += POINTWISE * span * _largest_down_to(depth, size)
                slopes += POINTWISE * span * _largest_down_to(depth, self.equation.gradient_size(residual))
        mean = total if envelope is None else 2 * total * envelope
        error = QUADRATURE * float(self.grid.integrate(mean)) + ROUNDING
        return error, nats + ROUNDING, slopes + ROUNDING

    def _is_spike(self, density: Array, k: int) -> bool:
        """Whether one cell holds far more mass than any does in the frames around: no residual is seen in one cell."""
        volume = self.grid.cell_volume
        before = max(float((np.exp(self.log_values[i]) * volume).max()) for i in (k, k + 1))
        return float((density * volume).max()) > SPIKE * before

    def _by_pull(self, rule: Rule, k: int) -> float:
        """Bound of the L1 error by the distance to a target at rest, which never grows."""
        assert self.equation is not None
        if self.equation.target.moving:
            return 2.0
        log_pi, before = self.equation.log_target(0.0), self.log_values[k]
        if self.equation.reaction_rate == 0:
            distance = float(self.grid.integrate(np.abs(np.exp(before) - np.exp(log_pi))))
        else:
            distance = math.sqrt(2 * max(0.0, float(relative_entropy(self.grid, before, log_pi))))
        inner = [float(self.times[k] + share * (self.times[k + 1] - self.times[k])) for share in PROBES]
        apart = [
            float(self.grid.integrate(np.abs(np.exp(self.normalised(rule, time)) - np.exp(log_pi)))) for time in inner
        ]
        bound = distance + 1.1 * max(apart) + ROUNDING
        return min(2.0, bound) if math.isfinite(bound) else 2.0

    # Without it

    def _by_agreement(self, k: int) -> Rule:
        """The rule whose orders agree best, with a margin for what the other variables say."""
        found: list[tuple[float, float, Rule, Rule]] = []
        for variable in [variable for variable in self._variables(k) if variable.kind != "decay"]:
            rules = [self._made(variable, (k + 1,))]
            for count in COUNTS if len(self.times) > 3 else range(2, len(self.times) + 1):
                if count > len(self.times):
                    break
                rule = self._made(variable, self._window(variable, k, count))
                if not self._sound(rule, k) or (count > 2 and not _near(rules[-1], rule)):
                    break
                rules.append(rule)
            differences = _until_they_grow(self._differences(rules, k))
            ratios = np.ones(len(differences))
            ratios[1:] = np.minimum(differences[1:] / differences[:-1], 1)
            ratios[2:] = np.maximum(ratios[2:], ratios[1:-1])
            errors = differences * (CONVERGED + DOUBTFUL * ratios)
            for i in range(len(differences)):  # a single small difference may be chance
                for back, share in enumerate(FALLS[:i], start=1):
                    errors[i] = max(errors[i], share * differences[i - back])
                factor = float(errors[i] / differences[i])
                found.append((min(2.0, float(errors[i])), factor, rules[i + 1], rules[i]))
        if not found:
            return self._linear(k)
        error, factor, rule, lower = min(found, key=lambda one: one[0])
        rivals = _best_of_each(found, rule.variable)
        least, error = error, max(error, self._rivalry(rule, error, rivals, k)) + self._excess(rule, k)
        if len(self.times) < FEW:
            frames = np.exp(self.log_values[k : k + 2])
            error = max(error, float(self.grid.integrate(np.abs(frames[1] - frames[0]))))
        if not error < 2:
            return self._linear(k)
        nats, slopes = self._disagreement(rule, lower, k)
        factor *= error / least
        return self._with(rule, error, factor * nats + ROUNDING, factor * slopes + ROUNDING)

    def _inner(self, k: int) -> list[float]:
        return [float(self.times[k] + share * (self.times[k + 1] - self.times[k])) for share in PROBES]

    def _differences(self, rules: Sequence[Rule], k: int) -> Array:
        """Largest L1 distances of one order and the next over the places that are looked at."""
        result = np.full(len(rules) - 1, ROUNDING)
        for time, share in zip(self._inner(k), PROBES, strict=True):
            before = np.exp(self.log_values[k if share < 0.5 else k + 1])
            for i, rule in enumerate(rules[1:]):
                now = np.exp(self.normalised(rule, time))
                distance = float(self.grid.integrate(np.abs(now - before)))
                result[i] = max(result[i], distance if math.isfinite(distance) else 2.0)
                before = now
        return result

    def _rivalry(self, rule: Rule, least: float, rivals: Sequence[tuple[float, Rule]], k: int) -> float:
        """What of the distances to the best rules of other variables their own errors do not explain."""
        worst = 0.0
        for time in self._inner(k)[::2]:
            mine = np.exp(self.normalised(rule, time))
            for error, other in rivals:
                theirs = np.exp(self.normalised(other, time))
                explained = 0.0 if error <= ALIKE * least else error
                worst = max(worst, float(self.grid.integrate(np.abs(mine - theirs))) - explained)
        return worst

    def _excess(self, rule: Rule, k: int) -> float:
        """Mass that leaves the range of the four frames around an interval by more than their own change."""
        around = self.log_values[max(k - 1, 0) : k + 3]
        low, high = around.min(axis=0), around.max(axis=0)
        change = high - low
        worst = 0.0
        for time in self._inner(k):
            values = self.normalised(rule, time)
            kept = np.clip(values, low - change, high + change)
            gone = float(self.grid.integrate(np.abs(np.exp(values) - np.exp(kept))))
            worst = max(worst, gone if math.isfinite(gone) else 2.0)
        return worst

    def _disagreement(self, rule: Rule, lower: Rule, k: int) -> tuple[Array, Array]:
        """Largest differences of two orders, and of their gradients, down to every level."""
        matrices = [derivative_matrices(axis) for axis in self.grid.axes]
        nats, slopes = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
        for time in self._inner(k):
            values = self.normalised(rule, time)
            off = values - self.normalised(lower, time)
            depth = values.max() - values
            nats = np.maximum(nats, _largest_down_to(depth, np.abs(off)))
            slopes = np.maximum(slopes, _largest_down_to(depth, gradient_size(off, matrices)))
        return nats, slopes


def _until_they_grow(differences: Array) -> Array:
    """Differences of orders up to the first that is no smaller than all before, or than a quarter of the most there is.

    What diverges may agree later on: polynomials through log-densities that fall by thousands of nats all end in the
    same cell of a tail.
    """
    for i in range(1, len(differences)):
        if differences[i] >= min(float(differences[:i].max()), TORN):
            return differences[:i]
    return differences


def _near(rule: Rule, larger: Rule) -> bool:
    """Whether frames that a larger rule adds are near enough to those of a rule to say something of its error.

    What is far away has next to no weight here, and changes little, however wrong both are.
    """
    ends, wider = (rule.variable(one.times[[0, -1]]) for one in (rule, larger))
    return bool(max(ends[0] - wider[0], wider[1] - ends[1]) <= FAR * (ends[1] - ends[0]))


def _best_of_each(found: Sequence[tuple[float, float, Rule, Rule]], variable: Variable) -> list[tuple[float, Rule]]:
    """The best rule of every other variable, and its error."""
    best: dict[Variable, tuple[float, Rule]] = {}
    for error, _, rule, _ in found:
        if rule.variable != variable and (rule.variable not in best or error < best[rule.variable][0]):
            best[rule.variable] = error, rule
    return list(best.values())


def _largest_down_to(depth: Array, sizes: Array) -> Array:
    """Largest of `sizes` among the places whose depth is at most that of each of `LEVELS`; not a number is infinite."""
    index = np.searchsorted(LEVELS, depth.ravel())
    largest = np.zeros(len(LEVELS) + 1)
    np.maximum.at(largest, np.minimum(index, len(LEVELS)), np.where(np.isfinite(sizes), sizes, np.inf).ravel())
    return np.maximum.accumulate(largest)[:-1]
