"""Pictures of densities for notebooks: SVG that is small, well-formed, and shows where the mass is."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import wfr_pde as wfr

SVG = ".//svg"


@pytest.mark.parametrize(
    ("mean", "cells"),
    [([1.0], 200), ([2.0, -1.0], (60, 40)), ([0.0, 1.0, 0.0], 20)],
    ids=["line", "plane", "space"],
)
def test_pictures_are_small_and_well_formed(mean, cells):
    grid = wfr.Grid([-7.0] * len(mean), [7.0] * len(mean), cells)
    page = grid.density(wfr.Gaussian(mean, 1))._repr_html_()
    assert len(page) < 60_000
    assert ElementTree.fromstring(page.replace("<br>", "<br/>")).find(SVG) is not None


def test_a_curve_is_highest_where_the_density_is():
    page = wfr.Grid(-10, 10, 400).density(wfr.Gaussian(5, 1))._repr_html_()
    curve = ElementTree.fromstring(page.replace("<br>", "<br/>")).find(".//polyline").get("points")
    x, y = np.array([place.split(",") for place in curve.split()], dtype=float).T
    assert x[y.argmin()] == pytest.approx(240 * 0.75, abs=3)  # 5 is three quarters of the way; points are 2 apart


def test_shades_are_darkest_where_the_density_is():
    page = wfr.Grid([-8, -8], [8, 8], 64, max_cut=1).density(wfr.Gaussian([4, 4], 1))._repr_html_()
    tree = ElementTree.fromstring(page.replace("<br>", "<br/>"))
    darkest = max(tree.iter("rect"), key=lambda rect: float(rect.get("fill-opacity")))
    assert float(darkest.get("x")) == pytest.approx(240 * 0.75, abs=20)
    assert float(darkest.get("y")) == pytest.approx(140 * 0.25, abs=15)  # the second coordinate goes upwards


def test_names_cannot_be_markup():
    density = wfr.Grid(-6, 6, 48).density(wfr.Gaussian(0, 1))
    named = wfr.Density(density.grid, density.log_values, "<script>alert(1)</script>")
    assert "<script" not in named._repr_html_()
