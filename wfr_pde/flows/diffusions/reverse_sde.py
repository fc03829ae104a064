"""Flows of diffusion models: the reverse SDE with any score and churn, and the probability flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.flows.composition import Composition, Strang
from wfr_pde.flows.diffusions.advected import Advected
from wfr_pde.flows.diffusions.advection import Advection
from wfr_pde.flows.diffusions.coefficients import name_of
from wfr_pde.flows.diffusions.equation import DiffusionEquation, HasEquation
from wfr_pde.flows.diffusions.h_transform import HTransform
from wfr_pde.flows.diffusions.scores import ScoreAlong, checked_score
from wfr_pde.numerics.arguments import instance, not_negative
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.noised import ReversedPath


@dataclass(frozen=True, eq=False)
class ReverseDrift:
    """The drift -f + (1 + churn) s of a reverse diffusion, per unit of the time s of the run, as a function.

    Parameters
    ----------
    path : ReversedPath
        The path.
    score : object or None
        As `ScoreAlong` takes it.
    churn : float
        zeta.
    """

    path: ReversedPath
    score: Any
    churn: float

    def __call__(self, points: Array, s: float) -> Array:
        """Return the drift (..., d) at points (..., d)."""
        score = ScoreAlong(self.path, self.score)(points, s)
        drift = (1 + self.churn) * score - self.path.schedule.drift_factor * points
        return (self.path.noise_rate(s) * drift).astype(score.dtype)


@dataclass(frozen=True, eq=False)
class ScoreErrorDrift:
    """The drift 2 e of the error e of a score, per unit of the time s of the run, as a function.

    Parameters
    ----------
    path : ReversedPath
        The path, with the exact score.
    score : object
        As `ScoreAlong` takes it.
    """

    path: ReversedPath
    score: Any

    def __call__(self, points: Array, s: float) -> Array:
        """Return the drift (..., d) at points (..., d)."""
        score = ScoreAlong(self.path, self.score)(points, s)
        error = score - self.path.at(s).score(points)
        return (2 * self.path.noise_rate(s) * error).astype(score.dtype)


@dataclass(frozen=True, eq=False)
class ChurnOverTime:
    """The diffusivity of a reverse diffusion per unit of the time s of the run, as a function.

    Parameters
    ----------
    path : ReversedPath
        The path.
    churn : float
        zeta.
    """

    path: ReversedPath
    churn: float

    def __call__(self, s: float) -> float:
        """Return the diffusivity at s."""
        return self.churn * self.path.noise_rate(s)


class ReverseFlow(Composition, HasEquation):
    """A base of the flows of diffusion models, which are made of one flow along a reversed path."""

    path: ReversedPath
    score: Any

    max_ndim = 3
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})

    @override
    def __post_init__(self) -> None:
        instance("path", self.path, ReversedPath, "such as Noised(Gaussian(0, 1), VP()).reversed()")
        object.__setattr__(self, "score", checked_score(self.score, self.path))

    @cached_property
    def splitting(self) -> Flow:
        """The flow that makes the steps."""
        raise NotImplementedError(f"{type(self).__name__} must define splitting")

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return (self.splitting,)

    @property
    @override
    def order(self) -> float:  # type: ignore[override]
        """2, or inf where a step of any length is exact."""
        return self.splitting.order

    def _spelled(self, **more: Any) -> str:
        """Return the call that makes the flow, with functions by their names."""
        given = {"path": self.path} | ({} if self.score is None else {"score": name_of(self.score)}) | more
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in given.items())})"

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        return self.splitting.map_parts(exchange)

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare the parts."""
        return self.splitting.make_step(energy, template, dt)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the limits of the parts; noise that cells do not resolve is refused by the step."""
        return self.splitting.dt_bounds(energy, template)


@dataclass(frozen=True, eq=False, repr=False)
class ReverseSDE(ReverseFlow):
    """The reverse SDE of a diffusion model with any score: what density the model really generates.

    In noise time, from noise to data, the density of

        dX = (-f + (1 + churn) s(X, t)) dtau + sqrt(2 churn) dW

    with f the forward drift and s a score. With the exact score it returns the data, for every churn: 0 is the
    probability flow, 1 the reverse SDE. The time of the run is that of the path, s in [0, 1], in which equal steps are
    fine near the data. With churn 1 the exact score is `HTransform`, exact in one step, and the error of another score
    comes in by half-steps along characteristics; other churns are `Advected`. Of order 2 with even powers of dt, so
    that `Extrapolated` gives orders 4, 6 and 8.

    Parameters
    ----------
    path : ReversedPath
        ``Noised(data, schedule).reversed()``.
    score : law with .at(t).score(points), or function (points (..., d), t) -> (..., d), optional
        Asked at the time of the schedule, t from t_start to t_stop, in single precision too; by default the exact one.
        Outside the box it is asked, too.
    churn : float
        zeta >= 0: how much noise is added while it is removed.

    Raises
    ------
    TypeError
        If the path is no `ReversedPath`, or the score cannot be asked.
    ValueError
        If the churn is negative; from a step: for scores of another shape or that are not finite, with place and time,
        for cells that do not resolve the noise of a step, for graded or periodic axes.
    NumericalError
        From a run that loses or makes mass.

    References
    ----------
    Anderson (1982), doi:10.1016/0304-4149(82)90051-5; Song et al. (2021), arXiv:2011.13456; Karras et al. (2022),
    arXiv:2206.00364, for the churn.

    Examples
    --------
    A score that is a tenth too large makes the data N(0, 0.25) too narrow:

    >>> import wfr_pde as wfr
    >>> path = wfr.Noised(wfr.Gaussian(0.0, 0.25), wfr.OU(t_end=3.0)).reversed()
    >>> start = wfr.Grid(-6.0, 6.0, 128).density(path.at(0.0))
    >>> def score(points, t):
    ...     return 1.1 * path.path.at(t).score(points)
    >>> flow = wfr.Extrapolated(wfr.ReverseSDE(path, score), 4)
    >>> run = wfr.solve(None, flow, start, [0, 1], 1 / 8, record=[wfr.diagnostics.covariance])
    >>> round(float(run["covariance"][-1, 0, 0]), 4)
    0.2083
    """

    path: ReversedPath
    score: Any = None
    churn: float = 1.0

    @property
    @override
    def equation(self) -> DiffusionEquation:
        """Drift and diffusivity per unit of s."""
        return DiffusionEquation(ReverseDrift(self.path, self.score, self.churn), ChurnOverTime(self.path, self.churn))

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "churn", not_negative("churn", self.churn, "the share of noise that is added again"))

    @override
    def __repr__(self) -> str:
        return self._spelled(churn=self.churn)

    @cached_property
    @override
    def splitting(self) -> Flow:
        """`HTransform`, with half-steps for the error of the score; for other churns `Advected`."""
        if self.churn == 0:
            return ProbabilityFlow(self.path, self.score).splitting
        if self.churn == 1:
            exact = HTransform(self.path)
            return exact if self.score is None else Strang(Advection(ScoreErrorDrift(self.path, self.score)), exact)
        return Advected(ReverseDrift(self.path, self.score, self.churn), ChurnOverTime(self.path, self.churn))


@dataclass(frozen=True, eq=False, repr=False)
class ProbabilityFlow(ReverseFlow):
    """The probability flow of a diffusion model with any score: dX = (-f + s(X, t)) dtau, from noise to data.

    Characteristics alone, in steps that are exact up to interpolation on the grid. With the exact score it returns the
    data from p_T; KL(p|mu) of another start stays what it is. A wrong score may focus mass below any cells: the run
    then ends with an error.

    Parameters
    ----------
    path : ReversedPath
        ``Noised(data, schedule).reversed()``.
    score : law with .at(t).score(points), or function (points (..., d), t) -> (..., d), optional
        As in `ReverseSDE`.

    Raises
    ------
    TypeError
        If the path is no `ReversedPath`, or the score cannot be asked.
    ValueError
        From a step: for scores of another shape or that are not finite, with place and time; for graded axes.
    NumericalError
        From a run that loses or makes mass.

    References
    ----------
    Song et al. (2021), arXiv:2011.13456, section 4.3.

    Examples
    --------
    N(0, 1) is its own law at all noise times, and a score of 0.9 of it leaves a variance of exp(0.2 T):

    >>> import math
    >>> import wfr_pde as wfr
    >>> path = wfr.Noised(wfr.Gaussian(0.0, 1.0), wfr.OU(t_end=1.0)).reversed()
    >>> start = wfr.Grid(-8.0, 8.0, 128).density(path.at(0.0))
    >>> flow = wfr.ProbabilityFlow(path, lambda points, t: -0.9 * points)
    >>> run = wfr.solve(None, flow, start, [0, 1], 1 / 4, record=[wfr.diagnostics.covariance])
    >>> round(float(run["covariance"][-1, 0, 0]), 6), round(math.exp(0.2), 6)
    (1.221403, 1.221403)
    """

    path: ReversedPath
    score: Any = None

    @property
    @override
    def equation(self) -> DiffusionEquation:
        """Drift per unit of s; nothing diffuses."""
        return DiffusionEquation(ReverseDrift(self.path, self.score, 0.0), 0.0)

    @override
    def __repr__(self) -> str:
        return self._spelled()

    @cached_property
    @override
    def splitting(self) -> Flow:
        """Characteristics of the drift."""
        return Advection(ReverseDrift(self.path, self.score, 0.0))
