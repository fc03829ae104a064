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

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.agreement_rules import rule_by_agreement
from wfr_pde.integrate.frame_interpolation import FrameInterpolation
from wfr_pde.integrate.interpolation_rules import LEVELS, Rule, Variable
from wfr_pde.integrate.residual_rules import rule_by_residual
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density


@dataclass(frozen=True, eq=False)
class TimeInterpolation(FrameInterpolation):
    """Frames of a run as a function of time, by the rule that is chosen for every interval."""

    _rules: dict[int, Rule] = field(init=False, repr=False, default_factory=dict)

    def rule(self, k: int) -> Rule:
        """Return the rule that interval `k` is interpolated by."""
        if k not in self._rules:
            self._rules[k] = self._chosen(k)
        return self._rules[k]

    def _chosen(self, k: int) -> Rule:
        if len(self.times) == 1:
            nothing = np.zeros(len(LEVELS))
            return self.judged(self.made(Variable("t", self.times[0]), (0,)), 0.0, nothing, nothing)
        if self.equation is not None and np.isfinite(self.log_values[k : k + 2]).all():
            found = rule_by_residual(self, k)
            if found is not None:
                return found
        return rule_by_agreement(self, k)

    def located(self, t: ArrayLike) -> tuple[Array, np.ndarray]:
        """Return times within the run, and the numbers of their intervals.

        Raises
        ------
        ValueError
            If a time is outside the run.
        """
        times = real_array("t", t)
        first, last = self.times[0], self.times[-1]
        slack = 1e-12 * max(abs(first), abs(last))
        outside = ~((times >= first - slack) & (times <= last + slack))
        if outside.any():
            bad = times[outside].ravel()[0]
            raise ValueError(f"t={bad:.6g} is outside the run, which has times from {first:.6g} to {last:.6g}")
        times = np.clip(times, first, last)
        index = np.searchsorted(self.times, times, side="right") - 1
        return times, np.clip(index, 0, max(len(self.times) - 2, 0))

    def place(self, t: float) -> tuple[float, int]:
        """Return a time within the run and the number of its interval."""
        time, k = self.located(t)
        return float(time), int(k)

    def frame_at(self, t: float) -> int | None:
        """Return the number of the frame at a time, if there is one."""
        same = np.flatnonzero(self.times == t)
        return int(same[0]) if len(same) else None

    def log_values_at(self, t: float, k: int) -> Array:
        """Return normalised log-values at a time in interval `k`; those of a frame at its own."""
        same = self.frame_at(t)
        return self.normalised(self.rule(k), t) if same is None else self.log_values[same]

    @cached_property
    def densities(self) -> list[Density]:
        """The frames as densities."""
        return [Density(self.grid, values) for values in self.log_values]
