"""The pictures of a run: the story of one adaptation, and the learning curve. PNG, no display needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..errors import EsmamlError
from ..files import atomic_write_bytes

F32 = npt.NDArray[np.float32]

# Okabe and Ito's palette: told apart by colour-blind readers too
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#8A8A8A", "#D55E00"
#: A period's reward is above its floor only this close to a beacon, in m.
BEACON_RANGE_M = 2.0


@dataclass(frozen=True)
class Story:
    """What the picture of one adaptation shows. Paths have shape (T + 1, 2), positions in m.

    Attributes:
        meta_path: the meta-policy, unperturbed.
        fan: paths of its perturbations at the operator's sigma.
        tried: paths of the adaptation episodes on the robot, in order.
        tried_returns: their returns.
        adapted: path of the adapted policy on the robot.
        goals: all possible goals; the true one is goals[target], or target is None.
    """

    meta_path: F32
    fan: Sequence[F32]
    tried: Sequence[F32]
    tried_returns: Sequence[float]
    adapted: F32
    goals: Sequence[tuple[float, float]]
    target: int | None


def _field(axes: Axes, story: Story, title: str, mark_target: bool) -> None:
    for index, (x, y) in enumerate(story.goals):
        true = mark_target and index == story.target
        colour = GREEN if true else GREY
        axes.add_patch(Circle((x, y), BEACON_RANGE_M, color=colour, alpha=0.10 if true else 0.05, lw=0))
        axes.plot(x, y, marker="*" if true else "s", color=colour, ms=14 if true else 6, zorder=3)
    axes.set(xlim=(-4.7, 4.7), ylim=(-4.7, 4.7), aspect="equal", xlabel="x / m", ylabel="y / m")
    axes.set_title(title, fontsize=10)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all. Raises EsmamlError."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return atomic_write_bytes(path, buffer.getvalue(), error=EsmamlError)


def plot_story(path: Path, story: Story) -> Path:
    """Three panels: the meta-policy and its perturbations, the robot's episodes, the adapted policy."""
    figure = Figure(figsize=(13.5, 4.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _field(left, story, f"Before: the meta-policy and {len(story.fan)} perturbations of it", False)
    for path_xy in story.fan:
        left.plot(path_xy[:, 0], path_xy[:, 1], color=BLUE, lw=0.9, alpha=0.45)
    left.plot(story.meta_path[:, 0], story.meta_path[:, 1], color="black", lw=2.2, label="meta-policy")
    left.plot(*story.meta_path[0, :2], "o", color="black", ms=5)
    left.plot([], [], color=BLUE, lw=1.2, label="perturbed")
    left.legend(loc="lower right", fontsize=8)

    _field(middle, story, f"On the robot: {len(story.tried)} episodes over the serial link", True)
    order = np.linspace(0.25, 1.0, max(1, len(story.tried)))
    for strength, path_xy in zip(order, story.tried, strict=True):
        middle.plot(path_xy[:, 0], path_xy[:, 1], color=ORANGE, lw=1.1, alpha=float(strength))
    middle.text(0.02, 0.96, "pale: early, strong: late", transform=middle.transAxes, fontsize=8, color=GREY)

    best = max(story.tried_returns, default=float("nan"))
    _field(right, story, f"After: the adapted policy, return {best:.1f}", True)
    right.plot(story.adapted[:, 0], story.adapted[:, 1], color=RED, lw=2.2)
    right.plot(*story.adapted[0, :2], "o", color="black", ms=5)
    return save_figure(figure, path)


def plot_learning(
    path: Path, curves: dict[str, list[dict[str, Any]]], reference: tuple[str, float] | None = None
) -> Path:
    """Mean return over training episodes of each run; `curves` maps a label to the rows of its metrics.jsonl."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for (label, rows), colour in zip(curves.items(), (BLUE, ORANGE, GREEN, RED), strict=False):
        x = np.array([r["episodes"] for r in rows], dtype=float)
        y = np.array([r["mean_return"] for r in rows], dtype=float)
        axes.plot(x, y, color=colour, lw=0.6, alpha=0.35)
        width = max(1, len(y) // 30)
        smooth = np.convolve(y, np.ones(width) / width, mode="valid")
        alone = "o" if len(smooth) == 1 else None  # a line through one point cannot be seen
        axes.plot(x[width - 1 :], smooth, color=colour, lw=1.8, marker=alone, label=label)
    if reference is not None:
        axes.axhline(reference[1], color=GREY, ls="--", lw=1.2, label=reference[0])
    axes.set(xlabel="training episodes, adaptation included", ylabel="mean return of perturbed policies")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)
    return save_figure(figure, path)


def plot_scores(path: Path, rows: Sequence[tuple[str, float, float, float, float]], what: str) -> Path:
    """Bars with 95 % intervals; rows: label, before adaptation, its half width, after, its half width.

    what: the tasks that the returns are of, in words.
    """
    figure = Figure(figsize=(max(7.5, 1.25 * len(rows)), 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    for shift, at, colour, label in ((-0.19, 1, GREY, "before"), (0.19, 3, BLUE, "after")):
        heights, errors = [r[at] for r in rows], [r[at + 1] for r in rows]
        axes.bar(places + shift, heights, 0.36, yerr=errors, capsize=4, color=colour, label=label)
    axes.set_xticks(places, [r[0] for r in rows], fontsize=8)
    axes.set_ylabel(f"return on {what}")
    figure.legend(loc="outside upper right", ncols=2, fontsize=8)  # above: bars may be anywhere in the axes
    axes.grid(axis="y", alpha=0.25)
    return save_figure(figure, path)
