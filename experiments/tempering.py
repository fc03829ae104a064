"""Tempering from the start delays FR always, and WFR unless transport is much faster than reaction; annealing may help.

Method: the flows follow pi_t ∝ r^(1 - lambda(t)) pi^lambda(t) instead of pi. Where r is the start, that is said to
give no speed-up (Crucinio and Pathiraja 2025, arXiv:2506.05905v1). Here r is the start or, as in annealing, a broad
Gaussian with the mean of pi and twice its covariance. The time from which on KL(mu_t|pi), to the final pi, is below
0.01 nats is compared: that without tempering over that with it. alpha = beta = 1, time is in units of 1/beta. Four
schedules; T is the end of a linear one. For small wells schedules are in units of L²/alpha.

Error bars: the curves of W and WFR are two runs that differ in steps and cells; the bar is twice their difference, the
largest of five neighbouring times, and what the interpolation in time adds. Curves certified by `ground_truth` lie
within them, as do the equations of the moments for N(1, 5). Between Gaussians on a line the equations of the moments
are all there is, and FR is a quadrature, from which its certified curve differs by 0.01 error bars. A ratio counts as
larger than one if it is by more than its bar.

Findings:

- From the start, all flows set out more slowly: log(mu_0/pi_0) is lambda(0) log(mu_0/pi) and a constant, so that KL
  falls at lambda(0) times the rate. FR stays behind, for every target and schedule: log mu_t is (1 - a) log mu_0 + a
  log pi and a constant, with a' = beta (lambda - a), hence a <= 1 - exp(-beta t); and KL of mu_0^s pi^(1-s) rises with
  s. The largest ratio in 14 cases is 0.84.
- WFR from the start: none of 14 cases is faster, the largest ratio is 0.82. So the claim holds for the targets of the
  literature that are tried here, and for wells and a spike, all of lengths of one and more.
- As a theorem it fails, for W and for WFR. From a broad start on the wrong side of two unequal wells at ±L, with
  barriers of about 7 and 9 nats, the wrong masses fall into the wells, with tempering less so. Only beta L²/alpha
  matters. With T = 30 L²/alpha W gains a factor 1.32, and WFR 1.14, 1.30 and 1.31 at L = 0.1, 0.03 and 0.01; at L =
  0.3 it loses (0.54). Certified at L = 0.1: KL after T is lower by a factor of up to 1.75, and by 23,000 error bars at
  least.
- From the broad reference, W gains in 6 of 12 cases, those with barriers: 2.3 at m = 6 and 14 with the two wells, T =
  30, as the masses find their places before the barrier is there. WFR gains in 6 of 13, by 8 % at most and with T = 2,
  as barriers hardly delay it; with T = 30 it takes 6 to 37 times as long. Between small wells it gains 4.8 (L = 0.1)
  to 13 (L = 0.01). FR gains 6 % with N(1, 5), where the start is too narrow and the reference too broad.

Figure: above, KL over time for two cases (dotted: error bars), and the ratio for smaller and smaller wells.
Below, the ratios of all cases for W, FR and WFR; grey, right of one: tempering helps; an arrow: KL is still above 0.01
at the end, and the ratio is left of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import maximum_filter1d
from scipy.optimize import brentq

import wfr_pde as wfr
from wfr_pde import plotting

QUICK = dict(
    names=("N(1, 5)", "m = 2"),
    temperings=("start, 1 − exp(−t)", "start, linear, T = 30"),
    lengths=(0.03,),
    per_decade=4,
    rtol=1e-3,
    certified_runs=("six",),
)
CHECKS = {
    "fr_faster_from_start": (0.0, 0.0),  # cases in which tempering from the start is faster, by more than the bars
    "wfr_faster_from_start": (0.0, 0.0),  # of lengths of one and more
    "faster_if_small": (1.0, 0.0),  # WFR is, for the smallest wells, and where that is certified by over 100 error bars
    "farthest_from_truth": (0.5, 0.5),  # the curves of two runs from certified ones, in error bars of both
    "farthest_from_moments": (0.5, 0.5),  # and from the equations of the moments
    "farthest_from_fisher_rao": (0.5, 0.5),  # certified FR from the quadrature
}

FLOWS = {"W": (1.0, 0.0), "FR": (0.0, 1.0), "WFR": (1.0, 1.0)}  # rates of transport and reaction
LEVEL = 0.01  # nats: how long until KL is below, for good
SAFETY = 2.0  # times the difference of two runs
BARS = 100  # certified error bars from which on a sign counts as decided
LONGEST, SHORTER = 40.0, 14.0  # horizons of FR and WFR, on a line and in the plane
AROUND = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1, 1.03, 1.06, 1.1, 1.15, 1.2, 1.26)  # times around a kink, over its own
SMALLEST = 1e-6  # nats: from there on curves are not looked at
EXACT = 1e-7  # relative error of KL by quadrature or by moments
BROAD = 2.0  # covariance of the broad reference over that of the target
SLOW = 30.0  # end of the slow linear schedule


def exponential(t):
    """lambda = 1 - e^{-t}."""
    return float(-np.expm1(-t))


def linear(end):
    """lambda = t / end, until it is one."""
    return lambda t: min(t / end, 1.0)


def harmonic(t):
    """lambda = 1 - 1 / (2 + n), n = t / 0.3 the number of steps of 0.3."""
    return 1 - 1 / (2 + t / 0.3)


@dataclass(frozen=True)
class Tempering:
    """From where, and how."""

    reference: str  # start or broad
    schedule: Callable[[float], float]
    end: float | None = None  # where the schedule has a kink


TEMPERINGS = {
    "start, 1 − exp(−t)": Tempering("start", exponential),
    "start, 1 − 1/(2 + t/0.3)": Tempering("start", harmonic),
    "start, linear, T = 2": Tempering("start", linear(2.0), 2.0),
    "start, linear, T = 30": Tempering("start", linear(SLOW), SLOW),
    "broad, linear, T = 2": Tempering("broad", linear(2.0), 2.0),
    "broad, linear, T = 30": Tempering("broad", linear(SLOW), SLOW),
}
FROM_START = [name for name, tempering in TEMPERINGS.items() if tempering.reference == "start"]


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, and how it is solved."""

    target: wfr.Target
    start: wfr.Target
    horizon: float = 50.0  # of W
    cells: int = 128  # per axis, of the coarser run
    finer: float = 1.5  # cells of the finer one over those
    unit: float = 1.0  # of time, in the schedules
    first: float = 0.02  # save time, in that unit
    flows: tuple[str, ...] = tuple(FLOWS)
    references: tuple[str, ...] = ("start", "broad")
    box: tuple | None = None

    @cached_property
    def broad(self) -> wfr.Gaussian:
        """A Gaussian with the mean of the target and BROAD times its covariance."""
        pi = self.grid([self.target, self.start], 4 * self.cells if self.target.ndim == 1 else self.cells)
        pi = pi.density(self.target)
        return wfr.Gaussian(pi.mean(), BROAD * pi.covariance())

    def reference(self, tempering):
        """The reference of a tempering."""
        return self.start if tempering.reference == "start" else self.broad

    def schedule(self, tempering):
        """lambda as a function of the time."""
        return lambda t: tempering.schedule(t / self.unit)

    def path(self, tempering):
        """The target, moving or, without tempering, not."""
        if tempering is None:
            return self.target
        return wfr.GeometricPath(self.reference(tempering), self.target, self.schedule(tempering))

    def grid(self, places, cells):
        """A grid that holds what is given, or of the box that is."""
        d = self.target.ndim
        if self.box is not None:
            return wfr.Grid(*self.box, (cells,) * d, max_cut=1.0)
        return wfr.Grid.covering(*places, shape=(cells,) * d, graded=d == 1, tail=1e-12 if d == 1 else 1e-9)

    def kink(self, tempering):
        """The time at which the schedule ends, if there is one."""
        return None if tempering is None or tempering.end is None else tempering.end * self.unit

    def times(self, flow, tempering, per_decade):
        """Save times, which the kink is one of."""
        end = self.horizon if flow == "W" else min(LONGEST if self.target.ndim == 1 else SHORTER, 4000 * self.unit)
        per_decade = min(per_decade, 5) if self.target.ndim > 1 else per_decade
        n = round(per_decade * np.log10(end / (self.first * self.unit))) + 1
        kink = self.kink(tempering)
        t = np.geomspace(self.first * self.unit, end, n)
        if kink is None or kink * AROUND[0] >= end:
            return np.append(0.0, t)
        dense = kink * np.array(AROUND)
        dense = dense[dense < end]
        return np.sort([0.0, *t[abs(np.log(t[:, None] / dense)).min(axis=1) > 0.01], *dense])


