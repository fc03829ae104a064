"""A verdict on a sampler of one's own, and where the error of another comes from."""

from own_sampler import faulty, ula

import wfr_pde as wfr
from wfr_pde import samplers

target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04)
# the W flow
truth = wfr.ground_truth(target, start, t=[0, 0.25, 0.5], reaction_rate=0, rtol=1e-5)

# held against the law, with the same step, of the scheme that they declare to be
for sampler in ula, faulty:
    verdict = wfr.validate(sampler, truth, scheme=samplers.Langevin(), dt=0.05, n=500, seeds=20)
    print(f"{sampler.__name__}: {verdict.attrs['verdict']}")
worst = verdict.isel(t=-1).score.to_series().idxmax()
by = verdict.deviation.isel(t=-1).sel(statistic=worst).item()
print(f"  furthest off at the end: {worst}, by {by:.2f} standard deviations of a draw")

# the law of a sampler for infinitely many particles: start it from a density
wfr_truth = wfr.ground_truth(target, start, t=[0, 0.5], rtol=1e-5)
sampler = wfr.Strang(samplers.BirthDeath(bandwidth=0.2), samplers.Langevin())
rho0 = wfr.Grid(-2.6, 2.6, 256).density(start)
law = wfr.solve(target, sampler, rho0, t=[0, 0.5], dt=0.05)
mean, true_mean = (wfr.Density.from_dataset(ds).mean().item() for ds in (law, wfr_truth))
print(f"mean at t = 0.5: {mean:.4f} with infinitely many particles, {true_mean:.4f} in truth")

# and for finitely many, part by part
budget = wfr.error_budget(sampler, wfr_truth, dt=0.05, n=200, seeds=20)
mean_x = budget.isel(dt=0, n=0).sel(statistic="mean x")
for part in mean_x.parts.values:
    one = mean_x.sel(parts=part)
    print(f"  {part}: {one.part:+.4f} +- {one.part_half_width:.4f}")
print(f"  measured: {mean_x.measured:+.4f} +- {mean_x.measured_half_width:.4f}")
