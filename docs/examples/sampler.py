"""A new particle sampler: Heun's method for the Langevin equation."""

import math
from dataclasses import dataclass

import numpy as np

import wfr_pde as wfr
from wfr_pde import samplers


@dataclass(frozen=True)
class Heun(samplers.Sampler):
    """Stochastic Heun method for dX = -rate grad V dt + sqrt(2 rate) dB, the W flow.

    Y = X + rate dt score(X) + xi, X <- X + rate dt (score(X) + score(Y)) / 2 + xi, with
    xi = sqrt(2 rate dt) N(0, I). As the noise does not depend on the place, the order of the law
    in dt is 2. Weights stay.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.
    """

    rate: float = 1.0

    law = "w"
    order = 2
    interacting = False  # no particle looks at the others

    def build_step(self, energy, template, dt):
        """One step."""
        target = energy.equilibrium
        drift, width = self.rate * dt, math.sqrt(2 * self.rate * dt)

        def step(state, rng):
            x = state.positions
            noise = width * np.random.default_rng(rng).standard_normal(x.shape)
            before = target.score(x)
            after = target.score(x + drift * before + noise)
            return self.moved(state, x + drift * (before + after) / 2 + noise)

        return step


if __name__ == "__main__":
    target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04)
    truth = wfr.ground_truth(target, start, t=[0, 0.25, 0.5], reaction_rate=0, rtol=1e-5)

    # by itself: the W flow
    verdict = wfr.validate(Heun(), truth, dt=0.02, n=2000, seeds=20, rng=1)
    print(f"Heun: {verdict.attrs['verdict']}")

    # with a reaction: WFR, composed and run like any other sampler
    sampler = wfr.Strang(samplers.BirthDeath(bandwidth=0.1), Heun())
    ds = wfr.solve(target, sampler, start.sample(500, rng=1), t=[0, 0.25, 0.5], dt=0.02, rng=1)
    print(dict(ds.sizes))