def between(t):
    """The times, and those half way."""
    return np.sort(np.concatenate([t, (t[1:] + t[:-1]) / 2]))


def flow_of(rates):
    """Strang steps, of order 4 in dt and in dx."""
    alpha, beta = rates
    transport = wfr.FiniteVolume(alpha)
    flow = wfr.Strang(wfr.FisherRao(beta), transport) if beta else transport
    return wfr.Extrapolated(wfr.Extrapolated(flow, 4), 4, "dx")


def solved(case, flow, tempering, t, cells):
    """KL to the final target at the save times, in one step from each to the next."""
    places = [case.target, case.start, *([case.broad] if tempering and tempering.reference == "broad" else [])]
    grid, kl = case.grid(places, cells), wfr.KL(case.target)
    ds = wfr.solve(
        case.path(tempering), flow_of(FLOWS[flow]), grid.density(case.start), t, np.ptp(t),
        record={"kl": lambda state, energy: kl.value(state)}, keep="last", progress=False,
    )  # fmt: skip
    return ds["kl"].values


def integrated(rate, first, t, kink):
    """Solution of an ordinary differential equation (n_t, n), begun anew where its right-hand side has a kink."""
    found, y = [np.atleast_2d(first)], np.asarray(first, dtype=float)
    stops = [t[0], *([kink] if kink is not None and t[0] < kink < t[-1] else []), t[-1]]
    for begin, end in pairwise(stops):
        wanted = t[(t > begin) & (t <= end)]
        solution = solve_ivp(rate, (begin, end), y, "LSODA", wanted, rtol=1e-11, atol=1e-13)
        found.append(solution.y.T)
        y = solution.y[:, -1]
    return np.concatenate(found)


