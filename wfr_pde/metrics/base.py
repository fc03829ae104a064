"""What all metrics have in common: names for plots and Datasets, and the checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.arguments import knows_its_arguments, text, whole
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw

Measure = Density | Particles
Law = Measure | ProductLaw  # what some metrics take as reference
# what to do where a metric takes no law in any dimension
BY_DRAWS = "compare with draws from it, wfr.metrics.ByDraws(metric, draws=4000)"
MARGINALS = (
    "compare coordinate by coordinate, as MarginalTotalVariation(), MarginalWasserstein() and MarginalQuantiles() do"
)
F = TypeVar("F", bound=Callable[..., float])

MASS_ERROR = 1e-6  # by which the mass of a density may differ from one: more is a density that was not normalised
NEGLIGIBLE = 1e-16  # share of the mass that may be left out, all cells together: below the rounding of what is left
# of its largest term, by which a sum that is >= 0 may be negative: rounding of thousands of terms; more is an error
NEGATIVE = 1e-12


class Metric(Record):
    """Base of metrics with parameters: a frozen dataclass that is called with (reference, other) and returns a float.

    Metrics without parameters are functions with the same attributes. What a metric declares here, such as its
    symmetry, is measured by `tests/contracts/test_metrics.py`.

    Attributes
    ----------
    name : str
        Name of the variable in a Dataset.
    long_name : str
        Label for the axis of a plot.
    units : str
        "length" is the unit of the space.
    symmetric : bool
        Whether the two measures may be exchanged, where both orders are taken.
    triangle : bool
        Whether the triangle inequality holds between measures of one kind.
    vanishes : bool
        Whether the distance of a density from itself is zero, up to the quadrature.
    signed : bool
        Whether it may be negative.
    splits_weights : bool
        Whether a particle of weight w counts as two of w/2 at the same place.
    references, others : tuples of types
        The kinds of measures that it takes as reference, and as the other.
    max_ndim : int or math.inf
        Largest number of dimensions.
    floor : callable, where it is known
        ``floor(reference, n)`` is the mean, or the root mean square, over n independent draws from the reference.
    at_resolution_of : callable, where the number of particles decides how closely it looks
        ``at_resolution_of(reference, n)`` is the metric that looks at any number of particles as it does at n.
    fewest : int, where it needs several
        Number of particles that it needs.

    Examples
    --------
    A metric of your own, the shift of the mean of the first coordinate:

    >>> from dataclasses import dataclass
    >>> import wfr_pde as wfr
    >>> @dataclass(frozen=True)
    ... class Shift(wfr.metrics.Metric):
    ...     name: str = "shift"
    ...     def __call__(self, reference, other):
    ...         return abs(float(reference.mean()[0] - other.mean()[0]))
    >>> Shift()(wfr.Particles([[0.0], [2.0]]), wfr.Particles([[4.0]]))
    3.0
    """

    name: str
    units: str = "1"
    symmetric: bool = False
    triangle: bool = False
    vanishes: bool = True
    signed: bool = False
    splits_weights: bool = True
    references: tuple[type, ...] = (Density, Particles)
    others: tuple[type, ...] = (Density, Particles)
    max_ndim: float = math.inf

    def __post_init__(self) -> None:
        """Check the name, which all metrics have; metrics with parameters of their own check those besides."""
        text("name", self.name, "the name of a variable")

    @property
    def long_name(self) -> str:
        """Label for the axis of a plot."""
        return self.name

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, reference: Any, other: Any) -> float:
        """Return the distance of `other` from `reference`."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(reference, other)")


# attributes that every metric declares
DECLARED = ("symmetric", "triangle", "vanishes", "signed", "splits_weights", "references", "others", "max_ndim")
WHERE_KNOWN = ("floor", "at_resolution_of", "fewest")  # attributes that only some metrics have


def described(long_name: str, units: str = "1", **declared: Any) -> Callable[[F], F]:
    """Give a metric that is a function the attributes of a `Metric`: a decorator.

    Parameters
    ----------
    long_name, units : str
        Label for the axis of a plot, and its units.
    **declared
        Attributes of `Metric` that differ from those of the class, and `floor`, `at_resolution_of` or `fewest`.

    Raises
    ------
    TypeError
        If a metric has no such attribute.
    """
    unknown = sorted(declared.keys() - set(DECLARED) - set(WHERE_KNOWN))
    if unknown:
        raise TypeError(f"a metric declares {', '.join(DECLARED + WHERE_KNOWN)}, not {', '.join(unknown)}")

    def describe(function: F) -> F:
        named: Any = knows_its_arguments(function)
        attributes: dict[str, Any] = {"name": function.__name__, "long_name": long_name, "units": units}
        attributes |= {name: getattr(Metric, name) for name in DECLARED} | declared
        for attribute, value in attributes.items():
            setattr(named, attribute, value)
        return named

    return describe


