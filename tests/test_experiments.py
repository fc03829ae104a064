"""Every experiment in its quick form: its claims hold, and its figure is stored and fit to read."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import wfr_pde as wfr
from wfr_pde.experiment import find_experiments, load_experiment, run_experiment

FILES = find_experiments(Path(__file__).parent.parent / "experiments")


@pytest.mark.parametrize("name", FILES)
def test_claims_hold_and_the_figure_is_fit_to_read(name, tmp_path):
    result = run_experiment(load_experiment(FILES[name]), quick=True, out=tmp_path)
    assert result.checks, "an experiment claims something"
    assert not [f"{check.name} = {check.value:.6g}" for check in result.checks if not check.passed]
    for file in ("figure.png", "figure.pdf"):
        assert (result.directory / file).stat().st_size > 10_000
    figure = result.experiment.figure(result.data)
    FigureCanvasAgg(figure).draw()
    check_nothing_is_cut_off(figure)
    check_labels_do_not_overlap(figure)


def check_nothing_is_cut_off(figure):
    texts = [text for ax in figure.axes for text in (*labels(ax), *ax.texts)]
    for ax in figure.axes:
        texts += [] if ax.get_legend() is None else ax.get_legend().get_texts()
    for text in texts:
        box = text.get_window_extent()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} reaches out of the figure"


def check_labels_do_not_overlap(figure):
    boxes = [(text.get_text(), text.get_window_extent()) for ax in figure.axes for text in labels(ax)]
    for i, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), f"{text!r} overlaps {other!r}"


def labels(ax):
    """Title and axis labels that are not empty."""
    return [text for text in (ax.title, ax.xaxis.label, ax.yaxis.label) if text.get_text() and text.get_visible()]


def test_escape_rate_of_galaxies_is_the_spectral_gap():
    """The number that the experiment checks against, by a second scheme: finite volumes and an eigensolver."""
    module = load_experiment(FILES["galaxies"]).run.__globals__
    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), module["log_likelihood"], module["galaxies"]())
    gap = wfr.spectrum(posterior, wfr.Grid((9, 9), (28, 28), 160), 2)
    assert float(gap.eigenvalue_error[1]) < 1e-8
    expected, tolerance = load_experiment(FILES["galaxies"]).checks["w_escape_rate"]
    assert float(gap.eigenvalue[1]) == pytest.approx(expected, abs=tolerance)
