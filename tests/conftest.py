"""What several test files share."""

from __future__ import annotations

import os

# one BLAS thread per test process: results do not depend on the machine's load
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption("--results", help="a folder with quick runs of the experiments, which are not made again")
    parser.addoption("--record-counts", action="store_true", help="write what tests/regressions counts to counts.json")


@pytest.fixture
def check_fit_to_print():
    """As `check_fit_to_read`, and that ticks do not overlap and all that is drawn is inside the figure."""

    def check(figure):
        fit_to_read(figure)
        check_ticks_do_not_overlap(figure)
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        slack = 0.02  # inches: half a line's width, and hinting
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -slack, f"{box} reaches out of the figure"

    return check


@pytest.fixture
def check_fit_to_read():
    """A function that asserts of a figure that no text is cut off, and that titles and labels do not overlap."""
    return fit_to_read


def fit_to_read(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

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


def check_ticks_do_not_overlap(figure):
    """That no two numbers of the horizontal axes overlap, nor numbers of different panels."""
    boxes = []
    for ax in figure.axes:
        low, high = sorted(ax.get_xlim())
        for text in ax.get_xticklabels() if ax.get_visible() else []:
            is_level = text.get_rotation() % 90 == 0  # boxes of slanted texts overlap where the texts do not
            if is_level and text.get_visible() and text.get_text() and low <= text.get_position()[0] <= high:
                boxes.append((text.get_text(), text.get_window_extent()))
    for i, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), f"tick {text!r} overlaps {other!r}"


def check_labels_do_not_overlap(figure):
    boxes = [(text.get_text(), text.get_window_extent()) for ax in figure.axes for text in labels(ax)]
    for i, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), f"{text!r} overlaps {other!r}"


def labels(ax):
    """Titles and axis labels that are not empty."""
    texts = (ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label)
    return [text for text in texts if text.get_text() and text.get_visible()]
