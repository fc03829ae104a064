"""A tour of hostile command lines: valid ones of every command, each spoiled in one word.

python tests/app/cli/hostile_commands.py --seed 7 --trials 2000    # or --all: every value for every option
"""

import argparse
import contextlib
import dataclasses
import io
import json
import math
import os
import random
import re
import signal
import sys
import tempfile
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np

import wfr_pde as wfr
from wfr_pde.app.cli.main import main, parsers
from wfr_pde.app.experiments import executors
from wfr_pde.storage.files import write_dataset

SECONDS = 10.0  # of computing that a command may take
LONGEST = 1500  # characters of a message
CODES = (0, 1, 2, 3, 4)
EXPERIMENT = '''"""Halves of a number."""
import xarray as xr

QUICK = {"n": 1}
CHECKS = {"half": (1.0, 1.0)}


def run(n=2, scale=1.0, name="plain", flag=False, sizes=(1, 2)):
    return xr.Dataset({"half": n * scale / 2})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([float(ds.half)])
    return figure
'''
SAMPLER = '''
from wfr_pde.samplers import Langevin

declared = Langevin(1.0)


def ula(target, positions, times, rng, dt=0.1, scale=1.0):
    """Unadjusted Langevin."""
    x = positions
    yield times[0], x, None
    for low, high in zip(times[:-1], times[1:]):
        h = high - low
        x = x + scale * (h * target.score(x) + (2 * h) ** 0.5 * rng.standard_normal(x.shape))
        yield high, x, None
'''
WELL = ("--target", "gaussian(0,1)", "--start", "gaussian(1,0.5)", "--t", "0,0.1,0.2")
LINES = {  # by command: words that work
    "list": (),
    "run": ("halves", "--out", "here"),
    "sweep": ("halves", "--n", "1,2", "--no-figures"),
    "all": ("--no-figures", "--out", "results"),
    "figures": ("halves",),
    "reproduce": ("halves", "--gallery", "results"),
    "solve": (*WELL, "--shape", "64", "--dt", "0.1", "--order", "2", "-o", "out.nc"),
    "truth": (*WELL, "--rtol", "1e-2", "--reaction-rate", "0", "--no-cross-check", "-o", "out.nc"),
    "compare": (
        "truth.nc",
        "mine.py:ula",
        "--n",
        "20",
        "--seeds",
        "2",
        "--metrics",
        "mean_error",
        "--floor-draws",
        "2",
    ),
    "validate": ("truth.nc", "mine.py:ula", "--n", "50", "--dt", "0.1"),
    "report": (),
    "info": (),
    "completion": ("bash",),
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an argument is: a value that works, and which texts may be taken for one."""

    example: str
    fits: object

    def may_be(self, text):
        """Whether a command may do its work with such a value."""
        return text == self.example or bool(self.fits(text))


def is_number(text):
    with contextlib.suppress(ValueError):
        return math.isfinite(float(text))
    return False


def is_whole(text):
    with contextlib.suppress(ValueError):
        return int(text) >= 0
    return is_number(text) and float(text) == round(float(text))


def are_numbers(text):
    return all(map(is_number, text.split(",")))


def are_times(text):
    parts = text.split(":")
    return are_numbers(text) or (len(parts) == 3 and all(map(is_number, parts)))


def is_object(text):
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(text), dict)
    return False


def is_written(text):
    return Path(text).expanduser().is_file()


def is_folder(text):
    return Path(text).expanduser().is_dir()


def never(text):
    return False


NUMBER, WHOLE, NUMBERS, OBJECT = is_number, is_whole, are_numbers, is_object
KNOBS = {  # of the experiment, for the commands that take them
    "--n": Kind("2", is_whole),
    "--scale": Kind("1.5", lambda text: is_number(text) or text in ("inf", "-inf")),
    "--name": Kind("other", lambda text: True),  # a text, whatever it says
    "--flag": Kind("true", lambda text: text.lower() in ("0", "1", "true", "false")),
    "--sizes": Kind("1,2", are_numbers),
}
SAMPLES = {
    "--n": Kind("30", is_whole),
    "--seeds": Kind("3", is_whole),
    "--seed": Kind("1", is_whole),
    "--dt": Kind("0.1", is_number),
    "--t": Kind("0.1,0.2", are_times),
    "--options": Kind('{"scale": 1.0}', is_object),
    "--target": Kind("gaussian(0,1)", never),
    "--start": Kind("gaussian(1,0.5)", never),
    "-o": Kind("out.nc", is_written),
    "--figure": Kind("out.png", is_written),
    "truth": Kind("truth.nc", never),
    "samples": Kind("mine.py:ula", never),
}
PROBLEM = {
    "--potential": Kind("x**2/2", lambda text: is_number(text)),
    "--target": Kind("gaussian(0,1)", never),
    "--start": Kind("gaussian(1,0.5)", never),
    "--t": Kind("0:0.2:3", are_times),
    "--transport-rate": Kind("1", is_number),
    "--reaction-rate": Kind("0", is_number),
    "--lower": Kind("-6", are_numbers),
    "--upper": Kind("6", are_numbers),
    "--boundary": Kind("no-flux", never),
    "--max-cut": Kind("1e-3", is_number),
    "-o": Kind("out.nc", is_written),
}
EXAMPLES = {  # by command: every option that takes a value, and every positional argument
    "list": {},
    "run": {"name": Kind("halves", never), "--out": Kind("there", is_folder), **KNOBS},
    "sweep": {
        "name": Kind("halves", never),
        "--jobs": Kind("1", is_whole),
        "--dask": Kind("tcp://127.0.0.1:1", never),  # which nobody listens at
        "--shard": Kind("1/2", never),
        "--out": Kind("there", is_folder),
        **{name: dataclasses.replace(kind, example=kind.example.replace(",", ";")) for name, kind in KNOBS.items()},
    },
    "all": {
        "--only": Kind("halves", never),
        "--jobs": Kind("1", is_whole),
        "--out": Kind("there", is_folder),
        "--report": Kind("page.html", is_written),
        "--experiments": Kind("experiments", never),
    },
    "figures": {"names": Kind("halves", never), "--out": Kind("results", is_folder)},
    "reproduce": {
        "names": Kind("halves", never),
        "--gallery": Kind("results", is_folder),
        "--out": Kind("there", is_folder),
    },
    "solve": {
        **PROBLEM,
        "--shape": Kind("48", are_numbers),
        "--dt": Kind("0.1", is_number),
        "--order": Kind("4", never),
        "--record": Kind("kl", lambda text: not text.strip()),  # no record at all
        "--device": Kind("cpu", never),
        "--seed": Kind("1", is_whole),
    },
    "truth": {
        **PROBLEM,
        "--rtol": Kind("1e-2", is_number),
        "--seconds": Kind("10", is_number),
        "--memory": Kind("1", is_number),
    },
    "compare": {**SAMPLES, "--metrics": Kind("mmd", never), "--floor-draws": Kind("3", is_whole)},
    "validate": {
        **SAMPLES,
        "--seeds": Kind("20", is_whole),
        "--scheme": Kind("wfr_pde.samplers:Langevin", never),
        "--scheme-options": Kind("{}", is_object),
        "--modes": Kind("[[0]]", lambda text: text.startswith("[")),
        "--effect": Kind("0.3", is_number),
        "--level": Kind("0.01", is_number),
    },
    "report": {
        "--results": Kind("results", is_folder),
        "-o": Kind("page.html", is_written),
        "--experiments": Kind("experiments", lambda text: True),  # which it can do without
    },
    "info": {},
    "completion": {"shell": Kind("bash", never)},
}
VALUES = {
    "nan": "nan", "inf": "inf", "-inf": "-inf", "minus one": "-1", "zero": "0", "minus a half": "-0.5",
    "1e309": "1e309", "1e308": "1e308", "1e-320": "1e-320", "10**400": "1" + "0" * 400, "10**15": "1" + "0" * 15,
    "10**5000": "1" + "0" * 5000, "complex": "1+2j", "underscore": "1_0", "arabic digit": "٣", "superscript": "²",
    "None": "None", "True": "True", "empty": "", "blank": " ", "tab and line": "\t\n", "long": "x" * 10_000,
    "deep": "[" * 3000, "deep call": "gaussian(" * 500, "deep sum": "x" + "+x" * 3000, "unicode": "ü∂µ\u202e",
    "no UTF-8": "\udcff.nc", "two lines": "a\nb", "percent": "%s%(x)d{0}", "quote": "'", "comma": ",",
    "colon": ":", "semicolon": ";", "range": "0:1:5", "slash": "1/0", "shard": "2/1", "dash": "-", "star": "*",
    "dots": "../up", "home": "~", "JSON": '{"scale": "x"}', "JSON list": "[1, 2]", "JSON null": "null",
    "JSON name": '{"no_such": 1}', "JSON NaN": '{"scale": NaN}', "JSON text": '["a"]', "modes": '[[1, 2, 3], "a"]',
    "nowhere": "no/such/place", "nowhere.nc": "no/such/place.nc", "folder": "folder", "folder.nc": "folder.nc",
    "folder.png": "folder.png", "folder.html": "folder.html", "under a file": "text.nc/out.nc",
    "empty.nc": "empty.nc", "text.nc": "text.nc", "cut.nc": "cut.nc", "picture.nc": "picture.nc",
    "other.nc": "other.nc", "objects.npz": "objects.npz", "cut.npz": "cut.npz", "pickle.npz": "pickle.npz",
    "table.csv": "table.csv", "picture.png": "picture.png", "object.json": "object.json", "broken.py": "broken.py:f",
    "raises.py": "raises.py:raises", "later.py": "raises.py:later", "leaves.py": "raises.py:leaves",
    "number.py": "raises.py:number", "text.py": "raises.py:text", "wrong shape.py": "raises.py:wrong_shape",
    "experiment": "raises.py", "module": "os.path:join", "no module": "no_such:f", "no name": "mine.py:",
    "call": "gaussian(", "name of nothing": "gauss(0,1)", "nan in a call": "gaussian(nan,1)",
    "text in a call": "gaussian('a',1)", "flat": "gaussian(0,0)", "many": "gaussian([0,0,0],1)",
    "huge": "gaussian(1e300,1)", "code": "__import__('os')", "potential": "potential('1/0')", "self": "{0.__class__}",
    "absolute": "/no/such/folder/out.nc",
    "proc": "/proc/out.nc", "dev": "/dev/null", "names": "kl,no_such", "twice": "kl,kl", "device": "cuda", "order": "3",
}  # fmt: skip
RAISES = """
import sys

number = 3


def raises(target, positions, times, rng, **options):
    yield times[0], positions, None
    raise RuntimeError("the chain is lost")


def later(target, positions, times, rng, **options):
    return {}["a key"]


def leaves(target, positions, times, rng, **options):
    sys.exit(0)


def text(target, positions, times, rng, **options):
    return "a text"


def wrong_shape(target, positions, times, rng, **options):
    for t in times:
        yield t, positions @ positions, None
"""


def in_threads(jobs):
    """What cells are run on, which starts at once."""
    return ThreadPoolExecutor(1)


IN_THREADS = mock.patch.object(executors, "Processes", in_threads)
AT_HOME = mock.patch.dict(os.environ, {"HOME": "home"})  # below the working directory
AT_ONCE = mock.patch.object(executors, "SECONDS_TO_ANSWER", 0.1)


def prepare(folder):
    """Fill the folder with an experiment and its results, a truth, samplers, and files of the wrong kind."""
    folder = Path(folder)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "halves.py").write_text(EXPERIMENT)
    (folder / "mine.py").write_text(SAMPLER)
    (folder / "raises.py").write_text(RAISES)
    (folder / "broken.py").write_text("x = 1\n\ndef f(:\n")
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 0.5)
    ds = wfr.ground_truth(target, start, [0, 0.1, 0.2], rtol=1e-2, reaction_rate=0, cross_check=False)
    write_dataset(ds, folder / "truth.nc")
    whole = (folder / "truth.nc").read_bytes()
    (folder / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.nc").write_bytes(b"")
    (folder / "text.nc").write_text("no")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "object.json").write_text('{"a": 1}')
    (folder / "pickle.npz").write_text("no")
    for name in ("folder", "folder.nc", "folder.png", "folder.html"):
        (folder / name).mkdir()
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    (folder / "picture.png").write_bytes(picture)
    (folder / "picture.nc").write_bytes(picture)
    write_dataset(ds[["kl"]], folder / "other.nc")
    np.savez(folder / "objects.npz", positions=np.array([1, "a", None], dtype=object), times=np.array([0.0]))
    whole = (folder / "objects.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert main(["run", "halves"]) == 0


class TookTooLong(BaseException):
    """A command that does not come back."""


def alarm(*_):
    raise TookTooLong


def lines_of(command):
    """Every command line with one word to spoil: (option or argument, kind, line of the word)."""
    for name, kind in EXAMPLES[command].items():
        yield name, kind, lambda text, name=name: with_value(command, name, text)


def with_value(command, name, text):
    """The valid line of a command, with one value replaced or added."""
    words = list(LINES[command])
    if name.startswith("-"):
        if name == "--potential" and "--target" in words:
            at = words.index("--target")
            words[at : at + 2] = []
        if name in ("--lower", "--upper"):
            words += ["--upper=6"] if name == "--lower" else ["--lower=-6"]
        if name in words:
            at = words.index(name)
            words[at : at + 2] = []
        return [command, *words, *([f"{name}={text}"] if name.startswith("--") else [name, text])]
    example = EXAMPLES[command][name].example
    words[words.index(example)] = text
    return [command, *words]


def said_of(words):
    """Exit code, stdout and stderr of a command line, or the error that comes out of it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), IN_THREADS, AT_ONCE:
            code = main(words)
    except (Exception, SystemExit) as error:
        return error, "", ""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    for stream in (out, err):
        stream.seek(0)
    return code, out.read(), err.read()


