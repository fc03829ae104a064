"""Kinetic Langevin dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import positive
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class UnderdampedLangevin(Sampler):
    """Kinetic Langevin dynamics, dX = P ds, dP = (score(X) - friction P) ds + sqrt(2 friction) dB, s = rate t: BAOAB.

    Half a kick P += h/2 score(X), half a drift X += h/2 P, the Ornstein-Uhlenbeck process of P solved exactly over h =
    rate dt, half a drift, half a kick. Order 2 in dt, on the way and in equilibrium, which is pi(x) N(p; 0, I) up to
    O(dt²); for a Gaussian target the positions have pi exactly, and the velocities a variance of 1 - h² V''/4. It is
    stable for h² V'' < 4. Two evaluations of the score per particle, memory O(n).

    Velocities are carried in `Particles.auxiliary` (n, d); where there are none, the first step draws them from
    N(0, I).

    Parameters
    ----------
    rate : float
        Speed of time, >= 0.
    friction : float
        > 0, per unit of s. Large, it is Langevin dynamics slowed down by that factor.

    Raises
    ------
    ValueError
        If the friction is not positive, or, from a step, if the auxiliary variables are not velocities.

    References
    ----------
    Leimkuhler and Matthews (2013), doi:10.1093/amrx/abs010.

    Examples
    --------
    From N(1, 1) the variance of the positions stays that of pi, 1, at a step as large as 1:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> flow = wfr.samplers.UnderdampedLangevin(friction=1.0)
    >>> ds = wfr.solve(target, flow, start.sample(20_000, rng=0), t=[0, 10], dt=1, rng=0)
    >>> round(float(ds.position.values[-1].var()), 1)
    1.0
    """

    rate: float = 1.0
    friction: float = 1.0

    order = 2
    law = Law.PI
    interacting = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "friction", positive("friction", self.friction))

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare a step by the splitting BAOAB."""
        target, h = energy.equilibrium, self.rate * dt
        damping, noise = math.exp(-self.friction * h), math.sqrt(-math.expm1(-2 * self.friction * h))
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            generator = np.random.default_rng(rng)
            x, p = state.positions, state.auxiliary
            if p is None:
                p = generator.standard_normal(x.shape)
            if p.shape != x.shape:
                raise ValueError(
                    f"UnderdampedLangevin carries velocities {x.shape} in Particles.auxiliary, but what is there has "
                    f"shape {p.shape}, of another sampler: start it from Particles(positions, log_weights)"
                )
            p = p + h / 2 * target.score(x)
            x = x + h / 2 * p
            p = damping * p + noise * generator.standard_normal(x.shape)
            x = x + h / 2 * p
            p = p + h / 2 * target.score(x)
            return self.moved(state, x, None, p)

        return step
