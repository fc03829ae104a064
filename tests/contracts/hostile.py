"""A tour of hostile input: valid calls of all that is public, each spoiled in one argument.

A spoiled call may do what it should, or raise an error of ours: raised by our own code, of a kind that is meant for
callers, and naming the argument. What is not a number must be refused where a number belongs.

    python tests/contracts/hostile.py --seed 7 --trials 5000    # or --all: every value for every argument
"""

import argparse
import contextlib
import datetime
import decimal
import fractions
import inspect
import json
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import types
import warnings
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent.parent))  # where this is what runs: helpers of the tests
from valid_calls import valid_calls

import wfr_pde
from wfr_pde.errors import BackendError, NumericalError

PACKAGE = str(Path(wfr_pde.__file__).parent)
OURS = (ValueError, TypeError, NumericalError, BackendError, MemoryError, FileNotFoundError, AttributeError)
SECONDS = 30.0  # that a call may take
GIBIBYTES = 6  # of address space that all may take on top of what is there when they begin


class WithoutRepr:
    """An object that cannot even be shown."""

    def __repr__(self):
        raise RuntimeError("no repr")


class Array:
    """An array of a library that refuses to be copied."""

    shape, dtype, ndim = (2,), "float64", 1

    def __array__(self, *args, **named):
        raise RuntimeError("this array is on another device")


class InPlace:
    """A function of arrays that works in place, and knows whether it could."""

    __name__ = "in_place"

    def __init__(self):
        self.wrote = False

    def __call__(self, *arguments, **named):
        for array in arguments:
            if isinstance(array, np.ndarray) and array.ndim:
                array[...] = 0
                self.wrote = True
        return np.zeros(np.shape(arguments[0])[:-1]) if arguments else 0.0


IN_PLACE = InPlace()
NO_NUMBERS = {  # what can stand for no real number, and no array of them
    "complex": 1 + 2j,
    "complex array": np.array([1j, 2.0]),
    "text": "abc",
    "text of a number": "1",
    "bytes": b"1",
    "list of texts": ["1", "2"],
    "timedelta": datetime.timedelta(seconds=1),
    "datetime": datetime.datetime(2020, 1, 1),
    "timedelta64": np.timedelta64(1, "s"),
    "datetime64": np.datetime64("2020-01-01"),
    "list of timedelta64": np.array([1, 2], "timedelta64[ns]"),
    "object": object(),
    "object without repr": WithoutRepr(),
    "array elsewhere": Array(),
    "dict": {"a": 1},
    "set": {1, 2},
    "class": int,
    "module": types,
    "ellipsis": ...,
    "list of None": [None],
    "ragged": [[1.0], [2.0, 3.0]],
    "10**400": 10**400,
    "10**5000": 10**5000,
    "list of 10**400": [10**400],
    "masked": np.ma.masked_array([1.0, 2.0], mask=[True, False]),
    "all masked": np.ma.masked_all(2),
    "masked number": np.ma.masked,
    "list of masked": [np.ma.masked_array([1.0, 2.0], mask=[False, True])],
    "generator": (k for k in ()),
    "function": lambda *args, **named: None,
}
NO_NUMBER = {  # arrays, and what is none: no single number
    "empty": [],
    "empty array": np.empty(0),
    "two numbers": [1.0, 2.0],
    "matrix": np.ones((2, 2)),
    "nan": float("nan"),
    "true": True,
}
ODD = {  # which may be right or wrong
    "None": None,
    "inf": float("inf"),
    "-inf": float("-inf"),
    "nan": float("nan"),
    "zero": 0,
    "-0.0": -0.0,
    "minus one": -1,
    "minus a half": -0.5,
    "1e300": 1e300,
    "-1e300": -1e300,
    "1e308": 1e308,
    "1e-320": 1e-320,
    "5e-324": 5e-324,
    "10**15": 10**15,
    "0.5": 0.5,
    "one": 1,
    "array of nan": np.array([np.nan]),
    "array of inf": np.array([np.inf, 1.0]),
    "empty": [],
    "empty matrix": np.empty((0, 3)),
    "tensor": np.ones((1, 2, 3, 1)),
    "long": np.linspace(0, 1, 100),
    "int8": np.array([1, 2], dtype=np.int8),
    "uint64": np.uint64(2**63),
    "false": False,
    "array of bool": np.array([True, False]),
    "empty text": "",
    "long text": "x" * 10_000,
    "text with a null": "a\0b",
    "text with a line": "a\nb",
    "unicode": "ü∂µ\u202e",
    "nested": [[[[1.0]]]],
    "structured": np.zeros(2, dtype=[("a", float)]),
    "unmasked": np.ma.masked_array([1.0, 2.0], mask=False),
    "array of no dimensions": np.array(3.0),
    "array of an object": np.array([1], dtype=object),
    "range": range(3),
    "tuple of nothing": (),
    "in place": IN_PLACE,
}
HOSTILE = {**NO_NUMBERS, **NO_NUMBER, **ODD}
UNREAD = {("mass", "energy"), ("mean", "energy"), ("covariance", "energy"), ("entropy", "energy")}  # as of all records
TAKEN = {  # (call or *, argument): values that mean something there, by name
    ("effective_sample_size", "reference"): set(HOSTILE),  # all metrics take one; this one has no use for it
    **{record: set(HOSTILE) for record in UNREAD},
    ("FisherRao", "rate"): {"function", "class"},  # of time
    ("*", "diffusivity"): {"function", "class", "two numbers"},  # of time; one for each axis
    ("error_budget", "n"): {"two numbers"},
    ("gaussian_flow", "t"): {"empty", "empty array", "two numbers"},
    ("solve", "keep"): {"empty", "empty array", "zero", "-0.0", "1e-320", "5e-324", "tuple of nothing"},
    ("estimate", "keep"): {"empty", "empty array", "zero", "-0.0", "1e-320", "5e-324", "tuple of nothing"},
}


