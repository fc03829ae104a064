"""Double wells with barriers from 2 to 12 nats: W slows down with the barrier, the rate of WFR stays above 2 beta.

Method: the targets are `CoshDoubleWell(gap)`, whose spectral gap lambda_1 = gap is known exactly. The start is a
Gaussian in the left well, with the variance 1/V'' of the well. alpha = beta = 1, time is in units of 1/beta, V and KL
are in nats. The flows are solved by `SinkhornKernel` of order 8, and again by `FiniteVolume` (exact in time along one
axis, order 4 in dx). The latter follows the W flow to five times 1/lambda_1, up to a million units of time. E_mu
tanh(kx) gives lambda_1 of the W flow at any time, by either scheme, as tanh(kx) is the eigenfunction.

Findings: KL(mu|pi) falls in the end like exp(-r t) with

- W: r = 2 alpha lambda_1, which falls with the barrier like exp(-barrier);
- FR: r = 2 beta;
- WFR: r = 2 (alpha lambda_1 + beta) >= 2 beta, for any barrier.

What grows with the barrier is the time until then. The reaction first has to raise the density in the far well, where
the start has exp(-L) of what it should have; under FR alone this becomes exp(-L e^{-beta t}), which takes about
log(L)/beta. With transport it takes less.

Figure: (a), (b) the density over time under W and WFR. (c) Mass of the right well, (d) KL of FR and WFR, (e) KL of W
in units of 1/lambda_1, in which all barriers give one curve; pale for the lowest barrier and dark for the highest. (f)
Rates against the barrier; the lines are the expected ones.
"""

import numpy as np
import xarray as xr
from scipy.optimize import brentq

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics, plotting

QUICK = dict(barriers=(2.0, 7.0, 12.0), n=384)
CHECKS = {
    # measured over expected rate of KL, at the barrier where they differ most
    "rate_w": (1.0, 5e-4),  # KL has a term e^(-4 lambda_1 t) too
    "rate_fr": (1.0, 1e-4),  # and one e^(-3 beta t), large where the far well starts at e^-400
    "rate_wfr": (1.0, 1e-4),
    "slowest_wfr": (2.0, 1e-3),  # over all barriers; 2 beta, and lambda_1 = 5e-6 at 12 nats adds little
    "worst_gap_sinkhorn": (1.0, 1e-3),  # from E_mu tanh(kx), over lambda_1
    "worst_gap_volumes": (1.0, 1e-3),
    "largest_disagreement_w": (0.0, 1e-4),  # L1 of the two schemes, the largest over time and barriers
    "largest_disagreement_wfr": (0.0, 1e-4),
}

FLOWS = ("W", "FR", "WFR")
RATES = {"W": (1, 0), "FR": (0, 1), "WFR": (1, 1)}  # of transport and reaction
TRANSIENT = 3.0  # time after which the W flow is at rest inside the first well
LATE = (3.0, 5.0)  # in units of 1/lambda_1: where the rate of KL of the W flow is measured
WINDOW = 2.0  # before the end: where those of FR and WFR are


def with_barrier(barrier):
    """The double well of a barrier r - 1 - log r, r = gap / 2."""
    ratio = brentq(lambda log_r: np.exp(log_r) - 1 - log_r - barrier, -barrier - 2, -1e-9)
    return wfr.CoshDoubleWell(2 * float(np.exp(ratio)))


def schemes(transport):
    """W, FR and WFR with a transport, extrapolated in dt."""
    reaction = wfr.FisherRao()
    return {
        "W": wfr.Extrapolated(transport, 8) if isinstance(transport, wfr.SinkhornKernel) else transport,
        "FR": reaction,
        "WFR": wfr.Extrapolated(wfr.Strang(reaction, transport), 8),
    }


def rate(curve, since, until):
    """Exponential rate at which a curve falls between two times."""
    first, last = (curve.sel(t=t, method="nearest") for t in (since, until))
    return float(np.log(first / last) / (last.t - first.t))


