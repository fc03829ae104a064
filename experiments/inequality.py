"""KL along WFR is not always below that along W and along FR: a counterexample with certified errors, and its map.

Method: the inequality KL(WFR_t|pi) <= min{KL(W_t|pi), KL(FR_t|pi)} (Crucinio and Pathiraja 2025, arXiv:2511.18060,
(5.2)) is tested on pi = N(0, sigma²) and a start with two scales, mu_0 = (1 - w) pi + w N(0, s²): w = 1/2, sigma = 50,
s = 0.05, alpha = beta = 1. All curves are `ground_truth`, with error bars. The curves of FR and W are compared with
quadratures of closed forms, from which they differ by less than an error bar; in the maps they are those quadratures.

Findings:

- It holds early: at t = 0 the rates at which KL falls add up. It fails from t = 0.57 on; at t = 3.2 WFR has 2.6 times
  the KL of FR. With rtol = 1e-7 the excess is up to 5e8 error bars, and over a hundred until t = 8, when KL is 1e-8.
- The densities at t = 1 show why: FR removes the spike while it is narrow and high. With transport it is wide and low:
  it covers a larger part of pi, and the reaction, which acts on the logarithm of the height, is slower.
- Over the weight of the spike, its width and the transport rate, the largest KL_WFR / min over twelve times from 0.3
  to 10 is up to 53. Without units the parameters are w, s / sigma and alpha / (beta sigma²). Gaussian starts (w = 1,
  in closed form) do not fail at any of the same widths, rates and times.

Figure: (a) KL of the three flows and, dotted, its error bars. (b) KL of WFR over that of the better one of W and FR.
(c) The difference in error bars. (d) Densities of log |x| at t = 1. (e), (f) Maps of the largest ratio; a dot: the
inequality holds at all of these times; a question mark: closer than 100 error bars, either way.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import exact, plotting

QUICK = dict(per_decade=3, rtol=1e-5, weights=(0.1, 0.99), widths=(1e-3,), transports=(0.1,))
CHECKS = {
    "decided": (1.0, 0.0),  # WFR is above the smaller of the two by more than 100 error bars
    "largest_log_ratio": (0.9458, 0.002),  # over the save times, which are farther apart with QUICK
    "fails_from": (0.566, 0.005),
    "farthest_from_exact": (0.5, 0.5),  # in error bars: W and FR against closed forms
    "gaussian_fails": (0.0, 0.0),
}

FLOWS = {"W": (1.0, 0.0), "FR": (0.0, 1.0), "WFR": (1.0, 1.0)}  # rates of transport and reaction
BARS = 100  # error bars from which on a sign counts as decided
CELLS = 800  # of the quadratures
MAP_TIMES = np.geomspace(0.3, 10, 12)
MAPS = ("by_weight", "by_rate")
DRAWN = 1.0  # time of the densities


def spiked(sigma, w, width):
    """N(0, sigma²), and a start of which a share w is a spike of a standard deviation width * sigma."""
    target = wfr.Gaussian(0.0, sigma**2)
    if w == 1:
        return target, wfr.Gaussian(0.0, (width * sigma) ** 2)
    return target, wfr.GaussianMixture([[0.0], [0.0]], [1 - w, w], [sigma**2, (width * sigma) ** 2])


def closed_forms(target, start, t, transport=1.0) -> dict[str, np.ndarray]:
    """KL(t) of W and FR by quadrature, right to rounding."""
    grid, kl = wfr.Grid.covering(target, start, shape=CELLS, graded=True), wfr.KL(target)
    moved = [exact.mixture_transport(target, start, time, transport) for time in t]
    return {
        "W": np.array([kl.value(grid.density(mixture)) for mixture in moved]),
        "FR": np.array([exact.fisher_rao_kl(target, start, time, 1.0, grid) for time in t]),
    }


def curves(target, start, t, rtol) -> xr.Dataset:
    """KL(t) of the three flows with error bars, and densities at one time on common points x > 0."""
    width = float(np.sqrt(target.covariance[0, 0]))
    points = np.geomspace(1e-4 * width, 4 * width, 400)
    runs = []
    for alpha, beta in FLOWS.values():
        ds = wfr.ground_truth(target, start, t, transport_rate=alpha, reaction_rate=beta, rtol=rtol)
        frame = ds["log_density"].sel(t=DRAWN, method="nearest")
        log_density = np.interp(points, frame["x"], frame)
        runs.append(ds[["kl", "error_kl"]].assign(log_density=("point", log_density)))
    ds = xr.concat(runs, xr.DataArray(list(FLOWS), dims="flow", name="flow"))
    for name, distribution in (("target", target), ("start", start)):
        values = np.exp(distribution.log_density(points[:, None]) - distribution.log_normaliser)
        ds[f"{name}_density"] = "point", values
    return ds.assign_coords(point=points)


def compared(ds) -> xr.Dataset:
    """The excess of WFR over the smaller of the other two, and how many error bars it is."""
    others, own = ds.sel(flow=["W", "FR"]), ds.sel(flow="WFR", drop=True)
    smaller = others.isel(flow=others["kl"].argmin("flow")).drop_vars("flow")
    known = (own["kl"] > own["error_kl"]) & (smaller["kl"] > smaller["error_kl"])  # in the end both are rounding
    bars = own["error_kl"] + smaller["error_kl"]
    ds["log_ratio"] = np.log(own["kl"].where(known) / smaller["kl"])
    ds["log_ratio_error"] = own["error_kl"] / own["kl"] + smaller["error_kl"] / smaller["kl"]
    ds["excess_in_bars"] = (own["kl"] - smaller["kl"]) / bars
    return ds


def largest(sigma, w, width, transport) -> tuple[float, float]:
    """The largest log(KL_WFR / min) over the times of the map, and its error bar."""
    target, start = spiked(sigma, w, width)
    t = np.append(0, MAP_TIMES)
    ds = wfr.ground_truth(target, start, t, transport_rate=transport, rtol=1e-3, seconds=60, strict=False)
    smaller = np.minimum(*closed_forms(target, start, t, transport).values())
    with np.errstate(divide="ignore"):
        log_ratio, error = np.log(ds["kl"] / smaller).values[1:], (ds["error_kl"] / ds["kl"]).values[1:]
    seen = np.where((error > 0) & (error < 0.01), log_ratio, -np.inf)  # KL falls below rounding in the end
    best = int(np.argmax(seen))
    return float(seen[best]), float(error[best])


def maps(sigma, weights, widths, transports) -> xr.Dataset:
    """The largest log ratios over (weight, width) with alpha = 1, and over (transport rate, width) with w = 1/2."""
    by_weight = np.array([[largest(sigma, w, width, 1.0) for width in widths] for w in weights])
    by_rate = np.array([[largest(sigma, 0.5, width, rate) for width in widths] for rate in transports])
    variables = {
        "by_weight": (("weight", "width"), by_weight[..., 0]),
        "by_weight_error": (("weight", "width"), by_weight[..., 1]),
        "by_rate": (("transport", "width"), by_rate[..., 0]),
        "by_rate_error": (("transport", "width"), by_rate[..., 1]),
    }
    return xr.Dataset(variables, coords={"weight": list(weights), "width": list(widths), "transport": list(transports)})


def gaussian_largest(sigma, widths, transports) -> float:
    """The largest log ratio for Gaussian starts, at the times of the map."""

    def log_ratio(width, alpha, t):
        target, start = spiked(sigma, 1, width)
        kl = [
            exact.gaussian_kl(exact.gaussian_flow(target, start, t, *rates), target)
            for rates in ((alpha, 1), (alpha, 0), (0, 1))
        ]
        return np.log(kl[0] / min(kl[1:]))

    return max(log_ratio(width, alpha, t) for width in widths for alpha in (1.0, *transports) for t in MAP_TIMES)


def crossing(t, values) -> float:
    """The first time at which values rise through zero, on a line in log t; NaN if there is none."""
    rises = np.flatnonzero((values[:-1] <= 0) & (values[1:] > 0))
    if not len(rises):
        return np.nan
    k = rises[0]
    share = -values[k] / (values[k + 1] - values[k])
    return float(t[k] * (t[k + 1] / t[k]) ** share)


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "kl": ("KL(mu|pi)", "nats"),
    "error_kl": ("error bar of KL", "nats"),
    "log_density": ("log density", "nats"),
    "point": ("x", "length"),
    "target_density": ("density of the target", "1/length"),
    "start_density": ("density of the start", "1/length"),
    "log_ratio": ("log of KL of WFR / min(W, FR)", "nats"),
    "log_ratio_error": ("error bar of the log ratio", "nats"),
    "excess_in_bars": ("KL of WFR − min(W, FR), over its error bar", "1"),
    "weight": ("weight w of the spike", "1"),
    "width": ("width of the spike, s/σ", "1"),
    "transport": ("α / β", "length²"),
    "by_weight": ("largest log ratio", "nats"),
    "by_weight_error": ("error bar of the largest log ratio", "nats"),
    "by_rate": ("largest log ratio", "nats"),
    "by_rate_error": ("error bar of the largest log ratio", "nats"),
}


def run(
    sigma=50.0,
    w=0.5,
    width=1e-3,
    per_decade=8,
    rtol=1e-7,
    weights=(0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999),
    widths=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    transports=(0.001, 0.01, 0.1, 1.0, 10.0, 100.0),
) -> xr.Dataset:
    if not 0 < w < 1 or not 0 < width < 1:
        raise ValueError(f"w and width must lie between 0 and 1, got w={w}, width={width}")
    target, start = spiked(sigma, w, width)
    t = np.unique(np.concatenate([[0, DRAWN], np.geomspace(1e-6, 1e2, 8 * per_decade + 1), np.geomspace(0.4, 8, 14)]))
    ds = compared(curves(target, start, t, rtol))
    known = closed_forms(target, start, t)
    off = [abs(ds["kl"].sel(flow=name) - known[name]) / ds["error_kl"].sel(flow=name) for name in known]
    ds = ds.merge(maps(sigma, weights, widths, transports))
    gaussian = gaussian_largest(sigma, widths, transports)
    cells = np.concatenate([np.stack([ds[name], ds[f"{name}_error"]]).reshape(2, -1) for name in MAPS], axis=1)
    surely = ds["excess_in_bars"].where(ds["log_ratio"] > 0, 0)
    scalars = {
        "decided": float(surely.max() > BARS),
        "largest_excess_in_bars": float(surely.max()),
        "largest_log_ratio": float(ds["log_ratio"].where(surely > BARS).max()),
        "fails_from": crossing(t, ds["log_ratio"].values),
        "seen_until": float(ds["t"].where(surely > BARS).max()),
        "farthest_from_exact": float(max(distance.max() for distance in off)),
        "failing_in_maps": float(np.sum(cells[0] > BARS * cells[1])),
        "undecided_in_maps": float(np.sum(abs(cells[0]) <= BARS * cells[1])),
        "largest_in_maps": float(cells[0].max()),
        "gaussian_largest": gaussian,
        "gaussian_fails": float(gaussian > 0),
    }
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "1/β" if name in ("fails_from", "seen_until") else "1"}
    ds.attrs = {"sigma": sigma, "w": w, "s": width * sigma}
    return ds


COLOURS = {"W": plotting.VERMILION, "FR": plotting.GREEN, "WFR": plotting.BLUE}
LOOKS = {"W": "--", "FR": "-.", "WFR": "-"}


def draw_kl(ax, ds):
    for name in FLOWS:
        one = ds.sel(flow=name).isel(t=slice(1, None))
        known = one["kl"] > one["error_kl"]
        ax.loglog(one["t"], one["kl"].where(known), color=COLOURS[name], linestyle=LOOKS[name])
        ax.loglog(one["t"], one["error_kl"], color=COLOURS[name], linestyle=":", linewidth=0.9)
    for name, (x, y) in {"W": (30, 3.0), "FR": (0.35, 1e-4), "WFR": (22, 1e-3)}.items():
        ax.text(x, y, name, color=COLOURS[name], weight="bold", ha="center")
    ax.text(1.5e-5, 1e-11, "dotted: error bars", fontsize=7)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel=plotting.label(ds["kl"]), xlim=(1e-5, 1e2), ylim=(1e-14, 40))
    ax.set_title("KL and its certified error")


def draw_ratio(ax, ds):
    one = ds.isel(t=slice(1, None))
    one = one.where((one["log_ratio_error"] > 0) & (one["log_ratio_error"] < 0.01), drop=True)
    ratio, bar = np.exp(one["log_ratio"]), 2 * np.exp(one["log_ratio"]) * one["log_ratio_error"]
    ax.axhspan(1, 3, color="0.9", zorder=0)
    ax.axhline(1, color="black", linestyle="-", linewidth=0.7)
    ax.errorbar(
        one["t"], ratio, bar, color=COLOURS["WFR"], linestyle="-", linewidth=1, marker="o", markersize=2.2, capsize=2
    )
    ax.text(0.012, 2.8, "the inequality fails", va="top")
    mantissa, exponent = f"{float(ds['largest_excess_in_bars']):.0e}".split("e+")
    words = f"by up to ${mantissa}\\cdot10^{{{int(exponent)}}}$\nerror bars"
    ax.text(0.012, 2.45, words, va="top", fontsize=7)
    ax.text(0.012, 0.5, "it holds", va="top")
    ax.set(xscale="log", xlabel=plotting.label(ds["t"]), ylabel="KL of WFR / min(W, FR)", xlim=(1e-2, 20), ylim=(0, 3))
    ax.set_title("WFR over the better one")


def draw_bars(ax, ds):
    one = ds.isel(t=slice(1, None))
    size = abs(one["excess_in_bars"])
    for above, marker, face, words in ((True, "o", COLOURS["WFR"], "above min"), (False, "v", "white", "below min")):
        chosen = (one["log_ratio"] > 0) == above
        ax.loglog(
            one["t"][chosen.values], size[chosen.values], linestyle="none", marker=marker, color=COLOURS["WFR"],
            markerfacecolor=face, markersize=3.2, label=words,
        )  # fmt: skip
    ax.axhline(BARS, color="black", linestyle="-", linewidth=0.7)
    ax.text(1e-4, 0.6 * BARS, f"{BARS} error bars", va="top", fontsize=7)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel="|KL of WFR − min| / error bar", xlim=(1e-6, 1e2), ylim=(1, 1e12))
    ax.legend(loc="upper left", handletextpad=0)
    ax.set_title("How sure the sign is")


def draw_densities(ax, ds):
    x = ds["point"]
    ax.fill_between(x, 2 * x * ds["target_density"], color="0.85", linewidth=0)
    for name in FLOWS:
        mass = 2 * x * np.exp(ds["log_density"].sel(flow=name))
        ax.plot(x, mass, color=COLOURS[name], linestyle=LOOKS[name], label=name)
    ax.plot(x, 2 * x * ds["start_density"], color="black", linestyle=":", linewidth=1, label="t = 0")
    ax.set(xscale="log", xlabel="|x| (length)", ylabel="density of log |x|", xlim=(5e-3, 2e2), ylim=(0, 0.62))
    ax.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.8)
    ax.text(40, 0.06, "π", fontsize=10, ha="center")
    ax.set_title(f"The spike at t = {DRAWN:g}")


def draw_map(ax, ds, name, along):
    values = ds[name].transpose(along, "width").values
    bars = BARS * ds[f"{name}_error"].transpose(along, "width").values
    fails, open_ = values > bars, abs(values) <= bars
    shown = np.where(fails, np.exp(values), np.nan)
    n, m = shown.shape
    image = ax.pcolormesh(
        np.arange(m + 1) - 0.5, np.arange(n + 1) - 0.5, shown, cmap="Blues",
        norm="log", vmin=1, vmax=60,
    )  # fmt: skip
    for i in range(n):
        for j in range(m):
            ratio = np.exp(values[i, j])
            word = f"{ratio:.2f}" if ratio < 1.1 else f"{ratio:.1f}"
            word = word if fails[i, j] else "?" if open_[i, j] else "•"
            ax.text(j, i, word, ha="center", va="center", fontsize=6, color="white" if ratio > 10 else "black")
    ax.set_xticks(range(m), [f"{value:.0e}".replace("e-0", "e−") for value in ds["width"].values], fontsize=6)
    ax.set_yticks(range(n), [f"{value:g}" for value in ds[along].values])
    ax.grid(False)
    words = f"{plotting.label(ds['width'])}\n• it holds, ? too close to tell"
    ax.set(xlabel=words, ylabel=plotting.label(ds[along]))
    return image


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.8)
        first, second, third, fourth, fifth, sixth = fig.subplots(2, 3).ravel()
        draw_kl(first, ds)
        draw_ratio(second, ds)
        draw_bars(third, ds)
        draw_densities(fourth, ds)
        draw_map(fifth, ds, "by_weight", "weight")
        fifth.set_title("Largest ratio; α = 1")
        draw_map(sixth, ds, "by_rate", "transport")
        sixth.set_title("Largest ratio; w = ½")
    return fig