def by_moments(case, flow, tempering, t):
    """KL to the final target between Gaussians on a line, by the equations of the moments.

    With A the precision of the target at the time and A b its product with the mean, which are linear in lambda,
    dm/dt = -(alpha + beta C) (A m - A b) and dC/dt = (2 alpha + beta C) (1 - A C).
    """
    alpha, beta = FLOWS[flow]
    target, start = case.target, case.start
    reference = target if tempering is None else case.reference(tempering)
    weight = (lambda time: 1.0) if tempering is None else case.schedule(tempering)
    ends = np.array([[1 / g.covariance[0, 0], g.mean[0] / g.covariance[0, 0]] for g in (reference, target)])

    def rate(time, moments):
        m, c = moments
        a, ab = (1 - weight(time)) * ends[0] + weight(time) * ends[1]
        return [-(alpha + beta * c) * (a * m - ab), (2 * alpha + beta * c) * (1 - a * c)]

    m, c = integrated(rate, [start.mean[0], start.covariance[0, 0]], t, case.kink(tempering)).T
    ratio = c / target.covariance[0, 0]
    return 0.5 * (ratio - 1 - np.log(ratio) + (m - target.mean[0]) ** 2 / target.covariance[0, 0])


def by_quadrature(case, tempering, t):
    """KL to the final target along FR, whose log-density is a sum of three with weights that are known."""
    reference = case.start if tempering is None else case.reference(tempering)
    grid, kl = case.grid([case.target, case.start, reference], 2 * case.cells), wfr.KL(case.target)
    s = np.exp(-t)
    weight = (lambda time: 1.0) if tempering is None else case.schedule(tempering)
    a = integrated(lambda time, y: weight(time) - y, [0.0], t, case.kink(tempering))[:, 0]
    parts = [grid.log_density(g, "it", checked=False) for g in (case.start, reference, case.target)]
    mixed = [x * parts[0] + (1 - x - y) * parts[1] + y * parts[2] for x, y in zip(s, a, strict=True)]
    return np.array([kl.value(wfr.Density(grid, log_values).normalised()) for log_values in mixed])


