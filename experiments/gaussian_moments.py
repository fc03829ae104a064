"""Means and variances of W, FR and WFR between Gaussians: WFR is first, tempering delays all, large steps go astray.

Method: the flows go from N(0, 1) to N(1, 5) and to N(20, 0.1), alpha = beta = 1; then again, tempered, with the target
N(0, 1)^(1 - lambda) pi^lambda, lambda = 1 - e^-t. The samplers have 1000 particles, 20 seeds and steps of 0.1 and 0.01
(Crucinio and Pathiraja 2025, arXiv:2506.05905): ULA, which is to follow W; sequential Monte Carlo along the tempered
path, which is to follow FR; SMC-WFR.

Findings:

- Certified means and variances are those of closed forms and moment equations to 4e-7 (standard deviations;
  relative); KL lies within 0.52 of its certified error bars.
- WFR has the smallest KL of all six flows, down to 1e-3 nats. KL = 0.01 comes at t = 1.8 for N(1, 5), with W at 6.1,
  with FR at 3.1; for N(20, 0.1) at 0.52, with W at 0.61, with FR at 3.8. Tempering raises KL, and delays WFR to 4.1
  and 3.9.
- N(1, 5), both steps: ULA and tempering are within noise of their laws for infinitely many particles. SMC-WFR with a
  step of 0.01 ends with 96 % of the variance, where infinitely many particles have 100.03 %: the finite number costs
  it.
- N(20, 0.1), step 0.1: ULA has twice the variance, SMC-WFR 1.83 times; with a step of 0.01 it is 1.07 and 1.05. The
  reaction repairs little of the bias of the move before it. Tempering with 0.1 leaves its law at once: the weights of
  the first step, e^(0.1 log(pi/mu_0)), are nearly all on the outermost particle. At t = 0.2 the mean is 3.3 where FR
  has 13.8; with 0.01 it is 13.75.

Figure: mean, variance and KL over time, a row for each target. Lines are flows, dotted where they are tempered; marks
are samplers, mean and standard deviation over the seeds, open for the larger step.
"""

import math

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.stats import t as student

import wfr_pde as wfr
from wfr_pde import exact, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(targets=("N(1, 5)",), seeds=6, rtol=1e-5)
CHECKS = {
    "mean_off": (0.0, 1e-5),  # certified means from the equations of the moments, over the standard deviation
    "variance_off": (0.0, 1e-5),  # relative
    "kl_off": (0.5, 0.5),  # KL from the same, in certified error bars
    "wfr_first": (1.0, 0.0),  # share of the times at which WFR has the smallest KL, tempered or not
    "tempered_later": (1.0, 0.0),  # share at which tempering from the start raises KL
    # from the laws for infinitely many particles, over the Bonferroni bound of Student's t at 1 %
    "ula_off": (0.5, 0.5),
    "tempering_off_wide": (0.5, 0.5),  # N(1, 5)
}

START = wfr.Gaussian(0.0, 1.0)
TARGETS = {"N(1, 5)": wfr.Gaussian(1.0, 5.0), "N(20, 0.1)": wfr.Gaussian(20.0, 0.1)}
FLOWS = {"W": (1.0, 0.0), "FR": (0.0, 1.0), "WFR": (1.0, 1.0)}  # rates of transport and reaction
N = 1000
STEPS = (0.1, 0.01)
METHODS = {"ULA": "W", "tempering SMC": "FR", "SMC-WFR": "WFR"}  # and the flow that each claims to follow
TIMES = np.array([0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0])  # of the samplers
FINE = np.append(0.0, np.geomspace(0.01, TIMES[-1], 120))
CERTIFIED = 20  # of the fine times, evenly among them
BEGIN = 1e-3  # KL below is not compared between flows


def tempered(t) -> float:
    """lambda = 1 - e^-t."""
    return -math.expm1(-t)


def goal(target, is_tempered, t) -> wfr.Gaussian:
    """The target of a flow at a time."""
    return between(target, tempered(t)) if is_tempered else target


def between(target, weight) -> wfr.Gaussian:
    """N(0, 1)^(1 - weight) pi^weight."""
    a, b = 1 / START.covariance[0, 0], 1 / target.covariance[0, 0]
    precision = (1 - weight) * a + weight * b
    return wfr.Gaussian(((1 - weight) * a * START.mean[0] + weight * b * target.mean[0]) / precision, 1 / precision)


def moments(target, flow, is_tempered, t) -> list[wfr.Gaussian]:
    """The laws at the times, by closed forms; tempered W and WFR by the equations of the moments.

    These are dm/dt = -(alpha + beta C) A (m - b), dC/dt = (2 alpha + beta C) (1 - A C), with A and b of the time.
    Tempered FR is N(0, 1)^(1 - a) pi^a with a' = lambda - a.
    """
    alpha, beta = FLOWS[flow]
    if not is_tempered:
        return exact.gaussian_flow(target, START, t, alpha, beta)
    if flow == "FR":
        return [between(target, -math.expm1(-time) - time * math.exp(-time)) for time in t]

    def rate(time, now):
        m, c = now
        pi = goal(target, True, time)
        a = 1 / pi.covariance[0, 0]
        return [-(alpha + beta * c) * a * (m - pi.mean[0]), (2 * alpha + beta * c) * (1 - a * c)]

    start = [START.mean[0], START.covariance[0, 0]]
    found = solve_ivp(rate, (0, t[-1]), start, "LSODA", t, rtol=1e-12, atol=1e-14).y
    return [wfr.Gaussian(m, c) for m, c in found.T]


