"""Closed-form flows from a Gaussian to a Gaussian, as Datasets and at single times."""

import json

import numpy as np
import xarray as xr

import wfr_pde as wfr

TARGET = wfr.Gaussian(0.5, 1.0)
START = wfr.Gaussian(-2.0, 0.16)


def frames(target, start, times, rates=(1.0, 1.0), grid=None, error=None):
    """The Dataset of a closed-form flow, exact but for rounding."""
    grid = grid or wfr.Grid.covering(target, start, shape=200)
    states = wfr.exact.gaussian_flow(target, start, np.asarray(times), *rates)
    densities = [wfr.Density(grid, grid.log_density(state, checked=False)) for state in states]
    coordinates = densities[0].coordinates()
    variables = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    variables["log_density"] = (("t", *grid.names), np.stack([density.log_values for density in densities]))
    if error is not None:
        variables["error_l1"] = (("t",), error)
    attrs = {"grid": json.dumps(grid.description()), "transport_rate": rates[0], "reaction_rate": rates[1]}
    return xr.Dataset(variables, coords=coordinates | {"t": np.asarray(times)}, attrs=attrs)


def exact(t, target=TARGET, start=START, rates=(1.0, 1.0)):
    return wfr.exact.gaussian_flow(target, start, float(t), *rates)


def closed_form(times, rates=(1.0, 1.0), start=None, known=None):
    """Frames of N(-2, .1) to N(0, 1) with an error of `log_density_error` stated, and the density at a time."""
    target, start = wfr.Gaussian(0.0, 1.0), start or wfr.Gaussian(-2.0, 0.1)
    ds = frames(target, start, times, rates, grid=wfr.Grid.covering(target, start, shape=300, tail=1e-30))
    if known is not None:
        ds["log_density_error"] = (("t", "x"), np.broadcast_to(known, ds.log_density.shape))
    return ds, target, lambda t: exact(t, target, start, rates)
