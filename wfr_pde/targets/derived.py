"""Targets that are made of another one, and compute with its numbers."""

from __future__ import annotations

from typing_extensions import override

from wfr_pde.targets.base import Target


class DerivedTarget(Target):
    """A target made of another one, its `target`: what is said of its numbers is said of those."""

    target: Target

    @property
    @override
    def score_by_differences(self) -> bool:
        """Whether the score of the target that this one is made of is by differences."""
        return self.target.score_by_differences

    @property
    @override
    def machine_epsilon(self) -> float:
        """Machine epsilon of the numbers of the target that this one is made of."""
        return self.target.machine_epsilon