def check_measures(reference: Any, other: Any, metric: str = "this metric", product: str = "") -> None:
    """Refuse what is neither a Density nor Particles, and two measures in different numbers of dimensions.

    A `ProductLaw` as reference is refused, too, with the remedy `product`; without one it is taken.
    """
    if isinstance(reference, ProductLaw):
        if product:
            raise TypeError(f"{metric} takes no law in any dimension as reference, {reference!r}: {product}")
        check_axes(metric, reference)
    else:
        check_measure(reference, "reference", metric)
    check_measure(other, "other", metric)
    if reference.ndim != other.ndim:
        raise ValueError(
            f"the reference is {reference.ndim}-dimensional, but the other is {other.ndim}-dimensional; "
            "density.marginal(axes) has fewer coordinates"
        )


def check_measure(measure: Any, role: str, metric: str) -> None:
    """Refuse what is neither a Density of mass one, up to 1e-6, nor Particles."""
    if isinstance(measure, ProductLaw):
        raise TypeError(
            f"{metric} compares a Density or Particles with the law in any dimension, but {role} is a ProductLaw: give "
            "draws, Particles(law.sample(n))"
        )
    if not isinstance(measure, Density | Particles):
        raise TypeError(
            f"{metric} compares a Density or Particles, but {role} is {type(measure).__name__}: wrap positions (n, d) "
            "as Particles(positions, log_weights); the last frame of a Dataset is Density.from_dataset(ds)"
        )
    if isinstance(measure, Density) and not abs(measure.mass - 1) <= MASS_ERROR:
        raise ValueError(f"{role} has mass {measure.mass:.6g}, not one: give density.normalised()")


def check_density(reference: Any, metric: str, *, products: bool = False) -> None:
    """Refuse a reference that is not a density on a grid, or a product in any dimension where those do, too."""
    if products and isinstance(reference, ProductLaw):
        return
    if isinstance(reference, ProductLaw):
        raise TypeError(f"{metric} needs a density on a grid, and {reference!r} is on none: {MARGINALS}")
    if not isinstance(reference, Density):
        raise TypeError(
            f"{metric} needs a Density as reference, got {type(reference).__name__}: put the target on a grid, "
            "grid.density(target)"
        )
    check_measure(reference, "reference", metric)


def check_draws(n: Any) -> None:
    """Refuse numbers of draws that are not whole and positive."""
    whole("n", n, 1, "the number of independent draws")


def check_straight(metric: str, *measures: Any) -> None:
    """Refuse periodic axes, where distances are not those of a line."""
    for measure in measures:
        periodic = [axis.name for axis in measure.grid.axes if axis.periodic] if isinstance(measure, Density) else []
        if periodic:
            raise ValueError(
                f"{metric} measures distances along straight lines, but axis {periodic[0]} is periodic: use "
                "total_variation or hellinger, which know no distances, or a box with no-flux walls"
            )


def check_axes(metric: str, law: ProductLaw) -> None:
    """Refuse a product of laws with a periodic axis, where coordinates are not those of a line."""
    for factor in law.factors:
        if isinstance(factor, Density) and any(axis.periodic for axis in factor.grid.axes):
            raise ValueError(
                f"{metric} takes no product with a periodic axis, which {factor.grid!r} has: compare with that factor"
            )


def check_same_cells(a: Grid, b: Grid) -> None:
    """Refuse two grids whose cells differ."""
    if not a.matches(b):
        raise ValueError(f"the densities are on different grids: {differences(a, b)}")


def differences(a: Grid, b: Grid) -> str:
    """Say in words what differs between two grids."""
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in ("shape", "boundary", "names", "lower", "upper")]
    found = [f"{name} {one} and {two}" for name, one, two in pairs if one != two]
    return ", ".join(found) or "the cells have different edges"


def cell_masses(density: Density) -> Array:
    """Return the masses of the cells, of shape `grid.shape`, summing to one, as a NumPy array."""
    masses = density.grid.backend.asnumpy(density.values * density.grid.cell_volume)
    return np.asarray(masses / masses.sum())


def atoms(measure: Measure) -> tuple[Array, Array]:
    """Return points (n, d) and weights (n,): the particles of positive weight, or the cell centres where mass is."""
    if isinstance(measure, Particles):
        weights = measure.weights
        return measure.positions[weights > 0], weights[weights > 0]
    masses = cell_masses(measure).ravel()
    kept = np.flatnonzero(masses > NEGLIGIBLE / masses.size)
    index = np.unravel_index(kept, measure.grid.shape)
    points = np.stack([axis.centres[i] for axis, i in zip(measure.grid.axes, index, strict=True)], axis=-1)
    return points, masses[kept] / masses[kept].sum()


def wrapped(positions: Array, grid: Grid) -> Array:
    """Move the coordinates of positions (n, d) along periodic axes into the box."""
    result = positions.copy()
    for k, axis in enumerate(grid.axes):
        if axis.periodic:
            result[:, k] = axis.edges[0] + (positions[:, k] - axis.edges[0]) % axis.length
    return result


def root(square: float, size: float, metric: str) -> float:
    """Return the root of `square`, which is >= 0 but for rounding of terms as large as `size`.

    Raises
    ------
    NumericalError
        If it is negative by more, as it is where the cells do not resolve what is summed over them.
    """
    if square < -NEGATIVE * size:
        raise NumericalError(
            f"the square of {metric} came out as {square:.3g}, below the error of the sum over the cells: "
            "use a finer grid, or squared=True"
        )
    return math.sqrt(max(square, 0.0))
