"""Spectral gaps known to the last digit, from 1 to 1e-6: computed to ten digits, and as the rates of W and WFR.

Method: the target is V = -2 log cosh(x) + gap/4 cosh(2x) on the line, with the eigenfunction tanh(x) and the
eigenvalue gap; it has two wells, and a barrier of 0.2 nats for a gap of 1, of 13.5 nats for 1e-6. The box leaves out
1e-12. Rates are those of KL, which in the end falls like exp(-rate t), with rate = 2 alpha gap for the W flow and 2
(alpha gap + beta) for WFR, alpha = beta = 1. The start has 52 % of its mass in one well. The rate is fitted when the
next mode has died out, so that no run needs to wait for a time of 1/gap. Time is in units of 1/alpha, with lengths in
units of the barrier's width.

Findings: `wfr.spectrum` finds gaps to ten digits, and the rates are those of the gaps: the barrier slows W down, and
not WFR.

Figure: (a) relative error of `wfr.spectrum` over the number of cells, on this grid alone (order 2), and extrapolated
from two and three grids (orders 4 and 6), a line for each gap. (b) Rates of KL against the gap; lines are exact.
"""

import numpy as np
import xarray as xr
from matplotlib.ticker import NullFormatter

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.truth.spectrum.rates import decay_rate, long_time_rate

QUICK = dict(gaps=(1.0, 1e-3, 1e-6), cells=(128, 256, 512))
CHECKS = {
    "gap_error": (0.0, 1e-10),  # relative, the largest over the gaps: order 6 on the most cells
    "eoc_2": (2.0, 0.05),
    "eoc_4": (4.0, 0.2),  # the coarsest cells are half of a standard deviation
    "w_rate_error": (0.0, 1e-3),  # relative, the largest over the gaps; KL is not quite quadratic in 0.04
    "wfr_rate_error": (0.0, 1e-3),
}
ORDERS = (2, 4, 6)
WAIT = {"W": 26, "WFR": 8}  # e-foldings of the next mode against the first: W loses only 1e-6 in a unit of time


def gap_errors(gap, cells) -> xr.DataArray:
    """Relative errors (order, cells) of the computed gap."""
    target = wfr.CoshDoubleWell(gap)

    def error(order, n):
        grid = wfr.Grid.covering(target, shape=n)
        return abs(float(wfr.spectrum(target, grid, 2, order=order).eigenvalue[1]) / gap - 1)

    values = [[error(order, n) for n in cells] for order in ORDERS]
    return xr.DataArray(values, coords={"order": list(ORDERS), "cells": list(cells)}, name="error")


def rates(gap, n, dt) -> xr.Dataset:
    """Measured and expected rates (flow) at which KL falls in the end."""
    target = wfr.CoshDoubleWell(gap)
    start = wfr.GaussianMixture([-target.wells[-1], target.wells[-1]], [0.52, 0.48], 0.15)
    grid = wfr.Grid.covering(target, start, shape=n, tail=1e-9)
    spectrum = wfr.spectrum(target, grid, 3)
    flows = {
        "W": wfr.SinkhornKernel(),
        "WFR": wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()),
    }
    measured, expected = [], []
    for name, flow in flows.items():
        since = WAIT[name] / float(spectrum.eigenvalue[2] - spectrum.eigenvalue[1])
        t = [0.0, *(since * np.linspace(1, 1.25, 6))]
        flow = wfr.Extrapolated(flow, 6)
        ds = wfr.solve(target, flow, grid.density(start), t, dt, record=wfr.KL(target), keep="last")
        measured.append(decay_rate(ds, since=t[1]))
        expected.append(long_time_rate(spectrum, reaction_rate=0.0 if name == "W" else 1.0))
    flow = ("flow", list(flows))
    return xr.Dataset({"rate": ("flow", measured), "expected": ("flow", expected)}, coords={"flow": flow})


def run(
    gaps=(1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6), cells=(128, 192, 256, 384, 512, 768, 1024), n=200, dt=0.05
) -> xr.Dataset:
    names = xr.DataArray(list(gaps), dims="gap", name="gap")
    ds = xr.concat([rates(gap, n, dt) for gap in gaps], names)
    ds["error"] = xr.concat([gap_errors(gap, cells) for gap in gaps], names)
    worst = xr.Dataset({"error": ds["error"].max("gap")})
    eoc = plotting.fitted_orders(worst, floor=1e-11)
    off = abs(ds["rate"] / ds["expected"] - 1).max("gap")
    values = {
        "gap_error": worst["error"].sel(order=6)[-1],
        "eoc_2": eoc[0],
        "eoc_4": eoc[1],
        "w_rate_error": off.sel(flow="W"),
        "wfr_rate_error": off.sel(flow="WFR"),
    }
    for name, value in values.items():
        ds[name] = ((), float(value), {"units": "1"})
    words = {
        "error": "relative error of the gap",
        "cells": "number of cells",
        "gap": "spectral gap",
        "rate": "rate of KL in the end",
        "expected": "rate by the spectrum",
    }
    for name, text in words.items():
        ds[name].attrs = {"long_name": text, "units": "1"}
    return ds


def figure(ds):
    colours = {2: plotting.VERMILION, 4: plotting.GREEN, 6: plotting.BLUE}

    def draw_errors(ax):
        for k, order in enumerate(ORDERS):
            for gap in ds.gap.values:
                curve = ds["error"].sel(order=order, gap=gap)
                ax.loglog(
                    ds.cells, np.maximum(curve, 1e-16), linestyle="-", linewidth=0.8,
                    marker=plotting.MARKERS[k], markersize=2.5, color=colours[order],
                )  # fmt: skip
            middle = float(np.exp(np.log(ds["error"].sel(order=order).isel(cells=-1)).mean()))
            name = f"order {order}"
            ax.annotate(name, (float(ds.cells[-1]), middle), (5, 0), textcoords="offset points",
                        color=colours[order], weight="bold", va="center")  # fmt: skip
        ax.set(xlabel=plotting.label(ds.cells), ylabel=plotting.label(ds["error"]), xlim=(115, 2.2 * ds.cells[-1]))
        ax.set_xticks([n for n in (128, 256, 512, 1024) if n <= ds.cells[-1]], minor=False)
        ax.xaxis.set(major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.tick_params(axis="x", which="minor", bottom=False)
        ax.set_title("Gaps from 1 to 1e-6, to their own digits")

    def draw_rates(ax):
        x = np.geomspace(float(ds.gap.min()), float(ds.gap.max()), 100)
        for name, colour, marker, exact, word, place in (
            ("W", plotting.VERMILION, "s", 2 * x, "W: 2 gap", (1e-4, 2.5e-5)),
            ("WFR", plotting.BLUE, "o", 2 * (x + 1), "WFR: 2 (gap + 1)", (1e-4, 0.7)),
        ):
            ax.loglog(x, exact, color=colour, linestyle="-", linewidth=1)
            ax.loglog(ds.gap, ds["rate"].sel(flow=name), color=colour, linestyle="", marker=marker, markersize=4.5)
            ax.text(*place, word, color=colour, weight="bold", va="center", ha="left")
        ax.set(xlabel=plotting.label(ds.gap), ylabel=plotting.label(ds["rate"]), ylim=(5e-7, 20))
        ax.set_title("Lines: exact; symbols: from KL")

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 3.0)
        left, right = fig.subplots(1, 2)
        draw_errors(left)
        draw_rates(right)
    return fig
