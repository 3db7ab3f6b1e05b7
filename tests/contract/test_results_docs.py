"""docs/results.md is rendered from the results beside it, and calls nothing reached that is not."""

from __future__ import annotations

import pytest

from benchmarks.learning.__main__ import PAGE, RESULTS
from benchmarks.learning.experiments import Table, ahead_by
from benchmarks.learning.report import render, verdict


def test_the_page_is_rendered_from_the_results():
    assert PAGE.read_text(encoding="utf-8") == render(RESULTS)


def lines(ours, best, control, half=0.1):
    """Lines of two seeds, all with the same half width."""

    def rows(means):
        return [{"after": {"mean": mean, "half_width_95": half, "count": 48}} for mean in means]

    return {
        "ES-MAML": rows(ours),
        "ES-MAML *": rows(best),
        "domain randomisation": rows(control),
        "domain randomisation *": rows([c - 0.01 for c in control]),
    }


@pytest.mark.parametrize(
    ("ours", "control", "reached"),
    [
        ([1.0, 1.1], [0.7, 0.8], True),
        ([1.0, 1.1], [0.7, 0.95], False),  # the mean is far enough ahead, and one seed's intervals overlap
        ([1.0, 1.1], [0.8, 0.85], False),  # apart, and not far enough ahead
        ([-0.1, -0.1], [-0.14, -0.14], False),  # of a negative return 35 % more is no less
        ([-0.1, -0.1], [-0.5, -0.5], True),
    ],
)
def test_a_share_ahead_counts_with_intervals_apart_only(ours, control, reached):
    table = Table(10, bar=ahead_by(0.35), apart=True)
    assert verdict(table, lines(ours, ours, control, half=0.05))[0] is reached


def test_without_a_bar_it_is_the_intervals_at_one_step_or_the_other():
    table = Table(10)
    assert verdict(table, lines([1.0, 1.0], [0.5, 0.5], [0.7, 0.7])) == (
        True,
        "intervals apart from every control on 2 of 2 seeds, at its best step on 0",
    )
    assert verdict(table, lines([0.8, 1.0], [1.0, 1.0], [0.7, 0.7])) == (
        True,
        "intervals apart from every control on 1 of 2 seeds, at its best step on 2",
    )
    assert verdict(table, lines([0.8, 1.0], [1.0, 0.8], [0.7, 0.7])) == (
        False,
        "intervals apart from every control on 1 of 2 seeds",
    )
