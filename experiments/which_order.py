"""W-FR is ahead of the flow where Cov(g, |grad g|²) < 0, FR-W where > 0: by under half a step, and Strang is closer.

Method: one step of a Lie splitting errs by ±(h²/2) alpha beta mu (|grad g|² - E_mu |grad g|²) + O(h³), plus for W-FR
(transport first), minus for FR-W, g = log(mu/pi): KL(mu|pi) is off by ±(h²/2) alpha beta Cov_mu(g, |grad g|²). Here
alpha = beta = 1; twelve targets to t = 2 and `ground_truth` (rtol 1e-7, in 2D 1e-4); Cov by two schemes; transports
exact in time in 1D, extrapolated in 2D. Error bars of differences hold the certified one, the distance of order 8 on
the cells of the splittings to the truth, what fewer cells change, and the error of the transport in 2D.

Findings:

- One step: all 116 signs known beyond the error bars are as predicted, for both orders; sizes to 5e-4 where the error
  bar is below one per cent.
- Sign of Cov along the flow: negative throughout for eight targets; positive throughout for the narrower Gaussian;
  from plus to minus for two modes from a wide start (at t = 0.69), four components (0.25) and the banana (0.19).
- Errors do not add up to Cov at the time. With S a Strang step, W-FR^n = FR(h/2) S^n FR(-h/2) and FR-W^n = FR(-h/2)
  S^n FR(h/2): to order h, KL_split - KL = ±(h/2) (b - Var g), b the fall of KL at t per unit of FR that the start is
  moved by. This has the sign of KL_split - KL at 99 % of (target, time, order) for h = 1/8, and at all for h <= 1/16;
  Cov at the time at 89 % and 88 %. For two modes from a wide start Cov changes sign and the effect never does; for
  four components it does so at t = 1.75 only. For h = 1/2 the two orders err to the same side at 4 % of the points.
- Faster: at the end W-FR is ahead of the exact flow for ten targets, FR-W for two (the narrower Gaussian, and two
  modes from a wide start). It is an offset in time: for h to 0 between 0.03 and 0.43 steps at the end, and less than
  half a step for every target at every time.
- Closer: for h to 0 neither, log of the ratio of L1 errors is of order h (median 0.25 at h = 1/2, 0.08 at 1/8, 0.02 at
  1/32). At finite h W-FR is closer at 69 % of the points (h = 1/8), the order that is ahead at 78 %.
- Per unit of cost, one transport solve a step: with 16 of them the better Strang has an L1 error 30 times smaller than
  the better Lie order (median; at least 1.8 times), with 64, in 1D, 125 times. Only for the four components, with 4
  and 8 solves, is a Lie order closer. Its lead in KL (median 24 % with 4 solves, 7 % with 16) is no gain: Strang
  FR-W-FR and half a reaction more, which takes no transport, has a smaller KL than both Lie orders for every target
  and step. The larger the step, the smaller the KL of the Lie order, and the larger its error.

Figure: (a) a row for each target; shade, the correlation of g and |grad g|²; line, the effect in half steps; below the
axis W-FR has the smaller KL. (b) Steps by which the orders are behind the flow at the end for h = 1/2 (large) and 1/8;
bars: predicted. (c) Ratio of the L1 errors. (d) Error of KL in one step against Cov. (e), (f) Error and gain against
the number of transport solves: medians, and the range over the targets. Strang W-FR-W takes one transport solve more
than shown. 2D stops at h = 1/16.
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import exact, metrics, plotting

QUICK = dict(
    targets=("gaussian_wider", "gaussian_narrower", "uneven", "ring"), levels=3, t_end=1.0, rtol=1e-6, rtol_2d=1e-3
)
CHECKS = {
    "local_sign": (1.0, 0.0),  # of one step, wherever it is known
    "local_off": (0.0, 0.005),  # size over size predicted - 1, where the error bar is below one per cent
    "gaussian_off": (0.5, 0.5),  # in error bars, from the closed form
    "global_sign_8": (1.0, 0.02),  # of KL_split - KL, h = 1/8
    "global_sign_finest": (1.0, 0.0),
    "opposite_8": (1.0, 0.0),  # signs of the two Lie orders
    "order_odd_median": (1.0, 0.02),
    "order_even_median": (2.0, 0.1),
    "apart_order": (1.0, 0.3),  # of log(L1 of W-FR / L1 of FR-W)
    "within_half_step": (1.0, 0.0),  # of (target, t) at which a Lie order is less than h/2 ahead or behind
    "strang_closer_8": (1.0, 0.0),  # than the better Lie order with as many transports, share of the targets
}

SCHEMES = ("W-FR", "FR-W", "Strang W-FR-W", "Strang FR-W-FR")
LIE, SIGN = SCHEMES[:2], np.array([1.0, -1.0])  # sign of their error
FINEST = 1 / 16  # between save times
LONGEST = 1 / 8  # step of a transport that is extrapolated in time
EARLY = (1 / 64, 1 / 32, 3 / 64)  # save times of the truth alone
TINY = 2.0**-9  # step of the local errors
LOCAL = 8  # save times from one local error to the next
SHIFT = 1e-3  # of the start along its reaction, for the derivative of the flow
NOISE = 4e-12  # of a density after a step, relative: the tolerance of the transport, on two grids


@dataclass(frozen=True)
class Case:
    """A problem, and the cells for its splittings."""

    name: str
    title: str
    target: wfr.Target
    start: wfr.Target
    cells: tuple = (480,)
    graded: bool = False

    def grid(self):
        tail = 1e-8 if self.target.ndim == 1 else 1e-7
        return wfr.Grid.covering(self.target, self.start, shape=self.cells, tail=tail, graded=self.graded)

    @property
    def transport(self):
        """Exact in time along one axis; several take turns, which is extrapolated."""
        return wfr.FiniteVolume() if self.target.ndim == 1 else wfr.Extrapolated(wfr.FiniteVolume(), 4)


def narrow(factor, correlation):
    return [[factor, factor * correlation], [factor * correlation, factor]]


def mixture(means, weights, variances):
    return wfr.GaussianMixture([[mean] for mean in means], weights, variances)


FOUR = wfr.GaussianMixture(
    means=[[3, 3], [9, 10], [2, 2], [10, 4]],
    weights=[1 / 3, 1 / 6, 1 / 3, 1 / 6],
    covariances=[narrow(0.7, -0.8377), narrow(0.7, 0.8377), narrow(0.7, -0.8377), narrow(2, -0.6701)],
)
CASES = (
    Case("gaussian_wider", "Gaussian, wider", wfr.Gaussian(2.0, 4.0), wfr.Gaussian(0.0, 1.0)),
    Case("gaussian_narrower", "Gaussian, narrower", wfr.Gaussian(2.0, 1.0), wfr.Gaussian(0.0, 4.0)),
    Case("skewed", "Skewed", wfr.Potential("x**2/4 + log(1 + exp(x))/2"), wfr.Gaussian(0.0, 1.0)),
    Case("two_modes", "Two modes, from one", mixture([0, 6], [0.5, 0.5], 1.0), wfr.Gaussian(0.0, 1.0)),
    Case("two_modes_wide", "Two modes, from wide", mixture([-2, 2], [0.5, 0.5], 0.25), wfr.Gaussian(1.0, 9.0)),
    Case("uneven", "Two uneven modes", mixture([-2, 2], [0.3, 0.7], [0.25, 1.0]), wfr.Gaussian(-2.0, 0.16)),
    Case("double_well", "Double well", wfr.DoubleWell(2.0), wfr.Gaussian(-1.0, 0.04)),
    Case("cosh", "Cosh double well", wfr.CoshDoubleWell(0.5), wfr.Gaussian(-1.0, 0.04)),
    Case(
        "three", "Two narrow in a wide", mixture([-2, 2, 0], [0.25, 0.25, 0.5], [0.04, 0.04, 4.0]),
        wfr.Gaussian(0.0, 1.0), (640,),
    ),
    Case("four", "Four components, 2D", FOUR, wfr.Gaussian([0, 0], 1.0), (200, 176), True),
    Case("banana", "Banana, 2D", wfr.Banana(1.0), wfr.Gaussian([0, 0], 1.0), (232, 152), True),
    Case("ring", "Ring, 2D", wfr.Ring(3.0, 0.5), wfr.Gaussian([3, 0], 0.09), (128, 128)),
)  # fmt: skip


def in_space(flow):
    """Order 4 in dx."""
    return wfr.Extrapolated(flow, 4, "dx")


def splitting(scheme, transport):
    reaction = wfr.FisherRao()
    flows = {
        "W-FR": wfr.Lie(transport, reaction),
        "FR-W": wfr.Lie(reaction, transport),
        "Strang W-FR-W": wfr.Strang(transport, reaction),
        "Strang FR-W-FR": wfr.Strang(reaction, transport),
    }
    return in_space(flows[scheme])


EXACT = in_space(wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()), 8))


def slopes(density, energy) -> tuple[float, float, float, float]:
    """Cov_mu(g, |grad g|²), its correlation, E|grad g|² and Var g; the gradient is that of a quintic spline of g."""
    grid, g = density.grid, np.asarray(energy.first_variation(density))
    squared = np.sum(wfr.Density(grid, g).score(grid.points()) ** 2, axis=-1)

    def mean(values):
        return float(grid.integrate(density.values * values))

    steep, g = mean(squared), g - mean(g)
    covariance, variance = mean(g * (squared - steep)), mean(g**2)
    return covariance, covariance / np.sqrt(variance * mean((squared - steep) ** 2)), steep, variance


def frames(ds):
    return [wfr.Density.from_dataset(ds, k) for k in range(ds.sizes["t"])]


def distance_to(truth, density):
    """L1 distance of a density on other cells of the same box or a smaller one, at their centres."""
    there = np.exp(truth.log_prob(density.grid.points()))
    return float(density.grid.integrate(abs(density.values - there)))


def certified(case, t, rtol):
    """The truth and a run of order 8 on the case's own cells, with Cov_mu(g, |grad g|²) by both."""
    energy = wfr.KL(case.target)
    truth = wfr.ground_truth(case.target, case.start, t, rtol=rtol)
    start = case.grid().density(case.start)
    own = frames(wfr.solve(energy, EXACT, start, t, FINEST))
    ds = truth[["kl", "error_kl", "error_l1"]]
    both = [[slopes(density, energy) for density in run] for run in (frames(truth), own)]
    (first, second) = (np.array(one).T for one in both)
    for k, name in enumerate(("covariance", "correlation", "steepness", "variance")):
        ds[name], ds[f"error_{name}"] = ("t", first[k]), ("t", 2 * abs(first[k] - second[k]))
    ds["own_kl"] = "t", [energy.value(density) for density in own]
    ds["own_l1"] = "t", [distance_to(*pair) for pair in zip(frames(truth), own, strict=True)]
    return ds, own


