"""Many wells: WFR has the masses of 2^16 modes within 0.03 of the target after two units of time, Langevin does not.

Method: sixteen independent coordinates on turned axes, each with modes at -3/2 and 3/2 of variance 1/4, whose weights
on the right are 0.2, 0.35, 0.65 and 0.8, four times each; the start is a standard Gaussian, half of which is on either
side; alpha = beta = 1. The truth is certified, coordinate by coordinate. Four samplers, of the particles of which the
share on the right of every coordinate is taken: Langevin; births and deaths, and weights that are resampled, both with
the g of the truth; and SMC-WFR, with its own estimate of the density in 16 dimensions.

Findings: with the true g the masses of all sixteen pairs follow the truth, though most of the 65 536 modes never hold a
particle. Langevin alone is slow to cross. SMC-WFR overshoots, to a share of 0.92 where the target has 0.8: its estimate
of the density is mostly each particle's own kernel, which leaves weights by pi alone, and five times the particles help
little.

Figure: (a) share on the right over time, of the truth (lines) and of births and deaths (points), for the four weights;
(b) root mean square over the coordinates of the error of the mean share.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(n=400, seeds=2, rtol=1e-3)
CHECKS = {
    "error_langevin": (0.15, 0.02),  # at the end, as shares have hardly moved
    "births_over_langevin": (0.25, 0.25),  # errors at the end
    "weights_over_langevin": (0.2, 0.2),
    "smc_over_langevin": (1.0, 0.2),  # 0.85 with 1000 particles, 1.15 with 400
    "smc_share": (0.93, 0.03),  # on the right at the end, where the target has 0.8
    "error_truth": (0.0, 1e-3),  # bound of the L1 error of the law in 16 dimensions
}
TOLERANCES = {"*": (1e-3, 1e-3)}

SHARES = (0.2, 0.35, 0.65, 0.8)
D, DT = 16, 0.05
TIMES = np.linspace(0.0, 2.0, 9)
AXES = np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0]
WELLS = [wfr.GaussianMixture([-1.5, 1.5], [1 - share, share], 0.25) for share in SHARES]
TARGET = wfr.Product(WELLS * 4, AXES)
START = wfr.Product([wfr.Gaussian(0.0, 1.0)] * D, AXES)
NAMES = ("Langevin", "births and deaths", "weights", "SMC-WFR")


def flows(truth):
    """The samplers by name."""
    oracle, move = samplers.Oracle(truth), samplers.Langevin()
    weights = wfr.Strang(samplers.FeynmanKac(density=oracle), move)
    pairs = move, wfr.Strang(samplers.BirthDeath(density=oracle), move), wfr.Lie(samplers.Resample(0.5), weights)
    return dict(zip(NAMES, (*pairs, samplers.SMCWFR()), strict=True))


def right_of_zero(density):
    """Mass of a density on the line above zero; the cell that zero cuts counts in part."""
    axis = density.grid.axes[0]
    part = np.clip(axis.edges[1:] / axis.widths, 0.0, 1.0)
    return float(np.sum(density.values * axis.widths * part))


def shares(n, seeds, rtol) -> xr.Dataset:
    """Share on the right (t, coordinate) of the truth, with its error bound, and the mean over runs of the samplers."""
    tree = wfr.ground_truth(TARGET, START, TIMES, rtol=rtol)
    truth = wfr.Trajectory(tree, TARGET)
    total = np.zeros((len(NAMES), len(TIMES), D))
    for own, flow in zip(total, flows(truth).values(), strict=True):
        for seed in range(seeds):
            ds = wfr.solve(TARGET, flow, START.sample(n, rng=seed), TIMES, DT, rng=seed)
            weights = np.exp(ds["log_weight"].values)
            own += np.einsum("tp,tpk->tk", weights, (ds["position"].values @ AXES > 0).astype(float)) / seeds
    exact = [[right_of_zero(factor) for factor in truth.at(t).factors] for t in TIMES]
    return xr.Dataset(
        {
            "true_share": (("t", "coordinate"), exact),
            "share": (("sampler", "t", "coordinate"), total),
            "error": ("t", tree["error_l1"].values),
        }
    )


def run(n=1000, seeds=6, rtol=1e-4) -> xr.Dataset:
    found = stored(shares, n, seeds, rtol)
    truth, share = found["true_share"].values, found["share"].values
    error = np.sqrt(np.mean((share - truth) ** 2, axis=2))
    units = {"units": "1"}
    ds = xr.Dataset(
        {
            "true_share": (("t", "coordinate"), truth, {"long_name": "share on the right", **units}),
            "share": (("sampler", "t", "coordinate"), share, {"long_name": "share on the right", **units}),
            "error": (("sampler", "t"), error, {"long_name": "error of the share", **units}),
        },
        coords={"sampler": list(NAMES), "t": ("t", TIMES, {"long_name": "time", "units": "1/β"})},
    )
    last = dict(zip(NAMES, ds["error"].values[:, -1].tolist(), strict=True))
    ds["error_langevin"] = (), last["Langevin"], units
    for name, short in (("births and deaths", "births"), ("weights", "weights"), ("SMC-WFR", "smc")):
        ds[f"{short}_over_langevin"] = (), last[name] / last["Langevin"], units
    ds["smc_share"] = (), float(share[-1, -1, 3::4].mean()), units
    ds["error_truth"] = (), float(found["error"].max()), units
    return ds


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 2.7)
        left, right = fig.subplots(1, 2)
        births = ds["share"].sel(sampler="births and deaths")
        for k, (share, colour) in enumerate(zip(SHARES, plotting.COLOURS, strict=False)):
            left.plot(ds["t"], ds["true_share"][:, k], color=colour, label=f"{share:g}")
            points = births[:, k::4].mean("coordinate")
            left.plot(ds["t"], points, color=colour, linestyle="none", marker="o", markersize=3)
        left.set(xlabel=plotting.label(ds["t"]), ylabel="share on the right", ylim=(0, 1))
        left.legend(title="of the target", ncols=2, loc="upper left")
        left.set_title("Shares of the modes")
        for name, colour in zip(NAMES, plotting.COLOURS, strict=False):
            right.semilogy(ds["t"], ds["error"].sel(sampler=name), color=colour, label=name)
        right.set(xlabel=plotting.label(ds["t"]), ylabel="error of the share", ylim=(8e-4, 0.3))
        right.legend(loc="lower right")
        right.set_title("Error, over 16 coordinates")
    return fig
