"""A posterior of real data with two equal modes: the W flow stays in one for thousands of time units, WFR finds both.

Method: the data are the velocities y of 82 galaxies in 1000 km/s (Roeder 1990). The model is y ~ ½ N(m1, 3²) + ½ N(m2,
3²), with the prior N(21, 10²) for m1 and m2. The posterior of (m1, m2) does not change when the names of the two
groups are exchanged: it has a mode in each labelling, m1 < m2 and m1 > m2, with exactly half of the mass, and a
barrier between them. Lengths are in 1000 km/s, V = -log posterior is in nats, transport and reaction rate are 1. So a
time unit is what a particle with unit mobility needs to diffuse over about 1000 km/s; the relaxation inside a
labelling takes a few.

Accuracy: the run compares WFR with a run of doubled steps, and the escape rate of the W flow with the spectral gap,
1.31806e-4, which tests/test_experiments.py computes from a finite-volume generator.

Figure: above, densities of the flows (shades) at one time each over the posterior (lines), with the mass in either
labelling. Below, the mass in the first labelling and KL over time: W stays at one labelling, where KL is log 2.
"""

import numpy as np
import xarray as xr
from scipy.optimize import minimize, minimize_scalar

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics, plotting
from wfr_pde.problems.data import galaxies

QUICK = dict(t_slow=100.0)
CHECKS = {
    "barrier": (8.916, 1e-3),  # nats; by minimisation, not on the grid
    "target_mass": (0.5, 1e-10),  # the posterior is symmetric, and so is the grid
    "wfr_mass": (0.5, 1e-4),  # at t = 12, when 5e-5 of the difference is left
    "wfr_kl_rate": (2.000264, 1e-4),  # 2 (alpha lambda_1 + beta), lambda_1 = 1.31806e-4
    "w_escape_rate": (1.31806e-4, 1e-7),  # lambda_1; extrapolation to order 4 leaves 3e-8
    "wfr_step_error": (0.0, 1e-4),  # L1 against a run with doubled steps, the largest over time
}

STANDARD_DEVIATION = 3.0


def log_likelihood(m1, m2, y):
    """log of ½ N(y; m1, s²) + ½ N(y; m2, s²), up to a constant."""
    return np.logaddexp(-(((y - m1) / STANDARD_DEVIATION) ** 2) / 2, -(((y - m2) / STANDARD_DEVIATION) ** 2) / 2)


def modes_and_barrier(posterior):
    """The two modes, and the height of the saddle between them, in nats."""

    def potential(m):
        return -float(posterior.log_density(m))

    mode = minimize(potential, [18, 23], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    # by symmetry the way from mode to mode is lowest on the line m1 = m2
    saddle = minimize_scalar(lambda m: potential([m, m]), bounds=(15, 27), method="bounded")
    return [mode.x, mode.x[::-1]], saddle.fun - mode.fun


def run(n=108, dt=0.1, t_end=12.0, t_slow=5000.0) -> xr.Dataset:
    if not 0 < 2 * dt <= t_end < t_slow < np.inf:
        raise ValueError(f"needs 0 < 2 dt <= t_end < t_slow, got dt={dt}, t_end={t_end}, t_slow={t_slow}")
    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), log_likelihood, galaxies())
    start = wfr.Gaussian([16, 25], 0.25)
    grid = wfr.Grid((9, 9), (28, 28), (n, n), names=("m1", "m2"))
    rho0 = grid.density(start)
    modes, barrier = modes_and_barrier(posterior)

    transport, reaction = wfr.SinkhornKernel(), wfr.FisherRao()
    wfr_flow = wfr.Extrapolated(wfr.Strang(reaction, transport), 8)
    record = {"mass": diagnostics.mode_masses(modes), "kl": wfr.KL(posterior)}
    t = dt * np.arange(round(t_end / dt) + 1)
    runs = {
        name: wfr.solve(posterior, flow, rho0, t, dt, record=record)
        for name, flow in {"W": wfr.Extrapolated(transport, 8), "FR": reaction, "WFR": wfr_flow}.items()
    }
    doubled = wfr.solve(posterior, wfr_flow, rho0, t[::2], 2 * dt)
    # the escape of the W flow is slow and smooth: order 4 is enough, at times that grow by a constant factor
    late = np.append(np.geomspace(t_end, t_slow, 60), min(t_slow, 1000.0))
    late = np.unique(np.round(late / dt)) * dt
    inside = wfr.Density.from_dataset(runs["W"])
    slow = wfr.solve(posterior, wfr.Extrapolated(transport, 4), inside, late, dt, record=record)
    runs["W"] = xr.concat([runs["W"], slow.isel(t=slice(1, None))], "t", data_vars="all", combine_attrs="override")

    ds = xr.merge([curves(runs), frames(runs, grid.density(posterior))], combine_attrs="override")
    values = {
        "barrier": (barrier, "nats"),
        "target_mass": (record["mass"](grid.density(posterior), None)[0], "1"),
        "wfr_mass": (runs["WFR"]["mass"][-1, 0], "1"),
        "w_mass": (runs["W"]["mass"][-1, 0], "1"),
        "wfr_kl_rate": (rate(runs["WFR"]["kl"], t_end - 2), "1"),
        "w_escape_rate": (rate(runs["W"]["mass"][:, 0] - 0.5, t_slow / 2), "1"),
        "wfr_step_error": (largest_distance(runs["WFR"].isel(t=slice(None, None, 2)), doubled), "1"),
    }
    for name, (value, units) in values.items():
        ds[name] = ((), float(value), {"units": units})
    ds.attrs = {"target": repr(posterior), "start": repr(start), "grid": repr(grid), "wfr_flow": repr(wfr_flow)}
    return ds


