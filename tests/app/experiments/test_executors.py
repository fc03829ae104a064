"""Executors: processes that may die, and a Dask scheduler that is not there."""

import concurrent.futures
import contextlib
import importlib
import sys
import time
from pathlib import Path

import pytest

from wfr_pde.app.experiments import executors
from wfr_pde.errors import BackendError

CALLS = '''
import os
import signal
import sys
import time
from pathlib import Path


def environment():
    from threadpoolctl import threadpool_info

    return {pool["num_threads"] for pool in threadpool_info()}, os.environ.get("NUMBA_NUM_THREADS"), sys.stdout.name


def die(path):
    """Die at the first calls, as many as there are letters in the file."""
    left = Path(path).read_text()
    Path(path).write_text(left[1:])
    if left:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def divide(a, b=1):
    return a / b


def unpicklable():
    return lambda: None


def sleep(seconds, path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return seconds
'''


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A module that other processes can import, too."""
    (tmp_path / "calls_of_test_executors.py").write_text(CALLS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("calls_of_test_executors")
    del sys.modules["calls_of_test_executors"]


def is_running(pid):
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_calls_results_and_errors(calls):
    with executors.Processes(2) as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        assert list(pool.map(calls.divide, [1, 2, 3])) == [1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            pool.submit(calls.divide, 1, b=0).result()
        with pytest.raises(TypeError, match="cannot be sent"):
            pool.submit(calls.unpicklable).result()
        with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
            pool.submit(lambda: 1).result()
        assert pool.submit(calls.divide, 4).result() == 4  # none of it has broken the pool


def test_threads_are_shared_and_prints_go_to_stderr(monkeypatch, calls):
    monkeypatch.setattr(executors, "processors", lambda: 6)
    assert executors.Processes(4).threads == 1
    assert executors.Processes(2).threads == 3
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with executors.Processes(1, threads=1) as pool:
        assert pool.submit(calls.environment).result() == ({1}, "1", "<stderr>")


def test_a_process_that_dies_costs_only_its_own_call(tmp_path, calls):
    (tmp_path / "once").write_text("x")
    (tmp_path / "always").write_text("x" * 99)
    with executors.Processes(1) as pool:
        once, always = (pool.submit(calls.die, tmp_path / name) for name in ("once", "always"))
        after = pool.submit(calls.divide, 6, 2)
        assert once.result() == "survived"
        with pytest.raises(executors.ProcessDiedError, match="killed by signal 9 in the middle, 2 times"):
            always.result()
        assert after.result() == 3


def test_an_interrupt_ends_the_processes_at_once(tmp_path, calls):
    began = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), executors.Processes(1) as pool:
        running = pool.submit(calls.sleep, 200, tmp_path / "pid")
        waiting = pool.submit(calls.sleep, 200, tmp_path / "no")
        pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        raise KeyboardInterrupt
    assert time.monotonic() - began < 100
    assert not is_running(pid)
    assert waiting.cancelled()
    with pytest.raises(executors.ProcessDiedError):
        running.result()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("options", [{"jobs": 0}, {"jobs": 1, "threads": 0}])
def test_wrong_numbers(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        executors.Processes(**options)


def test_dask_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with (
        pytest.raises(BackendError, match=r'pip install "wfr-pde\[dask\]"'),
        executors.dask_executor("tcp://127.0.0.1:1"),
    ):
        pass
