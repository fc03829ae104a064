"""Particles: a measure as a weighted sum of point masses, and the mixture that they were drawn from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics import arguments
from wfr_pde.numerics.arguments import draws, generator, instance, real_array, shown
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Rng
from wfr_pde.numerics.user_calls import call, given_over, unchanging

ROUNDING = 1e-13  # of the logarithm of a sum of weights, up to which it counts as zero


def positions_of(name: str, value: Any) -> Particles:
    """Return equally weighted particles at the positions (n, d) that are the argument `name`."""
    positions = real_array(name, value)
    if positions.ndim != 2 or positions.size == 0:
        raise ValueError(f"{name} as an array of positions must have shape (n, d) with n > 0, got {positions.shape}")
    return Particles(positions)


@dataclass(frozen=True, eq=False)
class Mixture(Record):
    """The law Σ_j w_j N(means_j, variance I) that particles were drawn from, and which of them from which component.

    Parameters
    ----------
    means : array (m, d)
    variance : float
        Of every component along every axis.
    log_weights : array (m,)
        Logarithms of the w_j, which sum to one.
    component : array of int (n,)
        Number of the component that each particle was drawn from.
    """

    means: np.ndarray
    variance: float
    log_weights: np.ndarray
    component: np.ndarray

    def chosen(self, which: np.ndarray) -> Mixture:
        """Return the same law, of the particles with the numbers `which` alone."""
        return Mixture(self.means, self.variance, self.log_weights, self.component[which])

    def variables(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a Dataset stores of it: name -> (dimensions, array)."""
        return {
            "mixture_mean": (("component", "dim"), self.means),
            "mixture_variance": ((), np.array(self.variance)),
            "mixture_log_weight": (("component",), self.log_weights),
            "mixture_component": (("particle",), self.component),
        }