def shifted(case, own, t):
    """d/ds KL(Phi_t(FR_s mu_0)) at s = 0, Phi the exact flow: how much a start further on is worth at time t."""
    energy, start = wfr.KL(case.target), own[0]
    ends = []
    for s in (SHIFT, -SHIFT):
        moved = wfr.Density(start.grid, start.log_values + np.expm1(-s) * energy.first_variation(start)).normalised()
        ends.append(wfr.solve(energy, EXACT, moved, t, FINEST, keep="last", record=[energy])["kl"].values)
    return (ends[0] - ends[1]) / (2 * SHIFT)


def transport_error(case, start, t):
    """(KL, L1): what the transport in the splittings errs by, against order 8."""
    if case.target.ndim == 1:
        return np.zeros(len(t)), np.zeros(len(t))
    energy, often = wfr.KL(case.target), np.arange(0, t[-1] + LONGEST / 2, LONGEST)
    flows = in_space(case.transport), in_space(wfr.Extrapolated(wfr.FiniteVolume(), 8))
    runs = [wfr.solve(energy, flow, start, often, LONGEST, record=[energy]) for flow in flows]
    l1 = [metrics.l1(*pair) for pair in zip(*map(frames, runs), strict=True)]
    kl = abs(runs[0]["kl"].values - runs[1]["kl"].values)
    return np.interp(t, often, kl), np.interp(t, often, l1)


