"""An experiment: knobs and their values, directories, the command that redoes it."""

import pytest

from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import run_experiment


def test_knobs_have_the_types_of_their_defaults(folder):
    knobs = load_experiment("parabola").knobs
    kinds = {name: (knob.kind, knob.is_tuple) for name, knob in knobs.items()}
    assert kinds == {
        "n": (int, False), "t_end": (float, False), "shape": (str, False), "rates": (float, True),
        "sizes": (int, True), "loud": (bool, False), "tau": (float, False),
    }  # fmt: skip
    assert knobs["tau"].default == 2.0
    assert knobs["t_end"].option == "--t-end"


def test_knobs_from_text(folder):
    loaded = load_experiment("parabola")
    texts = {"n": "1e3", "t-end": "-.5", "shape": "1", "rates": "-1, 2e-3", "sizes": "7", "loud": "yes"}
    assert loaded.parse(texts) == {
        "n": 1000, "t_end": -0.5, "shape": "1", "rates": (-1.0, 2e-3), "sizes": (7,), "loud": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"m": "3"},
            "no knob 'm'; it has .*--n 8, --t-end 1.0, .* --rates 1.0,2.0, --sizes 1,2, --loud false",
        ),
        ({"n": "3.5"}, r"--n must be a whole number \(default: 8\), got '3.5'"),
        ({"n": "nan"}, "--n must be a whole number"),
        ({"t-end": "soon"}, "--t-end must be a number"),
        ({"rates": "1,x"}, "--rates must be several, separated by commas, each a number"),
        ({"sizes": "1.5"}, "--sizes must be .* whole number"),
        ({"loud": "maybe"}, "--loud must be true or false"),
    ],
)
def test_wrong_knobs(folder, texts, message):
    with pytest.raises(ValueError, match=message):
        load_experiment("parabola").parse(texts)


@pytest.mark.parametrize(
    "knobs",
    [{"n": 2.5}, {"n": True}, {"loud": 1}, {"t_end": "1"}, {"rates": 1.0}, {"rates": "12"}, {"shape": 1}],
)
def test_wrong_knobs_from_python(folder, knobs):
    with pytest.raises(ValueError, match=r"the knob .* must be"):
        run_experiment("parabola", knobs)


def test_values_come_from_given_quick_default_in_this_order(folder):
    loaded = load_experiment("parabola")
    assert loaded.values({})["n"] == 8
    assert loaded.values({}, quick=True)["n"] == 4
    assert loaded.values({"n": 5.0}, quick=True)["n"] == 5
    # how a value is written does not matter
    assert loaded.directory(loaded.values({"t_end": 1})) == loaded.directory(loaded.values({}))
    assert loaded.directory(loaded.values({"t_end": 2})) != loaded.directory(loaded.values({}))


def test_the_command_redoes_it(folder):
    loaded = load_experiment("parabola")
    values = loaded.values({"n": 5, "rates": (-1, 2), "loud": True, "shape": "two words"})
    command = loaded.command(values)
    assert command == "wfr-pde run parabola --n=5 '--shape=two words' --rates=-1.0,2.0 --loud=true"


CHOICES = 'tau: Literal[1, 2, 4] = 2, form: tuple[Literal["a", "b"], ...] = ("a",)'


def test_choices_come_from_the_annotation(folder, edited):
    edited("tau: float = 2", CHOICES)
    loaded = load_experiment("parabola")
    assert loaded.knobs["tau"].choices == (1, 2, 4)
    assert loaded.knobs["tau"].words == "one of 1 | 2 | 4"
    assert loaded.parse({"tau": "4", "form": "b,a"}) == {"tau": 4, "form": ("b", "a")}
    for texts in ({"tau": "3"}, {"form": "a,c"}):
        with pytest.raises(ValueError, match=r"must be .*one of (1 \| 2 \| 4|a \| b) \(default"):
            loaded.parse(texts)
    with pytest.raises(ValueError, match=r"the knob tau must be one of 1 \| 2 \| 4 .*got 3"):
        loaded.values({"tau": 3})


def test_a_seed_needs_a_knob_of_that_name(folder, edited):
    with pytest.raises(ValueError, match="parabola takes no --seed: its run has no knob of that name"):
        load_experiment("parabola").parse({"seed": "1"})
    edited("tau: float = 2", "seed=0")
    assert load_experiment("parabola").parse({"seed": "1"}) == {"seed": 1}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("n", "64,128, 1e3", (64, 128, 1000)),
        ("n", "7", (7,)),
        ("shape", "a,b", ("a", "b")),
        ("shape", "a,b;c", ("a,b", "c")),
        ("loud", "true,false", (True, False)),
        ("rates", "1,2", ((1.0, 2.0),)),
        ("rates", "1,2; 3;", ((1.0, 2.0), (3.0,))),
    ],
)
def test_several_values_of_a_knob(folder, name, text, values):
    assert load_experiment("parabola").knobs[name].parse_several(text) == values


@pytest.mark.parametrize(("text", "message"), [("4,4.0", "value 4 twice"), (",", "no value"), ("4,x", "--n must be")])
def test_wrong_values_of_a_sweep(folder, text, message):
    with pytest.raises(ValueError, match=message):
        load_experiment("parabola").knobs["n"].parse_several(text)