def rate(curve, since):
    """Exponential rate at which a curve falls between a time and its end."""
    last = curve.isel(t=-1)
    first = curve.sel(t=since, method="nearest")
    return np.log(first / last) / (last.t - first.t)


def largest_distance(ds, other):
    """The largest L1 distance of two runs at the same times."""
    pairs = [[wfr.Density.from_dataset(run, k) for run in (ds, other)] for k in range(ds.sizes["t"])]
    return max(metrics.l1(*pair) for pair in pairs)


def curves(runs):
    """Records of all flows; NaN after the end of FR and WFR, which are at equilibrium then."""
    flow = xr.DataArray(list(runs), dims="flow", name="flow")
    records = [run[["mass", "kl"]] for run in runs.values()]
    return xr.concat(records, flow, data_vars="all", join="outer", combine_attrs="override").assign_coords(
        mode=["m1 < m2", "m1 > m2"]
    )


def frames(runs, target):
    """The densities that are drawn, and the target."""
    chosen = {"start": [0.0], "WFR": [2.0, 3.0, 12.0], "W": [1000.0]}
    states = [
        runs[name if name in runs else "WFR"].sel(t=t, method="nearest").assign_coords(frame_flow=name)
        for name, times in chosen.items()
        for t in times
    ]
    ds = xr.concat(
        [state[["log_density", "mass"]].rename(mass="frame_mass", t="frame_t") for state in states],
        "frame", data_vars="all", coords="different", compat="equals", combine_attrs="override",
    )  # fmt: skip
    ds["log_target"] = ("m1", "m2"), target.log_values
    for name, words in {"m1": "m₁", "m2": "m₂"}.items():
        ds[name].attrs = {"long_name": words, "units": "1000 km/s"}
    return ds


def figure(ds):
    colours = {"start": "0.35", "W": plotting.VERMILION, "FR": plotting.GREEN, "WFR": plotting.BLUE}
    dashes = {"W": "--", "FR": "-.", "WFR": "-"}

    def draw_map(ax, frame):
        name, t = str(frame.frame_flow.values), float(frame.frame_t)
        plotting.density_contours(frame.log_density, target=ds.log_target, ax=ax, colour=colours[name])
        ax.axline((20, 20), slope=1, color="0.6", linestyle=":", linewidth=0.8, zorder=0)
        ax.set(xlim=(13, 29), ylim=(13, 29), xticks=[15, 20, 25], yticks=[15, 20, 25])
        ax.set_title(f"{name}, t = {t:.0f}", color=colours[name])
        ax.text(0.04, 0.96, f"{100 * frame.frame_mass[0]:.0f} %", transform=ax.transAxes, ha="left", va="top")
        ax.text(0.96, 0.05, f"{100 * frame.frame_mass[1]:.0f} %", transform=ax.transAxes, ha="right", va="bottom")

    def draw_lines(ax, variable, level, places):
        for name, (x, y) in places.items():
            curve = variable.sel(flow=name).dropna("t")
            plotting.record(curve, ax=ax, color=colours[name], linestyle=dashes[name], linewidth=1.8)
            ax.text(x, y, name, color=colours[name], weight="bold", ha="center", va="center")
        ax.axhline(level, color="0.5", linestyle=":", linewidth=0.9, zorder=1)
        ax.set(xscale="log", xlim=(0.1, max(100.0, float(ds.t[-1]))))
        ax.xaxis.set_major_formatter("{x:g}")

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.4)
        fig.get_layout_engine().set(w_pad=0.06, h_pad=0.05)
        fig.suptitle("Two group means of 82 galaxies: WFR finds both labellings, W stays in one", weight="bold")
        top, bottom = fig.subfigures(2, 1, height_ratios=(1.05, 1.2))
        words = "lines: the posterior; shades: the flow; %: mass in either labelling, m₁ < m₂ and m₁ > m₂"
        top.suptitle(words, fontsize=8, color="0.35")
        for k, ax in enumerate(top.subplots(1, ds.sizes["frame"], sharex=True, sharey=True)):
            draw_map(ax, ds.isel(frame=k))
            ax.label_outer()
        left, right = bottom.subplots(1, 2)
        draw_lines(left, ds["mass"].isel(mode=0), 0.5, {"WFR": (1.7, 0.75), "FR": (8.5, 0.75), "W": (60, 0.95)})
        left.set(ylim=(0.45, 1.03), ylabel="mass in the first labelling")
        left.set_title("Crossing takes W thousands of time units")
        left.text(0.12, 0.51, "½: the posterior", color="0.35", va="bottom")
        draw_lines(right, ds["kl"], np.log(2), {"WFR": (2.4, 1e-3), "FR": (14, 1e-3), "W": (60, 0.2)})
        right.set(yscale="log", ylim=(1e-6, 50))
        right.set_title("W is stuck at one labelling: KL = log 2")
        right.text(0.12, 0.5, "log 2", color="0.35", va="top")
    return fig
