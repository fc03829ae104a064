"""CuPy on a CUDA device: products by cuBLAS, transforms by cuFFT, and the kernels in `backends/cuda`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from wfr_pde.errors import BackendError
from wfr_pde.numerics.backends.base import Backend, Transforms
from wfr_pde.numerics.cuda import Kernels

# the remedy that messages name
INSTALL = 'pip install "wfr-pde[cuda12]" (or "wfr-pde[cuda13]", by the CUDA version that nvidia-smi prints)'
CHUNK = 2**24  # values of a chunk: enough for every multiprocessor


def _library() -> Any:
    """Import the package, with a device that it can use.

    Raises
    ------
    BackendError
        If there is no such package, or no such device.
    """
    try:
        import cupy
    except ImportError as error:
        raise BackendError(f"the cupy backend needs CuPy ({error}): {INSTALL}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        said = "no CUDA device"
    except RuntimeError as error:
        count, said = 0, str(error)
    if count == 0:
        raise BackendError(
            f"the cupy backend finds no device that it can use; the CUDA driver says: {said}. Check what nvidia-smi "
            f"prints and CUDA_VISIBLE_DEVICES; CuPy has to fit the driver: {INSTALL}; or use the numpy backend"
        )
    return cupy


def _device(cupy: Any) -> str:
    """Return name and number of the device."""
    number = cupy.cuda.runtime.getDevice()
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"]
    return f"{name.decode() if isinstance(name, bytes) else name} (CUDA device {number})"


def _available_memory(cupy: Any) -> int:
    """Count the bytes that are free on the device, or held by CuPy's pool for reuse, within the limit of the pool."""
    free, _ = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    available, limit = free + pool.free_bytes(), pool.get_limit()
    return min(available, limit - pool.used_bytes()) if limit > 0 else available


def _transforms() -> Transforms:
    from cupyx.scipy import fft

    return Transforms(
        dctn=lambda values, axes: fft.dctn(values, type=2, axes=axes, overwrite_x=True),
        idctn=lambda values, axes: fft.idctn(values, type=2, axes=axes, overwrite_x=True),
        rfftn=lambda values, axes: fft.rfftn(values, axes=axes),
        irfftn=lambda values, lengths, axes: fft.irfftn(values, s=lengths, axes=axes, overwrite_x=True),
    )


@functools.cache
def backend() -> Backend:
    """Return the CuPy backend on the current device; asked for again, the same object.

    Raises
    ------
    BackendError
        If CuPy or a device is missing.
    """
    cupy = _library()
    return Backend(
        name="cupy",
        xp=cupy,
        device=_device(cupy),
        asarray=lambda array: cupy.asarray(np.ascontiguousarray(array)),
        asnumpy=cupy.asnumpy,
        available_memory=lambda: _available_memory(cupy),
        chunk=CHUNK,
        transforms=_transforms(),
        kernels=Kernels(cupy, lambda text: cupy.RawModule(code=text, options=("-std=c++17",)).get_function),
    )
