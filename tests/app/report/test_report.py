"""The report: what is read of good and broken runs, what the page says of them, densities packed and unpacked."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.cli.main import main
from wfr_pde.app.experiments.runner import run_experiment
from wfr_pde.app.report import film, write_report
from wfr_pde.app.report.runs import duration, read_run
from wfr_pde.app.report.survey import survey
from wfr_pde.storage import run_directory
from wfr_pde.storage.files import read_dataset, write_dataset

ROOT = Path(__file__).parents[3]
EXPERIMENT = '''"""A density that spreads, <quickly> & "surely".

Its second paragraph, of `code`:

- one point;
- and one more.

    a formula = 1
"""
import numpy as np
import xarray as xr

QUICK = {}
CHECKS = {"last_variance": (2.0, 1e-6), "far_off": (1.0, WIDTH)}


def run(n=60, t_end=1.0, seed=7, label="a_b"):
    t, x = np.linspace(0, t_end, 9), np.linspace(-6, 6, n)
    variance = 1 + t[:, None]
    log_density = -(x**2) / (2 * variance) - 0.5 * np.log(2 * np.pi * variance)
    return xr.Dataset(
        {
            "log_density": (("t", "x"), log_density),
            "last_variance": ((), 1 + t_end, {"long_name": "variance at the end", "units": "length²"}),
            "far_off": ((), 1.5),
        },
        coords={"t": ("t", t, {"units": "1/β"}), "x": ("x", x, {"long_name": "place", "units": "length"})},
    )


def figure(ds):
    from matplotlib.figure import Figure

    fig = Figure(figsize=(2, 1))
    fig.subplots().plot(ds.x, np.exp(ds.log_density[-1]))
    return fig
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two experiments, one that passes and one that fails, and the results of both in `stored`."""
    root = tmp_path_factory.mktemp("made")
    (root / "experiments").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, width in {"good": "1.0", "bad": "0.1"}.items():
            (root / "experiments" / f"{name}.py").write_text(EXPERIMENT.replace("WIDTH", width))
            run_experiment(name, out="stored")
    return root


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of the project, without results, as the working directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def directories(project):
    """The runs of the two experiments, put into `results`."""
    shutil.move(project / "stored", project / "results")
    return {name: next((project / "results" / name).iterdir()).relative_to(project) for name in ("good", "bad")}


def page(project):
    write_report()
    return (project / "report.html").read_text(encoding="utf-8")


