"""The table of what a figure shows."""

import csv
import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from wfr_pde.app.experiments import figure_data as drawn


def table(draw):
    """The rows with numbers of what `draw(ax)` draws, without the panel, and those of title and axes."""
    figure = Figure()
    draw(figure.subplots())
    return [row[1:] for row in drawn.rows(figure)]


def numbers(rows):
    return np.array([[float(text or "nan") for text in row[4:]] for row in rows])


def test_lines_and_their_labels():
    def draw(ax):
        ax.loglog([1, 2, 4], [1, np.nan, 1e-300], label="error")
        ax.set(title="Both", xlabel="dt", ylabel="L1 (1)")

    rows = table(draw)
    assert [row[0::2][:2] for row in rows[:3]] == [("title", "Both"), ("x axis", "dt"), ("y axis", "L1 (1)")]
    assert rows[3] == ("line", 1, "error", 1, "1", "1", "")
    assert rows[4][4:] == ("2", "", "")
    assert rows[5][4:] == ("4", "1e-300", "")


def test_what_reaches_across_the_axes_has_no_numbers_there():
    rows = table(lambda ax: (ax.axhline(3), ax.axvspan(1, 2)))
    by_kind = {row[0]: [row[4:6] for row in rows if row[0] == found[0]] for found in rows for row in [found]}
    assert by_kind == {"line": [("", "3"), ("", "3")], "bar": [("1", ""), ("2", "")]}


def test_bands_points_bars_and_steps():
    x = np.arange(3.0)
    assert {row[0] for row in table(lambda ax: ax.fill_between(x, x, x + 1))} == {"area"}
    points = table(lambda ax: ax.scatter(x, x**2, c=x + 5))
    assert [row[0] for row in points] == ["points"] * 3
    assert np.array_equal(numbers(points), np.c_[x, x**2, x + 5])
    bars = table(lambda ax: ax.bar(x, x + 1, width=1))
    assert np.array_equal(numbers(bars)[:2, :2], [[-0.5, 0], [0.5, 1]])
    steps = table(lambda ax: ax.stairs([1, 2], [0, 1, 3], label="law"))
    assert [row[2] for row in steps] == ["law"] * 3
    assert np.array_equal(numbers(steps)[:, :2], [[0, 1], [1, 2], [3, np.nan]], equal_nan=True)


def test_error_bars_are_segments():
    rows = table(lambda ax: ax.errorbar([1, 2], [3, 4], yerr=0.5, fmt="o"))
    segments = [row for row in rows if row[0] == "segments"]
    assert [row[3] for row in segments] == [1, 1, 2, 2]
    assert np.array_equal(numbers(segments)[:, :2], [[1, 2.5], [1, 3.5], [2, 3.5], [2, 4.5]])
    missing = table(lambda ax: ax.errorbar([1, 2], [3, np.nan], yerr=0.5, fmt="o"))
    assert [row[3] for row in missing if row[0] == "segments"] == [1, 1]


@pytest.mark.parametrize("shading", ["flat", "nearest", "gouraud"])
def test_a_mesh_has_its_values_where_they_are(shading):
    n = 1 if shading == "flat" else 0
    x, y = np.arange(3.0 + n), np.arange(2.0 + n)
    values = np.ma.masked_equal(np.arange(6.0).reshape(2, 3), 4)
    rows = numbers(table(lambda ax: ax.pcolormesh(x, y, values, shading=shading)))
    at = 0.5 * n
    expected = [[at + j, at + i, 3 * i + j if 3 * i + j != 4 else np.nan] for i in range(2) for j in range(3)]
    assert np.array_equal(rows, expected, equal_nan=True)


@pytest.mark.parametrize("origin", ["lower", "upper"])
def test_an_image_has_its_values_where_they_are(origin):
    rows = numbers(table(lambda ax: ax.imshow([[1, 2], [3, 4]], origin=origin, extent=(0, 4, 0, 2))))
    low, high = (0.5, 1.5) if origin == "lower" else (1.5, 0.5)
    assert np.array_equal(rows, [[1, low, 1], [3, low, 2], [1, high, 3], [3, high, 4]])
    assert table(lambda ax: ax.imshow(np.zeros((2, 2, 3)))) == []  # colours, not values


@pytest.mark.parametrize(("extend", "values"), [("neither", {1.5}), ("max", {1.5, 5e249})])
def test_contours_have_their_levels(extend, values):
    x = np.linspace(-2, 2, 41)
    bump = 4 - x[:, None] ** 2 - x**2
    lines = numbers(table(lambda ax: ax.contour(x, x, bump, [1, 2])))
    assert set(lines[:, 2]) == {1.0, 2.0}
    assert np.allclose(4 - np.sum(lines[:, :2] ** 2, axis=1), lines[:, 2], atol=0.01)  # linear between nodes, dx = 0.1
    filled = numbers(table(lambda ax: ax.contourf(x, x, bump, [1, 2], extend=extend)))
    assert len(set(filled[:, 2])) == len(values)
    assert 1.5 in filled[:, 2]


def test_what_is_not_seen_is_not_in_it():
    def draw(ax):
        ax.plot([1], [1])[0].set_visible(False)
        ax.text(0, 0, "words")
        ax.figure.colorbar(ax.pcolormesh([[1.0]]), ax=ax)

    assert [row[0] for row in table(draw)] == ["image"]


def test_the_file_is_csv(tmp_path):
    figure = Figure()
    for ax in figure.subplots(1, 2):
        ax.plot([0.1 + 0.2], [1 / 3], label='W, "FR"')
    drawn.write_csv(figure, tmp_path / "a.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [row["panel"] for row in rows] == ["1", "2"]
    assert rows[0] == {
        "panel": "1", "kind": "line", "artist": "1", "label": 'W, "FR"', "part": "1",
        "x": "0.3", "y": "0.3333333333", "value": "",
    }  # fmt: skip
