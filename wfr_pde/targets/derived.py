"""Targets that are made of another one, and compute with its numbers."""

from __future__ import annotations

from typing_extensions import override

from wfr_pde.targets.base import Target


class DerivedTarget(Target):
    """Target made of another one, its `target`, with whose numbers it computes.

    How exact its log-density and score are is therefore what that one says of itself.
    """

    target: Target

    @property
    @override
    def score_by_differences(self) -> bool:
        return self.target.score_by_differences

    @property
    @override
    def machine_epsilon(self) -> float:
        return self.target.machine_epsilon
