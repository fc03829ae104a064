"""A truth of one's own: the closed form of a flow between Gaussians."""

import numpy as np

import wfr_pde as wfr
from wfr_pde import exact, metrics, samplers
from wfr_pde.integrate.truth_protocol import StatedProblem


class GaussianFlow:
    """The WFR flow from a Gaussian to a Gaussian."""

    def __init__(self, target, start, times, grid):
        self.times, self.grid = np.asarray(times, dtype=float), grid
        # optional: then neither target nor start nor rates have to be given again
        self.problem = StatedProblem(target, start, transport_rate=1.0, reaction_rate=1.0)

    def law(self, t):
        return exact.gaussian_flow(self.problem.target, self.problem.start, float(t))

    def at(self, t):
        return self.grid.density(self.law(t))

    def log_prob(self, x, t):
        law = self.law(t)
        return law.log_density(x) - law.log_normaliser

    def score(self, x, t):
        return self.law(t).score(x)

    def sample(self, n, t, rng=None):
        return self.law(t).sample(n, rng)

    def error_l1(self, t):
        return 1e-12  # what the box of the grid cuts off, and rounding


if __name__ == "__main__":
    target, start = wfr.Gaussian(1.0, 0.5), wfr.Gaussian(0.0, 0.25)
    truth = GaussianFlow(target, start, [0, 0.5], wfr.Grid(-4, 6, 400))
    weighted = samplers.FeynmanKac(density=samplers.Oracle(truth))
    sampler = wfr.Lie(wfr.Lie(samplers.Langevin(), weighted), samplers.Resample(0.5))
    verdict = wfr.validate(sampler, truth, dt=0.05, n=1000)
    print(verdict.attrs["verdict"])
    runs = [wfr.solve(target, sampler, start.sample(1000, rng=s), [0, 0.5], 0.05, rng=s) for s in range(5)]
    found = wfr.compare(truth, {"weighted": runs}, [metrics.wasserstein_1], t=0.5).squeeze()
    print(f"distance {found['mean']:.4f}, of independent draws {found['floor']:.4f}")
