"""Panels of time on which the flow is a polynomial, and the steps on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.deadline import OutOfTimeError, check_deadline
from wfr_pde.numerics.typing import Array, Ints

NODES = 8  # of a panel, its ends among them: polynomials of degree 7, as exact as steps of order 8
FIRST = 2.0**-4  # first panel tried, over the whole time; the error tells the next
SMALLEST = 2.0**-60  # panel, over the whole time: below, the flow is taken to have no expansion, which is an error
SMALLEST_PART = 1 / 64  # of a panel that has to be more than the rounding of the time
GROWTH, CUT = 4.0, 0.05  # of a panel over the one before, at most, and of one that is tried again, at least
SAFETY = 0.8  # times the length that the last term suggests for the next panel
MOST = 2.0  # nats that a panel may miss at a place: beyond, nothing is known there, which costs twice its mass
LEGENDRE = np.polynomial.legendre  # the module


def _lobatto() -> Array:
    """Return the Gauss-Lobatto points on [0, 1]."""
    derivative = LEGENDRE.legder([0.0] * (NODES - 1) + [1.0])
    inner = np.sort(LEGENDRE.legroots(derivative).real)
    return np.concatenate([[0.0], 0.5 * (inner + 1), [1.0]])


LOBATTO = _lobatto()  # nodes of a panel, on [0, 1]
TO_LEGENDRE = np.linalg.inv(LEGENDRE.legvander(2 * LOBATTO - 1, NODES - 1))  # values at the nodes -> coefficients
# for ∫ e^(-decay t) t^k dt over a step, with decay of the order of one
QUADRATURE_NODES, QUADRATURE_WEIGHTS = LEGENDRE.leggauss(24)


@dataclass(frozen=True)
class Nodes:
    """The times of all steps of a run.

    Attributes
    ----------
    times : array (n + 1,)
    saved : array of int
        Which of them are save times.
    panel : array (n,) of int
        The panel that each step lies in.
    of_panel : array (panels, 8) of int
        Numbers of the Gauss-Lobatto points of every panel.
    """

    times: Array
    saved: Any
    panel: Any
    of_panel: Any

    def steps(self) -> int:
        """Return the number of steps."""
        return len(self.times) - 1

    def integral_weights(self, k: Any, decay: float) -> tuple[Any, Array, Array]:
        """Return weights of ∫ e^(-decay (t_{k+1} - t)) F(t) dt over steps k, F the polynomial through a panel's nodes.

        Parameters
        ----------
        k : int, or array (...) of int
        decay : float

        Returns
        -------
        nodes : array (..., 8) of int
        weights : array (..., 8)
        last : array (..., 8)
            Those of the size of the term of the highest degree, whose coefficient says how well the polynomial follows.
            (Its integral between two Gauss-Lobatto points is zero.)
        """
        nodes = self.of_panel[self.panel[k]]
        low, high = self.times[nodes[..., :1]], self.times[nodes[..., -1:]]
        a, b = self.times[k][..., None], self.times[np.asarray(k) + 1][..., None]
        t = a + (b - a) * 0.5 * (QUADRATURE_NODES + 1)
        share = 0.5 * (b - a) * QUADRATURE_WEIGHTS * np.exp(-decay * (b - t))
        terms = LEGENDRE.legvander(2 * (t - low) / (high - low) - 1, NODES - 1)
        integrals = np.einsum("...q,...qj->...j", share, terms)
        last = np.sum(share * np.abs(terms[..., -1]), axis=-1, keepdims=True)
        return nodes, integrals @ TO_LEGENDRE, last * TO_LEGENDRE[-1]


@dataclass(frozen=True)
class StepSchedule:
    """Panels of time between neighbouring `ends` (panels + 1,), of which the first and last bound the whole."""

    ends: Array
    breaks: Array = field(default_factory=lambda: np.empty(0))  # that no panel may cross

    def nodes(self, times: Array) -> Nodes:
        """Return the nodes of all steps: the Gauss-Lobatto points of every panel, and the save times."""
        low, high = self.ends[:-1, None], self.ends[1:, None]
        points = low + (high - low) * LOBATTO
        points[:, -1] = self.ends[1:]
        everything = np.unique(np.concatenate([points.ravel(), times]))
        middles = 0.5 * (everything[:-1] + everything[1:])
        panel = np.clip(np.searchsorted(self.ends, middles, side="right") - 1, 0, len(self.ends) - 2)
        return Nodes(everything, np.searchsorted(everything, times), panel, np.searchsorted(everything, points))

    def refined(self, cuts: int | Ints) -> StepSchedule:
        """Cut every panel into equal ones; their number is one for all, or one for each."""
        numbers = np.broadcast_to(cuts, len(self.ends) - 1).tolist()
        parts = [
            np.linspace(a, b, n + 1)[:-1] for (a, b), n in zip(itertools.pairwise(self.ends), numbers, strict=True)
        ]
        return StepSchedule(np.append(np.concatenate(parts), self.ends[-1]), self.breaks)


def subdivided(times: Array, parts: int) -> Array:
    """Cut every step into equal parts."""
    if parts == 1:
        return times
    inner = times[:-1, None] + np.diff(times)[:, None] * np.arange(parts) / parts
    return np.append(inner.ravel(), times[-1])


def trial_schedule(
    advance: Callable[[Any, float, float], Any],
    look: Callable[[Array, Array], tuple[Array, Array]],
    start: Any,
    span: tuple[float, float],
    tolerance: float,
    breaks: Array | None = None,
    noise: Array | float = 0.0,
) -> StepSchedule:
    """Find panels, each as long as polynomials of degree 7 follow the flow on it, by a trial run.

    On a panel the right-hand side F of the equation is expanded in Legendre polynomials. The panel is accepted if the
    last term, times the length of the panel, has a mean modulus below the tolerance; the next one is longer or shorter
    by as much as that term says.

    Parameters
    ----------
    advance : function (state, t, dt) -> state
    look : function (states, times) -> (F, weights)
        F at some places in the states (8, ...) at the nodes of a panel, and weights of the places with the sum one in
        each: arrays (8, places...). Where F jumps at the end of a panel, the last is that just before.
    start : state at the beginning
    span : (first, last)
    tolerance : float
    breaks : array, optional
        Times that no panel may cross.
    noise : array or float
        What rounding makes of F at the places: last terms below say nothing.

    Raises
    ------
    NumericalError
        If no panel is short enough, or the deadline comes.
    """
    low, high = span
    ends_of_smooth = np.append(np.empty(0) if breaks is None else breaks, high)
    state, t, length, ends = start, low, (high - low) * FIRST, [low]
    while high - t > 1e-12 * (high - low):
        end = float(ends_of_smooth[np.searchsorted(ends_of_smooth, t + 1e-14 * abs(t), side="right")])
        wanted = length
        tried = min(length, end - t)
        tried = end - t if end - t < 1.25 * tried else tried
        try:
            error, last = _panel(advance, look, state, t, tried, noise)
        except OutOfTimeError:
            raise OutOfTimeError(
                f"in the time budget, seconds=, a trial run came {t - low:.4g} beyond the first save time only: give a "
                "larger budget, or a shorter time, or a box, box=, where V does not span so many nats"
            ) from None
        except NumericalError:
            error, last = math.inf, state
        factor = SAFETY * (tolerance / max(error, 1e-300)) ** (1 / NODES)
        if error > tolerance:
            length = tried * max(CUT, min(factor, 0.7))
            if length < SMALLEST * (high - low) or t + SMALLEST_PART * length == t:
                raise NumericalError(
                    f"no step resolves the flow {t - low:.6g} after the first save time: not one of {length:.2g}; the "
                    "start is too rough for the cells, or V too steep"
                )
            continue
        state, t = last, end if tried == end - t else t + tried
        ends.append(t)
        length = tried * min(GROWTH, max(factor, 0.7))
        if t == end:  # a panel that a break cut short says little of the next
            length = max(length, wanted)
    return StepSchedule(np.array(ends), ends_of_smooth[:-1])


def _panel(
    advance: Callable[[Any, float, float], Any],
    look: Callable[[Array, Array], tuple[Array, Array]],
    state: Any,
    t: float,
    length: float,
    noise: Array | float,
) -> tuple[float, Any]:
    """Return the mean modulus of the last Legendre term of F over a panel, times its length, and the state at its end.

    Places where that is more than two nats count as if it were two. So cells that are far smaller than others, on which
    rounding is all that is seen of F, matter by the mass that they hold.
    """
    states = [state]
    for a, b in itertools.pairwise(LOBATTO):
        check_deadline()
        states.append(advance(states[-1], t + length * a, length * (b - a)))
    values, weights = look(np.stack(states), t + length * LOBATTO)
    last = np.maximum(np.abs(np.tensordot(TO_LEGENDRE[-1], values, 1)) - noise, 0.0)
    missed = np.minimum(length * last, MOST)
    return float(np.sum(weights.mean(axis=0) * missed)), states[-1]
