"""What is in doubt of a computed curve so far, relative to the mass that there is."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.flows.base import Flow
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow
from wfr_pde.flows.diffusions.mass_balance import MassBalance
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.truth.certified.diffusions.residual import LARGEST, ResidualRule


class Account:
    """What is in doubt so far: what was left in the equation, and mass made or lost, both with what they have grown by.

    Both are relative to the mass that there is. An error grows at most as the largest c, the mass as the mean of c, so
    that it is their difference by which shares grow: logarithms of the mass, which may be thousands, do not come in.

    Parameters
    ----------
    flow : Flow
        With monitors, whose accounts of the mass are read.
    start_error : float
        What is in doubt at the start.
    """

    def __init__(self, flow: Flow, start_error: float) -> None:
        self.left, self.gone = start_error, 0.0
        self._sizes, self._before = np.zeros(2), 0.0
        self._balances: dict[int, MassBalance] = {}
        flow.map_parts(self._collect)

    def _collect(self, part: Flow) -> Flow:
        """Keep the account of a part."""
        if isinstance(part, FreeSpaceFlow):
            self._balances[id(part.balance)] = part.balance
        return part

    @property
    def doubt(self) -> float:
        """What differences of a lower order in space say otherwise, relative to what was left."""
        return float(self._sizes[1] / max(self._sizes[0], 1e-300))

    def add_panel(self, rule: ResidualRule, times: Array, levels: list[Density], looks: int) -> None:
        """Add a panel, with densities at its nodes in time; `looks` at the coefficients between them."""
        first = levels[0].log_mass or 0.0
        values = np.stack([one.log_values + ((one.log_mass or 0.0) - first) for one in levels])
        here = rule.over_panel(times, np.asarray(values, np.float64))
        length, middle = float(times[-1] - times[0]), levels[len(levels) // 2].log_values
        unseen = rule.between(middle, float(times[0]) + length / 2)
        short = rule.between_times(times, middle, looks)
        before = math.exp(min(length * unseen.growth + short.growth, LARGEST))
        growth = math.exp(min(here.growth, LARGEST)) * before
        lost = sum(one.total for one in self._balances.values())
        self.left = (self.left + length * unseen.size + short.size) * growth + (here.size + here.doubt) * before
        self.gone, self._before = (self.gone + lost - self._before) * growth, lost
        self._sizes += here.size, here.doubt
