"""Laws in any dimension whose blocks of coordinates are independent, turned and shifted: `ProductLaw`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, generator, real_array, refuse_no_entries, shown, whole
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.space.frame import Frame
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.turned import checked_frame

MASS_ERROR = 0.1  # by which sums over wide cells may differ from one: more is a density that was not normalised

Factor = Density | Gaussian | RadialLaw


@dataclass(frozen=True, eq=False)
class ProductLaw(Record):
    """Law of x = shift + Q y in R^d, where the blocks of y = (y_1, ..., y_k) are independent.

    Parameters
    ----------
    factors : sequence of Density, Gaussian or RadialLaw
        Laws of the blocks y_1, ..., y_k; d is the sum of their dimensions.
    rotation : array (d, d), optional
        Q, orthogonal: its columns are the axes of y in the coordinates x. The identity by default.
    shift : array (d,), optional
        Place x of y = 0. Zero by default.

    Raises
    ------
    TypeError
        If a factor is none of these.
    ValueError
        If there are no factors, one is not normalised, shapes do not fit, or Q is not orthogonal.

    Examples
    --------
    A density on a line beside a Gaussian in eighteen dimensions:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> from wfr_pde.space.product_law import ProductLaw
    >>> line = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> law = ProductLaw([line, wfr.Gaussian(np.zeros(18), 4.0)])
    >>> law.ndim, law.mean()[:2].round(6), law.log_prob([np.zeros(19)]).round(6)
    (19, array([1., 0.]), array([-30.436481]))
    """

    factors: Sequence[Factor]
    rotation: Any = None
    shift: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", _checked_factors(self.factors))
        d = self.ndim
        rotation = np.eye(d) if self.rotation is None else self.rotation
        rotation, shift = checked_frame(rotation, np.zeros(d) if self.shift is None else self.shift, d, "shift")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "shift", shift)

    @override
    def __repr__(self) -> str:
        return f"ProductLaw(d={self.ndim}: {', '.join(self.words)})"

    def _repr_html_(self) -> str:
        """Return the table of the factors, which notebooks show."""
        rows = [
            (f"{block.start}–{block.stop - 1}" if block.stop - block.start > 1 else f"{block.start}", kind)
            for block, kind in zip(self.blocks, map(_words, self.factors), strict=True)
        ]
        return table_of_factors(("coordinates of y", "law"), rows)

    @property
    def words(self) -> list[str]:
        """What the factors are, in words; equal ones that follow each other are counted."""
        found: list[tuple[str, int]] = []
        for words in map(_words, self.factors):
            if found and found[-1][0] == words:
                found[-1] = words, found[-1][1] + 1
            else:
                found.append((words, 1))
        return [words if count == 1 else f"{count} times {words}" for words, count in found]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return sum(factor.ndim for factor in self.factors)

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Places of the factors among the coordinates y."""
        ends = np.cumsum([0, *(factor.ndim for factor in self.factors)]).tolist()
        return tuple(map(slice, ends[:-1], ends[1:]))

    @cached_property
    def frame(self) -> Frame:
        """The coordinates y = Q'(x - shift)."""
        return Frame(self.rotation, self.shift, "the axes of the product")

    def threads(self) -> AbstractContextManager[object]:
        """Return a context for many steps with laws like this, which changes nothing.

        Returns
        -------
        context manager
        """
        return nullcontext()

    def variables(self) -> dict[str, tuple[tuple[str, ...], Array]]:
        """Return what the law is made of, factor by factor: name -> (dimensions, array).

        Returns
        -------
        dict
        """
        found: dict[str, tuple[tuple[str, ...], Array]] = {
            "rotation": (("x", "y"), self.rotation),
            "shift": (("x",), self.shift),
        }
        for number, factor in enumerate(self.factors):
            name = f"factor_{number}"
            if isinstance(factor, Gaussian):
                found[f"{name}_mean"] = (f"{name}_i",), factor.mean
                found[f"{name}_covariance"] = (f"{name}_i", f"{name}_j"), factor.covariance
            else:
                density = factor if isinstance(factor, Density) else factor.density
                dims = tuple(f"{name}_{axis}" for axis in density.grid.names)
                found[f"{name}_log_density"] = dims, density.grid.backend.asnumpy(density.log_values)
        return found

    def inner(self, points: ArrayLike) -> Array:
        """Map points x to the coordinates y = Q'(x - shift).

        Parameters
        ----------
        points : array (..., d)

        Returns
        -------
        array (..., d)
        """
        array = real_array("points", points)
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"points have shape {array.shape}, but the law is {self.ndim}-dimensional: "
                f"the last axis must have length {self.ndim}"
            )
        return self.frame.inner(array)

    def outer(self, points: ArrayLike) -> Array:
        """Map points y to the places x = shift + Q y.

        Parameters
        ----------
        points : array (..., d)

        Returns
        -------
        array (..., d)
        """
        return self.frame.outer(points)

    def mean(self) -> Array:
        """Compute the mean of x.

        Returns
        -------
        array (d,)
        """
        return self.outer(np.concatenate([mean for mean, _ in map(moments_of, self.factors)]))

    def covariance(self) -> Array:
        """Compute the covariance matrix of x.

        Returns
        -------
        array (d, d)
        """
        result = np.zeros((self.ndim, self.ndim))
        for block, factor in zip(self.blocks, self.factors, strict=True):
            result[block, block] = moments_of(factor)[1]
        return result if self.frame.is_given else self.rotation @ result @ self.rotation.T

    def log_prob(self, points: ArrayLike) -> Array:
        """Evaluate log mu, the sum over the factors; -inf outside the boxes of their grids.

        Parameters
        ----------
        points : array (..., d)
            Places x.

        Returns
        -------
        array (...)
        """
        y = self.inner(points)
        parts = zip(self.factors, self.blocks, strict=True)
        return np.asarray(sum(log_prob_of(factor, y[..., block]) for factor, block in parts))[()]

    def score(self, points: ArrayLike) -> Array:
        """Evaluate the gradient of log mu; NaN outside the boxes of the grids.

        Parameters
        ----------
        points : array (..., d)
            Places x.

        Returns
        -------
        array (..., d)
        """
        y = self.inner(points)
        parts = zip(self.factors, self.blocks, strict=True)
        return self.frame.outer_vectors(np.concatenate([f.score(y[..., block]) for f, block in parts], axis=-1))

    def sample(self, n: int, rng: Rng = None) -> Array:
        """Draw independent points: those of the factors, one beside another.

        Parameters
        ----------
        n : int
            Number of points.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, d)
        """
        n, rng = draws(n, self.ndim), generator(rng)
        y = np.empty((n, self.ndim))
        for block, factor in zip(self.blocks, self.factors, strict=True):
            y[:, block] = factor.sample(n, rng)
        return self.outer(y)

    def marginal(self, k: int) -> Density | Gaussian:
        """Compute the law of one coordinate of y; where the rotation is the identity, of x less the shift.

        Parameters
        ----------
        k : int
            Number of the coordinate, from 0 to d - 1.

        Returns
        -------
        Density or Gaussian
            In one dimension.

        Raises
        ------
        ValueError
            If there is no such coordinate.
        """
        factor, j = self.place(k)
        if isinstance(factor, Density):
            return factor if factor.ndim == 1 else factor.marginal(j)
        return factor.coordinate if isinstance(factor, RadialLaw) else Gaussian(factor.mean[j], factor.covariance[j, j])

    def place(self, k: int) -> tuple[Factor, int]:
        """Return the factor that a coordinate of y belongs to, and its number among those of the factor.

        Parameters
        ----------
        k : int
            Number of the coordinate.

        Returns
        -------
        factor, int

        Raises
        ------
        ValueError
            If there is no such coordinate.
        """
        meaning = f"the number of a coordinate, of which there are {self.ndim}"
        k = whole("k", k, 0, meaning, most=self.ndim - 1)
        number = next(i for i, block in enumerate(self.blocks) if k < block.stop)
        return self.factors[number], k - self.blocks[number].start


def moments_of(factor: Factor) -> tuple[Array, Array]:
    """Return the mean and the covariance of a factor in its own coordinates."""
    if isinstance(factor, Gaussian):
        return factor.moments()
    law = with_corrected_masses(factor) if isinstance(factor, Density) else factor
    return law.mean(), law.covariance()


def log_prob_of(factor: Factor, points: Array) -> Array:
    """Evaluate the normalised log-density of a factor in its own coordinates."""
    if isinstance(factor, Gaussian):
        return factor.log_density(points) - factor.log_normaliser
    return factor.log_prob(points)


def table_of_factors(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as a piece of a page, a row for every factor."""
    above = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{above}</tr></thead><tbody>{body}</tbody></table>"


def _words(factor: Factor) -> str:
    """Say what a factor is."""
    if isinstance(factor, Density):
        return f"a density on {'x'.join(map(str, factor.grid.shape))} cells"
    where = f"in {factor.ndim} dimensions" if factor.ndim > 1 else "on a line"
    return f"a Gaussian {where}" if isinstance(factor, Gaussian) else f"a radial law {where}"


def _checked_factors(factors: Any) -> tuple[Factor, ...]:
    """Return the factors as a tuple, if they are laws of mass one."""
    refuse_no_entries("factors", factors)
    if isinstance(factors, Factor | str) or not isinstance(factors, Iterable):
        raise TypeError(f"factors must be a list of densities, Gaussians and radial laws, got {shown(factors)}")
    found = tuple(factors)
    if not found:
        raise ValueError("factors is empty: a product needs at least one")
    for k, factor in enumerate(found):
        if not isinstance(factor, Factor):
            raise TypeError(
                f"factors[{k}] must be a Density, a Gaussian or a RadialLaw, got {shown(factor)}: put a distribution "
                "on a grid, grid.density(distribution)"
            )
        if isinstance(factor, Density) and not abs(factor.mass - 1) <= MASS_ERROR:
            raise ValueError(f"factors[{k}] has mass {factor.mass:.6g}, not one: give density.normalised()")
    return found
