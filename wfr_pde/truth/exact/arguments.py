"""Checks of the arguments of the closed forms."""

from __future__ import annotations

from typing import Any

from wfr_pde.flows.base import checked_rate
from wfr_pde.numerics.arguments import instance, not_negative
from wfr_pde.targets import Gaussian


def checked_problem(target: Any, start: Any, alpha: float, beta: float) -> tuple[float, float]:
    """Return the two rates, after a check that they and the two Gaussians are what a closed form takes."""
    check_gaussians(target, start, "target", "start")
    return checked_rate(alpha, "the transport", "transport_rate"), checked_rate(beta, "the reaction", "reaction_rate")


def checked_gaussian(name: str, distribution: Any) -> Gaussian:
    """Return the distribution, or refuse what is no Gaussian."""
    return instance(name, distribution, Gaussian)


def check_gaussians(p: Any, q: Any, p_name: str, q_name: str) -> None:
    """Raise ValueError unless both are Gaussians of the same number of dimensions."""
    checked_gaussian(p_name, p)
    checked_gaussian(q_name, q)
    if p.ndim != q.ndim:
        raise ValueError(f"{p_name} is {p.ndim}-dimensional, but {q_name} is {q.ndim}-dimensional")


def checked_time(t: Any) -> float:
    """Return the time since the start as a float, if it is finite and not negative."""
    return not_negative("t", t, "the time since the start")
