"""Scores along a reversed path: those of the path, of other laws, or functions that users write, such as networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.arguments import is_array, real_array, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call
from wfr_pde.targets.base import Target
from wfr_pde.targets.noised import Noised, ReversedPath

REMEDY = (
    "a score is a law with .at(t).score(points), such as Noised(data, schedule), or a function (points (..., d), t) -> "
    "(..., d), with t the time of the schedule"
)


def checked_score(score: Any, path: ReversedPath) -> Any:
    """Return a score as it is used, if it can be asked along the path; that of a reversed path as its forward path.

    Raises
    ------
    TypeError
        If it is neither a law nor a function.
    ValueError
        If it is of another dimension or schedule.
    """
    if score is None:
        return None
    if isinstance(score, ReversedPath):
        score = score.path
    if isinstance(score, Noised) and score.schedule != path.schedule:
        raise ValueError(
            f"the score is of the schedule {score.schedule!r}, but the path of {path.schedule!r}: use one schedule"
        )
    if isinstance(score, Target):
        if score.ndim != path.ndim:
            raise ValueError(f"the score is {score.ndim}-dimensional, but the path is {path.ndim}-dimensional")
        return score
    if isinstance(score, type) or not (callable(score) or hasattr(score, "at")):
        raise TypeError(f"score is {shown(score)}: {REMEDY}")
    return score


class ScoreAlong:
    """A score as a function of points and of the time s of a run along a reversed path.

    Parameters
    ----------
    path : ReversedPath
        The path.
    score : Target, object with .at(t).score(points), function (points, t), or None
        As `checked_score` returns it; None is that of the path.
    """

    def __init__(self, path: ReversedPath, score: Any) -> None:
        self.path, self.given = path, score

    def __call__(self, points: Array, s: float) -> Array:
        """Return the score (..., d) at points (..., d), in single precision where that is what is given.

        Raises
        ------
        ValueError
            For values of another shape, or that are not finite, with place and time.
        """
        if self.given is None:
            return self.path.at(s).score(points)
        t = self.path.schedule_time(s)
        if hasattr(self.given, "at") and not is_array(self.given):
            returned = call("the score", self.given.at(t).score, points)
        else:
            returned = call("the score", self.given, points, t)
        if hasattr(returned, "detach"):
            returned = returned.detach().cpu()  # a tensor that holds gradients
        single = str(getattr(returned, "dtype", "")).endswith(("float32", "float16"))
        values = real_array("what the score returns", returned)
        if values.shape != points.shape:
            raise ValueError(
                f"the score must return one vector per point, shape (..., d) for points (..., d): for points of shape "
                f"{points.shape} it returned shape {values.shape} at t={t:.6g}"
            )
        bad = ~np.isfinite(values)
        if bad.any():
            place = np.unravel_index(int(np.argmax(bad)), values.shape)
            raise ValueError(
                f"the score is {values[place]} at x={points[place[:-1]].tolist()}, t={t:.6g} of the schedule "
                f"(s={s:.6g} of the run): it must be finite wherever mass comes through, and beyond the box; "
                "where it is singular at the data, let the path stop before, with reversed(t_stop=...)"
            )
        return values.astype(np.float32) if single else values
