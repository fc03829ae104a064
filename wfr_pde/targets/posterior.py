"""Bayesian posteriors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import finite_array, function, refuse_masked
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call
from wfr_pde.targets import differentiation
from wfr_pde.targets.arguments import Floats, blockwise, box_of, call_repr
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.targets.breaks import Breaks


@dataclass(frozen=True, eq=False)
class Posterior(Target):
    """Posterior of parameters given data: V(theta) = -log prior(theta) - sum_j log p(data_j | theta).

    Parameters
    ----------
    prior : Target
        Law of the parameters before the data; its dimension is their number.
    log_likelihood : function
        `log_likelihood(theta_1, ..., theta_d, data)`: the log-likelihood of every datum. It is called with
        parameters of shape (m, 1) and the data (n, ...), and returns shape (m, n).
    data : array (n,) or (n, ...)
        The observations; the first axis counts them.
    support : (lower, upper), optional
        A box that surely holds the mass; else the box is searched for.

    Raises
    ------
    ValueError
        If the data are empty or not finite, or log_likelihood returns a wrong shape.

    Notes
    -----
    Points are taken in blocks, so that memory stays bounded for any number of points and data.

    Examples
    --------
    With the prior N(0, 1) and data 1 and 3 of variance 1, the posterior is N(4/3, 1/3): the score vanishes at 4/3 and
    its slope is -3.

    >>> import wfr_pde as wfr
    >>> def log_likelihood(mean, data):
    ...     return -((data - mean) ** 2) / 2
    >>> posterior = wfr.Posterior(wfr.Gaussian(0, 1), log_likelihood, data=[1.0, 3.0])
    >>> posterior.score([[4 / 3], [7 / 3]]).round(6).tolist()
    [[0.0], [-3.0]]
    """

    prior: Target
    log_likelihood: Callable[..., Any]
    data: Floats
    support: Any = None

    def __post_init__(self) -> None:
        at_rest("prior", self.prior)
        function("log_likelihood", self.log_likelihood, "(theta_1, ..., theta_d, data) -> (m, n)")
        data = finite_array("data", self.data)
        if data.ndim == 0 or data.size == 0:
            raise ValueError(f"data must hold at least one observation along their first axis, got shape {data.shape}")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "ndim", self.prior.ndim)
        if self.support is not None:
            object.__setattr__(self, "support", box_of("support", self.support, self.ndim))

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return the log-posterior, up to a constant, at points (..., d), shape (...)."""
        check_deadline()  # as a Potential does
        points = self.as_points(points)
        return np.asarray(self.prior.log_density(points) + self._total_log_likelihood(points))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the score of the prior plus the gradient of the log-likelihood, by complex steps or differences."""
        points = self.as_points(points)
        return self.prior.score(points) + differentiation.gradient(self._total_log_likelihood, points)

    @property
    @override
    def machine_epsilon(self) -> float:
        """Machine epsilon of the least precise numbers that the prior or the log-likelihood has returned."""
        return float(self.__dict__.get("_epsilon", self.prior.machine_epsilon))

    @property
    @override
    def score_by_differences(self) -> bool:
        """True: the score of the log-likelihood is by differences."""
        return True

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the breaks of the prior inside the box; the log-likelihood is taken to have none."""
        return self.prior.breaks(lower, upper)

    def _total_log_likelihood(self, points: Array) -> Array:
        return blockwise(self._block_log_likelihood, points, self.data.size)

    def _block_log_likelihood(self, block: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                parameters = (block[:, [axis]] for axis in range(self.ndim))
                each = call("log_likelihood", self.log_likelihood, *parameters, self.data)
        except Exception as error:
            error.add_note(f"raised by log_likelihood at parameters of shape ({len(block)}, 1)")
            raise
        refuse_masked("what log_likelihood returns", each)
        each, shape = np.asarray(each), (len(block), len(self.data))
        if each.shape != shape:
            raise ValueError(
                f"log_likelihood must return the log-likelihood of each datum: for parameters of shape "
                f"({len(block)}, 1) and {len(self.data)} data it has to be of shape {shape}, got {each.shape}"
            )
        if np.iscomplexobj(each) and not np.iscomplexobj(block):
            raise ValueError(f"log_likelihood must return real numbers, but returned an array of type {each.dtype}")
        if each.dtype.kind == "f":
            self.__dict__["_epsilon"] = max(self.machine_epsilon, float(np.finfo(each.dtype).eps))
        return np.sum(each, axis=-1, dtype=np.result_type(each.dtype, np.float64))
