"""One process writes a directory at a time."""

import errno
import subprocess
import sys
import threading
import time

import pytest

from wfr_pde.storage.locks import locked


def test_a_lock_leaves_nothing_and_clears_what_the_killed_left(tmp_path):
    (tmp_path / ".data.nc.1.tmp.nc").touch()
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        with pytest.raises(BlockingIOError, match="wait until it is done"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_can_be_waited_for(tmp_path):
    order = []

    def second():
        with locked(tmp_path, wait=True):
            order.append("second")

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_without_locks_it_is_written_all_the_same(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_another_error_of_the_lock_is_not_hidden(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def broken(file, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path):
        pass


def test_those_who_wait_come_one_at_a_time_though_each_removes_the_file(tmp_path):
    inside, most = [], []

    def come_and_go():
        for _ in range(8):
            with locked(tmp_path, wait=True):
                inside.append(0)
                time.sleep(0.002)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 32
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_process(tmp_path):
    script = (
        "import sys, time\nfrom wfr_pde.storage.locks import locked\n"
        "with locked(sys.argv[1]):\n    print('locked', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError, match="being written by another process"), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