def local_errors(case, own, times):
    """2 (KL of a Lie step - KL of an exact step) / h² for h to 0 at some times, and its error bar: (scheme, t)."""
    energy = wfr.KL(case.target)
    steps = TINY, TINY / 2

    def after(flow, h):
        step = in_space(flow).make_step(energy, own[0], h) if flow is not EXACT else flow.make_step(energy, own[0], h)
        return np.array([energy.value(step(own[k], 0.0)) for k in times])

    lie = [wfr.Lie(case.transport, wfr.FisherRao()), wfr.Lie(wfr.FisherRao(), case.transport)]
    exact_kl = [after(EXACT, h) for h in steps]
    scaled = np.array(
        [[2 * (after(flow, h) - kl) / h**2 for flow in lie] for h, kl in zip(steps, exact_kl, strict=True)]
    )
    # what errs by a factor 1 + e in every cell moves KL by E|g| e at most
    rounding = [np.sqrt(slopes(own[k], energy)[3]) * NOISE * 2 / steps[1] ** 2 for k in times]
    return 2 * scaled[1] - scaled[0], abs(scaled[1] - scaled[0]) + rounding


def in_steps(case, h):
    """The transport for steps of size h: of several smaller ones where it is extrapolated."""
    repeats = round(h / LONGEST)
    return wfr.Repeated(case.transport, repeats) if case.target.ndim > 1 and repeats > 1 else case.transport


def space_error(case, t, h):
    """(KL, over KL; L1): what fewer cells, 3/4 per axis, change in the splittings, the largest of all up to a time."""
    energy, coarse = wfr.KL(case.target), replace(case, cells=tuple(3 * n // 4 for n in case.cells))
    at = np.arange(0, t[-1] + h / 2, h)
    kl, l1 = np.zeros((2, len(at)))
    for scheme in SCHEMES:
        flow = splitting(scheme, in_steps(case, h))
        fine, other = (
            wfr.solve(energy, flow, one.grid().density(case.start), at, h, record=[energy]) for one in (case, coarse)
        )
        kl = np.maximum(kl, abs(other["kl"].values / fine["kl"].values - 1))
        l1 = np.maximum(l1, [distance_to(*pair) for pair in zip(frames(fine), frames(other), strict=True)])
    kl, l1 = np.maximum.accumulate(kl), np.maximum.accumulate(l1)
    until = np.minimum(np.searchsorted(at, t), len(at) - 1)  # the next of these times
    return kl[until], l1[until]


def split_runs(case, own, t, steps):
    """KL and L1 distance to the exact flow on the same cells, (scheme, h, t), NaN between steps; and KL at the end of
    Strang FR-W-FR and half a reaction more, (h)."""
    energy = wfr.KL(case.target)
    kl, l1 = np.full((2, len(SCHEMES), len(steps), len(t)), np.nan)
    further = np.full(len(steps), np.nan)
    for j, h in enumerate(steps):
        if case.target.ndim > 1 and h < FINEST:
            continue  # it would take as long as all others together
        at = np.flatnonzero(np.isclose(t % max(h, FINEST), 0))
        for i, scheme in enumerate(SCHEMES):
            ds = wfr.solve(energy, splitting(scheme, in_steps(case, h)), own[0], t[at], h, record=[energy])
            kl[i, j, at] = ds["kl"]
            l1[i, j, at] = [metrics.l1(own[k], state) for k, state in zip(at, frames(ds), strict=True)]
        last = wfr.Density.from_dataset(ds)  # of the last scheme
        further[j] = energy.value(wfr.FisherRao().make_step(energy, last, h / 2)(last, 0.0))
    return kl, l1, further


def solved(case, t, steps, rtol) -> xr.Dataset:
    """One problem."""
    ds, own = certified(case, t, rtol)
    kl, l1, further = split_runs(case, own, t, steps)
    extra_kl, extra_l1 = transport_error(case, own[0], t)
    ds["difference"] = ("scheme", "h", "t"), kl - ds["own_kl"].values
    ds["l1"] = ("scheme", "h", "t"), l1
    ds["further"] = "h", further - ds["own_kl"].values[-1]
    space_kl, space_l1 = space_error(case, t, steps[0])
    ds["bar_kl"] = ds["error_kl"] + abs(ds["own_kl"] - ds["kl"]) + extra_kl + space_kl * ds["kl"]
    ds["bar_l1"] = ds["error_l1"] + ds["own_l1"] + extra_l1 + space_l1
    ds["slope"] = -(ds["steepness"] + ds["variance"])
    ds["predicted"] = -(ds["variance"] + shifted(case, own, t)) / 2
    at = np.flatnonzero(np.isclose(t % (LOCAL * FINEST), 0))
    local, bar = np.full((2, 2, len(t)), np.nan)
    local[:, at], bar[:, at] = local_errors(case, own, at)
    ds["local"], ds["error_local"] = (("lie", "t"), local), (("lie", "t"), bar)
    return ds.drop_attrs()


def closed_form(case, ds, steps) -> float:
    """The largest distance of KL_split - KL to the closed form, in error bars; Gaussians only."""
    t, off = ds["t"].values, 0.0
    names = [scheme.removeprefix("Strang ") for scheme in SCHEMES]
    for j, h in enumerate(steps):
        for k in np.flatnonzero(np.isfinite(ds["difference"].values[0, j]) & (t > 0)):
            flowed = exact.gaussian_kl(exact.gaussian_flow(case.target, case.start, t[k]), case.target)
            for i, name in enumerate(names):
                split = exact.gaussian_split(case.target, case.start, h, round(t[k] / h), name)
                known = exact.gaussian_kl(split, case.target) - flowed
                off = max(off, abs(float(ds["difference"][i, j, k]) - known) / float(ds["bar_kl"][k]))
    return off


def share(agrees, among) -> float:
    """Share of the points `among` at which `agrees`; NaN if there are none."""
    return float(agrees.where(among).mean()) if bool(among.any()) else np.nan


def signs(ds) -> dict[str, float]:
    """How often the signs are those that were predicted."""
    lie, sign = ds["difference"].isel(scheme=slice(2)), xr.DataArray(SIGN, dims="scheme")
    cov, local = ds["covariance"], ds["local"].rename(lie="scheme")
    known = (abs(local) > ds["error_local"].rename(lie="scheme")) & (abs(cov) > ds["error_covariance"])
    later = ds["t"] > 0
    seen = (abs(lie) > ds["bar_kl"]) & later
    both = seen.all("scheme")
    found = {
        "local_sign": share(local * sign * cov > 0, known),
        "local_points": float(known.sum()),
        "local_off": float(
            abs(local * sign / cov - 1).where(known & (ds["error_local"].rename(lie="scheme") < 0.01 * abs(cov))).max()
        ),
    }
    for h in ds["h"].values:
        one, here, name = lie.sel(h=h), seen.sel(h=h), f"{1 / h:.0f}"
        found[f"global_sign_{name}"] = share(one * sign * ds["predicted"] > 0, here)
        found[f"instant_sign_{name}"] = share(one * sign * cov > 0, here)
        found[f"opposite_{name}"] = share(one.prod("scheme") < 0, both.sel(h=h))
    return found


def at_common_times(values):
    """At the times after the start that all steps have in common."""
    t = values["t"].values
    return values.isel(t=(t > 0) & np.isclose(t % float(values["h"].max()), 0))


def changes(values, known) -> int:
    """How often a sign changes along the flow, among the times at which it is known."""
    kept = np.sign(values)[known]
    return int(np.sum(kept[1:] != kept[:-1]))


def patterns(ds) -> xr.Dataset:
    """Per target: first sign and sign changes of Cov and of the prediction, and orders."""
    own = {"cov": (abs(ds["covariance"]) > ds["error_covariance"])}
    own["effect"] = (abs(ds["predicted"]) * ds["h"].min() > ds["bar_kl"]) & (ds["t"] > 0)
    table = xr.Dataset()
    for name, variable in (("cov", "covariance"), ("effect", "predicted")):
        pairs = [(ds[variable].values[k], own[name].values[k]) for k in range(ds.sizes["target"])]
        table[f"{name}_changes"] = "target", [changes(*pair) for pair in pairs]
        table[f"{name}_first"] = "target", [float(np.sign(values[known][0])) for values, known in pairs]
    lie = at_common_times(ds["difference"].isel(scheme=slice(2)))
    odd = abs(lie.isel(scheme=0) - lie.isel(scheme=1)).max("t").values / 2
    even = abs(lie.mean("scheme", skipna=False)).max("t").values
    for name, values in (("odd", odd), ("even", even)):
        known = [row[np.isfinite(row)] for row in values]
        table[f"order_{name}"] = "target", [np.log2(row[-2] / row[-1]) for row in known]
    return table


def lags(ds) -> xr.Dataset:
    """How far behind the exact flow a scheme is at the end, in steps: by the prediction for h to 0, and measured."""
    end = ds.isel(t=-1)
    relative = end["difference"] / end["kl"]
    table = xr.Dataset({"lag": -ds["predicted"] / ds["slope"]})
    table["measured_lag"] = np.log1p(relative) * end["kl"] / -end["slope"] / end["h"]
    return table


def costs(ds) -> xr.Dataset:
    """L1 error at the worst of the times that all steps have in common."""
    worst = at_common_times(ds["l1"]).max("t", skipna=False)
    table = xr.Dataset({"worst_l1": worst, "transports": ds["t"].values[-1] / ds["h"]})
    table["ratio_l1"] = worst.isel(scheme=slice(2)).min("scheme", skipna=False) / worst.isel(scheme=slice(2, 4)).min(
        "scheme", skipna=False
    )
    return table


def gains(ds) -> dict[str, float]:
    """Orders, who is ahead and by how much, and what it is worth beside Strang with as many transports."""
    lag = ds["lag"].where((ds["t"] > 0) & (abs(ds["predicted"]) * float(ds["h"].min()) > ds["bar_kl"]))
    end = ds["difference"].isel(t=-1)
    found = {
        "order_odd_median": float(ds["order_odd"].median()),
        "order_even_median": float(ds["order_even"].median()),
        "w_fr_ahead": float((ds["predicted"].isel(t=-1) < 0).sum()),
        "cov_changing": float((ds["cov_changes"] > 0).sum()),
        "effect_changing": float((ds["effect_changes"] > 0).sum()),
        "within_half_step": share(abs(lag) < 0.5, lag.notnull()),
        "largest_lead": float(abs(lag).max()),
        "half_reaction_ahead": share(ds["further"] < end.isel(scheme=slice(2)).min("scheme"), ds["further"].notnull()),
    }
    for h in ds["h"].values:
        ratio, name = ds["ratio_l1"].sel(h=h), f"{1 / h:.0f}"
        found[f"ratio_l1_{name}"] = float(ratio.median())
        found[f"strang_closer_{name}"] = share(ratio > 1, ratio.notnull())
        found[f"lead_{name}"] = float(1 - np.exp(np.log1p(end / ds["kl"].isel(t=-1)).sel(h=h).min("scheme").median()))
    return found


def closeness(ds) -> dict[str, float]:
    """How often W-FR is closer in L1 than FR-W, and how different they are."""
    first, second = (ds["l1"].isel(scheme=k, drop=True) for k in (0, 1))
    known = (abs(first - second) > ds["bar_l1"]) & (ds["t"] > 0)
    ahead = ds["predicted"] < 0  # W-FR
    found = {}
    for h in ds["h"].values:
        a, b, here, name = first.sel(h=h), second.sel(h=h), known.sel(h=h), f"{1 / h:.0f}"
        found[f"w_fr_closer_{name}"] = share(a < b, here)
        found[f"ahead_closer_{name}"] = share((a < b) == ahead, here)
        found[f"l1_apart_{name}"] = float(abs(np.log(a / b)).where(here).median())
    found["apart_order"] = np.log2(found["l1_apart_4"] / found["l1_apart_8"])
    return found


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "h": ("step h", "1/β"),
    "kl": ("KL(mu|pi)", "nats"),
    "error_kl": ("bound of the error of KL", "nats"),
    "error_l1": ("bound of the L1 error", "1"),
    "own_kl": ("KL(mu|pi), order 8 on the cells of the splittings", "nats"),
    "own_l1": ("L1 distance of order 8 on the cells of the splittings to the truth", "1"),
    "covariance": ("Cov of g and |grad g|²", "1/length²"),
    "error_covariance": ("error of Cov, by a second scheme", "1/length²"),
    "correlation": ("correlation of g and |grad g|²", "1"),
    "error_correlation": ("error of the correlation, by a second scheme", "1"),
    "steepness": ("E |grad g|²", "1/length²"),
    "error_steepness": ("error of E |grad g|², by a second scheme", "1/length²"),
    "variance": ("Var g", "1"),
    "error_variance": ("error of Var g, by a second scheme", "1"),
    "slope": ("dKL/dt", "β nats"),
    "predicted": ("(KL of W-FR − KL of the flow)/h for h to 0", "β nats"),
    "difference": ("KL of the splitting − KL of the flow", "nats"),
    "bar_kl": ("error bar of a difference of KL", "nats"),
    "l1": ("L1 distance of the splitting to the flow", "1"),
    "bar_l1": ("error bar of an L1 distance", "1"),
    "local": ("2 (KL of a step − KL of the flow)/h² for h to 0", "β² nats"),
    "error_local": ("error bar of the same", "β² nats"),
    "cov_changes": ("sign changes of Cov", "1"),
    "cov_first": ("first sign of Cov", "1"),
    "effect_changes": ("sign changes of the effect on KL", "1"),
    "effect_first": ("first sign of the effect on KL", "1"),
    "order_odd": ("order of the half difference of the Lie orders", "1"),
    "order_even": ("order of their mean", "1"),
    "lag": ("time behind the flow, predicted", "h"),
    "further": ("KL of Strang FR-W-FR and half a reaction more − KL of the flow, at the end", "nats"),
    "measured_lag": ("time behind the flow at the end", "h"),
    "worst_l1": ("largest L1 error", "1"),
    "transports": ("transport solves", "1"),
    "ratio_l1": ("L1 error, better Lie / better Strang", "1"),
}


def run(targets=tuple(case.name for case in CASES), levels=5, t_end=2.0, rtol=1e-7, rtol_2d=1e-4) -> xr.Dataset:
    known = {case.name: case for case in CASES}
    if not targets or any(name not in known for name in targets):
        raise ValueError(f"targets must be some of {', '.join(known)}, got {', '.join(targets) or 'none'}")
    if not 3 <= levels <= 5:
        raise ValueError(f"levels must be 3, 4 or 5, got {levels}")
    if not t_end >= 1 or t_end % 0.5:
        raise ValueError(f"t_end must be 1, 1.5, 2, ..., got {t_end}")
    t = np.unique([*EARLY, *np.arange(0, t_end + FINEST / 2, FINEST)])
    steps = 0.5 ** np.arange(1, levels + 1)
    parts = [solved(known[name], t, steps, rtol if known[name].target.ndim == 1 else rtol_2d) for name in targets]
    names = xr.DataArray(list(targets), dims="target", name="target")
    ds = xr.concat(parts, names, join="override").assign_coords(scheme=list(SCHEMES), lie=list(LIE), h=steps)
    gaussian = [closed_form(known[name], ds.sel(target=name), steps) for name in targets if name.startswith("gaussian")]
    ds = ds.merge(patterns(ds)).merge(lags(ds)).merge(costs(ds))
    scalars = signs(ds) | closeness(ds) | gains(ds) | {"gaussian_off": max(gaussian, default=np.nan)}
    scalars["global_sign_finest"] = scalars[f"global_sign_{1 / steps[-1]:.0f}"]
    for name in ds.variables:
        if name in ATTRIBUTES:
            ds[name].attrs = dict(zip(("long_name", "units"), ATTRIBUTES[name], strict=True))
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {}
    return ds


TITLES = {case.name: case.title for case in CASES}
LOOKS = {
    "W-FR": dict(color=plotting.BLUE, marker="o", linestyle="-"),
    "FR-W": dict(color=plotting.VERMILION, marker="s", linestyle="--", markerfacecolor="white"),
    "Strang W-FR-W": dict(color=plotting.GREEN, marker="^", linestyle="-"),
    "Strang FR-W-FR": dict(color="black", marker="v", linestyle="-.", markerfacecolor="white"),
}
ROW = 0.42  # half height of what is drawn in a row


def in_rows(ax, ds, named):
    """One row per target, the first on top."""
    n = ds.sizes["target"]
    ax.set_yticks(range(n), [TITLES[str(name)] for name in ds["target"].values] if named else [])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(n - 0.45, -0.55)
    ax.grid(False, axis="y")


def draw_signs(ax, ds):
    t = ds["t"].values
    for k in range(ds.sizes["target"]):
        one = ds.isel(target=k)
        height = (one["correlation"] * ROW).where(abs(one["covariance"]) > one["error_covariance"]).values
        ax.axhline(k, color="0.6", linestyle="-", linewidth=0.4)
        up, down = np.where(height > 0, height, 0), np.where(height < 0, height, 0)
        ax.fill_between(t, k, k - down, color=plotting.BLUE, linewidth=0)
        ax.fill_between(t, k, k - up, facecolor=plotting.ORANGE, edgecolor="black", hatch="////", linewidth=0.3)
        ax.plot(t, k - 2 * ROW * one["lag"], color="white", linestyle="-", linewidth=2.2)
        ax.plot(t, k - 2 * ROW * one["lag"], color="black", linestyle="-", linewidth=1)
    in_rows(ax, ds, named=True)
    words = "W-FR is ahead below the axis, FR-W above"
    ax.set(xlabel=f"{plotting.label(ds['t'])}\n{words}", xlim=(0, t[-1]))
    ax.set_title("Sign of Cov (shade), its effect (line)")


def draw_lags(ax, ds):
    for edge in (-0.5, 0.0, 0.5):
        ax.axvline(edge, color="0.6", linestyle="-" if edge == 0 else ":", linewidth=0.8)
    rows = np.arange(ds.sizes["target"])
    for scheme, sign in zip(LIE, SIGN, strict=True):
        look = {**LOOKS[scheme], "linestyle": "none"}
        for h, size in ((0.5, 5.5), (0.125, 3.2)):
            ax.plot(ds["measured_lag"].sel(scheme=scheme, h=h), rows, markersize=size, **look)
        ax.plot(sign * ds["lag"].isel(t=-1), rows, "k|", markersize=8, zorder=4)
    in_rows(ax, ds, named=False)
    ax.set(
        xlabel="steps behind the exact flow\nbar: predicted; small: h = 1/8", xlim=(-0.58, 0.58), xticks=[-0.5, 0, 0.5]
    )
    ax.set_title("Faster?")


def draw_closeness(ax, ds):
    ax.axvline(1, color="0.6", linestyle="-", linewidth=0.8)
    ratio = ds["worst_l1"].sel(scheme="W-FR") / ds["worst_l1"].sel(scheme="FR-W")
    rows = np.arange(ds.sizes["target"])
    ax.hlines(rows, ratio.min("h"), ratio.max("h"), color="0.6", linestyle="-", linewidth=0.6)
    for h, size, shade in ((0.5, 5.5, "white"), (0.25, 4.2, "0.7"), (0.125, 3, "black")):
        ax.plot(
            ratio.sel(h=h), rows, "o", color="black", markerfacecolor=shade, markersize=size, label=f"h = 1/{1 / h:.0f}"
        )
    in_rows(ax, ds, named=False)
    ax.set(xscale="log", xlabel="L1 error, W-FR / FR-W\nbelow 1: W-FR is closer", xlim=(0.18, 4.8))
    ax.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"], minor=False)
    ax.set_xticks([], minor=True)
    ax.legend(loc="lower right", handletextpad=0.1, borderpad=0, labelspacing=0.2)
    ax.set_title("Closer?")


def draw_local(ax, ds):
    known = (abs(ds["local"]) > ds["error_local"]) & (abs(ds["covariance"]) > ds["error_covariance"])
    reach = np.geomspace(1e-9, 3e4, 50)
    reach = np.concatenate([-reach[::-1], reach])
    for scheme, sign in zip(LIE, SIGN, strict=True):
        ax.plot(reach, sign * reach, color="0.5", linestyle="-", linewidth=0.7, zorder=1)
        one = ds["local"].sel(lie=scheme).where(known.sel(lie=scheme))
        look = {**LOOKS[scheme], "linestyle": "none", "markersize": 3.2}
        ax.plot(ds["covariance"].values.ravel(), one.values.ravel(), label=scheme, **look)
    ticks = [-1e4, -1, -1e-4, 0, 1e-4, 1, 1e4]
    words = ["−10⁴", "−1", "−10⁻⁴", "0", "10⁻⁴", "1", "10⁴"]
    for axis in ("x", "y"):
        ax.set(**{f"{axis}scale": "symlog", f"{axis}lim": (-3e4, 3e4)})
        getattr(ax, f"set_{axis}scale")("symlog", linthresh=1e-6, linscale=0.3)
        getattr(ax, f"set_{axis}ticks")(ticks, words, fontsize=6)
    ax.set(xlabel="Cov of g and |∇g|²", ylabel="2 (KL of a step − KL) / h²")
    ax.minorticks_off()
    ax.set_title("One step: sign and size")


def draw_costs(ax, ds, values):
    n = ds["transports"].values
    for scheme, look in LOOKS.items():
        one = values.sel(scheme=scheme)
        middle = one.median("target")
        ax.fill_between(n, one.min("target"), one.max("target"), color=look["color"], alpha=0.13, linewidth=0)
        ax.plot(n, middle, label=scheme, **look)
    ax.set(xscale="log", xlabel="transport solves")
    ax.set_xticks(n, [f"{value:.0f}" for value in n])
    ax.set_xticks([], minor=True)


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 6.6)
        top, bottom = fig.subfigures(2, 1, height_ratios=(1.9, 1))
        signs_, lags_, closer = top.subplots(1, 3, width_ratios=(1.6, 1.1, 1))
        draw_signs(signs_, ds)
        draw_lags(lags_, ds)
        draw_closeness(closer, ds)
        local, error, speed = bottom.subplots(1, 3)
        draw_local(local, ds)
        draw_costs(error, ds, ds["worst_l1"])
        error.set(yscale="log", ylabel="largest L1 error")
        error.set_title("Error against cost")
        draw_costs(speed, ds, 1 + ds["difference"].isel(t=-1) / ds["kl"].isel(t=-1))
        further = (1 + ds["further"] / ds["kl"].isel(t=-1)).median("target")
        speed.plot(ds["transports"], further, ":", marker="x", color="black", label="FR-W-FR, and half an FR")
        speed.set(ylabel="KL / KL of the exact flow")
        speed.set_title("Gain against cost")
        handles, names = speed.get_legend_handles_labels()
        bottom.legend(handles, names, loc="outside lower center", ncols=5, columnspacing=1.2, handlelength=2.6)
    return fig
