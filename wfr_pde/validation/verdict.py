"""The verdict and the report of it in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.metrics.tables import aligned, table_rows
from wfr_pde.numerics.counted import counted
from wfr_pde.validation.max_test import MaxTest

if TYPE_CHECKING:
    import xarray as xr


CONSISTENT, INCONSISTENT, NO_POWER = "consistent", "inconsistent", "not enough power"  # the three verdicts
ROWS = 12  # most rows of the report, those that say most first


def verdict_of(test: MaxTest, effect: float) -> str:
    """Return one of the three verdicts, from the scores and resolutions of a test."""
    if (test.score > 1).any():
        return INCONSISTENT
    return CONSISTENT if bool((test.resolution <= effect).all()) else NO_POWER


def report(ds: xr.Dataset) -> str:
    """Return the verdict of `validate` in words, with the statistics that say most."""
    attrs = ds.attrs
    total = ds["score"].size
    step = "" if math.isnan(attrs["dt"]) else f", dt = {attrs['dt']:g}"
    lines = [
        f"{attrs['verdict']}: {attrs['sampler']}",
        f"held against {attrs['reference']}; {attrs['seeds']} runs of {counted(attrs['n'], 'particle')}{step}; "
        f"{counted(total, 'statistic')} at a joint level of {100 * attrs['level']:g} %",
    ]
    stacked = ds.stack(where=("t", "statistic"))
    by = "resolution" if attrs["verdict"] == NO_POWER else "score"
    order = np.argsort(-stacked[by].values, kind="stable")
    if attrs["verdict"] == INCONSISTENT:
        order = order[stacked["score"].values[order] > 1]
        beyond = np.maximum(stacked["low"].values, -stacked["high"].values) - stacked["margin"].values
        again = ", again with fresh seeds" if attrs["repeated"] else ""
        lines.append(
            f"p = {attrs['p_value']:.2g}{again}; a deviation of {float(beyond[order].max()):.2g} standard deviations "
            f"beyond the margin is sure, and {attrs['effect']:g} is worth finding"
        )
        lines.append(f"{len(order)} deviate by more than chance and the margin allow, most:")
    elif attrs["verdict"] == CONSISTENT:
        lines.append(
            f"a deviation of {attrs['effect']:g} standard deviations would have been found in each; nearest to one:"
        )
    else:
        lines.append(_what_would_do(ds))
    head, *rows = table_rows(ds)
    lines.append(aligned([head, *(rows[index] for index in order[:ROWS])]))
    lines.append("deviation, interval, margin and resolution in standard deviations of a single draw")
    return "\n".join(lines)


def _what_would_do(ds: xr.Dataset) -> str:
    """Say which numbers of runs or particles would give enough power, or what makes that impossible."""
    effect, factor = ds.attrs["effect"], ds.attrs["power_factor"]
    stacked = ds.stack(where=("t", "statistic"))
    widest = stacked.isel(where=int(np.argmax(stacked["margin"].values)))
    if math.isinf(factor):
        if float(widest["own_kernel"]) > max(float(widest["unreached"]), float(widest["reference_error"])):
            return (
                f"the margin exceeds {effect:g} standard deviations: in so many dimensions an estimate of the density "
                f"from {ds.attrs['n']} particles is mostly each particle's own kernel, which falls with more particles "
                "only once others are near; use fewer dimensions, wider kernels, or weights by a truth"
            )
        cause = "unreached" if float(widest["unreached"]) >= float(widest["reference_error"]) else "reference_error"
        where = f"{widest['statistic'].item()} at t = {float(widest['t']):g}"
        if cause == "unreached":
            return (
                f"the margin exceeds {effect:g} standard deviations: {where} grows from places where less than one of "
                f"{ds.attrs['n']} particles is expected; use more particles, a nearer start, or other times"
            )
        return f"the margin exceeds {effect:g} standard deviations by the error of the reference: {where}"
    seeds = math.ceil(ds.attrs["seeds"] * factor)
    return (
        f"a deviation of {effect:g} standard deviations could have been missed: {seeds} runs of {ds.attrs['n']} "
        f"particles would do, or {ds.attrs['seeds']} of {math.ceil(ds.attrs['n'] * factor)}; least resolved:"
    )
