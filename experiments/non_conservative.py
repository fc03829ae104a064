"""A learned score that is no gradient: does the curl of its error do harm?

Claim: an error e of the score does no harm if div(p_t e) = 0 at every t, whether it has a curl or not; what harm it
does follows div(p e), not the curl.

Method: data with two anisotropic modes in two dimensions, Ornstein-Uhlenbeck noise up to noise time 2.5, start p_T
itself. Errors: the rotated score J grad log p_t, the rotation J x, a shear (y, 0), the gradients x and s; each is
scaled such that the integral of E_p |e|^2 over noise time is 0.05. The density that the reverse SDE and the probability
flow (ODE) generate, in steps of order 4 on the clock of the path; KL(p_0|mu_0) in nats.

Findings:

- J grad log p_t has a curl and div(p e) = 0: KL is 0 to the accuracy of the grid.
- Of the same size, the rotation J x costs the SDE 3e-3 nats, gradients 1.3e-2; the ODE is hurt more by all.
- The order of the errors by harm to the SDE is that by the integral of E (div(p e)/p)^2.

Figure: KL over the integral of E (div(p e)/p)^2, a mark for every error.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting

QUICK = dict(errors=("rotated score", "rotation"), cells=64, steps=8)
CHECKS = {
    "harmless": (0.0, 1e-4),  # KL of both flows with the rotated score, over that with the rotation
    "ordered": (1.0, 0.0),  # share of neighbours, by div(p e), whose SDE's KL has the same order
    "ode_is_worse": (1.0, 0.0),  # share of the harmful errors
}

SIZE, T = 0.05, 2.5
SCHEDULE = wfr.OU(t_end=T)
DATA = wfr.GaussianMixture(
    [[-1.0, -0.4], [1.0, 0.5]], [0.4, 0.6], [[[0.35, 0.1], [0.1, 0.2]], [[0.2, -0.08], [-0.08, 0.3]]]
)
PATH = wfr.Noised(DATA, SCHEDULE)
BACK = PATH.reversed()


def turned(vectors) -> np.ndarray:
    """J v: a quarter of a turn."""
    return np.stack([vectors[..., 1], -vectors[..., 0]], axis=-1)


ERRORS = {
    "rotated score": lambda points, t: turned(PATH.at(t).score(points)),
    "rotation": lambda points, t: turned(points),
    "shear": lambda points, t: np.stack([points[..., 1], 0 * points[..., 0]], axis=-1),
    "gradient x": lambda points, t: np.asarray(points),
    "gradient s": lambda points, t: PATH.at(t).score(points),
}
STEP = 1e-3  # of the differences that the divergence is computed by


def over_noise_time(grid, function) -> float:
    """The integral of E_p f(points, t) over noise time, by Gauss's rule on the clock of the path."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    points, total = grid.points(), 0.0
    for s, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        density = np.exp(grid.log_density(BACK.at(s)))
        total += weight * BACK.noise_rate(s) * float(grid.integrate(density * function(points, BACK.schedule_time(s))))
    return total


def scaled(grid, name):
    """An error of the size that all have."""
    size = over_noise_time(grid, lambda points, t: np.sum(ERRORS[name](points, t) ** 2, axis=-1))
    factor = np.sqrt(SIZE / size)
    return lambda points, t: factor * ERRORS[name](points, t)


def divergence(grid, error) -> float:
    """The integral of E (div(p e)/p)^2 = E (div e + e·s)^2 over noise time."""

    def square(points, t):
        moves = STEP * np.eye(2)
        parts = [(error(points + m, t) - error(points - m, t))[..., k] / (2 * STEP) for k, m in enumerate(moves)]
        return (sum(parts) + np.sum(error(points, t) * PATH.at(t).score(points), axis=-1)) ** 2

    return over_noise_time(grid, square)


def kl(grid, error, flow_of, steps) -> float:
    """KL(p_0|mu_0) of a flow with that error of the score."""
    flow = wfr.Extrapolated(flow_of(BACK, lambda points, t: PATH.at(t).score(points) + error(points, t)), 4)
    result = wfr.solve(None, flow, grid.density(BACK.at(0.0)), [0, 1], 1 / steps, keep="last")
    density, data = wfr.Density.from_dataset(result), grid.density(DATA)
    return float(grid.integrate(data.values * (data.log_values - density.log_values)))


def run(errors=tuple(ERRORS), cells=80, steps=16) -> xr.Dataset:
    """KL of the SDE and the ODE for every error, and the size of div(p e)."""
    grid = wfr.Grid([-6.0, -6.0], [6.0, 6.0], cells)
    scaled_errors = [scaled(grid, name) for name in errors]
    flows = {"SDE": wfr.ReverseSDE, "ODE": wfr.ProbabilityFlow}
    values = np.array([[kl(grid, error, flow, steps) for flow in flows.values()] for error in scaled_errors])
    sizes = np.array([divergence(grid, error) for error in scaled_errors])
    order = np.argsort(sizes)
    harmful = [name != "rotated score" for name in errors]
    largest = np.abs(values[list(errors).index("rotated score")]).max()
    return xr.Dataset(
        {
            "kl": (("error", "flow"), values, {"long_name": "KL(p₀|μ₀)", "units": "nats"}),
            "divergence": (("error",), sizes, {"long_name": "integral of E (div(p e)/p)²", "units": "1"}),
            "harmless": float(largest / values[list(errors).index("rotation")].min()),
            "ordered": float(np.mean(np.diff(values[order, 0]) > 0)),
            "ode_is_worse": float(np.mean(values[harmful, 1] > values[harmful, 0])),
        },
        {"error": list(errors), "flow": list(flows)},
    )


def figure(ds):
    shown = ds["kl"].where(ds["error"] != "rotated score", drop=True)
    sizes = ds["divergence"].sel(error=shown["error"])
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH / 1.6, 3.2)
        ax = fig.subplots()
        for flow, colour, marker in (("SDE", plotting.BLUE, "o"), ("ODE", plotting.VERMILION, "s")):
            ax.loglog(sizes, shown.sel(flow=flow), linestyle="", marker=marker, color=colour, label=flow)
        for k, name in enumerate(shown["error"].values):
            at = float(sizes.sel(error=name)), float(shown.sel(error=name, flow="SDE"))
            ax.annotate(str(name), at, (0, -12 - 12 * (k % 2)), textcoords="offset points", ha="center", va="top")
        none = float(np.abs(ds["kl"].sel(error="rotated score")).max())
        ax.set_title(f"rotated score, with div(p e) = 0: KL below {none:.0e}")
        ax.set(xlabel=plotting.label(ds["divergence"]), ylabel=plotting.label(ds["kl"]))
        ax.margins(0.25)
        ax.legend(loc="upper left")
    return fig