def fault_of(command, name, kind, words, text):
    """What is wrong with what a spoiled command line does, in words, or None."""
    for made in ("out.nc", "out.png", "page.html"):
        Path(made).unlink(missing_ok=True)
    try:
        code, out, err = said_of(words)
    except TookTooLong:
        return f"takes more than {SECONDS:g} s"
    if isinstance(code, BaseException):
        return f"ends with {shown(code)}"
    if code not in CODES:
        return f"returns {code}"
    if "Traceback" in err or "Traceback" in out:
        return "shows a traceback"
    said = err.splitlines()
    if code == 0 or (code == 1 and command in ("validate", "run", "sweep", "all")):
        printed = " ".join((out + err).split())[:150]
        return None if kind.may_be(text) else f"does its work with the code {code}: {printed}"
    if not said or not said[-1].startswith("wfr-pde: "):
        return f"returns {code} and says {err[-200:]!r}"
    if len(said) > 1:
        return f"says more than one line: {err[:300]!r}"
    if len(err) > LONGEST:
        return f"says {len(err)} characters: {err[:200]!r}"
    bare = name.lstrip("-")
    words = {bare, bare.replace("-", "_"), bare.replace("-", " "), "target" if bare == "potential" else bare}
    spelled = "|".join(map(re.escape, words))
    is_named = re.search(rf"(?<![A-Za-z0-9])({spelled})(?![A-Za-z0-9])", err, re.I)
    return None if is_named or any(map(err.__contains__, quoted(text))) else f"does not name it: {err.strip()[:300]}"