def described(law, target) -> list[float]:
    """Mean, variance, and KL to the target."""
    return [float(law.mean[0]), float(law.covariance[0, 0]), exact.gaussian_kl(law, target)]


def followed(target, flow, is_tempered, rtol) -> xr.Dataset:
    """A flow by the equations of the moments, and how far `ground_truth` is from them."""
    laws = moments(target, flow, is_tempered, FINE)
    chosen = np.unique(np.linspace(0, len(FINE) - 1, CERTIFIED + 1).round().astype(int))
    path = wfr.GeometricPath(START, target, tempered) if is_tempered else target
    alpha, beta = FLOWS[flow]
    truth = wfr.ground_truth(path, START, FINE[chosen], transport_rate=alpha, reaction_rate=beta, rtol=rtol)
    off = np.zeros(3)
    for k, i in enumerate(chosen):
        state, law = wfr.Density.from_dataset(truth, k), laws[i]
        variance = float(law.covariance[0, 0])
        kl = exact.gaussian_kl(law, goal(target, is_tempered, FINE[i]))
        now = [
            abs(float(state.mean()[0] - law.mean[0])) / math.sqrt(variance),
            abs(float(state.covariance()[0, 0]) / variance - 1),
            abs(float(truth["kl"][k]) - kl) / float(truth["error_kl"][k]),
        ]
        off = np.maximum(off, now)
    values = np.array([described(law, target) for law in laws])
    return xr.Dataset({"law": (("t", "of"), values), "off": ("of", off), "error_l1": float(truth["error_l1"].max())})


def sampler(name) -> wfr.Flow:
    """A sampler by its name."""
    return {"ULA": samplers.Langevin(), "tempering SMC": samplers.Tempering(START), "SMC-WFR": samplers.SMCWFR()}[name]


def limits(target, name, step) -> list[wfr.Gaussian]:
    """Laws of a sampler for infinitely many particles at its times."""
    (b,), ((s2,),) = target.mean, target.covariance
    if name == "tempering SMC":
        return exact.gaussian_flow(target, START, TIMES, 0.0, 1.0)
    law, laws = START, [START]
    for _ in range(round(TIMES[-1] / step)):
        m, v = float(law.mean[0]), float(law.covariance[0, 0])
        law = wfr.Gaussian(m + step * (b - m) / s2, (1 - step / s2) ** 2 * v + 2 * step)
        if name == "SMC-WFR":
            law = exact.gaussian_flow(target, law, step, 0.0, 1.0)
        laws.append(law)
    return [laws[round(t / step)] for t in TIMES]


def sampled(target, name, step, seeds) -> xr.Dataset:
    """Mean and variance over time of every seed, and their limits."""

    def record(particles, energy):
        return np.array([particles.mean()[0], particles.covariance()[0, 0]])

    runs = [
        wfr.solve(
            target, sampler(name), START.sample(N, rng=seed), TIMES, step, rng=seed, record={"value": record},
            keep="last", progress=False,
        )
        for seed in range(seeds)
    ]  # fmt: skip
    limit = [described(law, target) for law in limits(target, name, step)]
    values = np.array([run["value"].values for run in runs])
    return xr.Dataset({"value": (("seed", "time", "of_sampler"), values), "limit": (("time", "of"), limit)})


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "time": ("t", "1/β"),
    "law": ("mean, variance and KL of the flow", "1"),
    "off": ("distance of the certified solution", "1"),
    "error_l1": ("bound of the L1 error", "1"),
    "value": ("mean and variance of the particles", "1"),
    "limit": ("mean, variance and KL of infinitely many particles", "1"),
}


def run(targets=tuple(TARGETS), seeds=20, rtol=1e-6):
    if "N(1, 5)" not in targets:
        raise ValueError(f"targets must hold N(1, 5), which a claim is about, got {'; '.join(targets)}")
    if unknown := set(targets) - set(TARGETS):
        raise ValueError(f"targets must be some of {'; '.join(TARGETS)}, got {'; '.join(sorted(unknown))}")
    rows = []
    for name in targets:
        target = TARGETS[name]
        flows, crowds = [], []
        for flow in FLOWS:
            for is_tempered in (False, True):
                flows.append(stored(followed, target, flow, is_tempered, rtol))
        for method in METHODS:
            for step in STEPS:
                crowds.append(stored(sampled, target, method, step, seeds))
        over = [(flow, tempering) for flow in FLOWS for tempering in (0, 1)]
        flows = stacked(flows, {"flow": list(FLOWS), "tempered": [0, 1]}, over)
        over = [(method, step) for method in METHODS for step in STEPS]
        rows.append(flows.merge(stacked(crowds, {"method": list(METHODS), "step": list(STEPS)}, over)))
    ds = xr.concat(rows, xr.DataArray(list(targets), dims="target", name="target"))
    ds = ds.assign_coords(t=FINE, time=TIMES, of=["mean", "variance", "KL"], of_sampler=["mean", "variance"])
    for name, value in claimed(ds, targets).items():
        ds[name] = (), value, {"units": "1"}
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    ds.attrs = {}
    return ds