def is_line_of_gaussians(case):
    """Whether the moments tell all."""
    return all(isinstance(g, wfr.Gaussian) for g in (case.target, case.start)) and case.target.ndim == 1


def by_two_runs(case, flow, tempering, t):
    """Times, KL to the final target, and error bar: runs that differ in steps and cells."""
    fine = between(t)
    coarse = solved(case, flow, tempering, t, case.cells)
    kl = solved(case, flow, tempering, fine, round(case.finer * case.cells / 2) * 2)
    off = SAFETY * abs(kl[::2] - coarse) / np.maximum(kl[::2], SMALLEST)
    off = maximum_filter1d(off, 5)  # differences pass through zero
    return fine, kl, np.interp(fine, t, off) * kl


@cache
def curve(case, flow, tempering, per_decade):
    """Times, KL to the final target, and its error bar, by the best way there is."""
    t = case.times(flow, tempering, per_decade)
    if is_line_of_gaussians(case):
        kl = by_moments(case, flow, tempering, between(t))
        return between(t), kl, EXACT * kl
    if flow == "FR":
        kl = by_quadrature(case, tempering, between(t))
        return between(t), kl, EXACT * kl
    return by_two_runs(case, flow, tempering, t)


def crossing(t, kl):
    """The time from which on KL is below LEVEL; NaN if that is later than the last one."""
    last = int(np.flatnonzero(kl > SMALLEST)[-1])
    t, kl = t[: last + 1], kl[: last + 1]
    above = np.flatnonzero(kl > LEVEL)
    if len(above) == 0 or above[-1] + 1 == len(t):
        return np.nan
    low, high = np.log(t[above[-1]]), np.log(t[above[-1] + 1])
    excess = PchipInterpolator(np.log(t[1:]), np.log(kl[1:] / LEVEL))
    return float(np.exp(brentq(excess, low, high)))


def reached(t, kl, error):
    """The time from which on KL is below LEVEL, and its relative error bar, with that of the interpolation."""
    time = crossing(t, kl)
    others = [crossing(t, kl + error), crossing(t, np.maximum(kl - error, kl / 2)), crossing(t[::2], kl[::2])]
    bars = abs(np.log(np.array(others) / time))
    return time, float(max(bars[:2].max(), 0) + bars[2])


@cache
def wells(length):
    """Two wells with barriers of about 7 and 9 nats, the left one deeper, from a broad start on the right."""
    target = wfr.Potential(f"8*((x/{length})**2 - 1)**2 + x/{length}")
    options = dict(horizon=2000 * length**2, cells=160, unit=length**2, first=0.01)
    return Case(target, wfr.Gaussian(0.5 * length, length**2), **options)


def modes(m, horizon):
    """Two modes of variance one at a distance m, from one of them."""
    return Case(wfr.GaussianMixture([[0.0], [m]], [0.5, 0.5], 1.0), wfr.Gaussian(0.0, 1.0), horizon)


def four_components():
    """Four components in the plane."""

    def covariance(factor, correlation):
        return [[factor, factor * correlation], [factor * correlation, factor]]

    target = wfr.GaussianMixture(
        [[3, 3], [9, 10], [2, 2], [10, 4]],
        [1 / 3, 1 / 6, 1 / 3, 1 / 6],
        [covariance(0.7, -0.8377), covariance(0.7, 0.8377), covariance(0.7, -0.8377), covariance(2.0, -0.6701)],
    )
    return Case(target, wfr.Gaussian([0, 0], 1.0), cells=152, finer=1.2, flows=("FR", "WFR"), references=("start",))


def high_barrier():
    """The double well of a barrier of 5.9 nats, from the left well; the walls are where it has no mass."""
    target = wfr.CoshDoubleWell(0.002)
    lower, upper = target.box(1e-14)
    start = wfr.Gaussian(target.wells[0], 1 / (4 * target.k**2 - 2 * target.gap))
    return Case(target, start, 5e3, 160, box=(lower - 0.3, upper + 0.3))


