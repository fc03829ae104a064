"""Sequential Monte Carlo along the geometric path."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import finite, length, whole
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.resample import Resample
from wfr_pde.samplers.tempered_path import checked_start, tempered_path
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

# times standard deviations / sqrt(d) is the proposal that mixes fastest for a Gaussian target in high dimension
OPTIMAL = 2.38


@dataclass(frozen=True, eq=False)
class Tempering(Sampler):
    """Sequential Monte Carlo along pi_lambda ∝ mu_0^(1 - lambda) pi^lambda, lambda = 1 - e^(-rate (t - start_time)).

    That path is the Fisher-Rao flow from mu_0. A step weighs, log w += (increment of lambda) log(pi/mu_0); resamples if
    the effective sample size is small; and then moves the resampled particles by random-walk Metropolis, which leaves
    pi_lambda at the end of the step as it is. No error in dt for infinitely many particles: order inf. For finitely
    many, a larger dt makes weights more uneven. Time and memory O(n); moves + 1 evaluations of both densities.

    Parameters
    ----------
    start : Target
        mu_0, which the particles were drawn from.
    rate : float
        Reaction rate beta >= 0.
    threshold : float
        When particles are resampled, see `Resample`.
    scheme : {"systematic", "stratified", "multinomial"}
        How particles are resampled, see `Resample`.
    moves : int
        Number of Metropolis moves per step, >= 0.
    scale : float, optional
        Standard deviation of a proposal along every axis; by default 2.38 / sqrt(d) times the standard deviations of
        the weighted particles.
    start_time : float
        Time of the start.

    Raises
    ------
    TypeError, ValueError
        If the start is no target or moves, a number is out of range, the target moves, or dimensions differ.

    References
    ----------
    Del Moral, Doucet and Jasra (2006), doi:10.1111/j.1467-9868.2006.00553.x; for the scale of the proposals Roberts,
    Gelman and Gilks (1997), doi:10.1214/aoap/1034625254.

    Examples
    --------
    From N(1, 1) to N(0, 1) the mean is e^-1 = 0.37 at t = 1:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> flow = wfr.samplers.Tempering(start)
    >>> ds = wfr.solve(target, flow, start.sample(2000, rng=1), t=[0, 1], dt=0.25, rng=0)
    >>> particles = wfr.Particles(ds.position.values[-1], ds.log_weight.values[-1])
    >>> bool(abs(particles.mean()[0] - 0.368) < 0.1)
    True
    """

    start: Target
    rate: float = 1.0
    _: KW_ONLY
    threshold: float = 0.5
    moves: int = 1
    scale: float | None = None
    scheme: str = "systematic"
    start_time: float = 0.0

    order = math.inf
    law = Law.FR

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        checked_start(self.start, "Tempering")
        Resample(self.threshold, self.scheme)  # checks them
        object.__setattr__(self, "moves", whole("moves", self.moves, 0, "the number of Metropolis moves per step"))
        object.__setattr__(self, "start_time", finite("start_time", self.start_time))
        if self.scale is not None:
            scale = length("scale", self.scale, "a standard deviation of the proposals")
            object.__setattr__(self, "scale", scale)

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare a step that weighs, resamples and moves."""
        path = tempered_path(self.start, energy, template, self.rate, self.start_time, "Tempering")
        resample = Resample(self.threshold, self.scheme).build_step(energy, template, dt)
        if self.rate == 0:
            return lambda state, t, rng=None: state

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            generator = np.random.default_rng(rng)
            increment = -math.expm1(-self.rate * dt) * path.left(t)
            log_weights = state.log_weights + increment * path.log_ratio(state.positions)
            weighted = Particles(state.positions, log_weights, None, state.auxiliary)
            resampled = resample(weighted, generator)
            positions, end = resampled.positions, path.at(t + dt)
            scale = self._scale(resampled)
            for _ in range(self.moves):
                positions = random_walk_move(positions, end, scale, generator)
            return self.moved(resampled, given_over(positions), None, resampled.auxiliary)

        return step

    def _scale(self, state: Particles) -> Any:
        """Return the standard deviation of a proposal, one for all axes or of each."""
        if self.scale is not None or self.moves == 0:
            return self.scale
        deviations = np.sqrt(np.diag(state.covariance()))
        if not np.all(deviations > 0):
            raise ValueError("all particles are at one place, and no scale of the moves can be found: give scale=")
        return OPTIMAL / math.sqrt(state.ndim) * deviations


def random_walk_move(x: Array, target: Target, scale: Any, rng: np.random.Generator) -> Array:
    """Make one random-walk Metropolis move of the points x (n, d), reversible for the target."""
    y = x + scale * rng.standard_normal(x.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # a proposal may go anywhere; it is refused there
        log_ratio = target.log_density(y) - target.log_density(x)
        accepted = np.log1p(-rng.random(len(x))) < log_ratio
    return np.where(accepted[:, None], y, x)
