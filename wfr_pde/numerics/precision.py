"""Double and single precision: what sums of exponentials have to respect so that nothing is lost or overflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Precision:
    """Floating-point numbers of one size, and the limits that follow. All lengths are in nats.

    Attributes
    ----------
    name : str
    dtype : type
        As NumPy names it.
    span : float
        What values may span that share one shift.
    flush : float
        Entries of a kernel below e^-flush are zero. Relative to the smallest value they are e^(span - flush), which is
        less than rounding, and no product of them comes near the subnormal numbers, which would slow it several times.
    block_span, block_flush : float
        The same for a block of cells with a shift of its own.
    negligible : float
        How far below a sum a term is lost in rounding.
    mass : float
        By how much the mass of a density may differ from one.
    """

    name: str
    dtype: Any
    span: float
    flush: float
    block_span: float
    block_flush: float
    negligible: float
    mass: float

    @property
    def eps(self) -> float:
        """Distance from one to the next number."""
        return float(np.finfo(self.dtype).eps)

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return np.dtype(self.dtype).itemsize


DOUBLE = Precision("double", np.float64, 430.0, 480.0, 200.0, 500.0, 40.0, 1e-9)
SINGLE = Precision("single", np.float32, 40.0, 60.0, 25.0, 60.0, 18.0, 1e-4)