def spike():
    """A broad target, half of the start being a spike in it, a thousand times narrower."""
    start = wfr.GaussianMixture([[0.0], [0.0]], [0.5, 0.5], [2500.0, 0.0025])
    return Case(wfr.Gaussian(0.0, 2500.0), start, cells=360, first=1e-4, flows=("FR", "WFR"))


CASES = {
    "N(1, 5)": Case(wfr.Gaussian(1.0, 5.0), wfr.Gaussian(0.0, 1.0)),
    "N(20, 0.1)": Case(wfr.Gaussian(20.0, 0.1), wfr.Gaussian(0.0, 1.0)),
    "N(0, 1), far": Case(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(-10.0, 0.25)),
    "N(0, 1), wide": Case(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(3.0, 100.0)),
    **{f"m = {m}": modes(m, horizon) for m, horizon in enumerate((50, 50, 50, 100, 200, 500, 3e3, 2e4, 1e5, 2e6), 1)},
    "four, 2D": four_components(),
    "high barrier": high_barrier(),
    "spike": spike(),
    "wells": wells(1.0),
    "small wells": wells(0.1),
}
SPARED = ("m = 3", "m = 5", "m = 7", "m = 9")  # by default
SMALL = ("small wells",)  # lengths below one


def mapped(names, chosen, per_decade) -> xr.Dataset:
    """How long KL takes to LEVEL, and the ratio of that without tempering to that with it."""
    temperings = [None, *(TEMPERINGS[name] for name in chosen)]
    time, bar, longest = np.full((3, len(names), len(FLOWS), len(temperings)), np.nan)
    for i, name in enumerate(names):
        case = CASES[name]
        for j, flow in enumerate(FLOWS):
            for k, tempering in enumerate(temperings):
                if flow in case.flows and (tempering is None or tempering.reference in case.references):
                    t, kl, error = curve(case, flow, tempering, per_decade)
                    time[i, j, k], bar[i, j, k] = reached(t, kl, error)
                    longest[i, j, k] = t[-1]
    dims = ("case", "flow", "tempering")
    speed_up = time[..., :1] / time
    variables = {
        "reached": (dims, time),
        "reached_error": (dims, time * bar),
        "speed_up": (dims, speed_up),
        "speed_up_error": (dims, speed_up * (bar[..., :1] + bar)),
        "speed_up_below": (dims, np.where(np.isnan(time), time[..., :1] / longest, np.nan)),  # not reached
    }
    return xr.Dataset(variables, {"case": list(names), "flow": list(FLOWS), "tempering": ["none", *chosen]})


def scanned(lengths, chosen, per_decade) -> xr.Dataset:
    """Speed-up of WFR for two wells, smaller and smaller."""
    slow = [name for name in SCANNED if name in chosen]
    ratio = np.empty((2, len(lengths), len(slow)))
    for i, length in enumerate(lengths):
        case = wells(length)
        runs = [reached(*curve(case, "WFR", TEMPERINGS.get(name), per_decade)) for name in ("none", *slow)]
        (first, first_bar), others = runs[0], np.array(runs[1:])
        ratio[0, i] = first / others[:, 0]
        ratio[1, i] = ratio[0, i] * (first_bar + others[:, 1])
    dims = ("length", "slow")
    variables = {"by_length": (dims, ratio[0]), "by_length_error": (dims, ratio[1])}
    return xr.Dataset(variables, {"length": list(lengths), "slow": slow})


SCANNED = ("start, linear, T = 30", "broad, linear, T = 30")
CERTIFIED = {  # case, temperings, last time
    "six": ("m = 6", ("none", "start, 1 − exp(−t)", "broad, linear, T = 2"), 8.0),
    "small": ("small wells", ("none", "start, linear, T = 30"), 1.5),
}