def unpacked(content):
    """The numbers of a film, as the page's script gets them."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(content["data"])), dtype=np.uint8).astype(np.uint16)
    numbers = (planes[: len(planes) // 2] * np.uint16(256) + planes[len(planes) // 2 :]).reshape(content["shape"])
    for axis in (-1, -2):
        numbers = np.cumsum(numbers, axis=axis, dtype=np.uint16)
    return np.where(numbers == film.ABSENT, np.nan, content["low"] + content["step"] * numbers)


# Runs


def test_a_run_is_read_whole(project):
    run = read_run(directories(project)["good"])
    assert (run.experiment, run.status, run.notes) == ("good", "passed", ())
    assert run.claim == run.caption == 'A density that spreads, <quickly> & "surely".'
    assert run.knobs == {"n": 60, "t_end": 1.0, "seed": 7, "label": "a_b"}
    assert [check.passed for check in run.checks] == [True, True]
    assert [(scalar.name, scalar.words, scalar.value, scalar.units) for scalar in run.scalars] == [
        ("last_variance", "variance at the end", 2.0, "length²"),
        ("far_off", "", 1.5, "1"),
    ]
    assert run.command == "wfr-pde run good --out=stored"
    assert run.provenance["seed"] == "7"
    assert f"wfr_pde {wfr.__version__}" in run.provenance["versions"]
    assert [path.name for path in run.pictures] == ["figure.png"]
    assert {path.name for path in run.files} >= {"data.nc", "figure.pdf", "figure.png", "run.json"}
    assert len(run.films) == 1


def edit_json(directory, **changes):
    path = directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def remove(name):
    return lambda directory: (directory / name).unlink()


def write(name, text):
    return lambda directory: (directory / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "status", "note"),
    [
        (remove("run.json"), "unreadable", "There is no run.json"),
        (write("run.json", "{ no"), "unreadable", "run.json cannot be read: Expecting"),
        (write("run.json", "[]"), "unreadable", "run.json cannot be read: it holds no mapping"),
        (remove("data.nc"), "passed", "The data are not stored here"),  # as in a clone, where large data are left out
        (write("data.nc", "nonsense"), "unreadable", "The data cannot be read"),
        (
            lambda directory: edit_json(directory, status="failed", error="no space"),
            "unfinished",
            "its status is “failed”, because of: no space",
        ),
        (remove("figure.png"), "passed", "There is no figure"),
        (lambda directory: edit_json(directory, status="not drawn"), "unfinished", "its status is “not drawn”"),
        (
            lambda directory: edit_json(directory, checks={"odd": {"value": "?"}}),
            "done",
            "The check odd cannot be read",
        ),
        (lambda directory: edit_json(directory, passed=False), "failed", None),
        (
            lambda directory: edit_json(directory, checks={"c": {"value": "nan", "expected": 1, "tolerance": 1}}),
            "failed",
            None,
        ),
    ],
)
def test_a_run_with_something_wrong_is_listed(project, change, status, note):
    found = directories(project)
    change(found["good"])
    run = read_run(found["good"])
    assert run.status == status
    assert run.experiment == "good"
    assert (note in " ".join(run.notes)) if note else not run.notes
    text = unescape(page(project))
    assert f'class="badge {status}"' in text
    assert all(line in text for line in run.notes)


def test_runs_in_segments_are_read(project):
    directory = project / "results" / "long" / "0123456789ab"
    run = run_directory.RunDirectory(directory, "0")
    x = np.linspace(-3, 3, 40)
    for k in range(3):
        segment = xr.Dataset({"log_density": (("t", "x"), -(x**2)[None] - k)}, coords={"t": [float(k)], "x": x})
        run.append(segment, xr.Dataset(attrs={"frame": k}))
    found = read_run(directory)
    assert (found.experiment, found.status) == ("long", "unfinished")
    assert found.films[0].frames == ("t = 0", "t = 1", "t = 2")
    run.finish({"wall_time": 61.0})
    found = read_run(directory)
    assert (found.status, found.provenance["wall time"]) == ("done", "1 min 1 s")


def test_runs_and_other_files_are_found_at_any_depth(project):
    found = directories(project)
    moved = project / "results" / "sweeps" / "one" / "two"
    shutil.move(found["bad"], moved)
    (moved / "inside").mkdir()
    (moved / "inside" / "run.json").write_text("{}")
    (project / "results" / "benchmarks").mkdir()
    (project / "results" / "benchmarks" / "times.json").write_text("{}")
    (project / "results" / ".hidden.nc").write_text("")
    seen = survey("results")
    assert seen.runs == [path.relative_to(project) for path in (project / found["good"], moved)]
    assert [path.as_posix() for path in seen.others] == ["results/benchmarks/times.json"]
    assert seen.left_out == []
    assert 'href="results/benchmarks/times.json"' in page(project)


def test_durations():
    assert [duration(s) for s in (0.0123, 8.44, 59, 200, 7500, float("nan"))] == [
        "0.012 s", "8.4 s", "59 s", "3 min 20 s", "2 h 5 min", "not known",
    ]  # fmt: skip


# The page


def test_the_page_says_what_was_found(project):
    directories(project)
    text = page(project)
    assert '<b>3</b> of <b>4</b> checks pass; see <a href="#experiment-bad">bad</a></li>' in text
    assert "<b>1</b> run failed" in text
    assert text.count('<article class="experiment"') == 2
    assert "A density that spreads, &lt;quickly&gt; &amp; &#34;surely&#34;." in text
    assert (
        "<p>Its second paragraph, of <code>code</code>:</p><ul><li>one point;</li><li>and one more.</li></ul>" in text
    )
    assert "<pre>    a formula = 1</pre>" in text
    assert '<img alt="Figure: A density that spreads, &lt;quickly&gt; &amp; &#34;surely&#34;."' in text
    assert "variance at the end" in text


class Page(HTMLParser):
    """A page taken apart: its elements, and its text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.raw = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.raw = False

    def handle_data(self, data):
        self.words += [] if self.raw else [data]


ODD = """<img src=x onerror=alert(1)></script></title>"'&amp;{{ 7 * 7 }}{% if %}<!--"""


