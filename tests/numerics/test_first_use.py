"""What is said when code is compiled, and that it is said once, and only where somebody is looking."""

import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys
import numpy as np
from wfr_pde.numerics import progress

sys.stderr.isatty = lambda: sys.argv[1] == "terminal"
from wfr_pde.numerics.compiled.pair_sums import kernel_sums, log_kernel_sums

x = np.zeros((3, 1))
kernel_sums(x, x, np.ones(3), 1.0)
log_kernel_sums(x, x, np.zeros(3), 1.0)
"""
LINE = "wfr_pde compiles its loops, which takes some seconds; they are kept for the next time\n"


@pytest.mark.parametrize(("where", "said"), [("terminal", LINE), ("file", "")])
def test_the_first_compilation_is_announced(tmp_path, where, said):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, where]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stderr for _ in range(2)
    )
    assert first == said
    assert second == ""  # compiled already


COUNTED = """
import time
import numpy as np
from wfr_pde.numerics.compiled.pair_sums import kernel_sums, log_kernel_sums
from wfr_pde.numerics.deadline import clock

x, began, counted = np.zeros((3, 1)), time.perf_counter(), clock()
kernel_sums(x, x, np.ones(3), 1.0)
log_kernel_sums(x, x, np.zeros(3), 1.0)
print(time.perf_counter() - began, clock() - counted)
"""


def test_budgets_do_not_count_what_compiling_takes(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, env=environment, check=True)
    took, counted = map(float, run.stdout.split())
    assert counted < 0.5 * took


def test_functions_of_users_are_not_announced(capsys, monkeypatch):
    import numba

    from wfr_pde.numerics.compiled import first_use

    monkeypatch.setattr(first_use, "is_seen", lambda: True)
    monkeypatch.setattr(first_use.ANNOUNCER, "has_spoken", False)
    assert numba.njit(lambda x: x + 1)(np.float64(1.0)) == 2.0
    assert capsys.readouterr().err == ""