def certified(case, flow, tempering, t, rtol):
    """KL to the final target along the certified solution, and its error bar.

    It is KL(mu|pi_t), which is certified, and the mean of h = log(pi_t/pi). An error of mu changes that by at most its
    L1 bound times the largest |h - E h| in any set of cells; the rest, far in the tails, counts three times, so that
    the density may be wrong by a factor of two there. What the two sums over cells differ by counts too.
    """
    (alpha, beta), path, final = FLOWS[flow], case.path(tempering), wfr.KL(case.target)
    options = dict(transport_rate=alpha, reaction_rate=beta, rtol=rtol, strict=False)
    ds = wfr.ground_truth(path, case.start, t, **options)
    grid = wfr.Grid.from_dataset(ds)
    found = []
    for k, time in enumerate(t.tolist()):
        state = wfr.Density(grid, ds["log_density"].values[k])
        now = wfr.KL(path.at(time) if path.moving else path, checked=False)
        h = now.log_equilibrium(grid) - final.log_equilibrium(grid)
        mass = np.exp(state.log_values + grid.log_cell_volume)
        size = abs(h - np.sum(mass * h))
        order = np.argsort(size)
        size, outside = size[order], np.cumsum((mass * size)[order][::-1])[::-1]
        moved = np.min(float(ds["error_l1"][k]) * size + 3 * np.append(outside[1:], 0.0))
        sums = abs(now.value(state) - float(ds["kl"][k]))
        found.append((final.value(state), float(ds["error_kl"][k]) + moved + sums))
    return np.array(found).T


def truths(keys, wanted, per_decade, rtol) -> tuple[xr.Dataset, float]:
    """Certified curves of WFR, and how far those of two runs are from them, in error bars."""
    ds, off = xr.Dataset(), 0.0
    for key in keys:
        name, chosen, end = CERTIFIED[key]
        chosen = ["none", *(word for word in chosen if word in wanted)]
        case, temperings = CASES[name], [TEMPERINGS.get(word) for word in chosen]
        first = 10 * case.first * case.unit
        t = np.geomspace(first, end, round(per_decade * np.log10(end / first)))
        t = np.unique([0.0, *t, *(kink for kink in map(case.kink, temperings) if kink is not None)])
        runs = [certified(case, "WFR", tempering, t, rtol) for tempering in temperings]
        for tempering, (kl, error) in zip(temperings, runs, strict=True):
            _, own, bar = by_two_runs(case, "WFR", tempering, t)
            off = max(off, float((abs(own[::2] - kl) / (bar[::2] + error))[kl > SMALLEST].max()))
        dims = (f"curve_{key}", f"t_{key}")
        ds[f"kl_{key}"], ds[f"error_{key}"] = ((dims, [run[k] for run in runs]) for k in (0, 1))
        ds = ds.assign_coords({f"t_{key}": t, f"curve_{key}": chosen})
    return ds, off


def from_moments(per_decade):
    """How far two runs are from the equations of the moments, in error bars: WFR to N(1, 5)."""
    case, off = CASES["N(1, 5)"], 0.0
    for name in ("none", "broad, linear, T = 2"):
        tempering = TEMPERINGS.get(name)
        t, kl, error = by_two_runs(case, "WFR", tempering, case.times("WFR", tempering, per_decade))
        exact = by_moments(case, "WFR", tempering, t)
        gaps = abs(kl - exact) / (error + EXACT * exact)
        off = max(off, float(gaps[::2][exact[::2] > SMALLEST].max()))
    return off


def from_fisher_rao(rtol):
    """How far certified FR is from the quadrature, in error bars: towards a target that moves."""
    case, tempering, t = CASES["m = 6"], TEMPERINGS["start, 1 − exp(−t)"], np.array([0.0, 1.0, 3.0, 7.0])
    kl, error = certified(case, "FR", tempering, t, rtol)
    known = by_quadrature(case, tempering, t)
    return float((abs(kl - known) / (error + EXACT * known)).max())