def test_texts_of_users_are_no_html(project):
    """Whatever stands in names, units, claims, knobs, errors and films is shown as it is, and makes no element."""
    found = directories(project)
    before = Page(page(project))
    ds = read_dataset(found["good"] / "data.nc")
    ds["far_off"].attrs = {"long_name": ODD, "units": ODD}
    ds["x"].attrs["long_name"] = ODD
    ds["log_density"] = ds["log_density"].expand_dims(flow=[ODD])
    write_dataset(ds, found["good"] / "data.nc")
    content = json.loads((found["good"] / "run.json").read_text())
    checks = {ODD if name == "far_off" else name: check for name, check in content["checks"].items()}
    knobs = {"n": ODD, ODD: [ODD], "seed": ODD, "label": "a_b"}
    edit_json(found["good"], description=ODD, caption=ODD, command=ODD, device=ODD, checks=checks, knobs=knobs)
    edit_json(found["bad"], status="failed", error=ODD)
    (project / "experiments" / "good.py").write_text(f"'''{ODD}\n\n{ODD} `{ODD}`\n\n- {ODD}\n\n    {ODD}\n'''")
    (project / "results" / ODD.replace("/", "")).write_text("")
    text = page(project)
    after = Page(text)
    words = "".join(after.words)
    # index, claim, caption, paragraph and its code, point, indented text; error; check; words and units of a scalar;
    # four in the knobs, two in the provenance; command (the file's name has no slash)
    assert words.count(ODD) == 18
    assert "'&amp;49" not in words  # no template of the user is filled in
    assert not [given for _, given in after.elements if "onerror" in given or given.get("src") == "x"]
    kinds = [Counter(tag for tag, _ in some.elements) for some in (before, after)]
    for tag in ("img", "script", "style", "title", "body", "table", "canvas"):
        assert kinds[0][tag] == kinds[1][tag], tag
    films = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    (content,) = (json.loads(film) for film in films if "onerror" in film)
    assert content["axes"][0]["label"].startswith(ODD)
    assert content["series"] == [ODD]


def test_quick_versions_are_marked(project):
    found = directories(project)
    assert ">quick<" not in page(project)
    edit_json(found["good"], quick=True)
    assert read_run(found["good"]).is_quick
    text = page(project)
    assert text.count('class="mark" title="a small version, with quick knobs') == 1
    assert "<b>1</b> of the runs quick versions" in text


def test_how_much_of_the_tolerance_is_used(project):
    given = {"exact": (2, 2, 0), "off": (2.1, 2, 0), "half": (1.5, 2, 1), "over": (5, 2, 1), "nan": ("nan", 2, 1)}
    checks = {name: dict(zip(("value", "expected", "tolerance"), case, strict=True)) for name, case in given.items()}
    edit_json(directories(project)["good"], checks={**checks, "little": {**checks["half"], "tolerance": 1e3}})
    shutil.rmtree(project / "results" / "bad")
    found = re.findall(r'width:(\d+)%"></i></span>(.*?)</td>', page(project))
    assert [(int(width), unescape(words)) for width, words in found] == [
        (0, "exact"), (100, "–"), (50, "50 %"), (100, "300 %"), (100, "–"), (0, "< 1 %"),
    ]  # fmt: skip


def test_the_page_asks_for_nothing_elsewhere(project):
    """No address but those of files beside it, and a policy that forbids all others."""
    directories(project)
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "data:", page(project))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(|src=\"(?!data:)", text)
    links = [unquote(link) for link in re.findall(r'href="(.*?)"', text) if not link.startswith(("#", "data:"))]
    assert len(links) >= 8
    assert all((project / link).is_file() for link in links)


def test_the_page_is_a_function_of_the_results(project):
    directories(project)
    assert page(project) == page(project)


def test_links_from_another_folder_and_odd_names(project):
    found = directories(project)
    odd = project / "results" / "good" / "100% odd #1"
    shutil.move(found["good"], odd)
    write_report(out=project / "pages" / "deep" / "index.html")
    text = (project / "pages" / "deep" / "index.html").read_text(encoding="utf-8")
    assert 'href="../../results/good/100%25%20odd%20%231/data.nc"' in text


def test_several_runs_are_told_apart_by_their_knobs(project):
    for n in (40, 50):
        run_experiment("good", {"n": n})
    text = page(project)
    assert text.count('<details class="run"') == 2
    assert re.findall(r'<span class="of">(.*?)</span>', text) == ["n = 50", "n = 40"]  # the newest first
    assert "all checks pass" in text


def test_of_many_runs_only_the_newest_are_shown_in_full(project):
    for n in range(40, 50):
        run_experiment("good", {"n": n})
    text = page(project)
    assert text.count('<details class="run"') == 10
    assert text.count("<canvas") == text.count('class="zoom"') == 8
    assert text.count("figure.png is not part of it") == 2
    assert text.count("shown for the newest runs only") == 2


