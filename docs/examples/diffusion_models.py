"""The density that a diffusion model with a wrong score really generates, and how wrong it is."""

import numpy as np

import wfr_pde as wfr

data = wfr.GaussianMixture([[-1.5], [1.5]], [0.3, 0.7], 0.09)
path = wfr.Noised(data, wfr.VP(beta_min=0.1, beta_max=20.0))  # p_t, the law of the noised data, for t in [0, 1]
back = path.reversed()  # the same from noise to data, over s in [0, 1]


def my_score(points, t):
    """A score in place of a trained network: the exact one, off by a constant. (x, t) is what a network is asked."""
    return path.at(t).score(points) + 0.3


grid = wfr.Grid(-6.0, 6.0, 256)
start = grid.density(back.at(0.0))  # p_T; wfr.Gaussian(0, 1) is what a sampler would begin with


def off(flow):
    """KL(p_0|mu_0) of what a flow generates."""
    ds = wfr.solve(None, wfr.Extrapolated(flow, 4), start, t=[0, 1], dt=1 / 24)
    generated, true = wfr.Density.from_dataset(ds), grid.density(data)
    return float(grid.integrate(true.values * (true.log_values - generated.log_values)))


print(f"reverse SDE:       {off(wfr.ReverseSDE(back, my_score)):.4f} nats")
print(f"probability flow:  {off(wfr.ProbabilityFlow(back, my_score)):.4f} nats")

# a Fisher-Rao reaction towards the exact p_t, of rate 10 per noise time, beside the wrong score
reaction = wfr.FisherRao(lambda s: 10.0 * back.noise_rate(s))
flow = wfr.Extrapolated(wfr.Strang(reaction, wfr.ReverseSDE(back, my_score)), 4)
ds = wfr.solve(back, flow, start, t=[0, 1], dt=1 / 24, record=[wfr.KL(back)])
print(f"with the reaction: KL(mu|p) = {float(ds['kl'][-1]):.4f} nats")

# what a sampler of 20 steps does to infinitely many particles, and to 10000
sampler = wfr.samplers.ReverseDiffusion(back, my_score, "euler-maruyama")
law = wfr.Density.from_dataset(wfr.solve(None, sampler, start, [0, 1], dt=1 / 20))
particles = wfr.Particles(back.at(0.0).sample(10_000, rng=1))
ds = wfr.solve(None, sampler, particles, [0, 1], dt=1 / 20, rng=2, record=[wfr.diagnostics.mean])
print(f"mean of the law in 20 steps {law.mean()[0]:.3f}, of 10000 particles {float(ds['mean'][-1, 0]):.3f}")

# any drift: the law of dX = b dt + sqrt(2 D) dW, with an error bar
turning = wfr.Advected(lambda x, t: np.stack([-x[..., 0] - 2 * x[..., 1], 2 * x[..., 0] - x[..., 1]], -1), 1.0)
truth = wfr.ground_truth(flow=turning, start=wfr.Gaussian([1.0, 0.0], np.eye(2)), t=[0, 0.5], rtol=1e-4)
mean = wfr.Density.from_dataset(truth).mean()
print(f"mean {mean.round(4)}, error of the density in L1 below {float(truth['error_l1'][-1]):.0e}")
