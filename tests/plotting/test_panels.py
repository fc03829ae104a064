"""Letters of panels."""

import pytest

from wfr_pde import plotting
from wfr_pde.plotting.panels import panels_of, title_of


def titles(figure):
    return [title_of(ax)[1] for ax in panels_of(figure)]


def test_letters_go_row_by_row():
    figure = plotting.new_figure(plotting.PAGE_WIDTH, 4)
    above, below = figure.subfigures(2, 1)
    last = below.subplots()  # made first, but below the others
    last.set_title("last")
    for ax, title in zip(above.subplots(1, 3), ("one", "", "three"), strict=True):
        ax.set_title(title, loc="left" if title == "three" else "center")
    assert plotting.panel_letters(figure) is figure
    assert titles(figure) == ["(a) one", "(b)", "(c) three", "(d) last"]
    assert last.get_title() == "(d) last"
    assert panels_of(figure)[2].get_title("left") == "(c) three"
    plotting.panel_letters(figure)  # a second time nothing is added
    assert titles(figure) == ["(a) one", "(b)", "(c) three", "(d) last"]


def test_letters_have_the_weight_of_the_titles_beside_them():
    figure = plotting.new_figure()
    left, right = figure.subplots(1, 2)
    left.set_title("t = 2", loc="left", fontweight="normal")
    plotting.panel_letters(figure)
    assert (left._left_title.get_text(), right._left_title.get_text()) == ("(a) t = 2", "(b)")
    assert right._left_title.get_fontweight() == left._left_title.get_fontweight() == "normal"


def test_one_panel_has_no_letter():
    figure = plotting.new_figure()
    figure.subplots().set_title("alone")
    assert titles(plotting.panel_letters(figure)) == ["alone"]


def test_what_is_no_panel_has_no_letter():
    figure = plotting.new_figure(plotting.PAGE_WIDTH, 3)
    left, right, hidden = figure.subplots(1, 3)
    figure.colorbar(left.imshow([[0, 1]]), ax=left)
    right.twinx().plot([0, 1])
    right.inset_axes([0.5, 0.5, 0.4, 0.4])
    hidden.set_visible(False)
    assert panels_of(figure) == [left, right]
    assert titles(plotting.panel_letters(figure)) == ["(a)", "(b)"]


def test_the_look_of_a_title_stays():
    figure = plotting.new_figure(plotting.PAGE_WIDTH, 3)
    left, _ = figure.subplots(1, 2)
    left.set_title("red", color="red", fontsize=5)
    plotting.panel_letters(figure)
    assert (left.title.get_color(), left.title.get_fontsize()) == ("red", 5)


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="figure must be a Figure of matplotlib, got 3"):
        plotting.panel_letters(3)
