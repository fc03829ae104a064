"""Steps of samplers of reverse diffusions: where a point is moved to on average, and how much noise is added."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wfr_pde.flows.diffusions.scores import ScoreAlong, checked_score
from wfr_pde.numerics.arguments import choice, instance, not_negative
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.noised import ReversedPath

METHODS = {"euler-maruyama": 1.0, "ancestral": 1.0, "ddim": 0.0, "heun": 0.0}  # with the churn of each
VARIANCES = "posterior", "forward"
ROUNDING = 1e-12  # of s: a step that ends so near to 1 ends there, as the last step of some methods is another one


@dataclass(frozen=True, eq=False)
class ReverseStep:
    """A step X' = mean(X) + sqrt(variance) N(0, I).

    Attributes
    ----------
    mean : function of points (..., d) -> (..., d)
    variance : float
        Per axis, >= 0.
    """

    mean: Callable[[Array], Array]
    variance: float


@dataclass(frozen=True, eq=False)
class ReverseMethod:
    """A method for the reverse diffusion along a path, with its score: what makes one step of it.

    Parameters
    ----------
    path, score, method, churn, variance
        As `samplers.ReverseDiffusion` takes them.

    Raises
    ------
    TypeError, ValueError
        For what is no path, score, method or number, and for options that the method does not have.
    """

    path: ReversedPath
    score: Any = None
    method: str = "euler-maruyama"
    churn: float | None = None
    variance: str = "posterior"

    def __post_init__(self) -> None:
        instance("path", self.path, ReversedPath, "such as Noised(Gaussian(0, 1), VP()).reversed()")
        object.__setattr__(self, "score", checked_score(self.score, self.path))
        usual = METHODS[choice("method", self.method, METHODS)]
        churn = usual if self.churn is None else not_negative("churn", self.churn, "the share of noise added again")
        if self.method in ("ancestral", "heun") and churn != usual:
            raise ValueError(
                f"the method {self.method!r} has the churn {usual:g} by construction, got churn={churn:g}: leave it "
                "out, or use the method 'euler-maruyama'"
            )
        if self.method == "ddim" and churn > 1:
            raise ValueError(
                f"the method 'ddim' adds at most the noise of the posterior, a churn (eta²) of 1, got churn={churn:g}: "
                "use the method 'euler-maruyama' for more"
            )
        object.__setattr__(self, "churn", churn)
        if choice("variance", self.variance, VARIANCES) != "posterior" and self.method != "ancestral":
            raise ValueError(
                f"variance={self.variance!r} is an option of the method 'ancestral', but the method is "
                f"{self.method!r}: leave it out"
            )

    @property
    def order(self) -> int:
        """Order of the law in the step; 1 for Heun's method, too, where its last step, to no noise, is Euler's."""
        return 2 if self.method == "heun" and self.path.t_stop > 0 else 1

    def step(self, begin: float, end: float) -> ReverseStep:
        """Return the step from one time s of the path to another."""
        end = 1.0 if abs(end - 1) < ROUNDING else end
        from_tau, to_tau = self.path.noise_time(begin), self.path.noise_time(end)
        made = {"euler-maruyama": self._euler_maruyama, "heun": self._heun}.get(self.method, self._ddim)
        return made((begin, from_tau), (end, to_tau))

    def _affine(self, s: float, of_point: float, of_score: float, variance: float) -> ReverseStep:
        """Return a step to `of_point` x + `of_score` score(x, s)."""
        score = ScoreAlong(self.path, self.score)
        return ReverseStep(lambda x: of_point * x + of_score * score(x, s), variance)

    def _euler_maruyama(self, begin: tuple[float, float], end: tuple[float, float]) -> ReverseStep:
        """Return x + h (-f(x) + (1 + churn) s(x)), with the noise 2 churn h, over the noise time h."""
        s, h, churn = begin[0], begin[1] - end[1], self.churn or 0.0
        return self._affine(s, 1 - h * self.path.schedule.drift_factor, h * (1 + churn), 2 * churn * h)

    def _ddim(self, begin: tuple[float, float], end: tuple[float, float]) -> ReverseStep:
        """Return the step by the estimate of the data: x0 = (x + sigma² s) / alpha, x' = alpha' x0 - sqrt(.) sigma s.

        With `churn` times the noise of the posterior of x' given x and x0; all of it is ancestral sampling.
        """
        (s, tau), (_, to_tau), schedule = begin, end, self.path.schedule
        a, forward = schedule.transition(tau - to_tau)
        before, after = schedule.transition(tau)[1], schedule.transition(to_tau)[1]
        posterior = forward * (after / before)
        if self.method == "ancestral":
            return self._affine(s, 1 / a, forward / a, posterior if self.variance == "posterior" else forward)
        noise = (self.churn or 0.0) * posterior
        return self._affine(s, 1 / a, before / a - math.sqrt(before) * math.sqrt(max(after - noise, 0.0)), noise)

    def _heun(self, begin: tuple[float, float], end: tuple[float, float]) -> ReverseStep:
        """Return Heun's step for dy/dr = -sigma s, y = x / alpha and r = sigma / alpha; Euler's, to no noise.

        Euler's step is that of DDIM.
        """
        euler, schedule = self._ddim(begin, end), self.path.schedule
        (alpha, before), (to_alpha, after) = schedule.transition(begin[1]), schedule.transition(end[1])
        if after == 0:
            return euler
        sigma, to_sigma = math.sqrt(before), math.sqrt(after)
        half = to_alpha * (to_sigma / to_alpha - sigma / alpha) / 2
        score = ScoreAlong(self.path, self.score)

        def mean(x: Array) -> Array:
            first = score(x, begin[0]).astype(x.dtype)
            # Euler's point from the same score: x' = x alpha'/alpha + 2 half (-sigma s)
            there = to_alpha / alpha * x - 2 * half * sigma * first
            return to_alpha / alpha * x - half * (sigma * first + to_sigma * score(there, end[0]))

        return ReverseStep(mean, 0.0)
