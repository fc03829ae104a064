"""The command `wfr-pde info`: versions, backends, devices, threads and memory."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any

import numpy as np

from wfr_pde.app.cli.output import bytes_text, print_json, text_table
from wfr_pde.app.exit_codes import DONE
from wfr_pde.errors import BackendError
from wfr_pde.numerics.counted import counted

NAME = "info"
SUMMARY = "versions, backends, devices, threads, memory"
EXAMPLES = """examples:
  wfr-pde info
  wfr-pde info --json"""
OPTIONAL = (  # packages that some features need
    "cupy-cuda12x",
    "cupy-cuda13x",
    "pyfftw",
    "POT",
    "blackjax",
    "dask",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Print versions, backends, devices, threads and memory."""
    import importlib.metadata as metadata
    import platform

    from wfr_pde.numerics.backends.base import backend_names, get_backend
    from wfr_pde.storage.provenance import commit, versions
    from wfr_pde.storage.source_hash import source_hash

    backends: dict[str, str] = {}
    for name in backend_names():
        try:
            backends[name] = get_backend(name).device
        except BackendError as error:
            backends[name] = f"not available: {error}"
    optional = {}
    for name in OPTIONAL:
        with contextlib.suppress(metadata.PackageNotFoundError):
            optional[name] = metadata.version(name)
    more = {name: metadata.version(name) for name in ("matplotlib", "numba", "sympy", "h5py", "tqdm")}
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    memory = get_backend("numpy").available_memory()
    limits = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        if name in os.environ
    }
    content: dict[str, Any] = {
        "versions": {**versions(), **more, **optional},
        "commit": commit() or None,
        "source_hash": source_hash(),
        "platform": platform.platform(),
        "backends": backends,
        "blas": f"{blas['name']} {blas['version']}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread_limits": limits,
        "free_memory_bytes": memory,
        "missing_extras": [name for name in OPTIONAL if name not in optional],
    }
    if args.json:
        print_json(content)
    else:
        print(_info_text(content))
    return DONE


def _info_text(content: dict[str, Any]) -> str:
    """Format versions, devices, threads and memory as a table."""
    memory = content["free_memory_bytes"]
    limits = ", ".join(f"{name}={value}" for name, value in content["thread_limits"].items())
    rows = [
        *content["versions"].items(),
        ("commit", content["commit"] or "unknown"),
        ("source hash", content["source_hash"]),
        ("platform", content["platform"]),
        *((f"backend {name}", text) for name, text in content["backends"].items()),
        ("blas", content["blas"]),
        ("threads", counted(content["cpus"], "processor") + (f" ({limits})" if limits else "")),
        ("memory", "unknown" if memory is None else f"{bytes_text(memory)} are free"),
        ("not installed", ", ".join(content["missing_extras"]) or "nothing"),
    ]
    return text_table(rows)
