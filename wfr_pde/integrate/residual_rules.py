"""Rules chosen by their residual in the equation, which bounds their errors (a posteriori error bounds)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wfr_pde.integrate.frame_interpolation import COUNTS, PROBES, ROUNDING, FrameInterpolation
from wfr_pde.integrate.interpolation_rules import LEVELS, Rule, Variable, largest_down_to
from wfr_pde.numerics.typing import Array
from wfr_pde.space.relative_entropy import relative_entropy

HERMITE_COUNTS = (2, 3, 4)  # frames of polynomials that go through rates of change too
RANKING, INTEGRAL = 3, 8  # places of the residual in an interval, to rank rules and to bound their errors
BEST_VARIABLES, BEST_RULES = 3, 3  # variables that rules of more frames are tried in; rules whose error is bounded
QUADRATURE = 1.5  # what the integral of the residual is multiplied by
SPIKE = 2.0  # times the largest mass of a cell in the frames around
POINTWISE = 2.0  # what pointwise integrals of the residual are multiplied by


def rule_by_residual(frames: FrameInterpolation, k: int) -> Rule | None:
    """Choose the rule with the least residual; None if the equation cannot be evaluated here."""
    if not all(np.isfinite(frames.rate(number)).all() for number in (k, k + 1)):
        return None
    ends = frames.times[k : k + 2]
    near = [frames.made(variable, (k, k + 1), variable.moves(ends)) for variable in frames.variables(k)]
    near.sort(key=lambda rule: _residual(frames, rule, k, RANKING)[0])
    rules = near[:BEST_VARIABLES]
    for variable in [rule.variable for rule in rules]:
        counts = [(n, False) for n in COUNTS] + [(n, True) for n in HERMITE_COUNTS[1:]]
        for count, hermite in counts:
            if count <= len(frames.times):
                rule = frames.made(variable, frames.window(variable, k, count), hermite)
                if frames.is_sound(rule, k):
                    rules.append(rule)
    rules.sort(key=lambda rule: _residual(frames, rule, k, RANKING)[0])
    best: Rule | None = None
    for rule in rules[:BEST_RULES]:
        error, nats, slopes = _residual(frames, rule, k, INTEGRAL)
        if best is None or error < best.error:
            best = frames.judged(rule, min(error, 2.0), nats, slopes)
    assert best is not None
    linear = best if best.error < 2 else frames.judged(frames.linear(k), 2.0, best.nats * np.inf, best.slopes * np.inf)
    error = min(linear.error, _by_pull(frames, linear, k))
    return dataclasses.replace(linear, substituted=True, error=error)


def _places(frames: FrameInterpolation, variable: Variable, k: int, count: int) -> tuple[Array, Array]:
    """Return times in an interval, denser at its ends, and what they weigh in an integral over time."""
    angles = (np.arange(count) + 0.5) * (math.pi / 2 / count)
    if not variable.moves(frames.times[k : k + 2]):  # its last times would all be the same
        variable = Variable("log", float(frames.times[k]), 1 / variable.scale)
    low, high = (float(variable(frames.times[i])) for i in (k, k + 1))
    shares = np.sin(angles) ** 2
    left, right = float(frames.times[k]), float(frames.times[k + 1])
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


def _residual(frames: FrameInterpolation, rule: Rule, k: int, count: int) -> tuple[float, Array, Array]:
    """Compute ∫ E|r| over an interval, r the residual, and the same of the largest |r| and |grad r| at all levels."""
    assert frames.equation is not None
    alone = frames.equation.reaction_rate == 0
    envelope = np.exp(np.maximum(frames.log_values[k], frames.log_values[k + 1])) if not alone else None
    total = np.zeros(frames.grid.shape)
    nats, slopes = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
    for time, span in zip(*_places(frames, rule.variable, k, count), strict=True):
        values = frames.normalised(rule, float(time))
        density = np.exp(values)
        with np.errstate(all="ignore"):
            rate = frames.weighted_sum(rule, *rule.weights_of_rate(float(time)))
            if frames.equation.transport_rate == 0:  # of the normalised density; with a transport see below
                rate = rate - float(frames.grid.integrate(density * rate))
            residual = rate - frames.equation(values, float(time))
            size = np.abs(residual)  # its mean is zero but where cells do not resolve m, which must show
        if not np.isfinite(float(frames.grid.integrate(density * size))) or _is_spike(frames, density, k):
            return math.inf, nats + np.inf, slopes + np.inf
        total += span * size * (density if alone else 1.0)
        if envelope is not None:
            envelope = np.maximum(envelope, density)
        if count == INTEGRAL:
            depth = values.max() - values
            nats += POINTWISE * span * largest_down_to(depth, size)
            slopes += POINTWISE * span * largest_down_to(depth, frames.equation.gradient_size(residual))
    mean = total if envelope is None else 2 * total * envelope
    error = QUADRATURE * float(frames.grid.integrate(mean)) + ROUNDING
    return error, nats + ROUNDING, slopes + ROUNDING


def _is_spike(frames: FrameInterpolation, density: Array, k: int) -> bool:
    """Return whether one cell holds far more mass than any does in the frames around.

    No residual is seen in one cell.
    """
    volume = frames.grid.cell_volume
    before = max(float((np.exp(frames.log_values[i]) * volume).max()) for i in (k, k + 1))
    return float((density * volume).max()) > SPIKE * before


def _by_pull(frames: FrameInterpolation, rule: Rule, k: int) -> float:
    """Bound the L1 error of a rule by the distances to a target at rest, which never grow along the flow."""
    assert frames.equation is not None
    if frames.equation.target.moving:
        return 2.0
    log_pi, before = frames.equation.log_target(0.0), frames.log_values[k]
    if frames.equation.reaction_rate == 0:
        distance = float(frames.grid.integrate(np.abs(np.exp(before) - np.exp(log_pi))))
    else:
        distance = math.sqrt(2 * max(0.0, float(relative_entropy(frames.grid, before, log_pi))))
    inner = [float(frames.times[k] + share * (frames.times[k + 1] - frames.times[k])) for share in PROBES]
    apart = [
        float(frames.grid.integrate(np.abs(np.exp(frames.normalised(rule, time)) - np.exp(log_pi)))) for time in inner
    ]
    bound = distance + 1.1 * max(apart) + ROUNDING
    return min(2.0, bound) if math.isfinite(bound) else 2.0
