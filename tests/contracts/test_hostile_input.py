"""Hostile input to all that is public: errors of ours that name the argument, and no wrong number; see `hostile`.

More trials, and other ones, by ``python tests/contracts/hostile.py --seed N --trials 20000``, or here with the
environment variables WFR_HOSTILE_SEED and WFR_HOSTILE_TRIALS.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.numerics import arguments

sys.path.insert(0, str(Path(__file__).parent))
import hostile
import valid_calls

SEED, TRIALS = 20240611, 900


def accepts_everything(number):
    """A function that takes whatever comes."""
    return number


def raises_another_error(number):
    """A function whose callers see what NumPy says."""
    return np.reshape(np.asarray(number, dtype=float), (1, 1))


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """All valid calls."""
    return valid_calls.valid_calls(tmp_path_factory.mktemp("files"))


def test_every_public_name_has_a_valid_call(calls):
    assert valid_calls.public() <= calls.keys()


def test_every_argument_has_a_value_that_works(calls):
    for name, call in calls.items():
        signature = inspect.signature(call.function).parameters
        left = {p.name for p in signature.values() if p.kind is not p.VAR_KEYWORD} - call.arguments.keys() - {"self"}
        assert not left, f"{name}: say in valid_calls what {', '.join(sorted(left))} may be"


def test_every_public_figure_is_fit_to_print(calls, check_fit_to_print):
    from matplotlib.figure import Figure

    made = {name: calls[name]() for name in plotting.__all__ if name in calls and name not in ("movie", "waterfall")}
    figures = {name: made[name] for name in made if isinstance(made[name], Figure) and made[name].axes}
    assert {"budget", "comparison", "convergence", "density_contours", "density_ridge", "verdict"} <= figures.keys()
    for figure in figures.values():
        check_fit_to_print(figure)


def test_hostile_input_meets_errors_of_ours():
    """In a process of its own, which may be killed and has a limit of memory."""
    seed = int(os.environ.get("WFR_HOSTILE_SEED", SEED))
    trials = int(os.environ.get("WFR_HOSTILE_TRIALS", TRIALS))
    script = Path(hostile.__file__)
    options = ["--seed", str(seed), "--trials", str(trials), "--json"]
    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=3600, check=False)
    assert run.returncode in (0, 1), f"the interpreter ended with {run.returncode}: {run.stderr[-2000:]}"
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["trials"] == trials
    assert not found["faults"], "\n".join(found["faults"])


def test_numbers_in_other_clothes_are_the_same_numbers(calls):
    cheap = {name: call for name, call in calls.items() if name[0].isupper() and name not in ("Trajectory", "Oracle")}
    wrong = []
    for name, call in cheap.items():
        for parameter, value in call.arguments.items():
            if hostile.nature(value) == "number":
                wrong += [(name, parameter, *found) for found in hostile.clothes(call, parameter) if found[1]]
    assert wrong == []


@pytest.mark.parametrize("function", [accepts_everything, raises_another_error])
def test_the_tour_finds_what_is_wrong(function):
    call = valid_calls.Call(function, {"number": 1.0})
    for label in ("complex", "text", "timedelta"):
        assert hostile.fault_of(call, "f", "number", label, hostile.HOSTILE[label]) is not None


def test_the_tour_is_content_with_a_check():
    def checked(number):
        return arguments.number("number", number)

    call = valid_calls.Call(checked, {"number": 1.0})
    for label in (*hostile.NO_NUMBERS, "empty", "matrix", "true"):
        assert hostile.fault_of(call, "f", "number", label, hostile.HOSTILE[label]) is None


def test_unknown_arguments_are_refused_with_the_one_that_was_meant(calls):
    for name, call in calls.items():
        takes_more = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(call.function).parameters.values())
        if not call.arguments or "." in name or " used" in name or takes_more:
            continue
        meant = max(call.arguments, key=len)
        with pytest.raises(TypeError, match=rf"no argument '{meant}x'(, did you mean {meant}\?|:) "):
            call.function(**call.arguments, **{f"{meant}x": 1})


def test_a_misspelt_option_is_recognised():
    with pytest.raises(TypeError, match=r"solve has no argument 'progres', did you mean progress\?"):
        wfr.solve(wfr.Gaussian(0, 1), wfr.FisherRao(), None, [0, 1], 0.1, progres=True)
