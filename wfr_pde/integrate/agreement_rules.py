"""Rules chosen by how well orders of interpolation agree, where the equation is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wfr_pde.integrate.frame_interpolation import COUNTS, PROBES, ROUNDING, FrameInterpolation
from wfr_pde.integrate.interpolation_rules import LEVELS, Rule, Variable, largest_down_to
from wfr_pde.integrate.rate_of_change import derivative_matrices, gradient_size
from wfr_pde.numerics.typing import Array

CONVERGED, DOUBTFUL = 10.0, 150.0  # times the difference of two orders: E = d (10 + 150 ratio)
FALLS = (1.0, 0.1)  # an error is at least the difference of the orders before, and a tenth of the one before that
ALIKE = 5.0  # times the least error: rules of other variables that claim no more must agree with the best
FAR = 4.0  # spans of the frames of a rule beyond which further frames are no evidence
TORN = 0.5  # difference of two orders, beyond the first, after which further ones say nothing
FEW = 6  # frames below which two orders say too little


def rule_by_agreement(frames: FrameInterpolation, k: int) -> Rule:
    """Choose the rule whose orders agree best, with a margin for what rules in other variables say."""
    found: list[tuple[float, float, Rule, Rule]] = []
    for variable in [variable for variable in frames.variables(k) if variable.kind != "decay"]:
        rules = [frames.made(variable, (k + 1,))]
        for count in COUNTS if len(frames.times) > 3 else range(2, len(frames.times) + 1):
            if count > len(frames.times):
                break
            rule = frames.made(variable, frames.window(variable, k, count))
            if not frames.is_sound(rule, k) or (count > 2 and not _near(rules[-1], rule)):
                break
            rules.append(rule)
        differences = until_they_grow(_differences(frames, rules, k))
        errors = _errors_of_orders(differences)
        for i in range(len(differences)):
            factor = float(errors[i] / differences[i])
            found.append((min(2.0, float(errors[i])), factor, rules[i + 1], rules[i]))
    if not found:
        return frames.linear(k)
    error, factor, rule, lower = min(found, key=lambda one: one[0])
    rivals = _best_of_each(found, rule.variable)
    least, error = error, max(error, _rivalry(frames, rule, error, rivals, k)) + _excess(frames, rule, k)
    if len(frames.times) < FEW:
        both = np.exp(frames.log_values[k : k + 2])
        error = max(error, float(frames.grid.integrate(np.abs(both[1] - both[0]))))
    if not error < 2:
        return frames.linear(k)
    nats, slopes = _disagreement(frames, rule, lower, k)
    factor *= error / least
    return frames.judged(rule, error, factor * nats + ROUNDING, factor * slopes + ROUNDING)


def _differences(frames: FrameInterpolation, rules: Sequence[Rule], k: int) -> Array:
    """Return the largest L1 distances between successive orders, over some times inside an interval."""
    result = np.full(len(rules) - 1, ROUNDING)
    for time, share in zip(frames.inner_times(k), PROBES, strict=True):
        before = np.exp(frames.log_values[k if share < 0.5 else k + 1])
        for i, rule in enumerate(rules[1:]):
            now = np.exp(frames.normalised(rule, time))
            distance = float(frames.grid.integrate(np.abs(now - before)))
            result[i] = max(result[i], distance if math.isfinite(distance) else 2.0)
            before = now
    return result


def _rivalry(
    frames: FrameInterpolation, rule: Rule, least: float, rivals: Sequence[tuple[float, Rule]], k: int
) -> float:
    """Return the distance to the best rules in other variables of time, less what their own errors explain."""
    worst = 0.0
    for time in frames.inner_times(k)[::2]:
        mine = np.exp(frames.normalised(rule, time))
        for error, other in rivals:
            theirs = np.exp(frames.normalised(other, time))
            explained = 0.0 if error <= ALIKE * least else error
            worst = max(worst, float(frames.grid.integrate(np.abs(mine - theirs))) - explained)
    return worst


def _excess(frames: FrameInterpolation, rule: Rule, k: int) -> float:
    """Return the mass that leaves the range of the four frames around an interval by more than their own change."""
    around = frames.log_values[max(k - 1, 0) : k + 3]
    low, high = around.min(axis=0), around.max(axis=0)
    change = high - low
    worst = 0.0
    for time in frames.inner_times(k):
        values = frames.normalised(rule, time)
        kept = np.clip(values, low - change, high + change)
        gone = float(frames.grid.integrate(np.abs(np.exp(values) - np.exp(kept))))
        worst = max(worst, gone if math.isfinite(gone) else 2.0)
    return worst


def _disagreement(frames: FrameInterpolation, rule: Rule, lower: Rule, k: int) -> tuple[Array, Array]:
    """Return the largest differences of two orders, and of their gradients, down to every level of `LEVELS`."""
    matrices = [derivative_matrices(axis) for axis in frames.grid.axes]
    nats, slopes = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
    for time in frames.inner_times(k):
        values = frames.normalised(rule, time)
        off = values - frames.normalised(lower, time)
        depth = values.max() - values
        nats = np.maximum(nats, largest_down_to(depth, np.abs(off)))
        slopes = np.maximum(slopes, largest_down_to(depth, gradient_size(off, matrices)))
    return nats, slopes


def _errors_of_orders(differences: Array) -> Array:
    """Estimate the errors of orders from the difference of each to the order before.

    The slower the differences fall, the larger the errors are taken to be.
    """
    ratios = np.ones(len(differences))
    ratios[1:] = np.minimum(differences[1:] / differences[:-1], 1)
    ratios[2:] = np.maximum(ratios[2:], ratios[1:-1])
    errors = differences * (CONVERGED + DOUBTFUL * ratios)
    for i in range(len(differences)):  # a single small difference may be chance
        for back, share in enumerate(FALLS[:i], start=1):
            errors[i] = max(errors[i], share * differences[i - back])
    return errors


def until_they_grow(differences: Array) -> Array:
    """Cut off differences of orders from the first that is no smaller than all before, or reaches `TORN`.

    What diverges may agree later on: polynomials through log-densities that fall by thousands of nats all end in the
    same cell of a tail.
    """
    for i in range(1, len(differences)):
        if differences[i] >= min(float(differences[:i].max()), TORN):
            return differences[:i]
    return differences


def _near(rule: Rule, larger: Rule) -> bool:
    """Return whether frames that a larger rule adds are near enough to those of a rule to say something of its error.

    What is far away has next to no weight here, and changes little, however wrong both are.
    """
    ends, wider = (rule.variable(one.times[[0, -1]]) for one in (rule, larger))
    return bool(max(ends[0] - wider[0], wider[1] - ends[1]) <= FAR * (ends[1] - ends[0]))


def _best_of_each(found: Sequence[tuple[float, float, Rule, Rule]], variable: Variable) -> list[tuple[float, Rule]]:
    """Return the best rule of every other variable, and its error."""
    best: dict[Variable, tuple[float, Rule]] = {}
    for error, _, rule, _ in found:
        if rule.variable != variable and (rule.variable not in best or error < best[rule.variable][0]):
            best[rule.variable] = error, rule
    return list(best.values())