@dataclass(frozen=True, eq=False)
class Particles(Record):
    """A weighted sum of point masses. What it holds is read-only: arrays are copied, unless nobody can write to them.

    Parameters
    ----------
    positions : array (n, d)
        Where the masses are.
    log_weights : array (n,), optional
        Logarithms of the weights up to a constant; stored so that the weights sum to one. Equal by default.
    mixture : Mixture, optional
        The law that the positions were last drawn from, where a sampler knows it. Moves set it, resampling keeps it,
        what else changes positions or weights clears it.
    auxiliary : array (n, k), optional
        What else a sampler carries along per particle: velocities, replicas.

    Raises
    ------
    ValueError
        If shapes do not fit, a position is not finite, or no weight is positive.

    Examples
    --------
    Two particles of the weights 3/4 and 1/4; the effective sample size is 1/(9/16 + 1/16):

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> particles = wfr.Particles([[0.0], [1.0]], log_weights=np.log([3.0, 1.0]))
    >>> particles.mean().round(6), round(particles.effective_sample_size, 6)
    (array([0.25]), 1.6)
    """

    positions: np.ndarray
    log_weights: Any = None
    mixture: Mixture | None = None
    auxiliary: np.ndarray | None = None

    def __post_init__(self) -> None:
        positions = real_array("positions", self.positions)
        if positions.ndim != 2 or positions.size == 0:
            raise ValueError(f"positions must have shape (n, d) with n > 0, got {positions.shape}")
        if not np.isfinite(positions).all():
            bad = int(np.argmin(np.isfinite(positions).all(axis=1)))
            raise ValueError(f"positions must be finite, but particle {bad} has the position {positions[bad].tolist()}")
        n = len(positions)
        log_weights = np.zeros(n) if self.log_weights is None else real_array("log_weights", self.log_weights)
        if log_weights.shape != (n,):
            raise ValueError(f"log_weights have shape {log_weights.shape}, but the number of particles is {n}")
        top = log_weights.max()
        if not np.isfinite(top) or np.isnan(log_weights).any():
            raise ValueError(
                f"log_weights: the largest log-weight is {top}, but at least one weight must be positive, all finite"
            )
        log_sum = np.log(np.sum(np.exp(log_weights - top)))
        if abs(top + log_sum) > ROUNDING:  # weights that sum to one stay as they are, to the last bit
            log_weights = given_over((log_weights - top) - log_sum)
        if self.mixture is not None:
            instance("mixture", self.mixture, Mixture)
        if self.auxiliary is not None:
            auxiliary = real_array("auxiliary", self.auxiliary)
            if auxiliary.ndim != 2 or len(auxiliary) != n:
                raise ValueError(f"auxiliary must have shape (n, k) with n = {n}, got {auxiliary.shape}")
            object.__setattr__(self, "auxiliary", unchanging(auxiliary))
        object.__setattr__(self, "positions", unchanging(positions))
        object.__setattr__(self, "log_weights", unchanging(log_weights))

    @override
    def __repr__(self) -> str:
        return f"Particles(n={len(self.positions)}, d={self.ndim})"

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.positions.shape[1]

    def threads(self) -> AbstractContextManager[object]:
        """Return a context for many steps with states like this, which changes nothing.

        Returns
        -------
        context manager
        """
        return nullcontext()

    @property
    def nbytes(self) -> int:
        """Bytes of positions and weights, and what comes with them."""
        return sum(array.nbytes for _, array in self.checkpoint().values())

    @property
    def weights(self) -> np.ndarray:
        """Weights (n,), which sum to one."""
        return np.exp(self.log_weights)

    @property
    def mass(self) -> float:
        """Sum of the weights."""
        return float(np.sum(self.weights))

    @property
    def effective_sample_size(self) -> float:
        """1 / Σ w²: the number of equally weighted particles with the same variance."""
        return float(1 / np.sum(self.weights**2))

    def is_finite(self) -> bool:
        """Return whether every position is finite (log-weights may be -inf).

        Returns
        -------
        bool
        """
        return bool(np.isfinite(self.positions).all() and not np.isnan(self.log_weights).any())

    def variables(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a Dataset stores of the state: name -> (dimensions, array).

        Returns
        -------
        dict
        """
        return {
            "position": (("particle", "dim"), self.positions),
            "log_weight": (("particle",), self.log_weights),
        }

    def coordinates(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a Dataset stores of the space: nothing.

        Returns
        -------
        dict
        """
        return {}

    def checkpoint(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Return what a run needs to go on from here, to the same bits: name -> (dimensions, array).

        Returns
        -------
        dict
        """
        result = self.variables()
        if self.mixture is not None:
            result |= self.mixture.variables()
        if self.auxiliary is not None:
            result["auxiliary"] = ("particle", "aux"), self.auxiliary
        return result

    def from_variables(self, ds: Any) -> Particles:
        """Return the state with the stored values of one time.

        Parameters
        ----------
        ds : xarray.Dataset
            With `variables` at one time.

        Returns
        -------
        Particles
        """
        mixture = None
        if "mixture_mean" in ds:
            names = ("mean", "variance", "log_weight", "component")
            mean, variance, log_weight, component = (ds[f"mixture_{name}"].values for name in names)
            mixture = Mixture(mean, float(variance), log_weight, component)
        auxiliary = ds["auxiliary"].values if "auxiliary" in ds else None
        return Particles(ds["position"].values, ds["log_weight"].values, mixture, auxiliary)

    def resampled(self, which: np.ndarray) -> Particles:
        """Return some of the particles, equally weighted.

        Parameters
        ----------
        which : array (m,) of whole numbers, or of bool (n,)
            Their numbers; one may come more than once.

        Returns
        -------
        Particles

        Raises
        ------
        ValueError
            If these are no numbers of particles.
        """
        which = self._numbers(which)
        mixture = None if self.mixture is None else self.mixture.chosen(which)
        auxiliary = None if self.auxiliary is None else given_over(self.auxiliary[which])
        return Particles(given_over(self.positions[which]), None, mixture, auxiliary)

    def _numbers(self, which: Any) -> np.ndarray:
        """Return the numbers of some particles, of which there is at least one."""
        n = len(self.positions)
        numbers = np.atleast_1d(real_array("which", which))
        if numbers.shape == (n,) and np.asarray(which).dtype == bool:
            numbers = np.flatnonzero(numbers).astype(np.float64)
        if numbers.ndim != 1 or not numbers.size or not ((numbers == np.round(numbers)) & (np.abs(numbers) <= n)).all():
            raise ValueError(
                f"which must be whole numbers (m,), each of one of the particles (n={n}), got {shown(which)}"
            )
        chosen = numbers.astype(np.int64)
        if chosen.max() >= n or chosen.min() < -n:
            raise ValueError(f"which must be numbers of particles from 0 to {n - 1}, got {shown(which)}")
        return chosen

    def mean(self) -> np.ndarray:
        """Compute the weighted mean.

        Returns
        -------
        array (d,)
        """
        return self.weights @ self.positions

    def covariance(self) -> np.ndarray:
        """Compute the covariance matrix of the weighted particles, without a small-sample correction.

        Returns
        -------
        array (d, d)
        """
        centred = self.positions - self.mean()
        return (centred * self.weights[:, None]).T @ centred

    def expectation(self, function: Callable[[np.ndarray], ArrayLike]) -> np.ndarray:
        """Compute the weighted mean of a function of points.

        Parameters
        ----------
        function : function of points (n, d) -> (n,) or (n, k)
            Evaluated at the positions.

        Returns
        -------
        number, or array (k,)

        Raises
        ------
        ValueError
            If the values of the function have another shape.
        """
        arguments.function("function", function, "points (n, d) -> (n,) or (n, k)")
        values = real_array("what function returns", call("function", function, self.positions))
        if values.shape[:1] != self.weights.shape:
            raise ValueError(
                f"function must return one value per point, shape ({len(self.weights)},) or ({len(self.weights)}, k), "
                f"got shape {values.shape}"
            )
        return np.asarray(self.weights @ values)[()]

    def sample(self, n: int, rng: Rng = None) -> np.ndarray:
        """Draw positions with the weights as probabilities, with replacement.

        Parameters
        ----------
        n : int
            Number of draws.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, d)
        """
        n, rng = draws(n, self.ndim), generator(rng)
        return self.positions[rng.choice(len(self.positions), size=n, p=self.weights / self.weights.sum())]
