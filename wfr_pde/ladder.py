"""Steps that fit the flow along the way: small where it is fast, long where it has settled."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wfr_pde.deadline import OutOfTimeError, check_deadline
from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows import Extrapolated, Flow
from wfr_pde.measures import Density

Array = np.ndarray[Any, np.dtype[np.float64]]

LOCAL_ERROR = 1e-4  # L1 difference of orders 4 and 6 in one step of the trial run
FIRST = 2.0**-6  # first step tried, over the whole time
SMALLEST = 2.0**-60
EASY = 2.0**-6  # of LOCAL_ERROR: then the next step may be twice as long
PREPARED = 6  # step sizes kept at a time


@dataclass(frozen=True)
class Ladder:
    """Step sizes over time: from `starts[i]` on, steps of at most `sizes[i]`."""

    starts: Array
    sizes: Array
    breaks: Array = field(default_factory=lambda: np.empty(0))  # that no step may cross

    def nodes(self, times: Array, refinement: float, more: float = 1.0) -> Array:
        """Times of all steps: each save interval cut, rung by rung, into equal steps of size / refinement at most.

        Every part has `more` times the steps, and if that is above one at least one step more.
        """
        inner = self.breaks[(self.breaks > times[0]) & (self.breaks < times[-1])]
        result = [times[:1]]
        for low, high in itertools.pairwise(np.unique(np.concatenate([times, inner]))):
            inner = self.starts[(self.starts > low * (1 + 1e-14)) & (self.starts < high * (1 - 1e-14))]
            ends = np.concatenate([[low], inner, [high]])
            for a, b in itertools.pairwise(ends):
                rung = max(0, int(np.searchsorted(self.starts, a, side="right")) - 1)
                n = max(1, math.ceil((b - a) / self.sizes[rung] * refinement * (1 - 1e-9)))
                n = math.ceil(n * more * (1 - 1e-9))
                result.append(np.append(a + (b - a) * np.arange(1, n) / n, b))
        return np.concatenate(result)


def trial_ladder(
    energy: Energy, flow: Flow, start: Density, span: tuple[float, float], breaks: Array | None = None
) -> Ladder:
    """The ladder on which every step of a self-adjoint flow has about the same error.

    A trial run: each step is done with orders 4 and 6, and is halved until they agree to 1e-4 in L1; an easy one
    doubles the next. Sizes are the time span over powers of two. No step crosses one of the `breaks`.

    Raises
    ------
    NumericalError
        If no step is small enough, or the deadline comes.
    """
    low, high = span
    ends = np.append(np.empty(0) if breaks is None else breaks, high)
    prepared: dict[float, Any] = {}
    state, t, h = start, low, (high - low) * FIRST
    starts, sizes = [low], [h]
    while high - t > 1e-12 * (high - low):
        end = float(ends[np.searchsorted(ends, t, side="right")])
        length = min(h, end - t)
        try:
            check_deadline()
            if length not in prepared:
                if len(prepared) == PREPARED:
                    prepared.pop(next(iter(prepared)))
                prepared[length] = [Extrapolated(flow, order).make_step(energy, start, length) for order in (4, 6)]
            rough, fine = (step(state, t) for step in prepared[length])
            error = float(start.grid.integrate(abs(fine.values - rough.values)))
        except OutOfTimeError:
            raise OutOfTimeError(
                f"in the time budget, seconds=, a trial run on {start.grid.size} cells came to t={t:.4g} only: give a "
                "larger budget, or a shorter time, or a box, box=, where V does not span so many nats"
            ) from None
        except NumericalError:
            error = math.inf
        if not error <= LOCAL_ERROR:
            h /= 2
            if h < SMALLEST * (high - low):
                raise NumericalError(f"no step resolves the flow at t={t:.6g}: the start is too rough for the cells")
            continue
        if h != sizes[-1]:
            starts.append(t)
            sizes.append(h)
        state, t = fine, end if length == end - t else t + length
        if error < EASY * LOCAL_ERROR and length > h / 2:
            h *= 2
    return Ladder(np.array(starts), np.array(sizes), ends[:-1])