def stacked(parts, axes, over) -> xr.Dataset:
    """Datasets along two axes."""
    (first, rows), (second, columns) = axes.items()
    lines = [
        xr.concat([parts[over.index((row, column))] for column in columns], xr.Variable(second, columns))
        for row in rows
    ]
    return xr.concat(lines, xr.Variable(first, rows))


def claimed(ds, targets) -> dict[str, float]:
    """The numbers that are claimed."""
    off = ds["off"].max(["target", "flow", "tempered"])
    found = {f"{name.lower()}_off": float(off.sel(of=name)) for name in ds["of"].values}
    kl = ds["law"].sel(of="KL", drop=True).isel(t=slice(1, None))
    plain = kl.sel(tempered=0, drop=True)
    known = plain.sel(flow="WFR", drop=True) > BEGIN
    best = kl.min(["flow", "tempered"])
    found["wfr_first"] = float((plain.sel(flow="WFR", drop=True) <= best).where(known).mean())
    found["tempered_later"] = float((kl.sel(tempered=1) > plain).where(plain > BEGIN).mean())
    n = ds.sizes["seed"]
    apart = ds["value"].mean("seed") - ds["limit"].isel(of=slice(2)).rename(of="of_sampler")
    error = ds["value"].std("seed", ddof=1) / math.sqrt(n)
    z = abs(apart / error).isel(time=slice(1, None))
    bound = student.isf(0.005 / (z.size / len(METHODS) * 2), n - 1)
    found["ula_off"] = float(z.sel({"method": "ULA"}).max() / bound)
    for name in targets:
        key = "wide" if name == "N(1, 5)" else "narrow"
        found[f"tempering_off_{key}"] = float(z.sel({"method": "tempering SMC", "target": name}).max() / bound)
        found[f"smc_off_{key}"] = float(z.sel({"method": "SMC-WFR", "target": name}).max() / bound)
    last = ds["limit"].isel(time=-1).sel(of="variance")
    mean = ds["value"].isel(time=-1).sel(of_sampler="variance").mean("seed")
    for name in targets:
        variance = float(TARGETS[name].covariance[0, 0])
        key = "wide" if name == "N(1, 5)" else "narrow"
        for method, word in (("ULA", "ula"), ("SMC-WFR", "smc")):
            for step in STEPS:
                where = dict(target=name, method=method, step=step)
                found[f"{key}_{word}_{step:g}_limit"] = float(last.sel(where)) / variance
                found[f"{key}_{word}_{step:g}_found"] = float(mean.sel(where)) / variance
        for flow in FLOWS:
            for tempering, word in enumerate(("", "_tempered")):
                one = ds["law"].sel(target=name, flow=flow, tempered=tempering, of="KL").values
                found[f"{key}_{flow.lower()}{word}_time"] = float(
                    np.interp(-math.log(0.01), -np.log(one + 1e-300), FINE)
                )
    return found


LOOKS = {  # colour, line, marker
    "W": (plotting.VERMILION, "--", "s"),
    "FR": (plotting.GREEN, "-.", "^"),
    "WFR": (plotting.BLUE, "-", "o"),
}


def draw(ax, one, of):
    for tempering in (0, 1):
        for flow, (colour, dashes, _) in LOOKS.items():
            law = one["law"].sel(flow=flow, tempered=tempering, of=of)
            name = f"{flow}, tempered" if tempering else flow
            ax.plot(one["t"], law, color=colour, linestyle=":" if tempering else dashes, linewidth=1.2, label=name)
    for step in STEPS if of != "KL" else ():  # of particles there is none
        for method, flow in METHODS.items():
            colour, _, marker = LOOKS[flow]
            face = "white" if step == STEPS[0] else colour
            value = one["value"].sel({"method": method, "step": step, "of_sampler": of})
            ax.errorbar(
                one["time"], value.mean("seed"), value.std("seed"), color=colour, marker=marker, linestyle="none",
                markerfacecolor=face, markersize=3.6, linewidth=0.7, label=f"{method}, γ = {step:g}",
            )  # fmt: skip
    ax.set(xscale="log", xlim=(0.015, 10), xlabel=plotting.label(one["t"]))
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    if of == "KL":
        ax.set(yscale="log", ylim=(1e-5, None), ylabel="KL(μ|π) (nats)")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 0.8 + 2.1 * ds.sizes["target"])
        panels = fig.subplots(ds.sizes["target"], 3, squeeze=False)
        for row, name in zip(panels, ds["target"].values, strict=True):
            one = ds.sel(target=name)
            for ax, of in zip(row, ("mean", "variance", "KL"), strict=True):
                draw(ax, one, of)
                ax.set_title(f"{of[0].upper()}{of[1:]}, N(0, 1) → {name}")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig
