"""Pictures: nothing covers anything else, and what is drawn can be seen."""

from __future__ import annotations

from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from esmaml_robot.report import plots

LABELS = ("ES-MAML", "ES-MAML\n*", "domain\nrandomisation", "domain\nrandomisation *", "untrained\n(initial theta) *")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figures that were saved."""
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize("mean", [-300.0, 300.0])
def test_the_legend_of_the_scores_covers_no_bar_and_no_name_the_next(drawn, tmp_path, mean):
    rows = [(label, mean, 40.0, mean / 2, 60.0) for label in (*LABELS, *LABELS[2:])]
    plots.plot_scores(tmp_path / "scores.png", rows, "tasks outside the training range (split outside)")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert axes.get_legend() is None
    name = axes.yaxis.label.get_window_extent()
    assert figure.bbox.y0 <= name.y0 < name.y1 <= figure.bbox.y1
    (legend,) = figure.legends
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    names = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(names))


def test_a_curve_of_one_point_is_a_dot(drawn, tmp_path):
    rows = [{"episodes": n, "mean_return": -3.0} for n in (100, 200)]
    plots.plot_learning(tmp_path / "learning.png", {"one": rows[:1], "two": rows})
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    assert lines["one"].get_marker() == "o"
    assert lines["two"].get_marker() == "None"
