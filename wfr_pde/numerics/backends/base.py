"""What a backend is: an array namespace and the two ways in and out of it."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from wfr_pde.errors import BackendError
from wfr_pde.numerics.arguments import shown
from wfr_pde.numerics.cellwise import Cellwise
from wfr_pde.numerics.precision import DOUBLE, SINGLE, Precision

if TYPE_CHECKING:
    from wfr_pde.numerics.cuda import Kernels


@dataclass(frozen=True)
class Transforms:
    """Spectral transforms of a library, along some axes of an array; they may overwrite their argument.

    Attributes
    ----------
    dctn, idctn : callable
        ``dctn(values, axes)``: cosine transform of type II, and its inverse, normalised as in SciPy.
    rfftn : callable
        ``rfftn(values, axes)``: Fourier transform of real values, half of it along the last of the axes.
    irfftn : callable
        ``irfftn(values, lengths, axes)``: its inverse, for results of those lengths.
    """

    dctn: Callable[[Any, tuple[int, ...]], Any]
    idctn: Callable[[Any, tuple[int, ...]], Any]
    rfftn: Callable[[Any, tuple[int, ...]], Any]
    irfftn: Callable[[Any, tuple[int, ...], tuple[int, ...]], Any]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An array library as the numerics see it.

    Attributes
    ----------
    name : str
        Name of the file in this folder that makes it.
    xp : module
        Array namespace, as the Python array API standard has it.
    device : str
        The device in words, for provenance.
    asarray : callable
        NumPy array to an array of the library, on its device.
    asnumpy : callable
        The way back.
    available_memory : callable
        Bytes that can still be allocated, or None where the system does not tell.
    one_thread : callable
        A context in which matrix products use one thread; nothing by default.
    threads : callable
        ``threads(many)``: a context in which `map` has one or many threads, and matrix products have one each.
    map : callable
        ``map(function, chunks)``: the results for all chunks, in order; in `threads`, by several of them.
    compiled_cellwise : callable
        Compiled `Cellwise` for a number of cells, or None where those of the array API are as well.
    read_only : callable
        The same array such that nobody can change it, where the library can do that.
    chunk : int
        Values that are treated at a time where work is cut into chunks: what stays in cache, or fills a device.
    transforms : Transforms or None
        Spectral transforms on the device; None where arrays go through the host's.
    precision : Precision
        Of all numbers on the device.
    kernels : backends.cuda.Kernels or None
        Line sweeps and the fused reaction on the device; None where sweeps go through the host, by compiled code.

    Examples
    --------
    Sum up an array of the library on its device:

    >>> import numpy as np
    >>> from wfr_pde.numerics.backends import get_backend
    >>> backend = get_backend("numpy")
    >>> float(backend.asnumpy(backend.xp.sum(backend.asarray(np.ones(3)))))
    3.0
    """

    name: str
    xp: Any = field(repr=False)
    device: str
    asarray: Callable[[np.ndarray], Any] = field(repr=False)
    asnumpy: Callable[[Any], np.ndarray] = field(repr=False)
    available_memory: Callable[[], int | None] = field(repr=False)
    one_thread: Callable[[], AbstractContextManager[object]] = field(repr=False, default=nullcontext)
    threads: Callable[[bool], AbstractContextManager[object]] = field(repr=False, default=lambda many: nullcontext())
    map: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]] = field(
        repr=False, default=lambda function, chunks: [function(chunk) for chunk in chunks]
    )
    read_only: Callable[[Any], Any] = field(repr=False, default=lambda array: array)
    chunk: int = field(repr=False, default=2**15)
    transforms: Transforms | None = field(repr=False, default=None)
    kernels: Kernels | None = field(repr=False, default=None)
    precision: Precision = field(repr=False, default=DOUBLE)
    compiled_cellwise: Callable[[int], Cellwise | None] = field(repr=False, default=lambda cells: None)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Name the backend in copies and pickles: libraries and their functions do not travel."""
        return get_backend, (self.name,)

    def cellwise(self, cells: int) -> Cellwise:
        """Return the operations cell by cell that are fastest for a grid of so many `cells`."""
        return self.compiled_cellwise(cells) or Cellwise(self.xp)


def backend_names() -> list[str]:
    """List the names of the backends that this version has."""
    import wfr_pde.numerics.backends as package

    modules = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in modules if not module.ispkg and module.name != "base")


def get_backend(backend: str | Backend) -> Backend:
    """Return the backend of a name; a `Backend` is passed through.

    Parameters
    ----------
    backend : str or Backend
        The name of a file of this folder, such as "numpy"; ":single" after it asks for single precision.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If there is no such backend, or its library or device is missing.
    TypeError
        If it is neither a text nor a Backend.

    Examples
    --------
    >>> from wfr_pde.numerics.backends import get_backend
    >>> [get_backend(name).precision.itemsize for name in ("numpy", "numpy:single")]
    [8, 4]
    """
    if isinstance(backend, Backend):
        return backend
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a Backend or the name of one, got {shown(backend)}")
    name, colon, precision = backend.partition(":")
    if name not in backend_names() or (colon and precision != SINGLE.name):
        raise BackendError(
            f"there is no backend {shown(backend)} in this version of wfr_pde; use one of: "
            f"{', '.join(backend_names())}, "
            'or one of them with ":single" after it'
        )
    library: Backend = importlib.import_module(f"wfr_pde.numerics.backends.{name}").backend()
    return in_single(library) if colon else library


@functools.cache
def in_single(backend: Backend) -> Backend:
    """Return the same library and device with all numbers in single precision; the host keeps double."""

    def asarray(array: np.ndarray) -> Any:
        return backend.asarray(array.astype(SINGLE.dtype) if array.dtype == DOUBLE.dtype else array)

    def asnumpy(array: Any) -> np.ndarray:
        host = backend.asnumpy(array)
        return host.astype(DOUBLE.dtype) if host.dtype == SINGLE.dtype else host

    return replace(
        backend,
        name=f"{backend.name}:{SINGLE.name}",
        asarray=asarray,
        asnumpy=asnumpy,
        compiled_cellwise=lambda cells: None,
        kernels=None,
        precision=SINGLE,
    )
