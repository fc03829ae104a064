"""Trees of runs in any dimension, put together factor by factor, for tests of what reads them."""

import json

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde.integrate.gaussian_trajectory import divergence


def gaussian_node(target, start, times, rates=(1.0, 1.0)):
    """The node of a Gaussian factor: moments, and the KL."""
    laws = wfr.exact.gaussian_flow(target, start, np.asarray(times), *rates)
    kl = [divergence(law, target) for law in laws]
    zero = np.full(len(times), 1e-14)
    return xr.Dataset(
        {
            "mean": (("t", "i"), np.array([law.mean for law in laws])),
            "covariance": (("t", "i", "j"), np.array([law.covariance for law in laws])),
            "kl": ("t", kl),
            "error_kl": ("t", zero),
            "error_l1": ("t", zero),
        },
        {"t": np.asarray(times, dtype=float)},
        {"energy": f"KL(target={target!r})", "start": repr(start)},
    )


def tree_of(nodes, factors, times, rotation=None, shift=None, rates=(1.0, 1.0)):
    """The tree of nodes {name: Dataset} and entries (node, kind, dimension)."""
    tree = xr.DataTree.from_dict(nodes)
    errors = np.array([nodes[name]["error_l1"].values for name, _, _ in factors])
    root = {
        "error_l1": ("t", 2 * (1 - np.prod(1 - errors / 2, axis=0))),
        "kl": ("t", sum(nodes[name]["kl"].values for name, _, _ in factors)),
    }
    if rotation is not None:
        root["rotation"] = (("axis_x", "axis_y"), rotation)
    if shift is not None:
        root["shift"] = ("axis_x", np.asarray(shift, dtype=float))
    tree.dataset = xr.Dataset(root, {"t": np.asarray(times, dtype=float)})
    entries = [{"node": name, "kind": kind, "ndim": ndim} for name, kind, ndim in factors]
    tree.attrs |= {"factors": json.dumps(entries), "transport_rate": rates[0], "reaction_rate": rates[1]}
    return tree


def line_and_gaussian(m=3, times=(0.0, 0.05, 0.1, 0.2), rotation=None, shift=None, rtol=1e-5):
    """Two equal double wells on a line and a correlated Gaussian in m dimensions: tree, target and start."""
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(m, m)) / np.sqrt(m)
    well, begin = wfr.DoubleWell(2.0), wfr.Gaussian(0.3, 0.5)
    rest, first = wfr.Gaussian(np.zeros(m), np.eye(m) + mix @ mix.T), wfr.Gaussian(np.ones(m), 0.5)
    nodes = {
        "factor_0": wfr.ground_truth(well, begin, times, rtol=rtol),
        "factor_1": gaussian_node(rest, first, times),
    }
    factors = [("factor_0", "grid", 1), ("factor_0", "grid", 1), ("factor_1", "gaussian", m)]
    tree = tree_of(nodes, factors, times, rotation, shift)
    frame = rotation, shift
    return tree, wfr.Product([well, well, rest], *frame), wfr.Product([begin, begin, first], *frame)


def small_tree(times=(0.0, 0.1, 0.2)):
    """A Gaussian in the plane beside a radial law in R^3, by closed forms, with cells of moderate size."""
    r_grid = wfr.Grid(0.0, 9.0, 120, names="x")
    flows = [wfr.exact.gaussian_flow(wfr.Gaussian(0, 1), wfr.Gaussian(0, 0.5), t) for t in times]
    r = r_grid.axes[0].centres
    logs = [2 * np.log(r) - r**2 / (2 * float(law.covariance[0, 0])) for law in flows]
    frames = [wfr.Density(r_grid, values).normalised() for values in logs]
    like = wfr.solve(wfr.Radial("x**2/2", 3).radius, wfr.FisherRao(), frames[0], list(times), 0.1)
    like["log_density"] = ("t", "x"), np.array([frame.log_values for frame in frames])
    radius = like.assign(kl=("t", np.zeros(len(times))), error_l1=("t", np.full(len(times), 1e-6)))
    plane = gaussian_node(wfr.Gaussian([0, 0], 1), wfr.Gaussian([0.5, 0], 0.5), times)
    nodes = {"factor_0": plane, "factor_1": radius}
    return tree_of(nodes, [("factor_0", "gaussian", 2), ("factor_1", "radial", 3)], times)