def test_a_large_picture_is_linked(project):
    movie = directories(project)["good"] / "movie.gif"
    movie.write_bytes(bytes(3 * 2**20))
    text = page(project)
    assert "movie.gif is not part of it" in text
    assert f'href="{movie.as_posix()}">movie.gif</a> <span>3.0 MiB</span>' in text
    assert len(text) < 2**20


def test_without_the_experiments_the_stored_claim_serves(project):
    directories(project)
    shutil.rmtree(project / "experiments")
    text = page(project)
    assert "A density that spreads" in text
    assert "About this experiment" not in text


def test_a_file_that_claims_something_else_now_is_not_quoted(project):
    directories(project)
    path = project / "experiments" / "good.py"
    path.write_text(path.read_text().replace("spreads", "shrinks"))
    text = page(project)
    assert "shrinks" not in text
    assert text.count("About this experiment") == 1


def test_a_wheel_holds_what_the_page_is_made_of(project):
    """The report of an installed wheel, away from the sources, is that of the sources."""
    directories(project)
    expected = page(project)
    options = ["build", "--target", "wheel", "--directory", str(project / "dist")]
    subprocess.run([sys.executable, "-m", "hatchling", *options], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(project / "site")
    code = "import wfr_pde; print(wfr_pde.__file__); from wfr_pde.app.report import write_report; write_report()"
    environment = {**os.environ, "PYTHONPATH": str(project / "site")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(str(project / "site"))
    assert (project / "report.html").read_text(encoding="utf-8") == expected


# The command


def test_the_command(project, capsys):
    directories(project)
    assert main(["report"]) == 0
    assert capsys.readouterr().out.startswith("report.html: 2 experiments, 2 runs (1 failed), 3 of 4 checks pass, ")
    assert main(["report", "--results", "results", "-o", "all.html", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["bytes"] == (project / "all.html").stat().st_size
    assert (content["path"], content["runs"], content["failed"], content["passed"]) == ("all.html", 2, 1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--results", "nowhere"], "there is no folder 'nowhere': run an experiment first"),
        (["--results", "experiments"], "the folder 'experiments' holds no runs: `wfr-pde run NAME` makes one"),
        (["-o", "report.pdf"], "-o must name a page that ends in .html, got 'report.pdf'"),
    ],
)
def test_wrong_input(project, capsys, words, message):
    assert main(["report", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "report.html").exists()


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    text = capsys.readouterr().out
    assert "examples:\n  wfr-pde report\n" in text
    assert max(map(len, text.splitlines())) <= 120


# Films


def dataset(space, frames=5, **more):
    """Normal log-densities over t and some axes."""
    t = np.linspace(0, 1, frames)
    axes = {name: np.linspace(-5, 5, n) for name, n in space.items()}
    squares = sum(x**2 for x in np.meshgrid(*axes.values(), indexing="ij"))
    variance = (1 + t).reshape(-1, *[1] * len(space))
    values = -squares / (2 * variance) - 0.5 * len(space) * np.log(2 * np.pi * variance)
    return xr.Dataset({"log_density": (("t", *space), values), **more}, coords={"t": t, **axes})


def test_packing_is_lossless():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 65536, (2, 3, 4, 5)).astype(np.uint16)
    content = {"data": film.packed(numbers), "shape": numbers.shape, "low": 0.0, "step": 1.0}
    expected = np.where(numbers == film.ABSENT, np.nan, numbers)
    np.testing.assert_array_equal(unpacked(content), expected)


def test_a_film_in_one_dimension_has_the_values():
    ds = dataset({"x": 200})
    (made,) = film.films(ds)
    content = made.content
    assert (content["ndim"], content["shape"], made.frames[0], made.title) == (1, [1, 5, 200], "t = 0", "Density")
    # half a step of a quantisation of the range
    span = float(ds["log_density"].max() - ds["log_density"].min())
    np.testing.assert_allclose(unpacked(content)[0], ds["log_density"], rtol=0, atol=0.51 * span / 65534)


def test_a_film_in_two_dimensions_has_the_second_axis_first():
    ds = dataset({"x": 40, "y": 30})
    ds["log_density"] = ds["log_density"] - 0.3 * ds["x"] + 0.1 * ds["y"]
    (made,) = film.films(ds)
    assert made.content["shape"] == [1, 5, 30, 40]
    expected = ds["log_density"].transpose("t", "y", "x").values
    assert abs(unpacked(made.content)[0] - expected).max() < 0.51 * np.ptp(expected) / 4095


def test_films_are_small():
    ds = dataset({"x": 300, "y": 200}, frames=70)
    (made,) = film.films(ds)
    assert made.content["shape"] == [1, 33, 97, 97]
    assert len(made.content["data"]) < 500_000
    assert "33 of 70 stored frames" in made.caption


def test_more_than_two_dimensions_are_shown_as_a_marginal():
    (made,) = film.films(dataset({"x": 30, "y": 31, "z": 32}))
    assert "marginal of x and y" in made.caption
    (plane,) = film.films(dataset({"x": 30, "y": 31}))
    # sums over z to 5 deviations at least, 3.5 at the end; steps of both quantisations
    np.testing.assert_allclose(unpacked(made.content), unpacked(plane.content), atol=0.02)


def test_deep_tails_and_values_that_are_none_are_left_out():
    ds = dataset({"x": 101})
    ds["log_density"][0] *= 20
    ds["log_density"][1, 50] = -np.inf
    (made,) = film.films(ds)
    values = unpacked(made.content)[0]
    high = float(ds["log_density"].max())
    assert np.isnan(values[1, 50])
    np.testing.assert_array_equal(np.isnan(values), ds["log_density"].values < high - 100)
    assert "values over 100 nats below the highest are left out" in made.caption


def test_graded_axes_become_even_pictures_and_stay_curves():
    x = np.sinh(np.linspace(-3, 3, 60))
    y = np.linspace(-1, 1, 30)
    field = xr.Dataset({"f": (("t", "x", "y"), np.ones((2, 1, 1)) * (x[:, None] + y))}, {"t": [0, 1], "x": x, "y": y})
    (made,) = film.films(field)
    even = np.linspace(x[0], x[-1], 60)
    np.testing.assert_allclose(unpacked(made.content)[0, 0], even + y[:, None], atol=np.ptp(x) / 4095)
    (line,) = film.films(field.isel(y=0, drop=True))
    np.testing.assert_allclose(line.content["axes"][0]["values"], x, rtol=1e-5)


def test_what_is_no_field_over_time_is_no_film():
    t, x = np.linspace(0, 1, 40), np.linspace(0, 1, 50)
    ds = xr.Dataset(
        {
            "kl": ("t", t),  # no space
            "error": (("t", "seed"), np.ones((40, 30))),  # nor this
            "profile": ("x", x),  # no time
            "log_density": ("x", x),
            "position": (("t", "particle", "dim"), np.ones((40, 30, 1))),
            "name": (("t", "x"), np.full((40, 50), "a")),
        },
        coords={"t": t, "x": x, "seed": np.arange(30), "particle": np.arange(30)},
    )
    assert film.films(ds) == ()


def test_frames_and_curves_are_named():
    ds = dataset({"x": 40}).rename(t="frame").drop_vars("frame")
    ds = ds.assign_coords(frame_t=("frame", np.arange(5.0), {"units": "s"}), frame_flow=("frame", list("abcde")))
    both = xr.concat([ds, ds], xr.DataArray(["W", "WFR"], dims="flow", name="flow"))
    (made,) = film.films(both)
    assert made.frames[2] == "c, t = 2 (s)"
    assert made.content["series"] == ["W", "WFR"]
    assert made.content["colours"] == [1, 0]  # as in the figures: vermilion and blue
    (numbered,) = film.films(both.assign_coords(flow=[1, 2]))
    assert numbered.content["series"] == ["flow = 1", "flow = 2"]


def test_the_target_goes_with_a_film():
    ds = dataset({"x": 400})
    ds["log_target"] = -0.5 * ds["x"] ** 2  # not normalised
    (line,) = film.films(ds)[0].content["target"]
    at_zero = min(line, key=lambda point: abs(point[0]))
    assert at_zero[1] == pytest.approx(1 / np.sqrt(2 * np.pi), rel=1e-3)
    plane = dataset({"x": 90, "y": 91})
    plane["log_target"] = -0.5 * (plane["x"] ** 2 + plane["y"] ** 2)
    radii = [np.hypot(*np.transpose(points)) for points in film.films(plane)[0].content["target"]]
    # a disc of radius r holds 1 - e^(-r²/2); linear between cells of width 0.11
    expected = [np.sqrt(-2 * np.log(1 - mass)) for mass in (0.99, 0.9, 0.5)]
    np.testing.assert_allclose([radius.mean() for radius in radii], expected, rtol=0.01)
