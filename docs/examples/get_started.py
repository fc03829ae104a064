"""A flow from its definition to numbers."""

import numpy as np

import wfr_pde as wfr

# what is to be solved: two modes, and a start in one of them
target = wfr.GaussianMixture(means=[-2, 2], weights=[0.3, 0.7], covariances=0.5)
start = wfr.Gaussian(mean=-2, covariance=0.5)

# how: cells, and the flow as transport and reaction in turn, extrapolated to order 8
grid = wfr.Grid.covering(target, start, shape=256)
strang = wfr.Strang(wfr.FisherRao(rate=1.0), wfr.SinkhornKernel(rate=1.0))  # outer, inner
flow = wfr.Extrapolated(strang, order=8)

# the verb
t = np.linspace(0, 4, 5)
record = [wfr.KL(target), wfr.diagnostics.mean]
ds = wfr.solve(target, flow, grid.density(start), t, dt=0.05, record=record)
print("t  KL        mean")
for k in range(len(t)):
    print(f"{t[k]:g}  {ds.kl.values[k]:.6f}  {ds['mean'].values[k, 0]:.6f}")

# a frame of the Dataset, by default the last, with its methods
density = wfr.Density.from_dataset(ds, t=4)
share = density.expectation(lambda x: (x[..., 0] > 0).astype(float))
print(f"mass right of 0: {share:.3f}")
print("draws:", density.sample(1000, rng=0).shape)

# or leave what is numerical to the program, and get an error bar
truth = wfr.ground_truth(target, start, t, rtol=1e-6)
difference = np.abs(truth.kl.values - ds.kl.values).max()
print(f"the two agree on KL to 1e-5: {difference < 1e-5}")
