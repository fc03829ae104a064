"""Data sets that come with the package."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np


def galaxies() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Read the velocities of 82 galaxies of the Corona Borealis region.

    Returns
    -------
    array (82,)
        In 1000 km/s, ascending.

    References
    ----------
    Roeder (1990), J. Amer. Statist. Assoc. 85, 617, doi:10.1080/01621459.1990.10474918.

    Examples
    --------
    >>> from wfr_pde.problems.data import galaxies
    >>> len(galaxies()), round(float(galaxies().mean()), 2)
    (82, 20.83)
    """
    text = resources.files(__name__).joinpath("galaxies.csv").read_text(encoding="utf-8")
    return np.array([float(line) for line in text.split()[1:]]) / 1000
