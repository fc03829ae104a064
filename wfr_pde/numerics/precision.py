"""Double and single precision: what sums of exponentials have to respect so that nothing is lost or overflows."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
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
    _: KW_ONLY
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


# doubles go from e^-708 to e^709, floats from e^-87 to e^88: span and flush keep products of values and kernel inside
DOUBLE = Precision(
    "double", np.float64, span=430.0, flush=480.0, block_span=200.0, block_flush=500.0, negligible=40.0, mass=1e-9
)
SINGLE = Precision(
    "single", np.float32, span=40.0, flush=60.0, block_span=25.0, block_flush=60.0, negligible=18.0, mass=1e-4
)