def counted(ds) -> dict[str, float]:
    """In how many cases a tempering is faster by more than the error bars, and the largest speed-up."""
    scalars = {}
    large = ds.sel(case=[name for name in ds["case"].values if name not in SMALL])
    for reference in ("start", "broad"):
        chosen = [name for name in ds["tempering"].values if name.startswith(reference)]
        for flow in FLOWS if chosen else ():
            one = large.sel(flow=flow, tempering=chosen)
            surely = one["speed_up"] - one["speed_up_error"] > 1
            scalars[f"{flow.lower()}_faster_from_{reference}"] = float(surely.any("tempering").sum())
            scalars[f"{flow.lower()}_largest_from_{reference}"] = float(one["speed_up"].max())
    known = ds["reached"].sel(tempering="none", drop=True).notnull()
    for flow in FLOWS:
        scalars[f"{flow.lower()}_cases"] = float(known.sel(flow=flow, case=large["case"]).sum())
    return scalars


ATTRIBUTES = {
    "reached": (f"time from which on KL < {LEVEL:g} nats", "1/β"),
    "reached_error": ("error bar of the time", "1/β"),
    "speed_up": ("time without tempering / with it", "1"),
    "speed_up_error": ("error bar of the speed-up", "1"),
    "speed_up_below": ("bound of the speed-up where KL stays above", "1"),
    "by_length": ("time without tempering / with it", "1"),
    "by_length_error": ("error bar of the speed-up", "1"),
    "length": ("half distance L", "√(α/β)"),
    "kl": ("KL(mu|pi) to the final target", "nats"),
    "error": ("error bar of KL", "nats"),
    "t": ("t", "1/β"),
}


def run(
    names=tuple(name for name in CASES if name not in SPARED),
    temperings=tuple(TEMPERINGS),
    lengths=(1.0, 0.3, 0.1, 0.03, 0.01),
    per_decade=6,
    rtol=1e-3,
    certified_runs=tuple(CERTIFIED),
) -> xr.Dataset:
    for word, given, known in (("names", names, CASES), ("temperings", temperings, TEMPERINGS)):
        if not set(given) <= set(known):
            raise ValueError(f"{word} must be among {', '.join(known)}, got {given}")
    if SCANNED[0] not in temperings:
        raise ValueError(f"temperings must hold {SCANNED[0]!r}, which the wells are solved with, got {temperings}")
    ds = mapped(names, temperings, per_decade).merge(scanned(lengths, temperings, per_decade))
    curves, off = truths(certified_runs, temperings, 6, rtol)
    ds = ds.merge(curves)
    smallest = ds.sel(length=min(lengths), slow=SCANNED[0])
    faster = float(smallest["by_length"] - smallest["by_length_error"]) > 1
    scalars = counted(ds)
    if "small" in certified_runs:
        none, tempered = (ds.sel(curve_small=name, drop=True) for name in CERTIFIED["small"][1])
        excess = (none["kl_small"] - tempered["kl_small"]) / (none["error_small"] + tempered["error_small"])
        late = ds["t_small"] >= SLOW * CASES["small wells"].unit
        scalars["small_wells_in_bars"] = float(excess.where(late).min())
        scalars["small_wells_kl_ratio"] = float((none["kl_small"] / tempered["kl_small"]).where(late).max())
        faster = faster and scalars["small_wells_in_bars"] > BARS
    scalars |= {
        "faster_if_small": float(faster),
        "farthest_from_truth": off,
        "farthest_from_moments": from_moments(per_decade),
        "farthest_from_fisher_rao": from_fisher_rao(rtol),
    }
    for name in [*ds.data_vars, "length", *(f"t_{key}" for key in certified_runs)]:
        words, units = ATTRIBUTES[name if name in ATTRIBUTES else name.split("_")[0]]
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {}
    return ds


LOOKS = {  # colour, marker, filled
    "none": ("black", "x", True),
    "start, 1 − exp(−t)": (plotting.BLUE, "o", True),
    "start, 1 − 1/(2 + t/0.3)": (plotting.BLUE, "D", True),
    "start, linear, T = 2": (plotting.BLUE, "^", True),
    "start, linear, T = 30": (plotting.BLUE, "s", True),
    "broad, linear, T = 2": (plotting.VERMILION, "^", False),
    "broad, linear, T = 30": (plotting.VERMILION, "s", False),
}
LINES = {"none": "-", "start": "--", "broad": "-."}


