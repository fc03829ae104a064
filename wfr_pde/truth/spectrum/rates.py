"""Rates at which a flow comes to equilibrium: from the spectrum, and of a record of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.flows.base import checked_rate

if TYPE_CHECKING:
    import xarray as xr


def long_time_rate(ds: xr.Dataset, transport_rate: float = 1.0, reaction_rate: float = 1.0) -> float:
    """Return the rate 2 (alpha lambda_1 + beta) at which KL(mu|pi) falls in the end.

    Near equilibrium f = mu/pi - 1 obeys df/dt = alpha L f - beta f, and KL is ½ ∫ f² pi. A start without a part in
    mode 1 falls faster; without transport (alpha = 0) the rate is 2 beta.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `spectrum`.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.

    Returns
    -------
    float

    Examples
    --------
    The gap of N(0, 1) is 1, so that KL falls as exp(-4 t) with both rates one, and as exp(-2 t) by transport alone:

    >>> import wfr_pde as wfr
    >>> from wfr_pde.truth.spectrum.rates import long_time_rate
    >>> modes = wfr.spectrum(wfr.Gaussian(0.0, 1.0), wfr.Grid(-8.0, 8.0, 128), 2)
    >>> round(long_time_rate(modes), 4), round(long_time_rate(modes, reaction_rate=0.0), 4)
    (4.0, 2.0)
    """
    alpha, beta = checked_rate(transport_rate, "the transport"), checked_rate(reaction_rate, "the reaction")
    return 2 * (alpha * float(ds["eigenvalue"][1]) + beta)


def decay_rate(ds: xr.Dataset, name: str = "kl", since: float | None = None) -> float:
    """Fit the rate r at which a record falls like e^(-r t), by least squares of its logarithm from `since` on.

    It is the rate of the end only where faster modes have died out by `since`, and the record is still above its
    rounding (for KL about 1e-30, as it is summed from terms that do not cancel): look at the curve.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `solve`, with a record.
    name : str
        Of the record, a number at each time.
    since : float, optional
        By default the middle of the run.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no such record, it is not positive from `since` on, or fewer than two times are left.

    Examples
    --------
    Along the Fisher-Rao flow from N(1, 1) to N(0, 1), KL is exp(-2 t)/2:

    >>> import wfr_pde as wfr
    >>> from wfr_pde.truth.spectrum.rates import decay_rate
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> run = wfr.solve(target, wfr.FisherRao(), start, [0.0, 1.0, 2.0, 3.0], 1.0, record=[wfr.diagnostics.kl])
    >>> round(decay_rate(run), 4)
    2.0
    """
    records = [str(key) for key, variable in ds.data_vars.items() if variable.dims == ("t",)]
    if name not in records:
        raise ValueError(f"the Dataset has no record {name!r} of a number at each time; it has {records or 'none'}")
    t, values = ds["t"].values, ds[name].values
    begin = (t[0] + t[-1]) / 2 if since is None else float(since)
    late = t >= begin
    if late.sum() < 2:
        raise ValueError(f"a rate needs two times from since={begin:g} on, but the run has {late.sum()}: it ends at "
                         f"t={t[-1]:g}; give an earlier `since`, or more save times")  # fmt: skip
    if not (values[late] > 0).all():
        bad = np.flatnonzero(late & ~(values > 0))[0]
        raise ValueError(f"{name} is {values[bad]} at t={t[bad]:g}, so that it has no logarithm: use an earlier part")
    centred = t[late] - t[late].mean()
    return -float(centred @ np.log(values[late]) / (centred @ centred))
