"""The hash of a call: the same in every process, another for other values."""

import functools
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.app.experiments.calls import call_hash, call_name

X = xr.Dataset({"a": ("x", [1.0, 2.0])}, {"x": [0, 1]}, {"wall_time": 3.0})


@dataclass
class Case:
    width: float
    box: object = None
    seen: dict = field(init=False, default_factory=dict)


def f(*args, **kwargs):
    pass


def of(*args, **kwargs):
    return call_hash(f, args, kwargs)


def adding(n):
    return lambda x: x + n


def itself(n):
    def again(k):
        return again(k - 1) if k else n

    return again


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2), (1, 1.0), (1, True), (1, "1"), ((1, 2), [1, 2]), ((1, (2, 3)), ((1, 2), 3)), ("a", b"a"),
        (range(3), range(4)), ({"a": 1}, {"a": 2}), ({1, 2}, {1, 3}), (None, 0),
        (np.zeros(2000), np.r_[np.zeros(1000), 1e-300, np.zeros(999)]),
        (np.zeros(2), np.zeros(2, np.float32)), (np.zeros((2, 1)), np.zeros(2)), (np.float64(1), np.float64(2)),
        (X, X + 1), (X, X.rename(a="b")), (X["a"], X["a"].assign_coords(x=[0, 2])),
        (Case(1.0), Case(2.0)), (Case(1.0, np.zeros(2)), Case(1.0, np.ones(2))),
        (adding(1), adding(2)), (lambda x: x, lambda x: -x), (itself(1), itself(2)),
        (functools.partial(f, 1), functools.partial(f, 2)), (np.sum, np.prod), (int, float),
        (wfr.Gaussian(0, 1), wfr.Gaussian(0, 2)), (samplers.SMCWFR(), samplers.SMCWFR(self_term=False)),
        (wfr.Grid(0, 1, 8), wfr.Grid(0, 1, 16)), (Case(1.0).__eq__, Case(2.0).__eq__),
    ],
)  # fmt: skip
def test_other_values_have_another_hash(one, other):
    assert of(one) == of(one)
    assert of(one) != of(other)


def test_equal_values_have_the_same_hash():
    assert of(Case(1.0, np.zeros(3))) == of(Case(1.0, np.zeros(3)))
    assert of(adding(1)) == of(adding(1))
    assert of(object()) == of(object())  # of which nothing is known
    assert of(np.zeros((4, 4))[:, 1]) == of(np.zeros(4))
    used = Case(1.0)
    used.seen[0] = 1  # a cache is no value
    assert of(used) == of(Case(1.0))
    assert of(X) == of(X.assign_attrs(wall_time=4.0))  # nor is the time that a run took


def test_the_function_and_the_names_of_arguments_count():
    assert call_hash(f, (1,), {}) != call_hash(adding, (1,), {})
    assert of(a=1) != of(b=1)
    assert of(a=1) != of(1)
    assert [call_name(one) for one in (f, functools.partial(f, 1), Case(1.0), int)] == ["f", "f", "Case", "int"]


def test_another_process_finds_the_same():
    """Whatever the seed of the hashes of texts, and wherever objects lie."""
    text = (
        "import wfr_pde as wfr, numpy as np\n"
        "from wfr_pde import samplers\n"
        "from wfr_pde.app.experiments.calls import call_hash\n"
        "flow = wfr.Lie(samplers.SMCWFR(), samplers.FeynmanKac(density=samplers.KernelDensity(0.3)))\n"
        "potential = wfr.Potential(lambda x: x**2 if x is not {'a', 'b', 'c'} else 0, ndim=1, support=(-1, 1))\n"
        "names = {'alpha', 'beta', 'gamma'}\n"
        "print(call_hash(len, (flow, potential, names, frozenset(names), object(), wfr.Grid(0, 1, 9)), {'a': 1}))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize("used_up", [np.random.default_rng(0), iter([1]), {"rng": [np.random.default_rng(0)]}])
def test_what_a_call_uses_up_is_refused(used_up):
    with pytest.raises(TypeError, match="is used up by the part"):
        of(used_up)
