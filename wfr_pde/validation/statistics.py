"""Expectations that samplers are judged by: moments, masses of regions and of modes, the potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.diagnostics import mode_masses
from wfr_pde.numerics.arguments import finite_array, instance, real_array, shown
from wfr_pde.numerics.arguments import function as checked_function
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

Function = Callable[[Array], ArrayLike]

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of every coordinate, at which regions end: the median, and two on either side
SAME_SHARE = 0.05  # by which the mass of a region may miss the quantile that it is named by
KINDS = ("moments", "regions", "modes", "potential")  # kinds of statistics, as `observables` explains them


@dataclass(frozen=True, eq=False)
class Observables:
    """Functions f of a point, and their expectations under densities and particles.

    An expectation is linear in the law, so that independent particles are unbiased for each, whatever their number.

    Parameters
    ----------
    functions : mapping name -> function of points (..., d) -> (...)
        The f.
    reference : Density
        Density that means and standard deviations are taken under.
    """

    functions: Mapping[str, Function]
    reference: Density

    @property
    def names(self) -> list[str]:
        """Names of the functions."""
        return list(self.functions)

    def values(self, points: Array) -> Array:
        """Evaluate all functions at points (..., d); the result has shape (..., k)."""
        found = ((name, call(f"the statistic {name!r}", f, points)) for name, f in self.functions.items())
        return np.stack([real_array(f"what {name} returns", values) for name, values in found], axis=-1)

    def means(self, measure: Density | Particles) -> Array:
        """Return the expectations (k,) under a measure."""
        return np.asarray(measure.expectation(self.values))

    def deviations(self) -> Array:
        """Return the standard deviations (k,) of the functions under the reference."""
        centre = self.means(self.reference)
        square = np.asarray(self.reference.expectation(lambda points: (self.values(points) - centre) ** 2))
        return np.sqrt(square)

    def only(self, which: list[str]) -> Observables:
        """Keep the functions with some of the names."""
        return Observables({name: self.functions[name] for name in which}, self.reference)


def observables(
    reference: Density,
    target: Target,
    modes: ArrayLike | None = None,
    statistics: Mapping[str, Function] | None = None,
) -> Observables:
    """Return the statistics that a sampler of a density is judged by.

    - *moments*: every coordinate, and the products of two about the mean of the reference: "mean x", "variance x",
      "covariance x y";
    - *regions*: the mass below the 10, 30, 50, 70 and 90 % quantiles of every coordinate, at the cell edges next to
      these, where one is that has such a mass within 5 %: "x < 50 %";
    - *modes*: the mass nearest to each of the modes: "mode 1", ...;
    - *potential*: V, up to a constant: "potential".

    Parameters
    ----------
    reference : Density
        Law that they are taken of: its quantiles bound the regions.
    target : Target
        pi; the modes are by default the means of its components, where it has those.
    modes : array (k, d), optional
        Places of modes.
    statistics : mapping name -> function of points (..., d) -> (...), optional
        These in place of all others.

    Returns
    -------
    Observables

    Raises
    ------
    ValueError
        If the modes do not fit, or there are no statistics.
    """
    if statistics is not None:
        instance("statistics", statistics, Mapping, "name -> function of points")
        for name, function in statistics.items():
            checked_function(f"statistics[{name!r}]", function, "points (..., d) -> (...)")
        if not statistics:
            raise ValueError("statistics is empty: give at least one function of points, or None for the usual ones")
        if modes is not None:
            raise ValueError("modes have no part in statistics of your own: leave one of the two out")
        return Observables({name: partial(_of_points, name=name, f=f) for name, f in statistics.items()}, reference)
    functions = _moments(reference) | _regions(reference)
    centres: Any = getattr(target, "means", None) if modes is None else finite_array("modes", modes)
    if modes is not None and (np.ndim(centres) not in (1, 2) or len(centres) < 2):
        raise ValueError(f"modes must be two places or more, of shape (k, {reference.ndim}), got {shown(modes)}")
    if centres is not None and len(centres) > 1:
        functions |= _modes(np.reshape(centres, (len(centres), -1)), reference.ndim)
    functions["potential"] = lambda points: -target.log_density(points)
    return Observables(functions, reference)


def _of_points(points: Array, name: str, f: Function) -> Array:
    """Return the values of a function of the user, if there is one for each point."""
    values = real_array(f"what statistics[{name!r}] returns", f(points))
    if values.shape != points.shape[:-1]:
        raise ValueError(
            f"statistics[{name!r}] must return one number for each point, shape {points.shape[:-1]} for points of "
            f"shape {points.shape}, but returns shape {values.shape}: coordinates are in the last axis, as x[..., 0]"
        )
    return values


def _moments(reference: Density) -> dict[str, Function]:
    """Return first and second moments about the mean of the reference."""
    names, centre = reference.grid.names, reference.mean()
    functions: dict[str, Function] = {}
    for k, name in enumerate(names):
        functions[f"mean {name}"] = partial(coordinate, k=k)
    for k, name in enumerate(names):
        for m in range(k + 1):
            key = f"variance {name}" if m == k else f"covariance {names[m]} {name}"
            functions[key] = partial(product_about, centre=centre, k=k, m=m)
    return functions


def _regions(reference: Density) -> dict[str, Function]:
    """Return half-spaces that end at cell edges next to quantiles."""
    names = reference.grid.names
    return {f"{names[k]} < {100 * share:g} %": partial(below, edge=edge, k=k) for k, share, edge in edges_of(reference)}


def edges_of(reference: Density) -> list[tuple[int, float, float]]:
    """Return the number of an axis, a share of the mass, and the cell edge next to that quantile, for all regions.

    Edges are every third, which a grid of two thirds of the cells has, too. On coarse grids they may be far from a
    quantile, or the same for two: such regions are left out.
    """
    found = []
    for k, axis in enumerate(reference.grid.axes):
        marginal = reference.marginal(k)
        mass = np.cumsum(reference.grid.backend.asnumpy(marginal.values) * axis.widths)[2::3]
        for share in QUANTILES:
            place = int(np.argmin(np.abs(mass - share)))
            if abs(mass[place] - share) < SAME_SHARE:
                found.append((k, share, float(axis.edges[3::3][place])))
    return found


def _modes(centres: Array, ndim: int) -> dict[str, Function]:
    """Return the Voronoi cells of the modes; points between two count half."""
    if centres.shape[1] != ndim:
        raise ValueError(f"the modes have shape {centres.shape}, but the space is {ndim}-dimensional: give (k, {ndim})")
    mode_masses(centres)  # checks them
    numbers = range(len(centres))
    return {f"mode {number + 1}": partial(nearest, centres=centres, number=number) for number in numbers}


def coordinate(points: Array, k: int) -> Array:
    """Return one coordinate of points (..., d)."""
    return points[..., k]


def product_about(points: Array, centre: Array, k: int, m: int) -> Array:
    """Return the product of two coordinates about a centre."""
    return (points[..., k] - centre[k]) * (points[..., m] - centre[m])


def below(points: Array, edge: float, k: int) -> ArrayLike:
    """Return whether a coordinate is below an edge."""
    return points[..., k] < edge


def nearest(points: Array, centres: Array, number: int) -> Array:
    """Return one where a centre is the nearest of some; points between two count half."""
    distance = np.stack([np.sum((points - centre) ** 2, axis=-1) for centre in centres], axis=-1)
    near = distance <= distance.min(axis=-1, keepdims=True) * (1 + 1e-12)
    return near[..., number] / near.sum(axis=-1)
