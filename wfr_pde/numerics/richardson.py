"""Richardson extrapolation for errors with given powers of the cell width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wfr_pde.numerics.typing import Array

EVEN = (2.0, 4.0, 6.0, 8.0)  # of a flux and a quadrature that are unchanged if the direction along an axis is turned


def richardson(ratios: Sequence[float], powers: Sequence[float] = EVEN) -> Array:
    """Return the weights (m,) that extrapolate values on grids with `ratios` times the cells.

    They solve Σ w_i = 1, Σ w_i r_i^(-p) = 0 for the first m - 1 powers, so that the result has the error of the next.

    Parameters
    ----------
    ratios : sequence of m different positive numbers
    powers : sequence of at least m - 1 different positive numbers
        Increasing; the first m - 1 are cancelled.

    Raises
    ------
    ValueError
        If there are too few powers, or ratios or powers are not positive and different.
    """
    r, wanted = np.asarray(ratios, dtype=np.float64), np.asarray(powers, dtype=np.float64)[: len(ratios) - 1]
    if len(wanted) < len(r) - 1:
        raise ValueError(
            f"{len(r)} grids cancel {len(r) - 1} powers of the cell width, but only {list(powers)} are given"
        )
    if not (np.all(r > 0) and np.all(wanted > 0) and len({*r}) == len(r) and len({*wanted}) == len(wanted)):
        raise ValueError(f"ratios and powers must be positive and different, got {list(ratios)} and {list(powers)}")
    exponents = np.append(0.0, wanted)
    rows = (r / r.max()) ** -exponents[:, None]  # every row is scaled to its own size: at most (2 / .75)^p apart
    return np.linalg.solve(rows, np.append(1.0, np.zeros(len(wanted))))