def largest_distance(ds, other):
    """The largest L1 distance of two runs at the same times."""
    pairs = [[wfr.Density.from_dataset(run, k) for run in (ds, other)] for k in range(ds.sizes["t"])]
    return max(metrics.l1(*pair) for pair in pairs)


def late_times(t_end, gap):
    """From the end of the short runs to where the W flow has converged, by a constant factor."""
    times = [*np.geomspace(t_end, max(LATE[1] / gap, 2 * t_end), 40), LATE[0] / gap]
    return np.unique([t for t in times if t >= t_end])


def solved(target, n, t, dt) -> tuple[dict, dict, xr.Dataset]:
    """The flows by heat kernels; W and WFR by finite volumes; and W from the end of those on."""
    start = wfr.Gaussian(target.wells[0], 1 / (4 * target.k**2 - 2 * target.gap))
    # with a tail of 1e-12 pi spans 1200 nats in the box, and every product takes sixty times as long
    rho0 = wfr.Grid.covering(target, start, shape=n, tail=1e-8).density(start)

    @diagnostics.described("mean of tanh(kx)")
    def eigenfunction(state, energy):
        return state.expectation(lambda points: np.tanh(target.k * points[..., 0]))

    record = {"kl": wfr.KL(target), "mass": diagnostics.mode_masses(target.wells), "eigenfunction": eigenfunction}
    kernels = {
        name: wfr.solve(target, flow, rho0, t, dt, record=record)
        for name, flow in schemes(wfr.SinkhornKernel()).items()
    }
    volumes = {
        name: wfr.solve(target, wfr.Extrapolated(flow, 4, "dx"), rho0, t, dt, record=record)
        for name, flow in schemes(wfr.FiniteVolume()).items()
        if name != "FR"
    }
    at_end = wfr.Density.from_dataset(volumes["W"])
    late = late_times(float(t[-1]), target.gap)
    slow = wfr.Extrapolated(wfr.FiniteVolume(), 4, "dx")  # exact in time: one step from save time to save time
    return kernels, volumes, wfr.solve(target, slow, at_end, late, late[-1], record=record)


def analysed(barrier, n, t, dt) -> xr.Dataset:
    """One barrier: curves over (flow, t), the long W run over its own time, rates over the flow, and comparisons."""
    target = with_barrier(barrier)
    kernels, volumes, slow = solved(target, n, t, dt)
    gap, end = target.gap, float(t[-1])
    ds = xr.concat(
        [kernels[name][["kl", "mass"]] for name in FLOWS], xr.DataArray(list(FLOWS), dims="flow", name="flow")
    )
    ds = xr.Dataset({"kl": ds["kl"], "far_mass": ds["mass"].isel(mode=1, drop=True)})
    measured = [rate(slow["kl"], LATE[0] / gap, LATE[1] / gap)]
    measured += [rate(kernels[name]["kl"], end - WINDOW, end) for name in FLOWS[1:]]
    expected = [2 * (alpha * gap + beta) for alpha, beta in RATES.values()]
    ds["rate"], ds["expected_rate"] = ("flow", measured), ("flow", expected)
    ds["late_t"], ds["late_kl"] = ("late", slow["t"].values), ("late", slow["kl"].values)
    ds["late_far_mass"] = "late", slow["mass"].values[:, 1]
    for name, runs in {"sinkhorn": kernels, "volumes": volumes}.items():
        ds[f"gap_{name}"] = (), rate(abs(runs["W"]["eigenfunction"]), TRANSIENT, end) / gap
    for name in volumes:
        ds[f"disagreement_{name.lower()}"] = (), largest_distance(kernels[name], volumes[name])
    ds["gap"], ds["far_well"] = ((), gap), ((), target.wells[1])
    return ds


