"""Barriers from 1 to 20 nats with certified errors: the rate of W falls by eight orders of magnitude, WFR keeps 2 beta.

Method: the targets are `CoshDoubleWell`, whose spectral gap lambda_1 is known exactly, from 0.3 (a barrier of 1 nat)
to 1.5e-9 (20 nats). The start is a Gaussian in the left well, with the variance 1/V'' of the well. alpha = beta = 1,
time is in units of 1/beta, V and KL are in nats. All curves are `ground_truth`, with error bars of KL, from which
those of the rates follow.

Findings:

- W: KL falls in the end like exp(-2 alpha lambda_1 t). The rate is measured between 3 and 5 times 1/lambda_1, up to
  3e9 units of time, where KL still has a term exp(-4 lambda_1 t).
- WFR: KL falls like exp(-2 (alpha lambda_1 + beta) t), whatever the barrier. The rate is measured for all barriers,
  over two units of time from when KL is below 1e-4. It is still lower by up to 2e-5 then, relatively, which is more
  than the error bars.
- The barrier delays WFR: KL = 0.01 is reached after 2.0 units of time at 1 nat and after 6.2 at 20 nats (interpolated
  on a line in log KL between times one apart); W reaches it after 6 and after 1.3e9.

Figure: (a) KL of both flows over time, pale for the lowest barrier and dark for the highest. (b) KL of WFR and,
dotted, the bound of its error. (c) Measured rates against the barrier; the lines are the exact ones. (d) Time at which
KL is 0.01, against the barrier.
"""

import numpy as np
import xarray as xr
from scipy.optimize import brentq

import wfr_pde as wfr
from wfr_pde import plotting

QUICK = dict(barriers=(1.0, 10.0), rtol=3e-5, points=12)
CHECKS = {
    # measured over expected rate, at the barrier where they differ most
    "rate_w": (1.0, 5e-4),  # KL has a term e^(-4 lambda_1 t) too
    "rate_wfr": (1.0, 1e-4),
    "slowest_wfr": (2.0, 1e-4),  # over all barriers
    # relative error bar of the rates of W, at the tolerance of the quick run; that of WFR, where KL is below 1e-4, is
    # the share of mass of whose past nothing is known, over KL: it says little there
    "largest_rate_error": (0.0, 0.1),
}

LATE = (3.0, 5.0)  # in units of 1/lambda_1: where the rate of W is measured
BEGIN, WINDOW = 1e-4, 2  # KL from which on the rate of WFR is measured, and for how many units of time
REACHED = 0.01  # KL in nats


def with_barrier(barrier):
    """The double well of a barrier r - 1 - log r, r = gap / 2."""
    log_ratio = brentq(lambda log_r: np.exp(log_r) - 1 - log_r - barrier, -barrier - 2, -1e-9)
    return wfr.CoshDoubleWell(2 * float(np.exp(log_ratio)))


def slopes(t, kl, error):
    """Rates of KL between neighbouring times, and their error bars."""
    relative = error / kl
    return -np.diff(np.log(kl)) / np.diff(t), (relative[1:] + relative[:-1]) / np.diff(t)


def reached(t, kl, level=REACHED) -> float:
    """The time at which KL falls to a level, on a line in log KL; NaN if it does not."""
    k = int(np.argmax(kl <= level))
    if kl[k] > level or k == 0:
        return np.nan
    share = np.log(kl[k - 1] / level) / np.log(kl[k - 1] / kl[k])
    return float(t[k - 1] + share * (t[k] - t[k - 1]))


def solved(target, t, beta, rtol):
    """The certified solution."""
    start = wfr.Gaussian(target.wells[0], 1 / (4 * target.k**2 - 2 * target.gap))
    return wfr.ground_truth(target, start, t, reaction_rate=beta, rtol=rtol)


def analysed(barrier, rtol, points, t_end) -> xr.Dataset:
    """One barrier: both curves with error bars, each over its own times, and the rates."""
    target = with_barrier(barrier)
    gap = target.gap
    slow = np.unique([0.0, *np.geomspace(0.1, LATE[1] / gap, points), LATE[0] / gap])
    fast = np.linspace(0, t_end, round(t_end) + 1)
    w, wfr_flow = solved(target, slow, 0.0, rtol), solved(target, fast, 1.0, rtol)
    late = w.sel(t=[time / gap for time in LATE], method="nearest")
    rate_w, error_w = slopes(late["t"].values, late["kl"].values, late["error_kl"].values)
    first = int(np.argmax(wfr_flow["kl"].values < BEGIN))
    if wfr_flow["kl"][first] >= BEGIN or first + WINDOW >= len(fast):
        raise ValueError(f"t_end={t_end} is too short for a barrier of {barrier}: KL has to be below {BEGIN} before")
    window = wfr_flow.isel(t=[first, first + WINDOW])
    rate_wfr, error_wfr = slopes(window["t"].values, window["kl"].values, window["error_kl"].values)
    return xr.Dataset(
        {
            "t_w": ("point", slow),
            "kl_w": ("point", w["kl"].values),
            "error_w": ("point", w["error_kl"].values),
            "kl_wfr": ("t", wfr_flow["kl"].values),
            "error_wfr": ("t", wfr_flow["error_kl"].values),
            "rate": ("flow", [rate_w[0], rate_wfr[0]]),
            "rate_error": ("flow", [error_w[0], error_wfr[0]]),
            "expected": ("flow", [2 * gap, 2 * (gap + 1)]),
            "reached": ("flow", [reached(slow, w["kl"].values), reached(fast, wfr_flow["kl"].values)]),
            "largest_error": ("flow", [float(run["error_l1"].max()) for run in (w, wfr_flow)]),
            "gap": ((), gap),
        },
        coords={"t": fast, "flow": ["W", "WFR"]},
    )


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "t_w": ("t of the W flow", "1/β"),
    "kl_w": ("KL(mu|pi), W", "nats"),
    "error_w": ("error bar of KL, W", "nats"),
    "kl_wfr": ("KL(mu|pi), WFR", "nats"),
    "error_wfr": ("error bar of KL, WFR", "nats"),
    "rate": ("rate of KL", "β"),
    "rate_error": ("error bar of the rate", "β"),
    "expected": ("2 (α λ₁ + β)", "β"),
    "reached": (f"time until KL = {REACHED:g} nats", "1/β"),
    "largest_error": ("largest bound of the L1 error", "1"),
    "gap": ("spectral gap λ₁", "1/length²"),
    "barrier": ("barrier", "nats"),
}


