"""Two methods side by side on the plane: how each explores, where its adapted policies go, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .plots import BEACON_RANGE_M, BLUE, GREEN, GREY, ORANGE, RED, save_figure

F32 = npt.NDArray[np.float32]

#: One colour a goal, one a method.
GOAL_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7")
METHOD_COLOURS = ("black", RED)


@dataclass(frozen=True)
class MethodPaths:
    """What the picture shows of one method. Paths have shape (T + 1, 2), positions in m.

    Attributes:
        label: of the method; `before_label`, `after_label` say what its paths are.
        centre: path of the policy that is not perturbed.
        explored: paths of the first episodes of an adaptation.
        adapted: path of the adapted policy in each of some held-out tasks.
        targets: the goal of each of these tasks, as an index.
        before, after: returns of all held-out tasks, (tasks,).
    """

    label: str
    before_label: str
    after_label: str
    centre: F32
    explored: Sequence[F32]
    adapted: Sequence[F32]
    targets: Sequence[int]
    before: F32
    after: F32


def _field(axes: Axes, goals: Sequence[tuple[float, float]], title: str, coloured: bool) -> None:
    for (x, y), colour in zip(goals, GOAL_COLOURS, strict=False):
        shown = colour if coloured else GREY
        axes.add_patch(Circle((x, y), BEACON_RANGE_M, color=shown, alpha=0.10, lw=0))
        axes.plot(x, y, marker="s", color=shown, ms=6, zorder=3)
    axes.set(xlim=(-4.7, 4.7), ylim=(-4.7, 4.7), aspect="equal", xlabel="x / m", ylabel="y / m")
    axes.set_title(title, fontsize=9)


def plot_adaptations(path: Path, methods: Sequence[MethodPaths], goals: Sequence[tuple[float, float]]) -> Path:
    """A row of two fields a method, and beside them the shares of tasks by return after adaptation."""
    figure = Figure(figsize=(13.0, 4.3 * len(methods)), layout="constrained")
    grid = figure.add_gridspec(len(methods), 3, width_ratios=(1, 1, 0.95))
    for row, method in enumerate(methods):
        left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
        _field(left, goals, f"{method.label}, before: {method.before_label}", False)
        for explored in method.explored:
            left.plot(explored[:, 0], explored[:, 1], color=BLUE, lw=0.9, alpha=0.45)
        left.plot(method.centre[:, 0], method.centre[:, 1], color="black", lw=2.0)
        left.plot(*method.centre[0], "o", color="black", ms=5)
        _field(right, goals, f"{method.label}, after: {method.after_label}", True)
        for adapted, target in zip(method.adapted, method.targets, strict=True):
            right.plot(adapted[:, 0], adapted[:, 1], color=GOAL_COLOURS[target], lw=1.1, alpha=0.7)
    curves = figure.add_subplot(grid[:, 2])
    for method, colour in zip(methods, METHOD_COLOURS, strict=False):
        for returns, style, when in ((method.before, ":", "before"), (method.after, "-", "after")):
            share = np.arange(1, len(returns) + 1) / len(returns)
            label = f"{method.label} {when}: mean {float(returns.mean()):.0f}"
            curves.step(np.sort(returns), 1.0 - share, where="post", color=colour, ls=style, label=label)
    curves.set(xlabel="return", ylabel="share of held-out tasks with a higher return", ylim=(0, 1.02))
    curves.legend(fontsize=8, loc="lower left")
    curves.grid(alpha=0.25)
    return save_figure(figure, path)
