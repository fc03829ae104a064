"""A posterior of real data with two equal modes: the W flow stays in one for thousands of time units, WFR finds both.

Data: the velocities y of 82 galaxies in 1000 km/s (Roeder 1990). Model: y ~ ½ N(m1, 3²) + ½ N(m2, 3²), prior
N(21, 10²) for m1 and m2. The posterior of (m1, m2) does not change when the names of the two groups are exchanged:
it has a mode in each labelling, m1 < m2 and m1 > m2, with exactly half of the mass, and a barrier between them.

Units: lengths in 1000 km/s, V = -log posterior in nats, transport and reaction rate 1. So a time unit is what a
particle with unit mobility needs to diffuse over about 1000 km/s; the relaxation inside a labelling takes a few.

Accuracy, measured: for n, dt, order as in `run`, WFR densities differ from those of finer grids and steps by 1e-6
at most (L1), and the box cuts off 4e-7 of the mass. The escape rate of the W flow was computed independently as an
eigenvalue of a finite-volume generator (400² cells and extrapolation): 1.31806e-4.
"""

import numpy as np
import xarray as xr
from scipy.optimize import minimize, minimize_scalar

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics, plotting
from wfr_pde.data import galaxies

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
LABELLINGS = ("m1 < m2", "m1 > m2")


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
    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), log_likelihood, galaxies())
    start = wfr.Gaussian([16, 25], 0.25)
    grid = wfr.Grid((9, 9), (28, 28), (n, n), names=("m1", "m2"))
    rho0 = grid.density(start)
    modes, barrier = modes_and_barrier(posterior)

    transport, reaction = wfr.SinkhornKernel(), wfr.FisherRao()
    flows = {"W": transport, "FR": reaction, "WFR": wfr.Strang(reaction, transport)}
    record = {"mass": diagnostics.mode_masses(modes), "kl": wfr.KL(posterior)}
    t = dt * np.arange(round(t_end / dt) + 1)

    def early(name, t=t, dt=dt):
        flow = flows[name] if name == "FR" else wfr.Extrapolated(flows[name], 8)
        return wfr.solve(posterior, flow, rho0, t, dt, record=record)

    runs = {name: early(name) for name in flows}
    # the slow escape of the W flow, on times that grow by a constant factor
    late = np.unique(np.round(np.append(np.geomspace(t_end, t_slow, 60), min(t_slow, 1000.0)) / dt)) * dt
    slow = wfr.solve(
        posterior, wfr.Extrapolated(transport, 4), wfr.Density.from_dataset(runs["W"]), late, dt, record=record
    )
    runs["W"] = xr.concat([runs["W"], slow.isel(t=slice(1, None))], "t", data_vars="all", combine_attrs="override")
    doubled = early("WFR", t[::2], 2 * dt)
    return summary(runs, doubled, record, posterior, grid, barrier)


def summary(runs, doubled, record, posterior, grid, barrier) -> xr.Dataset:
    """What is drawn and checked."""
    names = xr.DataArray(list(runs), dims="flow", name="flow")
    # WFR and FR are at equilibrium when they end; W goes on
    ds = xr.concat(
        [run[list(record)] for run in runs.values()], names, data_vars="all", join="outer", combine_attrs="override"
    )
    frames = [("start", 0.0), ("WFR", 2.0), ("WFR", 3.0), ("WFR", float(runs["WFR"].t[-1]))]
    frames.append(("W", min(1000.0, float(runs["W"].t[-1]))))
    states = [runs["WFR" if name == "start" else name].sel(t=t, method="nearest") for name, t in frames]
    ds["log_density"] = ("frame", "m1", "m2"), np.stack([state.log_density for state in states])
    ds["frame_mass"] = ("frame", "mode"), np.stack([state.mass for state in states])
    ds["log_target"] = ("m1", "m2"), grid.density(posterior).log_values
    ds = ds.assign_coords(
        m1=("m1", grid.axes[0].centres, {"long_name": "m₁", "units": "1000 km/s"}),
        m2=("m2", grid.axes[1].centres, {"long_name": "m₂", "units": "1000 km/s"}),
        mode=list(LABELLINGS),
        frame_flow=("frame", [name for name, _ in frames]),
        frame_t=("frame", [float(state.t) for state in states]),
    )
    ds["kl"].attrs = {"long_name": "KL(mu|pi)", "units": "nats"}
    ds["mass"].attrs = {"long_name": "mass of the labelling", "units": "1"}

    w, fast = ds.sel(flow="W"), runs["WFR"]
    excess = w["mass"][:, 0] - 0.5
    last_kl = fast["kl"].sel(t=[float(fast.t[-1]) - 2, float(fast.t[-1])], method="nearest")
    same = [(wfr.Density.from_dataset(fast, 2 * k), wfr.Density.from_dataset(doubled, k)) for k in range(len(doubled.t))]
    half_way = int(np.abs(ds.t.values - ds.t.values[-1] / 2).argmin())
    scalars = {
        "barrier": (barrier, "barrier between the labellings", "nats"),
        "target_mass": (record["mass"](grid.density(posterior), None)[0], "mass of the posterior in m1 < m2", "1"),
        "wfr_mass": (float(fast["mass"][-1, 0]), "mass of WFR in m1 < m2 at its end", "1"),
        "w_mass": (float(w["mass"][-1, 0]), "mass of W in m1 < m2 at its end", "1"),
        "wfr_kl_rate": (-float(np.log(last_kl[1] / last_kl[0]) / np.diff(last_kl.t)[0]), "decay of KL in WFR", "1"),
        "w_escape_rate": (
            float(np.log(excess[half_way] / excess[-1]) / (ds.t[-1] - ds.t[half_way])), "relaxation of W", "1",
        ),
        "wfr_step_error": (max(metrics.l1(*pair) for pair in same), "L1 distance of WFR to a run with doubled steps", "1"),
    }  # fmt: skip
    for name, (value, words, units) in scalars.items():
        ds[name] = ((), value, {"long_name": words, "units": units})
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
        top, bottom = fig.subfigures(2, 1, height_ratios=(1, 1.2))
        for k, ax in enumerate(top.subplots(1, ds.sizes["frame"], sharex=True, sharey=True)):
            draw_map(ax, ds.isel(frame=k))
            ax.label_outer()
        left, right = bottom.subplots(1, 2)
        draw_lines(left, ds["mass"].isel(mode=0), 0.5, {"WFR": (1.7, 0.75), "FR": (8.5, 0.75), "W": (60, 0.95)})
        left.set(ylim=(0.45, 1.03), ylabel="mass in the first labelling", title="Crossing takes W thousands of time units")
        left.text(0.12, 0.51, "½: the posterior", color="0.35", va="bottom")
        draw_lines(right, ds["kl"], np.log(2), {"WFR": (2.4, 1e-3), "FR": (14, 1e-3), "W": (60, 0.2)})
        right.set(yscale="log", ylim=(1e-6, 50), title="W is stuck at one labelling: KL = log 2")
        right.text(0.12, 0.5, "log 2", color="0.35", va="top")
    return fig
