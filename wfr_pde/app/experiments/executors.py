"""Executors that the cells of a sweep run on: anything with the interface of `concurrent.futures.Executor`.

`Processes` runs them on this machine, `dask_executor` on the workers of a Dask cluster. Others, such as
`mpi4py.futures.MPIPoolExecutor`, can be passed to `wfr_pde.app.experiments.sweep.sweep` as they are.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from typing_extensions import override

from wfr_pde.app.complaints import warnings_on_one_line
from wfr_pde.errors import BackendError

# of a call whose process dies: once more, as it may have been killed for the memory of another; then it is an error
ATTEMPTS = 2
SECONDS_TO_ANSWER = 10  # that a scheduler may take


class ProcessDiedError(RuntimeError):
    """End of a process in the middle of a call: killed, out of memory, or crashed."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes(Executor):
    """Executor of processes on this machine; one that dies costs only the call that it is at.

    They are spawned, not forked, so that threads and devices of this process do no harm. They end with this process,
    however that ends. A call whose process dies is made once more, in a new one.

    Parameters
    ----------
    jobs : int, optional
        How many; by default one per processor.
    threads : int, optional
        Threads of linear algebra in each; by default the processors are shared among them.

    Raises
    ------
    ValueError
        If `jobs` or `threads` is not positive.
    """

    def __init__(self, jobs: int | None = None, threads: int | None = None) -> None:
        self.jobs = processors() if jobs is None else jobs
        self.threads = max(1, processors() // max(1, self.jobs)) if threads is None else threads
        if self.jobs < 1 or self.threads < 1:
            raise ValueError(f"jobs and threads must be at least 1, got {self.jobs} and {self.threads}")
        self._own = threading.local()
        self._workers: list[_Worker] = []
        self._is_stopped = False
        self._pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="wfr-pde")

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` in a process; all of it must be picklable."""
        return self._pool.submit(self._call, fn, args, kwargs)

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with `cancel_futures` at once, in the middle of what they are at."""
        if cancel_futures:
            self._is_stopped = True
            for worker in list(self._workers):
                worker.process.terminate()
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for worker in self._workers:
                worker.close()

    @override
    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call in the process of this thread, which is started where there is none."""
        how = "stopped"
        for _ in range(ATTEMPTS):
            if self._is_stopped:
                break
            worker = self._living_worker()
            try:
                worker.connection.send((fn, args, kwargs))
                is_good, result = worker.connection.recv()
            except (EOFError, OSError):
                worker.close()
                how = worker.how_it_ended()
                continue
            if is_good:
                return result
            raise result
        raise ProcessDiedError(
            f"the process was {how} in the middle, {ATTEMPTS} times (by the system, where memory runs out)"
        )

    def _living_worker(self) -> _Worker:
        worker = getattr(self._own, "worker", None)
        if worker is None or not worker.process.is_alive():
            worker = self._own.worker = _Worker(self.threads)
            self._workers.append(worker)
        return worker


class _Worker:
    """Process that makes the calls that it is sent."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, its_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(its_end, threads), daemon=True)
        self.process.start()
        its_end.close()  # so that reading ends when the process does

    def close(self) -> None:
        """Let the process end, and wait for that."""
        self.connection.close()
        self.process.join()

    def how_it_ended(self) -> str:
        """Say by which exit code or signal the process ended."""
        code = self.process.exitcode
        return f"killed by signal {-code}" if code is not None and code < 0 else f"left with exit code {code}"


def _serve(connection: multiprocessing.connection.Connection, threads: int) -> None:
    """Make calls in a process, until there is nobody to make them for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    sys.stdout = sys.stderr  # what a call prints must not mix with a table or JSON
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with _threads(threads), warnings_on_one_line(), contextlib.suppress(EOFError, OSError):
        while True:
            fn, args, kwargs = connection.recv()
            try:
                reply = (True, fn(*args, **kwargs))
            except Exception as error:
                reply = (False, error)
            try:
                connection.send(reply)
            except (pickle.PicklingError, AttributeError, TypeError):
                connection.send((False, TypeError(f"{reply[1]!r} cannot be sent to another process")))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, in the middle of a call too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Limit the threads of linear algebra, and of loops that are compiled from now on."""
    import scipy.linalg  # noqa: F401  # loads its own linear algebra, which the limit is for
    from threadpoolctl import threadpool_limits

    os.environ.setdefault("NUMBA_NUM_THREADS", str(number))
    with threadpool_limits(limits=number):
        yield


@contextlib.contextmanager
def dask_executor(address: str, retries: int = 2) -> Iterator[Executor]:
    """Open the workers of a Dask cluster as an executor.

    They need this package, and the folders of the experiments and of the results under the same paths.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as tcp://10.0.0.1:8786, or path of its scheduler file.
    retries : int
        How often a call that raises is made again. Calls whose worker dies are made again by the scheduler.

    Raises
    ------
    BackendError
        If dask.distributed is not installed.
    ConnectionError
        If no scheduler answers.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise BackendError('Dask needs the package distributed: pip install "wfr-pde[dask]"') from None
    try:
        where = {"address": _address_in(address) if Path(address).is_file() else address}
        client = Client(**where, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, TypeError, concurrent.futures.TimeoutError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address!r} ({error}): start one by `dask scheduler`, workers by "
            "`dask worker ADDRESS`, and give the address that the scheduler prints"
        ) from None
    with client:
        yield client.get_executor(retries=retries)


def _address_in(path: str) -> str:
    """Read the address that the file of a scheduler names.

    Raises
    ------
    ValueError
        If it names none.
    """
    try:
        return str(json.loads(Path(path).read_text(encoding="utf-8"))["address"])
    except (ValueError, KeyError, TypeError):
        raise ValueError("the file is none of a scheduler: it holds no address") from None
