"""Between Gaussians one Lie order is ahead at every step, the more the larger it is: by being farther from the flow.

Method: alpha = beta = 1, one dimension, splittings with exact parts. (Crucinio and Pathiraja 2025, arXiv:2511.18060,
have the two Lie orders; W-FR is transport first.) All is in closed form, and again on grids: by `SinkhornKernel`,
which has a closed form of its own (L1 distance 6e-12), and by finite volumes, extrapolated in the cell width (4e-5).

Findings:

- To a wider target W-FR has a smaller KL than the flow after one step, ten and many, of every size; to a narrower one
  FR-W has it; the other order has a larger one. After many steps the ratio of KL is that of the formula to 3e-12.
  Strang with the part that helps outside, W-FR-W or FR-W-FR, has a smaller KL, too, at order 2 in h.
- Gain: for N(0, 1) to N(20, 100) at t = 6, one step of W-FR has 1/15.5 of the flow's KL, sixteen have 1/1.26; for N(0,
  100) to N(20, 1) at t = 1, FR-W has 1/3.8 and 1/1.12. The larger the step, the larger the gain.
- Cost: it is no solution of the flow. Its L1 distance is 0.09, after sixteen steps 0.014; for the other 0.04 and
  0.005. With as many transport solves the better Strang is closer than the better Lie order from four solves on, with
  sixteen by a factor of 35 (median; at least 15).

Figure, upper rows: KL after one step, less that of the flow, against its size; KL over that of the flow, and L1
distance to the flow, at the largest time, by the number of transport solves. Lowest row: KL over that of the flow
after many steps (lines) and ten (marks), against the step.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import exact, metrics, plotting

QUICK = dict(cases=("N(0, 1) to N(20, 100)", "N(0, 100) to N(20, 1)"), points=24, solves=(1, 2, 4, 8, 16, 32))
CHECKS = {
    "ahead_wide": (1.0, 0.0),  # share of the steps, one and many, at which W-FR is ahead of the flow to a wider target
    "ahead_narrow": (1.0, 0.0),  # and FR-W to a narrower one
    "other_behind": (1.0, 0.0),  # the other order is behind
    "limit_off": (0.0, 1e-9),  # KL ratio after many steps from its formula, relative
    "order_w_fr": (1.0, 0.05),  # of KL_split / KL - 1, in h
    "order_fr_w": (1.0, 0.05),
    "order_w_fr_w": (2.0, 0.05),
    "order_fr_w_fr": (2.0, 0.05),
    "sinkhorn_off": (0.0, 1e-9),  # L1 distance on grids from the closed forms
    "volumes_off": (0.0, 1e-4),
    "strang_closer": (1.0, 0.0),  # share of the numbers of solves, from four on, at which the better Strang is
}

SCHEMES = ("W-FR", "FR-W", "W-FR-W", "FR-W-FR")
TRANSPORTS = {"W-FR": 0, "FR-W": 0, "W-FR-W": 1, "FR-W-FR": 0}  # transport solves beyond one per step
TEN, TEN_STEPS = 10, (0.1, 0.7, 2.0)
SMALL = 2.0**-9  # steps for the orders, in units of the time
GONE = 1e-20  # nats: below, KL has lost digits, as the variance holds sixteen
FAR = 60.0  # KL falls by this many nats before ratios are called those of many steps


@dataclass(frozen=True, eq=False)
class Case:
    """From a Gaussian to a Gaussian."""

    start: wfr.Gaussian
    target: wfr.Gaussian
    largest: float  # step

    @property
    def is_wider(self) -> bool:
        """Whether the target is wider than the start."""
        return bool(self.target.covariance[0, 0] > self.start.covariance[0, 0])

    def kl(self, law) -> float:
        """KL to the target."""
        return exact.gaussian_kl(law, self.target)

    def flowed(self, t) -> wfr.Gaussian:
        """The law of the flow."""
        return exact.gaussian_flow(self.target, self.start, t)

    def split(self, scheme, h, n, transport="exact") -> wfr.Gaussian:
        """The law of a splitting."""
        return exact.gaussian_split(self.target, self.start, h, n, scheme, transport=transport)

    def ratio(self, scheme, h, n) -> float:
        """KL of the splitting over that of the flow; NaN where that is none any more."""
        flowed, split = self.kl(self.flowed(n * h)), self.kl(self.split(scheme, h, n))
        return split / flowed if min(flowed, split) > GONE else math.nan

    def after_many(self, scheme, h) -> float:
        """The ratio when KL has fallen by FAR nats; from far, so that means, which keep their digits, make KL."""
        target, start = (wfr.Gaussian(mean, g.covariance) for mean, g in ((0.0, self.target), (1e6, self.start)))
        case = Case(start, target, self.largest)
        n = math.ceil(FAR / (h * (2 / float(target.covariance[0, 0]) + 2)))
        return case.kl(case.split(scheme, h, n)) / case.kl(case.flowed(n * h))

    def limit(self, scheme, h) -> float:
        """The same for n to infinity: ((c + w/a) / (c + w_split/a))², c = s_pi² / (s_0² - s_pi²), a = 1/s_pi²."""
        variance = float(self.target.covariance[0, 0])
        a, c = 1 / variance, variance / (float(self.start.covariance[0, 0]) - variance)
        both = a + 0.5
        shares = {
            "W-FR": math.expm1(h) / math.expm1(2 * both * h),
            "FR-W": math.exp(2 * a * h) * math.expm1(h) / math.expm1(2 * both * h),
            "W-FR-W": math.sinh(h / 2) / math.sinh(both * h),
            "FR-W-FR": 1 - math.sinh(a * h) / math.sinh(both * h),
        }
        return ((c + 0.5 / both) / (c + shares[scheme])) ** 2


def gaussians(text) -> tuple[wfr.Gaussian, ...]:
    """The laws in a text such as N(0, 1) to N(20, 100)."""
    pairs = [part.strip("N()").split(", ") for part in text.split(" to ")]
    return tuple(wfr.Gaussian(float(mean), float(variance)) for mean, variance in pairs)


LARGEST = {  # step; the first two are those of the paper's figure
    "N(0, 1) to N(20, 100)": 6.0,
    "N(0, 100) to N(20, 1)": 1.0,
    "N(0, 1) to N(0, 100)": 2.0,
    "N(0, 1) to N(0, 5)": 2.0,
    "N(0, 1) to N(0, 0.1)": 0.5,
    "N(0, 100) to N(0, 1)": 2.0,
}
CASES = {name: Case(*gaussians(name), largest) for name, largest in LARGEST.items()}


def steps_of_many(points) -> np.ndarray:
    """The steps that many are made of."""
    return TEN_STEPS[-1] * np.arange(1, points + 1) / points


def one_step(case, points) -> xr.Dataset:
    """KL of one step and of the flow, and their ratio after ten steps and after many."""
    h = case.largest * np.arange(1, points + 1) / points
    kl = [case.kl(case.flowed(step)) for step in h]
    split = [[case.kl(case.split(scheme, step, 1)) for step in h] for scheme in SCHEMES]
    ratio = [[case.ratio(scheme, step, TEN) for step in TEN_STEPS] for scheme in SCHEMES]
    limit = [[case.limit(scheme, step) for step in steps_of_many(points)] for scheme in SCHEMES]
    return xr.Dataset(
        {
            "h": ("point", h),
            "kl": ("point", kl),
            "kl_split": (("scheme", "point"), split),
            "ratio_ten": (("scheme", "ten"), ratio),
            "limit": (("scheme", "h_many"), limit),
        }
    )


def distance(p, q) -> float:
    """L1 distance of two Gaussians, by quadrature."""
    grid = wfr.Grid.covering(p, q, shape=4000)
    return float(metrics.l1(grid.density(p), grid.density(q)))


def at_one_time(case, solves) -> xr.Dataset:
    """KL and L1 distance at the time `largest`, by the number of transport solves."""
    true = case.flowed(case.largest)
    ratio, l1 = np.full((2, len(SCHEMES), len(solves)), np.nan)
    for i, scheme in enumerate(SCHEMES):
        for k, count in enumerate(solves):
            n = count - TRANSPORTS[scheme]
            if n > 0:
                law = case.split(scheme, case.largest / n, n)
                ratio[i, k], l1[i, k] = case.ratio(scheme, case.largest / n, n), distance(law, true)
    over = ("scheme", "solves")
    return xr.Dataset({"ratio": (over, ratio), "l1": (over, l1)})


def on_grids(case, cells) -> tuple[float, float]:
    """The largest L1 distance of a step on grids from the closed forms, by kernels and by volumes."""
    off = [0.0, 0.0]
    volumes = wfr.Extrapolated(wfr.FiniteVolume(), 4, "dx")
    # what is cut off in tails is multiplied by e^h: volumes, of order 4 in dx, are for the smaller steps
    ways = ((wfr.SinkhornKernel(), "sinkhorn", False, (0.25, 1.0)), (volumes, "exact", True, (1 / 16, 0.25)))
    for scheme, (k, (transport, known, graded, shares)) in product(SCHEMES, enumerate(ways)):
        parts = {"W": transport, "FR": wfr.FisherRao()}
        first, second, *third = scheme.split("-")
        flow = (wfr.Strang if third else wfr.Lie)(parts[first], parts[second])
        for h in np.multiply(shares, case.largest).tolist():
            law = case.split(scheme, h, 1, known)
            grid = wfr.Grid.covering(case.target, case.start, law, shape=cells, graded=graded)
            ds = wfr.solve(case.target, flow, grid.density(case.start), [0, h], h, keep="last", progress=False)
            off[k] = max(off[k], float(metrics.l1(wfr.Density.from_dataset(ds), grid.density(law))))
    return off[0], off[1]


ATTRIBUTES = {
    "h": ("step h", "1/β"),
    "h_many": ("step h", "1/β"),
    "kl": ("KL(mu|pi) of the flow", "nats"),
    "kl_split": ("KL(mu|pi) after one step", "nats"),
    "ratio_ten": ("KL of ten steps / KL of the flow", "1"),
    "limit": ("KL of many steps / KL of the flow", "1"),
    "ratio": ("KL of the splitting / KL of the flow", "1"),
    "l1": ("L1 distance to the flow", "1"),
    "solves": ("transport solves", "1"),
}


def run(
    cases=tuple(LARGEST), points=120, solves=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128), cells=800
) -> xr.Dataset:
    if unknown := set(cases) - set(CASES):
        raise ValueError(f"cases must be some of {'; '.join(CASES)}, got {'; '.join(sorted(unknown))}")
    chosen = [CASES[name] for name in cases]
    if len({case.is_wider for case in chosen}) < 2 or 16 not in solves:
        raise ValueError(
            f"the claims are about a wider target, a narrower one, and 16 solves, got cases={'; '.join(cases)} and "
            f"solves={', '.join(map(str, solves))}"
        )
    parts = [one_step(case, points).merge(at_one_time(case, solves)) for case in chosen]
    ds = xr.concat(parts, "case").assign_coords(
        case=list(cases), scheme=list(SCHEMES), solves=list(solves), ten=list(TEN_STEPS), h_many=steps_of_many(points)
    )
    for name, value in claimed(ds, chosen, cells).items():
        ds[name] = (), value, {"units": "1"}
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    return ds


def share(agrees, among) -> float:
    """Share of the known entries that agree."""
    return float(np.mean(agrees[np.isfinite(among)]))


def claimed(ds, chosen, cells) -> dict[str, float]:
    """The numbers that are claimed."""
    ratios = [(ds["kl_split"] / ds["kl"]).values, ds["limit"].values, ds["ratio_ten"].values]
    ratios = np.concatenate(ratios, axis=2)  # (case, scheme, step); NaN where KL is gone
    wider = np.array([case.is_wider for case in chosen])
    found = {}
    for word, among, own in (("wide", wider, 0), ("narrow", ~wider, 1)):
        found[f"ahead_{word}"] = share(ratios[among, own] < 1, ratios[among, own])
    others = np.concatenate([ratios[wider, 1], ratios[~wider, 0]])
    found["other_behind"] = share(others > 1, others)
    pairs = [(case, scheme, h) for case in chosen for scheme in SCHEMES for h in TEN_STEPS]
    found["limit_off"] = max(abs(case.after_many(*one) / case.limit(*one) - 1) for case, *one in pairs)
    for scheme in SCHEMES:
        orders = []
        for case in chosen:
            n = round(1 / SMALL)
            errors = [abs(case.ratio(scheme, case.largest / m, m) - 1) for m in (n, 2 * n)]
            orders.append(math.log2(errors[0] / errors[1]))
        found[f"order_{scheme.lower().replace('-', '_')}"] = max(orders, key=lambda order: abs(order - round(order)))
    off = [on_grids(case, cells) for case in chosen]
    found["sinkhorn_off"], found["volumes_off"] = np.max(off, axis=0).tolist()
    late = ds["l1"].sel(solves=ds["solves"] >= 4)
    lie, strang = late.isel(scheme=slice(2)).min("scheme"), late.isel(scheme=slice(2, 4)).min("scheme")
    found["strang_closer"] = float((strang < lie).mean())
    found["strang_gain_16"] = float((lie / strang).sel(solves=16).median())
    found["strang_gain_16_least"] = float((lie / strang).sel(solves=16).min())
    for scheme, (word, among) in enumerate((("wide", wider), ("narrow", ~wider))):
        ahead = ds.isel(case=int(np.argmax(among)), scheme=scheme)
        found[f"gain_one_{word}"] = 1 / float(ahead["ratio"][0])
        found[f"cost_one_{word}"] = float(ahead["l1"][0])
        found[f"gain_sixteen_{word}"] = 1 / float(ahead["ratio"].sel(solves=16))
        found[f"cost_sixteen_{word}"] = float(ahead["l1"].sel(solves=16))
    return found


LOOKS = {
    "W-FR": dict(color=plotting.BLUE, marker="o", linestyle="-"),
    "FR-W": dict(color=plotting.VERMILION, marker="s", linestyle="--", markerfacecolor="white"),
    "W-FR-W": dict(color=plotting.GREEN, marker="^", linestyle=":"),
    "FR-W-FR": dict(color="black", marker="v", linestyle="-.", markerfacecolor="white"),
}


TICKS = (0.03, 0.1, 0.3, 0.5, 1, 2, 10, 100)
WIDE_TICKS = (0.01, 0.1, 1, 10, 100)


def short(name) -> str:
    return name.replace(" to ", " → ")


def draw_one_step(ax, one):
    for scheme, look in LOOKS.items():
        ax.plot(one["h"], (one["kl_split"].sel(scheme=scheme) - one["kl"]), **{**look, "marker": ""})
    ax.axhline(0, color="0.5", linestyle="-", linewidth=0.6)
    ax.set(xlabel=plotting.label(one["h"]), ylabel="KL − KL of flow (nats)")
    ax.set_title("One step")


def draw_gain(ax, one):
    for scheme, look in LOOKS.items():
        ax.plot(one["solves"], one["ratio"].sel(scheme=scheme), **look)
    ax.axhline(1, color="0.5", linestyle="-", linewidth=0.6)
    ax.set(xscale="log", yscale="log", xlabel=plotting.label(one["solves"]), ylabel="KL / KL of flow")
    ax.set_title(f"Gain at t = {float(one['h'][-1]):g}")


def draw_cost(ax, one):
    for scheme, look in LOOKS.items():
        ax.plot(one["solves"], one["l1"].sel(scheme=scheme), label=scheme, **look)
    ax.set(xscale="log", yscale="log", xlabel=plotting.label(one["solves"]), ylabel="L1 distance to flow")
    ax.set_title(f"Distance at t = {float(one['h'][-1]):g}")


def draw_many(ax, one):
    for scheme, look in LOOKS.items():
        line = {**look, "marker": ""}
        ax.semilogy(one["h_many"], one["limit"].sel(scheme=scheme), **line)
        ax.semilogy(one["ten"], one["ratio_ten"].sel(scheme=scheme), **{**look, "linestyle": "none"})
    ax.axhline(1, color="0.5", linestyle="-", linewidth=0.6)
    low, high = (math.log(bound) for bound in ax.get_ylim())
    ticks = [tick for tick in (TICKS if high - low < 6 else WIDE_TICKS) if low <= math.log(tick) <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set(xlabel=plotting.label(one["h_many"]), xticks=[0, 1, 2])


def figure(ds):
    with plotting.style():
        more = ds["case"].values[2:6]
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 6.3 if len(more) else 4.4)
        rows = fig.subfigures(3 if len(more) else 2, 1)
        for row, name in zip(rows[:2], ds["case"].values[:2], strict=True):
            one = ds.sel(case=name)
            row.suptitle(short(name), fontsize=9)
            panels = row.subplots(1, 3)
            for ax, draw in zip(panels, (draw_one_step, draw_gain, draw_cost), strict=True):
                draw(ax, one)
        if len(more):
            rows[2].suptitle("Many steps (lines), ten (marks)", fontsize=9)
            last = rows[2].subplots(1, len(more), squeeze=False)[0]
            for ax, name in zip(last, more, strict=True):
                draw_many(ax, ds.sel(case=name))
                ax.set_title(short(name), fontsize=8)
            last[0].set_ylabel("KL / KL of flow")
        handles, labels = panels[2].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig
