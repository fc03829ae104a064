"""Errors of expectations: means, covariances, masses of modes, functions of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.integrate import diagnostics
from wfr_pde.integrate.product_modes import product_mode_masses
from wfr_pde.metrics.base import (
    BY_DRAWS,
    Law,
    Measure,
    Metric,
    check_density,
    check_draws,
    check_measures,
    described,
    wrapped,
)
from wfr_pde.metrics.binned import mean_deviation
from wfr_pde.numerics.arguments import function, real_array, text
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw

LAWS = (Density, Particles, ProductLaw)


def _floor_of_mean(reference: Density | ProductLaw, n: int) -> float:
    """Return the mean over `n` independent draws from the reference: tr(covariance)/n."""
    check_density(reference, "mean_error", products=True)
    check_draws(n)
    return float(np.trace(reference.covariance())) / n


@described("squared error of the mean", "length²", symmetric=True, floor=_floor_of_mean, references=LAWS)
def mean_error(reference: Law, other: Measure) -> float:
    """Return |m - m'|², m and m' the means: zero does not say that more than the means agree.

    Squared, so that its average over independent runs is a mean squared error, which for n independent draws from the
    reference is tr(covariance)/n. Of a `Density` the mean is that of the coordinates in the box; on a periodic axis
    particles are wrapped into it, elsewhere those outside the box count where they are. Cost O(n + cells).

    Parameters
    ----------
    reference, other : Density or Particles
        Two measures in the same number of dimensions.

    Returns
    -------
    float
        In length².

    Raises
    ------
    TypeError
        If one is neither.
    ValueError
        If dimensions differ.

    Examples
    --------
    The means (0, 0) and (3, 4) are 5 apart:

    >>> import wfr_pde as wfr
    >>> wfr.metrics.mean_error(wfr.Particles([[0.0, 0.0]]), wfr.Particles([[3.0, 4.0]]))
    25.0
    """
    a, b = _in_one_box(reference, other)
    return float(np.sum((a.mean() - b.mean()) ** 2))


@described("squared error of the covariance", "length⁴", symmetric=True, references=LAWS)
def covariance_error(reference: Law, other: Measure) -> float:
    """Return |C - C'|² in the Frobenius norm, C and C' the covariance matrices.

    C' of particles is Σ w (x - m')(x - m')ᵀ, without a correction of small samples.

    Parameters
    ----------
    reference, other : Density or Particles
        Two measures in the same number of dimensions.

    Returns
    -------
    float
        In length⁴.

    Raises
    ------
    TypeError, ValueError
        As `mean_error`.

    Examples
    --------
    The variances 1 and 4 differ by 3:

    >>> import wfr_pde as wfr
    >>> narrow, wide = wfr.Particles([[-1.0], [1.0]]), wfr.Particles([[-2.0], [2.0]])
    >>> wfr.metrics.covariance_error(narrow, wide)
    9.0
    """
    a, b = _in_one_box(reference, other)
    return float(np.sum((a.covariance() - b.covariance()) ** 2))


@described("effective sample size", vanishes=False, splits_weights=False, others=(Particles,))
def effective_sample_size(reference: Any, other: Particles) -> float:
    """Return 1/Σ w² of the particles, between 1 and n: neither positions nor the reference count.

    It says nothing of whether the particles are where they should be.

    Parameters
    ----------
    reference
        Anything: it does not count.
    other : Particles
        Those whose weights count.

    Returns
    -------
    float
        A number of particles.

    Raises
    ------
    TypeError
        If the other is not Particles.

    References
    ----------
    Kong (1992), A note on importance sampling using standardized weights, University of Chicago, technical report 348.

    Examples
    --------
    Of three particles with the weights ½, ½ and 0, two count:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> particles = wfr.Particles(np.zeros((3, 1)), log_weights=[0.0, 0.0, -np.inf])
    >>> round(wfr.metrics.effective_sample_size(None, particles), 6)
    2.0
    """
    if not isinstance(other, Particles):
        raise TypeError(f"the effective sample size is one of Particles, got {type(other).__name__} as other")
    return other.effective_sample_size


@dataclass(frozen=True, eq=False)
class ModeMasses(Metric):
    """Total variation of the masses of modes: ½ Σ_k |mu(B_k) - nu(B_k)|, B_k the points nearest to the k-th centre.

    It is between 0 and 1 and sees how the mass is divided between the modes, not what it looks like around them.
    `diagnostics.mode_masses` has the masses themselves. Where a boundary cuts through cells of a grid in the plane or
    in space, the error is up to the mass of those; particles outside the box count to their nearest centre, too. Cost
    O((n + cells) k). A `ProductLaw` as reference needs centres that are all combinations of centres of its blocks: the
    parts are products then.

    Parameters
    ----------
    centres : array (k, d), or (k,) in one dimension
        Usually the modes of the target.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    ValueError
        If the centres are not finite, or dimensions differ.

    Examples
    --------
    A quarter of the mass has to move from the mode at 1 to that at -1:

    >>> import wfr_pde as wfr
    >>> even, uneven = wfr.Particles([[-1.0], [1.0]]), wfr.Particles([[-1.0], [1.0], [1.1], [0.9]])
    >>> wfr.metrics.ModeMasses([-1, 1])(even, uneven)
    0.25
    """

    centres: ArrayLike = field(repr=False)
    name: str = "mode_masses_error"
    long_name = "total variation of the masses of the modes"
    symmetric = True
    triangle = True
    references = LAWS

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_masses", diagnostics.mode_masses(self.centres))

    @override
    def __call__(self, reference: Law, other: Measure) -> float:
        a, b = self._of(_in_one_box(reference, other))
        return 0.5 * float(np.abs(a - b).sum())

    def _of(self, measures: tuple[Law, ...]) -> list[Array]:
        masses: Any = self._masses  # type: ignore[attr-defined]
        return [
            product_mode_masses(measure, real_array("centres", self.centres))
            if isinstance(measure, ProductLaw)
            else np.asarray(masses(measure, None))
            for measure in measures
        ]

    def floor(self, reference: Density | ProductLaw, n: int) -> float:
        """Return the mean over `n` draws from the `reference`, exact as in `BinnedTotalVariation`."""
        check_density(reference, self.name, products=True)
        check_draws(n)
        return 0.5 * float(mean_deviation(np.clip(self._of((reference,))[0], 0, 1), n).sum())


@dataclass(frozen=True)
class ExpectationError(Metric):
    """Squared error |E_mu f - E_nu f|² of the expectation of a function, such as the indicator of a tail.

    It sees nothing but that expectation.

    Parameters
    ----------
    function : function of points (..., d) -> (...) or (..., k)
        The f.
    name : str
        Name of the variable in a Dataset.
    long_name : str
        Label for the axis of a plot.
    units : str
        Units of the squared error.

    Raises
    ------
    TypeError, ValueError
        As `mean_error`.

    Examples
    --------
    P(x > 0) is ½ and 0:

    >>> import wfr_pde as wfr
    >>> right = wfr.metrics.ExpectationError(lambda x: x[..., 0] > 0, name="right")
    >>> right(wfr.Particles([[-1.0], [1.0]]), wfr.Particles([[-1.0], [-2.0]]))
    0.25
    """

    function: Callable[[np.ndarray], ArrayLike]
    name: str
    long_name: str = "squared error of an expectation"
    units: str = "1"

    symmetric = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        function("function", self.function, "points (..., d) -> (...) or (..., k)")
        text("long_name", self.long_name)
        text("units", self.units)

    @override
    def __call__(self, reference: Measure, other: Measure) -> float:
        a, b = (measure.expectation(self.function) for measure in _in_one_box(reference, other, BY_DRAWS))
        return float(np.sum((a - b) ** 2))


def _in_one_box(reference: Any, other: Any, product: str = "") -> tuple[Any, Any]:
    """Check two measures, and wrap particles along the periodic axes of the density among them."""
    check_measures(reference, other, product=product)
    grids = [measure.grid for measure in (reference, other) if isinstance(measure, Density)]
    if not grids or not any(axis.periodic for axis in grids[0].axes):
        return reference, other
    a, b = (
        Particles(wrapped(m.positions, grids[0]), m.log_weights) if isinstance(m, Particles) else m
        for m in (reference, other)
    )
    return a, b