def draw_kl(ax, ds, key, title):
    if f"kl_{key}" not in ds:
        ax.text(0.5, 0.5, "not in this run", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    for name in ds[f"curve_{key}"].values:
        one = ds.sel({f"curve_{key}": name})
        t, kl, error = one[f"t_{key}"], one[f"kl_{key}"], one[f"error_{key}"]
        colour, line = LOOKS[name][0], LINES[name.split(",")[0]]
        ax.semilogy(t, kl, color=colour, linestyle=line, label=name.replace("none", "no tempering"))
        ax.semilogy(t[1:], error[1:], color=colour, linestyle=":", linewidth=0.8)
    ax.axhline(LEVEL, color="0.5", linestyle="-", linewidth=0.6)
    ax.text(0.02, 1.3 * LEVEL, f"level {LEVEL:g}", transform=ax.get_yaxis_transform(), fontsize=6.5)
    ax.text(0.02, 0.02, "dotted: error bars", transform=ax.transAxes, fontsize=6.5)
    ax.set(xlabel=plotting.label(ds[f"t_{key}"]), ylabel="KL(μ|π), final π (nats)", ylim=(1e-12, 1e5))
    ax.legend(loc="upper right", fontsize=6.5, handlelength=2.2)
    ax.set_title(title)


def draw_lengths(ax, ds):
    for name in ds["slow"].values:
        one = ds.sel(slow=name)
        colour, marker, filled = LOOKS[name]
        ax.errorbar(
            one["length"], one["by_length"], one["by_length_error"], color=colour, marker=marker, capsize=2,
            linestyle=LINES[name.split(",")[0]], markerfacecolor=colour if filled else "white", label=name, linewidth=1,
        )  # fmt: skip
    ax.axhline(1, color="black", linestyle="-", linewidth=0.7)
    ax.set(xscale="log", yscale="log", xlabel=plotting.label(ds["length"]), ylabel=plotting.label(ds["by_length"]))
    ax.legend(loc="best", fontsize=6.5, handlelength=2.2, title="T = 30 L²/α", title_fontsize=6.5)
    ax.set_title("WFR, smaller wells")


def draw_map(ax, ds, flow):
    names = ds["case"].values[::-1]
    shown = [name for name in ds["tempering"].values if name != "none"]
    for k, name in enumerate(shown):
        one = ds.sel(flow=flow, tempering=name, case=names)
        colour, marker, filled = LOOKS[name]
        face = colour if filled else "white"
        y = np.arange(len(names)) + 0.1 * ((len(shown) - 1) / 2 - k)
        ax.plot(
            one["speed_up"], y, color=colour, linestyle="none", marker=marker, markerfacecolor=face, markersize=3.4,
            markeredgewidth=0.8, label=name,
        )  # fmt: skip
        ax.plot(one["speed_up_below"], y, color=colour, linestyle="none", marker="$←$", markersize=5)
    ax.axvline(1, color="black", linestyle="-", linewidth=0.8, zorder=1)
    ax.axvspan(1, 40, color="0.92", zorder=0, linewidth=0)
    words = "time without / with tempering\n← at most; grey: it helps"
    ax.set(xscale="log", xlim=(0.015, 40), ylim=(-0.6, len(names) - 0.4), xlabel=words)
    for y, name in enumerate(names):
        if flow not in CASES[name].flows:
            ax.text(1, y, "not solved", ha="center", va="center", fontsize=6, backgroundcolor="white")
    ax.set_yticks(range(len(names)), names if flow == "W" else [""] * len(names), fontsize=6.5)
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_title(flow)


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 7.2)
        cells = fig.add_gridspec(2, 3, height_ratios=(1, 1.9))
        first, second, third = (fig.add_subplot(cells[0, k]) for k in range(3))
        draw_kl(first, ds, "six", "WFR, two modes, m = 6")
        draw_kl(second, ds, "small", "WFR, two wells, L = 0.1")
        draw_lengths(third, ds)
        for k, flow in enumerate(FLOWS):
            ax = fig.add_subplot(cells[1, k])
            draw_map(ax, ds, flow)
        handles, labels = ax.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3, columnspacing=1.5)
    return fig
