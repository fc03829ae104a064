"""Samplers of diffusion models: the steps from noise to data that are in use."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.flows.diffusions.coefficients import name_of
from wfr_pde.flows.diffusions.free_space import begin_account
from wfr_pde.flows.diffusions.mass_balance import MassBalance
from wfr_pde.flows.diffusions.reverse_sde import ReverseSDE
from wfr_pde.flows.sampler_laws.reverse_diffusion import ReverseDiffusionLaw, check_dimension, reference_of
from wfr_pde.flows.sampler_laws.reverse_steps import ReverseMethod
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.particles import Mixture, Particles
from wfr_pde.targets.noised import ReversedPath


@dataclass(frozen=True, eq=False, repr=False)
class ReverseDiffusion(Sampler):
    """A sampler of a diffusion model: particles from noise to data, in steps of a method that is in use.

    A step of `solve` of size h from s is one step of the method, from the noise time of s to that of s + h. With the
    forward drift k x, tau the noise time, alpha and sigma those of the schedule, primes for the end of the step:

    - "euler-maruyama": x' = x + h (-k x + (1 + churn) s(x)) + sqrt(2 churn h) N(0, I), over the noise time h.
    - "ancestral" (DDPM): x' = (x + v s(x)) / a + noise, a and v factor and variance of the forward step; the noise has
      the variance of x given x' and the estimated data, v sigma'²/sigma², or, with variance="forward", v.
    - "ddim": x' = alpha' x0 - sqrt(sigma'² - w) sigma s(x) + sqrt(w) N(0, I), with the estimate of the data x0 =
      (x + sigma² s(x)) / alpha, and w = churn v sigma'²/sigma²: churn is eta².
    - "heun": the probability flow in y = x/alpha over sigma/alpha, by Heun's method; Euler's in a step to no noise.

    As steps become short they are those of `ReverseSDE` of the same churn. Of order 1; "heun" of order 2 along paths
    that stop before the data, t_stop > 0. Weights stay. For the law on a grid, of infinitely many particles at the same
    steps, Gaussians about the moved cells are summed where there is noise enough; without, it is a change of variables,
    which is refused where the step is not one-to-one. It is asked in free space: nothing may leave the box.

    Parameters
    ----------
    path : ReversedPath
        ``Noised(data, schedule).reversed()``. The problem that `solve` is given may be the path, or None.
    score : law with .at(t).score(points), or function (points (..., d), t) -> (..., d), optional
        Asked at the time t of the schedule; arrays of NumPy, JAX or torch, in single precision too. By default the
        exact one of the path.
    method : str
        "euler-maruyama", "ancestral", "ddim" or "heun".
    churn : float, optional
        How much noise is added again, >= 0: by default 1 for the first two, 0 for the others. For "ddim" it is eta²,
        at most 1; "ancestral" and "heun" have no other.
    variance : str
        Of the noise of "ancestral": "posterior" or "forward".

    Raises
    ------
    TypeError
        If the path is no `ReversedPath`, or the score cannot be asked.
    ValueError
        If there is no such method, or it has no such option; from a step: for scores of another shape or that are not
        finite, with place and time.
    NumericalError
        From a step that moves a particle to infinity; on a grid: from one that is not one-to-one where that is needed,
        or that loses or makes mass.

    References
    ----------
    Song et al. (2021), arXiv:2011.13456, for the reverse SDE and the probability flow; Ho, Jain, Abbeel (2020),
    arXiv:2006.11239, sections 2 and 3.2, for ancestral sampling; Song, Meng, Ermon (2021), arXiv:2010.02502, for DDIM;
    Karras et al. (2022), arXiv:2206.00364, for Heun's method.

    Examples
    --------
    What variance ten steps of each method make of data of the variance 0.25, by their laws on a grid:

    >>> import wfr_pde as wfr
    >>> path = wfr.Noised(wfr.Gaussian(0.0, 0.25), wfr.OU(t_end=3.0)).reversed()
    >>> start = wfr.Grid(-6.0, 6.0, 128).density(path.at(0.0))
    >>> for method in ("euler-maruyama", "ancestral", "ddim", "heun"):
    ...     flow = wfr.samplers.ReverseDiffusion(path, method=method)
    ...     run = wfr.solve(None, flow, start, [0, 1], 0.1, record=[wfr.diagnostics.covariance])
    ...     print(method, round(float(run["covariance"][-1, 0, 0]), 4))
    euler-maruyama 0.4224
    ancestral 0.0942
    ddim 0.1061
    heun 0.1256
    """

    path: ReversedPath
    score: Any = None
    method: str = "euler-maruyama"
    churn: float | None = None
    variance: str = "posterior"

    interacting = False
    energies = ()

    @override
    def __post_init__(self) -> None:
        steps = self._steps
        object.__setattr__(self, "score", steps.score)
        object.__setattr__(self, "churn", steps.churn)

    @override
    def __repr__(self) -> str:
        score = "" if self.score is None else f", score={name_of(self.score)}"
        variance = "" if self.variance == "posterior" else f", variance={self.variance!r}"
        return f"ReverseDiffusion({self.path}{score}, method={self.method!r}, churn={self.churn:g}{variance})"

    @property
    def _steps(self) -> ReverseMethod:
        return ReverseMethod(self.path, self.score, self.method, self.churn, self.variance)

    @property
    @override
    def order(self) -> float:  # type: ignore[override]
        """1, or 2 for Heun's method along a path that stops before the data."""
        return self._steps.order

    @property
    @override
    def random(self) -> bool:  # type: ignore[override]
        """Whether the method adds noise."""
        return self.churn != 0

    @override
    def law_on_grid(self) -> ReverseDiffusionLaw:
        """Name the law of one step: Gaussians about moved cells, or a change of variables."""
        return ReverseDiffusionLaw(self._steps).watched_by(vars(self).get("_balance"))

    @override
    def begin(self, start: Any) -> Any:
        return begin_account(start)

    @override
    def monitored(self) -> Flow:
        watched = copy.copy(self)
        object.__setattr__(watched, "_balance", MassBalance())
        return watched

    @override
    def reference(self, template: Any) -> np.ndarray:
        return reference_of(self._steps, template)

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare one step of the method."""
        steps = self._steps
        check_dimension(steps, template)

        def step(state: Particles, t: float, rng: Any = None) -> Particles:
            move = steps.step(t, t + dt)
            means = np.asarray(move.mean(state.positions), dtype=np.float64)
            if move.variance == 0:
                return self.moved(state, given_over(means), None, state.auxiliary)
            noise = math.sqrt(move.variance) * np.random.default_rng(rng).standard_normal(means.shape)
            mixture = Mixture(means, move.variance, state.log_weights, np.arange(len(means)))
            return self.moved(state, given_over(means + noise), mixture, state.auxiliary)

        return step

    @override
    def exact(self) -> ReverseSDE:
        """Return the reverse SDE of the same score and churn."""
        return ReverseSDE(self.path, self.score, 0.0 if self.churn is None else self.churn)