ATTRIBUTES = {
    "kl": ("KL(mu|pi)", "nats"),
    "far_mass": ("mass of the other well", "1"),
    "rate": ("measured rate of KL", "β"),
    "expected_rate": ("2 (α λ₁ + β)", "β"),
    "late_t": ("t", "1/β"),
    "late_kl": ("KL(mu|pi) of the W flow", "nats"),
    "late_far_mass": ("mass of the other well in the W flow", "1"),
    "gap_sinkhorn": ("decay rate of E tanh(kx) over λ₁, SinkhornKernel", "1"),
    "gap_volumes": ("decay rate of E tanh(kx) over λ₁, FiniteVolume", "1"),
    "disagreement_w": ("L1 distance of the two schemes, W", "1"),
    "disagreement_wfr": ("L1 distance of the two schemes, WFR", "1"),
    "gap": ("spectral gap λ₁", "1/length²"),
    "far_well": ("place of the other well", "length"),
    "barrier": ("barrier", "nats"),
    "t": ("t", "1/β"),
}


def farthest(values, level=1.0):
    """The entry that is farthest from a level."""
    values = np.ravel(values)
    return float(values[np.argmax(abs(values - level))])


def run(barriers=(2.0, 4.0, 6.0, 8.0, 10.0, 12.0), n=512, dt=0.05, t_end=14.0, drawn=7.0) -> xr.Dataset:
    if not barriers or min(barriers) < 1:
        raise ValueError(f"barriers must be at least 1 nat, got {barriers}")
    if not 0 < dt <= 0.2 or t_end < 2 * WINDOW + TRANSIENT:
        raise ValueError(f"needs 0 < dt <= 0.2 and t_end >= {2 * WINDOW + TRANSIENT}, got dt={dt}, t_end={t_end}")
    if with_barrier(min(barriers)).gap * t_end >= LATE[0]:
        raise ValueError(
            f"t_end={t_end} is too long for a barrier of {min(barriers)}: the W flow has converged by then"
        )
    t = np.linspace(0, t_end, round(5 * t_end) + 1)
    each = [analysed(barrier, n, t, dt) for barrier in barriers]
    ds = xr.concat(each, xr.DataArray(list(barriers), dims="barrier", name="barrier"), data_vars="all")
    frames = solved(with_barrier(drawn), n, t, dt)[0]
    ds["log_density"] = xr.concat([frames[name]["log_density"] for name in FLOWS], ds["flow"])
    ds["x"].attrs = {"long_name": "x", "units": "length"}
    ratio = ds["rate"] / ds["expected_rate"]
    scalars = {f"rate_{name.lower()}": farthest(ratio.sel(flow=name)) for name in FLOWS}
    scalars["slowest_wfr"] = float(ds["rate"].sel(flow="WFR").min())
    for name in ("gap_sinkhorn", "gap_volumes"):
        scalars[f"worst_{name}"] = farthest(ds[name])
    for name in ("disagreement_w", "disagreement_wfr"):
        scalars[f"largest_{name}"] = float(ds[name].max())
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "β" if name == "slowest_wfr" else "1"}
    ds.attrs = {"drawn_barrier": drawn}
    return ds


