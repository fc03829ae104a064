"""A problem made ready for a grid: in coordinates that fit it, in the box that it reaches, under ceilings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array
from wfr_pde.space.frame import Frame, given_axes
from wfr_pde.truth.certified.preparation.box_mass import log_integral
from wfr_pde.truth.certified.preparation.principal_axes import in_frame, principal_axes
from wfr_pde.truth.certified.preparation.reach import Ceilings, reach, spread

if TYPE_CHECKING:
    from wfr_pde.truth.certified.problem import Problem


TAIL, SHARE = 1e-8, 1e-3  # mass that the first box may cut off on a line, and of the tolerance
LOOSER = 1e-4  # of the tolerance, that it may in more dimensions, where cells are dear
REACHED = 1e-2  # of the tolerance: mass outside the box that is reached, and above a ceiling
MASS = 1e-3  # of the tolerance: error of the logarithm of the normaliser
SHRUNK = 0.999  # of the length of an axis: a box that shrinks by less is not made anew
WIDE = 1000.0  # nats that V spans in the box, beyond which sweeps are slow, and few of the cells are where mass is


@dataclass(frozen=True, eq=False)
class PreparedProblem:
    """What is solved in place of a problem.

    Attributes
    ----------
    problem : Problem
        In the coordinates y = Q'(x - c), uncapped.
    frame : Frame
        Q and c.
    ceilings : Ceilings
        Of V over time: a step from t on sees `ceilings.cap(problem.target, t)`.
    lower, upper : arrays (d,)
        The box, in y.
    outside : float
        Mass that a pilot run had outside it at any time.
    log_normaliser : float or None
        log ∫ exp(-V) over all of the target, where the box holds a part of it only; then KL(mu|pi) is
        ∫ mu (log mu + V) dy + log_normaliser, which a normaliser of the cells does not give.
    normaliser_doubt : float
        What that may be off by, in nats.
    words : tuple of str
        What was chosen, and why, a sentence each.
    """

    problem: Problem
    frame: Frame
    ceilings: Ceilings
    lower: Array
    upper: Array
    outside: float
    log_normaliser: float | None
    normaliser_doubt: float
    words: tuple[str, ...]


def prepared(
    problem: Problem, box: tuple[Array, Array] | None = None, options: dict[str, Any] | None = None, turn: bool = True
) -> PreparedProblem:
    """Choose coordinates, box and ceilings for a problem.

    1. Principal axes, where target and start need 1.5 times fewer cells along them.
    2. Where V spans more than 1000 nats in a box of target and start, a pilot run on few cells. The box is what the
       mass reaches until the last time, with a margin; that of the target may be far larger.
    3. Ceilings of V, 300 nats and more above the highest level at which more than a hundredth of the tolerance is.

    Parameters
    ----------
    problem : Problem
    box : (lower, upper), optional
        A box that is part of the problem: then neither axes nor box change.
    options : dict, optional
        Of the grid: boundary, names, max_cut.
    turn : bool
        Whether axes may be turned. They are not where target or start have break points along them.

    Raises
    ------
    ValueError
        If target or start have no box.
    NumericalError
        If the pilot fails.
    """
    options = {"max_cut": 1.0} if options is None else options
    tail, d = most_cut(problem), problem.target.ndim
    frame = principal_axes(problem, tail) if turn and box is None else given_axes(d)
    if not frame.is_given and _broken(problem, tail):
        frame = given_axes(d, "no axes are turned: target or start have breaks along the given ones")
    own = in_frame(problem, frame)
    wide: tuple[Array, Array]
    if box is None:
        wide = _covering(own, tail)
    else:
        wide = np.asarray(box[0], dtype=np.float64), np.asarray(box[1], dtype=np.float64)
    if own.target.moving or d == 1 or spread(own, wide, options) < WIDE:
        return PreparedProblem(own, frame, Ceilings.none(), wide[0], wide[1], 0.0, None, 0.0, (frame.words,))
    found = reach(own, wide, options, REACHED * problem.rtol, fixed=box is not None)
    whole = bool(np.all(found.upper - found.lower >= SHRUNK * (wide[1] - wide[0])))
    normaliser, doubt = None, 0.0
    if not whole:
        try:
            normaliser, doubt = _log_normaliser(own, wide, MASS * problem.rtol)
        except NumericalError:  # then the cells have to give it, and the box stays
            found, whole = replace(found, lower=wide[0], upper=wide[1], outside=0.0), True
    words = (frame.words, *_words(found.ceilings), *(() if whole else (_box_words(found.lower, found.upper, wide),)))
    return PreparedProblem(
        own, frame, found.ceilings, found.lower, found.upper, found.outside, normaliser, doubt, words
    )


def most_cut(problem: Problem) -> float:
    """Return the mass that the first box of a problem may cut off."""
    return min(TAIL, SHARE * problem.rtol) if problem.target.ndim == 1 else LOOSER * problem.rtol


def _broken(problem: Problem, tail: float) -> bool:
    """Return whether target or start have breaks along the axes, which edges of cells can lie on."""
    from wfr_pde.truth.certified.grids.first_grids import breaks_of  # here, as it prepares problems itself

    return any(len(places) > 0 for places in breaks_of(problem, *_covering(problem, tail)).places)


def _covering(problem: Problem, tail: float) -> tuple[Array, Array]:
    boxes = [each.box(tail) for each in (problem.target, problem.start)]
    return np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)


def _log_normaliser(problem: Problem, box: tuple[Array, Array], tolerance: float) -> tuple[float, float]:
    """Compute log ∫ exp(-V), and what it may be off by: its change in the last round, and what the box cuts off."""
    known = problem.target.log_normaliser
    if known is not None:
        return known, 0.0
    value, change = log_integral(problem.target, *box, tolerance)
    return value, change + most_cut(problem)


def _words(ceilings: Ceilings) -> list[str]:
    finite = ceilings.levels[np.isfinite(ceilings.levels)] - ceilings.lowest
    if len(finite) == 0:
        return []
    return [f"V is capped, at {finite.max():.3g} nats above its least and later at {finite.min():.3g}"]


def _box_words(lower: Array, upper: Array, wide: tuple[Array, Array]) -> str:
    shares = (upper - lower) / (wide[1] - wide[0])
    return "of the box of the target the mass reaches " + " x ".join(f"{100 * share:.2g} %" for share in shares)
