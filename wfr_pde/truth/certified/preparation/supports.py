"""Supports that are neither walls nor hold the mass: two problems, of which one has to be chosen."""

from __future__ import annotations

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.truth.certified.preparation.input_checks import share_outside
from wfr_pde.truth.certified.problem import Problem

MOST_BEYOND = 1e-6  # share of the mass beyond a support that is let pass, as of a box that cuts


def check_supports(problem: Problem, lower: Array, upper: Array) -> None:
    """Refuse a support beyond which the density goes on, with mass, in a box that reaches further.

    A support says where the mass is; its faces are walls where the density is not finite beyond, or does not vanish
    there (`covering_box`). Between the two, the box of the other distribution may reach beyond, and the flow would be
    that of the density without an end.

    Parameters
    ----------
    problem : Problem
    lower, upper : arrays (d,)
        The box, which was not given but found.

    Raises
    ------
    ValueError
        If more than 1e-6 of the mass in the box is beyond a support.
    """
    for what, distribution in (("the start", problem.start), ("the target", problem.target)):
        if distribution.support is None or distribution.moving:
            continue
        inner, outer = (np.asarray(corner, dtype=np.float64) for corner in distribution.support)
        if np.all((inner <= lower) & (outer >= upper)):
            continue
        everywhere = np.ones(len(lower), dtype=bool)
        share = share_outside(distribution, inner, outer, everywhere, (lower, upper))
        if share > MOST_BEYOND:
            raise ValueError(
                f"the support of {what} {distribution!r}, from {inner.tolist()} to {outer.tolist()}, leaves "
                f"{share:.2g} of its mass outside: its density goes on there, and the box from {lower.tolist()} to "
                f"{upper.tolist()} holds it. Give box=(lower, upper) and max_cut=1 if the support is meant to have "
                "walls, else a support that holds the mass"
            )
