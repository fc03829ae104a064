"""Two Gaussians further and further apart: the rate of W falls, that of WFR stays above 2.

Target: ½ N(-a, 1) + ½ N(a, 1), start N(-a, 1), alpha = beta = 1. The rate is -d log KL / dt at
the end of the run, from two certified values.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.app.experiments.parts import stored

QUICK = dict(half_distances=(1.0, 2.0), n_times=6, rtol=1e-4)
# name of a scalar of the Dataset: (expected value, tolerance)
CHECKS = {"least_rate_wfr": (2.15, 0.15), "w_falls": (1.0, 0.0)}  # from 2 to 2.3; yes


def solved(half_distance, times, rtol) -> xr.Dataset:
    """KL of the W flow and of the WFR flow over time."""
    target = wfr.GaussianMixture(means=[-half_distance, half_distance], weights=[0.5, 0.5], covariances=1.0)
    start = wfr.Gaussian(-half_distance, 1.0)
    truths = [wfr.ground_truth(target, start, times, reaction_rate=beta, rtol=rtol) for beta in (0.0, 1.0)]
    return xr.Dataset({"kl": (("flow", "t"), [truth.kl.values for truth in truths])})


def run(half_distances=(1.0, 1.5, 2.0, 2.5), t_end=8.0, n_times=33, rtol=1e-6) -> xr.Dataset:
    times = np.linspace(0, t_end, n_times)
    dims = ("flow", "half_distance", "t")
    parts = [stored(solved, a, times, rtol) for a in half_distances]  # a run that is killed goes on after the last
    kl = np.stack([part.kl for part in parts], axis=1)
    rate = -np.diff(np.log(kl[..., -2:]), axis=-1)[..., 0] / (times[-1] - times[-2])
    ds = xr.Dataset(
        {
            "kl": (dims, kl, {"long_name": "KL(mu|pi)", "units": "nats"}),
            "rate": (dims[:2], rate, {"long_name": "rate of KL", "units": "1"}),
            "least_rate_wfr": ((), rate[1].min()),
            "w_falls": ((), float((np.diff(rate[0]) < 0).all())),
        },
        coords={"flow": ["W", "WFR"], "half_distance": list(half_distances), "t": times},
    )
    ds.t.attrs = {"long_name": "time", "units": "1"}
    return ds


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.COLUMN_WIDTH, 2.6)
        ax = fig.subplots()
        for flow, dashes in ("W", "--"), ("WFR", "-"):
            for a, colour in zip(ds.half_distance.values, plotting.COLOURS, strict=False):
                curve, label = ds.kl.sel(flow=flow, half_distance=a), f"{flow}, a = {a:g}"
                ax.semilogy(ds.t, curve, color=colour, linestyle=dashes, label=label)
        ax.set(xlabel=plotting.label(ds.t), ylabel=plotting.label(ds.kl))
        ax.legend(fontsize=6)
    return fig
