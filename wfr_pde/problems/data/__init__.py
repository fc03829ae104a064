"""Data sets that come with the package; beside each file a .toml: sources, licence, what was changed, checksum."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np


def galaxies() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Velocities of 82 galaxies of the Corona Borealis region, in 1000 km/s, ascending; shape (82,).

    References
    ----------
    Roeder (1990), J. Amer. Statist. Assoc. 85, 617; measured by Postman, Huchra and Geller (1986), Astron. J. 92, 1238.
    """
    text = resources.files(__name__).joinpath("galaxies.csv").read_text(encoding="utf-8")
    return np.array([float(line) for line in text.split()[1:]]) / 1000
