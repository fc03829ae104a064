"""Errors of a trajectory, as far as they are known: in L1, and at every place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.spline_errors import largest_around, spline_errors
from wfr_pde.integrate.time_interpolation import TimeInterpolation
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    import xarray as xr

UNTOLD = 10.0  # nats below the top, down to which frames that say nothing of their pointwise errors are taken as right
SHARPEST = 4.0  # a L1 error is taken to be spread over a quarter of the width of the density at least
KNOWN = 0.5  # nats: a larger pointwise error is called unknown
MARGIN = 1.0  # nats further down that the past of a place is looked for


@dataclass(frozen=True, eq=False)
class TrajectoryErrors:
    """Errors of the densities of a run between its save times.

    Parameters
    ----------
    ds : xarray.Dataset
        The run, with `error_l1` and `log_density_error` where it has them.
    interpolation : TimeInterpolation
    reaction_rate : float, optional
        beta, where it is known.
    """

    ds: xr.Dataset
    interpolation: TimeInterpolation
    reaction_rate: float | None
    _cache: dict[Any, Any] = field(init=False, repr=False, default_factory=dict)

    def l1(self, t: ArrayLike) -> Any:
        """Bound the L1 error of the density at times (...); see `Trajectory.error_l1`."""
        wanted = real_array("t", t)
        times, index = self.interpolation.located(wanted.ravel())
        result = np.empty(len(times))
        stored = np.zeros(len(self.interpolation.times)) if self.stored_l1 is None else self.stored_l1
        for i, (time, k) in enumerate(zip(times, index, strict=True)):
            same = self.interpolation.frame_at(time)
            if same is not None:
                result[i] = stored[same]
                continue
            rule = self.interpolation.rule(int(k))
            frames = float(stored[k : k + 2].max())
            if not rule.substituted:
                frames = max(frames, float(np.abs(rule.weights(time)[0]) @ stored[list(rule.frames)]))
            result[i] = min(2.0, frames + rule.error + self.interpolation.mass_doubt(rule, float(time)))
        return result.reshape(wanted.shape)[()]

    def remedy(self, t: float) -> str:
        """Say what to ask the run for where the density at a time is not resolved; see `Trajectory.remedy`."""
        time, k = self.interpolation.place(t)
        is_frame = self.interpolation.frame_at(time) is not None
        if len(self.interpolation.times) == 1 or is_frame or self.interpolation.rule(k).error <= 0.1:
            return ""
        spans = np.diff(self.interpolation.times)
        before, after = self.interpolation.times[k], self.interpolation.times[k + 1]
        around = [float(spans[i]) for i in (k - 1, k + 1) if 0 <= i < len(spans)]
        clustered = any(max(span / spans[k], spans[k] / span) > 10 for span in around)
        cause = (
            f"save times are clustered (this interval is {spans[k]:.3g} long, its neighbours "
            f"{', '.join(f'{span:.3g}' for span in around)})"
            if clustered
            else "too much happens between the two"
        )
        if self.interpolation.equation is None and len(around) < 2:
            cause += ", and there are few frames"
        hint = "" if self.interpolation.equation is not None else ", and give the target: Trajectory(ds, target)"
        return (
            f"between the save times {before:.6g} and {after:.6g} the density is known to {self.l1(time):.2g} "
            f"in L1 alone: {cause}; ask the run for times that grow steadily from a scale that resolves the start, "
            f"[t_0, *(t_0 + np.geomspace(variance/transport_rate, t_n - t_0, n))], with some of them between these"
            f"{hint}"
        )

    @cached_property
    def stored_l1(self) -> Array | None:
        """Errors of the frames, where the run has them."""
        if "error_l1" not in self.ds:
            return None
        stored = np.asarray(self.ds["error_l1"].values, dtype=np.float64)
        if len(stored) != len(self.interpolation.times):  # a run that kept some of its frames
            stored = np.asarray(self.ds["error_l1"].sel(t=self.interpolation.times).values, dtype=np.float64)
        return stored

    def _frame_error(self, number: int) -> Array:
        """Return the pointwise error of a frame in nats, in every cell, infinite where unknown."""
        key = ("frame", number)
        if key not in self._cache:
            values = self.interpolation.log_values[number]
            if "log_density_error" in self.ds:
                stored = self.ds["log_density_error"]
                if len(stored) != len(self.interpolation.times):
                    stored = stored.sel(t=self.interpolation.times)
                error = np.abs(np.asarray(stored[number].values, dtype=np.float64))
                error = np.where(np.isnan(error), np.inf, error)
            else:
                depth = _depth(values)
                l1 = 0.0 if self.stored_l1 is None else float(self.stored_l1[number])
                error = np.where(depth <= UNTOLD, SHARPEST * l1 * np.exp(np.minimum(depth, UNTOLD)), np.inf)
            self._cache[key] = largest_around(self.interpolation.grid, error, 1)
        return self._cache[key]

    def _spline_error(self, number: int) -> tuple[Array, Array]:
        """Estimate the errors of the spline of a frame, and of its gradient, in every cell."""
        key = ("spline", number)
        if key not in self._cache:
            density = self.interpolation.densities[number]
            self._cache[key] = spline_errors(self.interpolation.grid, density.log_values, density.degree)
        return self._cache[key]

    def claims(self, t: float) -> tuple[Array, Array, float]:
        """Return the errors of log mu and of its gradient in every cell, and how many nats down they are claimed."""
        if ("claims", t) not in self._cache:
            for key in [key for key in self._cache if key[0] == "claims"]:
                del self._cache[key]
            self._cache["claims", t] = self._found_claims(t)
        return self._cache["claims", t]

    def _found_claims(self, t: float) -> tuple[Array, Array, float]:
        time, k = self.interpolation.place(t)
        values = self.interpolation.log_values_at(time, k)
        depth = _depth(values)
        same = self.interpolation.frame_at(time)
        if same is not None:
            weights, frames = {same: 1.0}, [same]
            nats, slopes = np.zeros(self.interpolation.grid.shape), np.zeros(self.interpolation.grid.shape)
        else:
            rule = self.interpolation.rule(k)
            sizes = np.abs(rule.weights(time)[0])
            weights = dict(zip(rule.frames, sizes.tolist(), strict=True))
            frames = sorted({*rule.frames, k, min(k + 1, len(self.interpolation.times) - 1)})
            nats, slopes = rule.allows(self._past_depth(depth, k))
            nats = nats + self.interpolation.mass_doubt(rule, time)
        total = sum(weights.values())
        own = max(1.0, total) * np.maximum.reduce([self._frame_error(number) for number in frames])
        narrowest = min(float(axis.widths.min()) for axis in self.interpolation.grid.axes)
        slopes = slopes + 2 * own / narrowest
        nats = nats + own
        for number, weight in weights.items():
            of_values, of_slopes = self._spline_error(number)
            nats, slopes = nats + weight * of_values, slopes + weight * of_slopes
        unknown = ~(nats <= KNOWN)
        within = float(depth[unknown].min()) if unknown.any() else math.inf
        return nats, slopes, within

    def _past_depth(self, depth: Array, k: int) -> Array:
        """Return how far down the residual counts that made the error of every cell.

        Transport brings errors from where the mass was; a reaction leaves them in their place, which both neighbouring
        frames may have far lower.
        """
        if self.reaction_rate != 0:
            around = [_depth(self.interpolation.log_values[i]) for i in (k, k + 1)]
            depth = np.maximum.reduce([depth, *around])
        return 1.1 * largest_around(self.interpolation.grid, depth, 1) + MARGIN


def _depth(log_values: Array) -> Array:
    """Return how many nats every cell is below the top."""
    return np.asarray(log_values.max() - log_values)