def figure(ds):
    colours = {"W": plotting.VERMILION, "FR": plotting.GREEN, "WFR": plotting.BLUE}
    dashes = {"W": "--", "FR": "-.", "WFR": "-"}
    markers = {"W": "s", "FR": "^", "WFR": "o"}
    barriers = ds["barrier"].values
    strengths = dict(zip(barriers, np.linspace(0.35, 1.0, len(barriers)), strict=True))

    def draw_curves(ax, name, flows):
        for flow in flows:
            for barrier, alpha in strengths.items():
                curve = ds[name].sel(flow=flow, barrier=barrier)
                ax.plot(ds["t"], curve, color=colours[flow], linestyle=dashes[flow], linewidth=1.1, alpha=alpha)
        ax.set(xlabel=plotting.label(ds["t"]), ylabel=plotting.label(ds[name]), xlim=(0, float(ds["t"][-1])))

    def draw_slope(ax, flow, barrier, factor):
        one, end = ds.sel(flow=flow, barrier=barrier), float(ds["t"][-1])
        t = np.array([5.0, end])
        ax.plot(t, factor * float(one["kl"][-1]) * np.exp(float(one["expected_rate"]) * (end - t)), "k:", linewidth=1)

    def draw_w(ax):
        for barrier, alpha in strengths.items():
            one = ds.sel(barrier=barrier)
            t = np.append(ds["t"], one["late_t"]) * float(one["gap"])
            kl = np.append(one["kl"].sel(flow="W"), one["late_kl"])
            ax.plot(t, kl, color=colours["W"], linestyle="--", linewidth=1.1, alpha=alpha)
        t = np.array([1.5, 5.0])
        ax.plot(t, 0.3 * np.exp(-2 * t), "k:", linewidth=1)
        ax.text(2.6, 5e-4, "exp(−2 λ₁ t)", ha="right", va="top")
        ax.set(xlabel="t (1/λ₁)", ylabel=plotting.label(ds["kl"]), yscale="log", xlim=(0, 5), ylim=(1e-5, 2))
        ax.set_title("W: all on one curve in λ₁ t", color=colours["W"])

    def draw_rates(ax):
        for flow in FLOWS[::-1]:
            one = ds.sel(flow=flow)
            ax.semilogy(barriers, one["expected_rate"], "-", color="0.6", linewidth=0.8, zorder=1)
            face = "none" if flow == "FR" else None
            look = dict(color=colours[flow], markerfacecolor=face, markersize=7 if flow == "FR" else 4)
            ax.plot(barriers, one["rate"], linestyle="none", marker=markers[flow], label=flow, **look)
        ax.set(xlabel=plotting.label(ds["barrier"]), ylabel="rate of KL (β)", ylim=(3e-6, 10))
        ax.legend(loc="lower left")
        ax.set_title("Rates; lines: expected")

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.6)
        first, second, third, fourth, fifth, sixth = fig.subplots(2, 3).ravel()
        for ax, flow in ((first, "W"), (second, "WFR")):
            plotting.density_image(ds["log_density"].sel(flow=flow, t=slice(0, 8)), ax=ax)
            image = ax.collections[0]
            image.colorbar.remove()
            image.set_clim(0, float(np.exp(ds["log_density"].max())))
            ax.set_title(f"{flow}, barrier {ds.attrs['drawn_barrier']:g} nats", color=colours[flow])
            ax.set(ylabel="x", xlim=(0, 8))
        draw_curves(third, "far_mass", FLOWS)
        third.set(ylim=(0, 0.52))
        third.set_title("W hardly crosses")
        words = f"pale: {barriers[0]:g} nats\ndark: {barriers[-1]:g} nats"
        third.text(13.7, 0.2, words, ha="right", va="top", fontsize=7)
        for flow, (x, y) in {"WFR": (1.3, 0.465), "FR": (8.6, 0.42), "W": (11.5, 0.27)}.items():
            third.text(x, y, flow, color=colours[flow], weight="bold", ha="center")
        draw_curves(fourth, "kl", ("FR", "WFR"))
        draw_slope(fourth, "WFR", barriers[0], 0.3)
        draw_slope(fourth, "FR", barriers[-1], 4.0)
        fourth.set(yscale="log", ylim=(1e-11, 3))
        fourth.set_title("FR and WFR: 2β and more")
        fourth.text(8.4, 6e-2, "exp(−2 β t)", fontsize=7)
        fourth.text(0.3, 3e-10, "exp(−2 (λ₁ + β) t)", fontsize=7)
        for flow, (x, y) in {"WFR": (3.6, 1e-5), "FR": (12.2, 1e-4)}.items():
            fourth.text(x, y, flow, color=colours[flow], weight="bold", ha="center")
        draw_w(fifth)
        draw_rates(sixth)
    return fig
