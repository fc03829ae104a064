"""Error against step size: Lie splittings have order 1, Strang 2, extrapolated Strang 4, 6 and 8.

Method: two problems, alpha = beta = 1, errors in L1 at the end:

- Gaussian: N(-20, 2²) to N(0, 1), against the closed form of the flow;
- double well: V = 2 (x² - 1)², N(-1, 0.2²), against order 8 with a step half as large.

Orders are fitted where the errors are asymptotic, alpha dt |V''| <= 0.15 with V'' at the modes, and where they are
above 2e-12: log-densities reach -600, so that rounding makes errors of 1e-13. Where that leaves less than two steps,
orders are those of the two smallest steps with errors above 1e-11.

Figure: the error against the step, a panel for each problem, with the fitted orders in the legend and thin lines of
every whole order.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import exact, plotting
from wfr_pde.metrics.convergence import convergence_table

TRANSPORT, REACTION = wfr.SinkhornKernel(), wfr.FisherRao()
STRANG = wfr.Strang(REACTION, TRANSPORT)
SCHEMES = {
    "Lie W-FR": wfr.Lie(TRANSPORT, REACTION),
    "Lie FR-W": wfr.Lie(REACTION, TRANSPORT),
    "Strang W-FR-W": wfr.Strang(TRANSPORT, REACTION),
    "Strang FR-W-FR": STRANG,
    "extrapolated, 4": wfr.Extrapolated(STRANG, 4),
    "extrapolated, 6": wfr.Extrapolated(STRANG, 6),
    "extrapolated, 8": wfr.Extrapolated(STRANG, 8),
}
KEYS = ("lie_w_fr", "lie_fr_w", "strang_w_fr_w", "strang_fr_w_fr", "extrapolated_4", "extrapolated_6", "extrapolated_8")
EXPECTED = ((1, 0.1), (1, 0.1), (2, 0.1), (2, 0.1), (4, 0.3), (6, 0.3), (8, 0.3))
FLOOR, CLEAR = 2e-12, 1e-11

QUICK = dict(steps_gaussian=(1, 2, 4, 5, 6), steps_double_well=(8, 16, 56, 72))
CHECKS = {f"eoc_{key}": claim for key, claim in zip(KEYS, EXPECTED, strict=True)} | {
    # V'' is not constant: closer to the order only for smaller steps
    f"eoc_{key}_double_well": (order, 0.1 if order < 3 else 0.5)
    for key, (order, _) in zip(KEYS, EXPECTED, strict=True)
}


def gaussian(t_end):
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(-20.0, 4.0)
    grid = wfr.Grid(-35.5, 12, 316)
    return target, grid.density(start), grid.density(exact.gaussian_flow(target, start, t_end))


def double_well(t_end, n_steps):
    target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1.0, 0.04)
    rho0 = wfr.Grid(-2.6, 2.6, 192).density(start)
    reference = wfr.solve(target, SCHEMES["extrapolated, 8"], rho0, [0, t_end], t_end / n_steps, keep="last")
    return target, rho0, wfr.Density.from_dataset(reference)


def errors(target, rho0, reference, t_end, steps) -> xr.DataArray:
    """L1 errors (scheme, dt); NaN where the smallest sub-step is below what the grid resolves."""
    tables = []
    for flow in SCHEMES.values():
        smallest = flow.dt_bounds(wfr.KL(target), rho0)[0]
        dt = np.array([t_end / m for m in steps if t_end / m >= smallest])

        def run(dt, flow=flow):
            return wfr.solve(target, flow, rho0, [0, t_end], dt, keep="last")

        tables.append(convergence_table(run, "dt", dt, reference=reference)["error"])
    return xr.concat(tables, xr.DataArray(list(SCHEMES), dims="scheme", name="scheme"), join="outer").sortby(
        "dt", ascending=False
    )


def order(error, longest) -> float:
    """Order of errors over dt, by the steps up to `longest`."""
    dt, values = error["dt"].values, error.values
    chosen = (values > FLOOR) & (dt <= longest * (1 + 1e-9))
    if chosen.sum() < 2:
        chosen = np.isin(dt, np.sort(dt[values > CLEAR])[:2])
    return float(np.polyfit(np.log(dt[chosen]), np.log(values[chosen]), 1)[0]) if chosen.sum() > 1 else np.nan


def run(
    steps_gaussian=(1, 2, 3, 4, 5, 6, 8, 10),
    steps_double_well=(8, 12, 16, 24, 32, 40, 56, 72, 96),
    t_gaussian=0.6,
    t_double_well=0.5,
) -> xr.Dataset:
    well = double_well(t_double_well, 2 * max(steps_double_well))
    # V'' at the modes comes last
    problems = {
        "": (*gaussian(t_gaussian), t_gaussian, steps_gaussian, 1.0),
        "_double_well": (*well, t_double_well, steps_double_well, 16.0),
    }
    ds = xr.Dataset()
    for suffix, (*problem, stiffness) in problems.items():
        error = errors(*problem)
        for k, key in enumerate(KEYS):
            eoc = order(error.isel(scheme=k), 0.15 / stiffness)
            ds[f"eoc_{key}{suffix}"] = ((), eoc, {"long_name": "observed order in dt", "units": "1"})
        ds[f"error{suffix}"] = error.rename(dt=f"dt{suffix}")
        ds[f"error{suffix}"].attrs = {"long_name": "L1 error at the end", "units": "1"}
        ds[f"dt{suffix}"].attrs = {"long_name": "step dt", "units": "1"}
    return ds


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 3.4)
        panels = {"": "Gaussian, against the closed form", "_double_well": "Double well, against order 8"}
        for ax, (suffix, title) in zip(fig.subplots(1, 2), panels.items(), strict=True):
            orders = [ds[f"eoc_{key}{suffix}"] for key in KEYS]
            plotting.convergence(xr.Dataset({"error": ds[f"error{suffix}"], "eoc": ("scheme", orders)}), ax=ax)
            ax.set_title(title)
    return fig
