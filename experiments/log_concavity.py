"""Log-concavity along the WFR flow: how fast mu_t takes over the curvature of pi, and J_t against exponential bounds.

Method: WFR with alpha = beta = 1 from N(0, 1), to three log-concave targets: V = x²/4 + log(1 + e^x)/2, N(0, 100) and
N(0, 2). The log-concavity constant is alpha_t = min -(log mu_t)'', here over the part of the line that holds all mass
but 1e-4 on each side (the walls of the box bend the density beyond); for Gaussians it is one over the variance, which
is known in closed form. All curves come from `ground_truth`.

Findings: J = KL(mu|pi) + KL(pi|mu) falls at least like e^-t, for every target.

Figure, a column for each target: above, alpha_t, and dotted the value min V'' of the target; below, J_t with e^-t and
exp(-(1 + alpha_pi) t), alpha_pi = min V'': 1/2, 1/100, 1/2.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting

QUICK = dict(points=6)
CHECKS = {
    "largest_error": (0.0, 1e-6),  # certified L1 error
    "alpha_error": (0.0, 1e-4),  # relative, of alpha_t of the Gaussians against the closed form
    "law": (0.5, 0.5),  # largest J_t e^t / J_0 at t > 0: the law says at most 1
    "faster_softplus": (0.5, 0.5),  # the same with e^((1 + alpha_pi) t)
    "faster_wide": (0.5, 0.5),
    "faster_narrow": (0.5, 0.5),
}

START = wfr.Gaussian(0.0, 1.0)
TARGETS = {
    "softplus": (wfr.Potential("x**2/4 + log(1 + exp(x))/2"), 0.5),
    "wide": (wfr.Gaussian(0.0, 100.0), 0.01),
    "narrow": (wfr.Gaussian(0.0, 2.0), 0.5),
}
WORDS = {"softplus": "V = x²/4 + ½ log(1+eˣ)", "wide": "N(0, 100)", "narrow": "N(0, 2)"}
CUT = 1e-4  # mass left aside at each end, where walls bend the density


def curvature(density) -> float:
    """min -(log mu)'' over the middle of the mass, by differences of the score of the spline."""
    axis = density.grid.axes[0]
    below = np.cumsum(density.values * axis.widths)
    x = axis.centres[(below > CUT) & (below < 1 - CUT)]
    h = axis.widths.min() / 2
    score = [density.score((x + sign * h)[:, None])[:, 0] for sign in (1, -1)]
    return float(np.min((score[1] - score[0]) / (2 * h)))


def run(t_end: float = 10.0, points: int = 41, rtol: float = 1e-8) -> xr.Dataset:
    """The three flows.

    Parameters
    ----------
    t_end : float
    points : int
        Number of save times.
    rtol : float
        Tolerance of the L1 error.
    """
    t = np.linspace(0, t_end, points)
    names = list(TARGETS)
    alpha, jeffreys, error = np.empty((3, points)), np.empty((3, points)), np.empty((3, points))
    for k, (target, _) in enumerate(TARGETS.values()):
        truth = wfr.ground_truth(target, START, t, rtol=rtol)
        error[k] = truth.error_l1
        states = [wfr.Density.from_dataset(truth, i) for i in range(points)]
        alpha[k] = [curvature(state) for state in states]
        jeffreys[k] = [wfr.diagnostics.jeffreys(state, wfr.KL(target)) for state in states]
    exact = {
        name: np.array([1 / wfr.exact.gaussian_flow(TARGETS[name][0], START, s, 1, 1).covariance[0, 0] for s in t])
        for name in ("wide", "narrow")
    }
    limits = np.array([alpha_pi for _, alpha_pi in TARGETS.values()])
    decay = jeffreys / jeffreys[:, :1]
    seen = jeffreys > 1e-9 * jeffreys[:, :1]  # below, J is made of the errors
    faster = np.where(seen, decay * np.exp((1 + limits[:, None]) * t), 0.0)[:, 1:].max(axis=1)
    dims = ("target", "t")
    variables = {
        "alpha": (dims, alpha, {"long_name": "log-concavity constant alpha_t", "units": "1 / length²"}),
        "jeffreys": (dims, jeffreys, {"long_name": "J = KL(mu|pi) + KL(pi|mu)", "units": "nats"}),
        "error_l1": (dims, error, {"long_name": "bound of the L1 error", "units": "1"}),
        "alpha_pi": (("target",), limits, {"long_name": "min V''", "units": "1 / length²"}),
        "largest_error": ((), error.max()),
        "alpha_error": ((), max(np.abs(alpha[names.index(name)] / exact[name] - 1).max() for name in exact)),
        "law": ((), np.where(seen, decay * np.exp(t), 0.0)[:, 1:].max()),
        **{f"faster_{name}": ((), value) for name, value in zip(names, faster, strict=True)},
    }
    time = (("t",), t, {"long_name": "time", "units": "1/beta"})
    return xr.Dataset(variables, coords={"target": names, "t": time})


def figure(ds):
    """alpha_t above, J_t with its bounds below, a column per target."""
    with plotting.style():
        fig = plotting.new_figure(width=7.0, height=4.2)
        axes = fig.subplots(2, 3, sharex=True)
        t = ds.t.values
        for k, name in enumerate(ds.target.values):
            one = ds.sel(target=name)
            top, bottom = axes[:, k]
            top.plot(t, one.alpha, color=plotting.BLUE)
            top.axhline(float(one.alpha_pi), color="0.4", linestyle=":", linewidth=1)
            top.annotate("min V″", (0.98, float(one.alpha_pi)), (0, 3), xycoords=("axes fraction", "data"),
                         textcoords="offset points", ha="right", va="bottom", fontsize=7, color="0.3")  # fmt: skip
            top.set_title(WORDS[name])
            start = float(one.jeffreys[0])
            seen = one.jeffreys > 1e-9 * start
            bottom.semilogy(t[seen], one.jeffreys[seen], color=plotting.BLUE, label="WFR")
            bottom.semilogy(t, start * np.exp(-t), color="0.5", linestyle="--", label="exp(−t)")
            rate = 1 + float(one.alpha_pi)
            bottom.semilogy(
                t, start * np.exp(-rate * t), color=plotting.VERMILION, linestyle=":", label=f"exp(−{rate:g} t)"
            )
            bottom.set_ylim(1e-9 * start, 3 * start)
            bottom.legend(fontsize=7)
            bottom.set_xlabel("t (1/β)")
        axes[0, 0].set_ylabel("min −(log μ)″")
        axes[1, 0].set_ylabel("KL(μ|π) + KL(π|μ) (nats)")
    return fig