def friends(value):
    """A number in other clothes: what is done with it must be the same."""
    yield "float64", np.float64(value)
    yield "array of no dimensions", np.array(value)
    yield "fraction", fractions.Fraction(value)
    yield "decimal", decimal.Decimal(str(value))
    if float(np.float32(value)) == value:
        yield "float32", np.float32(value)


def nature(value):
    """What an argument is, by one that works: "number", "array", "flag", "text", "function" or "object"."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, tuple | list | np.ndarray):
        try:
            numbers = np.asarray(value).dtype.kind in "fi"
        except ValueError:
            numbers = False
        return "array" if numbers else "object"
    return "function" if inspect.isroutine(value) else "object"


class TookTooLong(BaseException):
    """A call that does not come back."""


def alarm(*_):
    raise TookTooLong


def fault_of(call, name, parameter, label, value):
    """What is wrong with what a spoiled call does, in words, or None."""
    kind, default = nature(call.arguments[parameter]), call.default(parameter)
    taken = TAKEN.get((name, parameter), set()) | TAKEN.get(("*", parameter), set())
    if kind == "function" and label in ("class", "function"):
        return None  # functions, whose errors are their own
    IN_PLACE.wrote = False
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        call(**{parameter: [value] if call.kind(parameter) is inspect.Parameter.VAR_POSITIONAL else value})
    except OURS as error:
        if isinstance(error, NumericalError) and name.endswith(" used"):
            return None  # of a run that went wrong on its way
        return fault_of_error(error, parameter)
    except TookTooLong:
        return f"takes more than {SECONDS:g} s"
    except Exception as error:
        return "another's error: " + shown(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if label in taken or (value is None and default is None):
        return None
    if kind == "function" and label == "in place" and IN_PLACE.wrote:
        return "hands over arrays that can be written to"
    if kind == "number" and (label in NO_NUMBERS or label in NO_NUMBER):
        return "is accepted as a number"
    if kind == "array" and label in NO_NUMBERS:
        return "is accepted as an array of numbers"
    if kind == "flag" and not isinstance(value, bool | np.bool_):
        return "is accepted as True or False"
    if kind == "text" and not isinstance(value, str | Path):
        return "is accepted as a text"
    if kind in ("function", "object") and label in ("object", "complex", "datetime", "10**400", "ellipsis"):
        return "is accepted as an object"
    return None


def fault_of_error(error, parameter):
    """What is wrong with an error: raised by others, or without the name of the argument."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames[-1].filename.startswith(PACKAGE):
        return "another's traceback: " + shown(error)
    try:
        message = str(error)
    except Exception:
        return "a message that cannot be read"
    if not re.search(rf"(?<![A-Za-z0-9]){re.escape(parameter)}(?![A-Za-z0-9])", message):
        return "no name of the argument: " + shown(error)
    if len(message) > 1500:
        return f"a message of {len(message)} characters: {message[:200]}"
    return None


def shown(error):
    """An error and where it was raised, in a line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(PACKAGE)]
    last = f"{ours[-1].filename.removeprefix(PACKAGE + '/')}:{ours[-1].lineno}" if ours else "-"
    text = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}({text}) at {Path(frame.filename).name}:{frame.lineno}, of ours {last}"


def clothes(call, parameter):
    """Faults of a number that comes in other clothes."""
    value = call.arguments[parameter]
    expected = call()
    for label, other in friends(value):
        try:
            got = call(**{parameter: other})
        except OURS as error:
            yield label, fault_of_error(error, parameter)
            continue
        except Exception as error:
            yield label, "another's error: " + shown(error)
            continue
        yield label, None if alike(expected, got) else f"makes {str(got)[:80]}, not {str(expected)[:80]}"


def alike(a, b):
    """Whether two results are equal as far as one can say."""
    if hasattr(a, "equals"):
        return all(a[name].equals(b[name]) for name in a.variables)
    if isinstance(a, np.ndarray | float):
        return np.array_equal(a, b, equal_nan=True)
    return type(a) is type(b)


def trials(calls, rng, n):
    """Trials (name, parameter, label) of the tour: all if n is None, else n of them that visit every argument."""
    arguments = [(name, parameter) for name, call in calls.items() for parameter in call.arguments]
    if n is None:
        return [(*argument, label) for argument in arguments for label in HOSTILE]
    rng.shuffle(arguments)
    return [(*arguments[k % len(arguments)], rng.choice(list(HOSTILE))) for k in range(n)]


def tour(seed, n=None, only="", told=False):
    """Spoil calls and return (number of trials, faults), each fault a line; `told` prints them as they come."""
    rng, faults = random.Random(seed), []
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, alarm)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        calls = {name: call for name, call in valid_calls(folder).items() if re.search(only, name)}
        usage = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (usage + GIBIBYTES * 2**30,) * 2)
        chosen = trials(calls, rng, n)
        for name, parameter, label in chosen:
            fault = fault_of(calls[name], name, parameter, label, HOSTILE[label])
            if fault is not None:
                faults.append(f"{name}({parameter}={label}): {fault}")
                if told:
                    print(faults[-1], flush=True)
    return len(chosen), faults


def main():
    """Take the tour of the command line and print what it finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--all", action="store_true", help="every value for every argument")
    parser.add_argument("--only", default="", help="calls whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n, faults = tour(options.seed, None if options.all else options.trials, options.only, not options.json)
    if options.json:
        print(json.dumps({"trials": n, "faults": faults}))
    else:
        print(f"{n} trials, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
