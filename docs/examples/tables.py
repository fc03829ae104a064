"""Tables for a paper: of samplers against the truth, and of orders of convergence."""

import wfr_pde as wfr
from wfr_pde import metrics, samplers, tables

target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04)
truth = wfr.ground_truth(target, start, t=[0, 0.5], reaction_rate=0, rtol=1e-4)

methods = {"Langevin": samplers.Langevin(), "MALA": samplers.MALA()}
runs = {
    name: [wfr.solve(target, flow, start.sample(200, rng=k), truth.t, dt=0.05, rng=k) for k in range(10)]
    for name, flow in methods.items()
}
errors = wfr.compare(truth, runs, [metrics.total_variation, metrics.mean_error])
print(tables.to_text(errors.isel(t=-1)))  # at the last time; what is selected away has no column
print(tables.to_latex(errors.isel(t=-1), caption="Two samplers, $t = 0.5$.", label="tab:samplers"))

numbers = tables.to_dataframe(errors)  # pandas: every number in full, at all times
print(len(numbers), "rows:", *numbers.columns)

flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
rho = wfr.Grid(-2.6, 2.6, 96).density(start)
orders = wfr.convergence_table(lambda dt: wfr.solve(target, flow, rho, [0, 0.4], dt), "dt", [0.1, 0.05, 0.025, 0.0125])
print(tables.to_latex(orders.drop_vars("wall_time")))