def farthest(values) -> float:
    """The entry that is farthest from one."""
    values = np.ravel(values)
    return float(values[np.argmax(abs(values - 1))])


def run(
    barriers=(1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0),
    rtol=1e-6,
    points=40,
    t_end=14.0,
) -> xr.Dataset:
    if not barriers or min(barriers) < 1 or max(barriers) > 20:
        raise ValueError(f"barriers must lie between 1 and 20 nats, got {barriers}")
    each = [analysed(barrier, rtol, points, t_end) for barrier in barriers]
    ds = xr.concat(each, xr.DataArray(list(barriers), dims="barrier", name="barrier"), data_vars="all")
    ratio = ds["rate"] / ds["expected"]
    scalars = {
        "rate_w": farthest(ratio.sel(flow="W")),
        "rate_wfr": farthest(ratio.sel(flow="WFR")),
        "slowest_wfr": float(ds["rate"].sel(flow="WFR").min()),
        "largest_rate_error": float((ds["rate_error"] / ds["rate"]).sel(flow="W").max()),
    }
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "β" if name == "slowest_wfr" else "1"}
    ds.attrs = {}
    return ds


COLOURS = {"W": plotting.VERMILION, "WFR": plotting.BLUE}
MARKERS = {"W": "s", "WFR": "o"}


def figure(ds):
    barriers = ds["barrier"].values
    strengths = dict(zip(barriers, np.linspace(0.35, 1.0, len(barriers)), strict=True))

    def draw_both(ax):
        for barrier, alpha in strengths.items():
            one = ds.sel(barrier=barrier)
            ax.plot(one["t_w"][1:], one["kl_w"][1:], "--", color=COLOURS["W"], linewidth=1.1, alpha=alpha)
            ax.plot(ds["t"][1:], one["kl_wfr"][1:], "-", color=COLOURS["WFR"], linewidth=1.1, alpha=alpha)
        ax.set(xscale="log", yscale="log", xlabel=plotting.label(ds["t"]), ylabel="KL(μ|π) (nats)", ylim=(3e-5, 3))
        inside = dict(transform=ax.transAxes)
        ax.text(0.03, 0.3, "WFR", color=COLOURS["WFR"], weight="bold", **inside)
        ax.text(0.99, 0.62, "W", color=COLOURS["W"], weight="bold", ha="right", **inside)
        words = f"barriers: pale {barriers[0]:g}, dark {barriers[-1]:g} nats"
        ax.text(0.99, 0.98, words, ha="right", va="top", fontsize=7, **inside)
        ax.set_title("W waits, WFR does not")

    def draw_wfr(ax):
        for barrier, alpha in strengths.items():
            one = ds.sel(barrier=barrier)
            known = one["kl_wfr"] > one["error_wfr"]
            ax.semilogy(ds["t"], one["kl_wfr"].where(known), "-", color=COLOURS["WFR"], linewidth=1.1, alpha=alpha)
            ax.semilogy(ds["t"], one["error_wfr"], ":", color=COLOURS["WFR"], linewidth=0.9, alpha=alpha)
        t = np.array([5.0, 11.0])
        ax.plot(t, 3e4 * np.exp(-2 * t), "k-", linewidth=0.8)
        ax.text(8.2, 1e-2, "exp(−2 β t)")
        ax.text(0.3, 1e-13, "dotted: error bars", fontsize=7)
        ax.set(xlabel=plotting.label(ds["t"]), ylabel="KL(μ|π) (nats)", xlim=(0, float(ds["t"][-1])), ylim=(1e-14, 5))
        ax.set_title("WFR, and its certified error")

    def draw_rates(ax):
        for name, colour in COLOURS.items():
            one = ds.sel(flow=name)
            ax.semilogy(barriers, one["expected"], "-", color="0.6", linewidth=0.8, zorder=1)
            ax.errorbar(
                barriers, one["rate"], one["rate_error"],
                color=colour, linestyle="none", marker=MARKERS[name], capsize=2, label=name,
            )  # fmt: skip
        ax.set(xlabel=plotting.label(ds["barrier"]), ylabel=plotting.label(ds["rate"]), ylim=(1e-9, 30))
        ax.legend(loc="lower left")
        ax.set_title("Rates; lines: exact")

    def draw_reached(ax):
        for name, colour in COLOURS.items():
            ax.semilogy(
                barriers,
                ds["reached"].sel(flow=name),
                "-",
                color=colour,
                linewidth=0.8,
                marker=MARKERS[name],
                label=name,
            )
        ax.set(xlabel=plotting.label(ds["barrier"]), ylabel=plotting.label(ds["reached"]), ylim=(0.5, 1e10))
        ax.legend(loc="upper left")
        ax.set_title("What the barrier costs")

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 5.0)
        first, second, third, fourth = fig.subplots(2, 2).ravel()
        draw_both(first)
        draw_wfr(second)
        draw_rates(third)
        draw_reached(fourth)
    return fig
