"""The decorator `described`: what a Dataset says of a record, its long name, units and dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wfr_pde.energies import Energy
from wfr_pde.numerics.arguments import knows_its_arguments, shown, text

Record = Callable[[Any, Energy], Any]  # f(state, energy) -> number or array


@knows_its_arguments
def described(
    long_name: str, units: str = "1", dims: tuple[str, ...] = (), name: str | None = None
) -> Callable[[Record], Record]:
    """Make a decorator that states what a Dataset says of a record.

    Parameters
    ----------
    long_name : str
        Label for the axis of a plot.
    units : str
        Units of the value; "1" for a pure number.
    dims : tuple of str
        Dimensions of a value that is not a single number.
    name : str, optional
        Name of the variable; by default that of the function.

    Returns
    -------
    decorator of functions f(state, energy)

    Raises
    ------
    TypeError
        If an argument is not of its type.

    Examples
    --------
    Record the second moment E_mu x², which is 2 for N(1, 1):

    >>> import wfr_pde as wfr
    >>> @wfr.diagnostics.described("second moment", "length²")
    ... def second_moment(state, energy):
    ...     return state.expectation(lambda points: points[..., 0] ** 2)
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(float(second_moment(density, wfr.KL(wfr.Gaussian(0.0, 1.0)))), 6), second_moment.units
    (2.0, 'length²')
    """

    text("long_name", long_name)
    text("units", units)
    if not isinstance(dims, tuple) or not all(isinstance(dim, str) for dim in dims):
        raise TypeError(f'dims must be a tuple of names of dimensions, such as ("axis",), got {shown(dims)}')
    if name is not None:
        text("name", name)

    def describe(function: Record) -> Record:
        function = knows_its_arguments(function)
        attributes = {
            "long_name": long_name,
            "units": units,
            "dims": dims,
            "__name__": name or function.__name__,
        }
        for attribute, value in attributes.items():
            setattr(function, attribute, value)
        return function

    return describe