def quoted(text):
    """The beginnings of a text, and of the name in it, as a message may quote them."""
    name = text.rpartition(":")[2]
    found = [text, " ".join(text.split()), name, str(Path(text).expanduser())]
    return [each[:20] for each in found if each.strip()] + [repr(text)[1:20]]


def shown(error):
    """An error and where it was raised, in a line."""
    frames = traceback.extract_tb(error.__traceback__)
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-4:])
    return f"{type(error).__name__}({' '.join(str(error).split())[:160]}) at {places}"


def trials(command, rng, n):
    """Trials (argument, kind, line, label) of a command: all if n is None, else n that visit every argument."""
    arguments = list(lines_of(command))
    if n is None:
        return [(*argument, label) for argument in arguments for label in VALUES]
    rng.shuffle(arguments)
    return [(*arguments[k % len(arguments)], rng.choice(list(VALUES))) for k in range(n)] if arguments else []


def tour(command, seed, n=None, only="", told=False):
    """Spoil lines of a command in the current folder, and return (number of trials, faults)."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, alarm)
    chosen, faults = trials(command, random.Random(seed), n), []
    with AT_HOME:
        for name, kind, line, label in chosen:
            if only not in name or (VALUES[label].startswith("-") and not name.startswith("-")):
                continue  # of a word that begins with a dash nobody knows what it stands for
            text = VALUES[label]
            fault = fault_of(command, name, kind, line(text), text)
            if fault is not None:
                faults.append(f"{command} {name} {label}: {fault}")
                if told:
                    print(faults[-1], flush=True)
    return len(chosen), faults


def options_of(command):
    """Options with a value, and positional arguments, of a command, by the name in `EXAMPLES`."""
    arguments = [argument for argument in parsers()[command]._actions if argument.nargs != 0]
    return {argument.option_strings[0] if argument.option_strings else argument.dest for argument in arguments}


def run_tour():
    """Take the tour of the command line and print what it finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=100, help="of every command")
    parser.add_argument("--all", action="store_true", help="every value for every argument")
    parser.add_argument("--only", default="", help="arguments that hold this")
    parser.add_argument("commands", nargs="*", default=list(LINES))
    options = parser.parse_args()
    done, found = 0, 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        prepare(folder)
        for command in options.commands:
            n, faults = tour(command, options.seed, None if options.all else options.trials, options.only, told=True)
            done, found = done + n, found + len(faults)
    print(f"{done} trials, {found} faults")
    return bool(found)


if __name__ == "__main__":
    sys.exit(run_tour())
