"""The picture of a report: time and flash by chip, error by format. PNG, no display needed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from .report import Row

# Okabe and Ito's palette: told apart by colour-blind readers too
_COLOURS = {"float32": "#0072B2", "int16": "#E69F00", "int8": "#009E73"}
_WIDTH = 0.27


def short(value: float) -> str:
    """Three digits, and no exponent for what is large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _by_chip(axes: Axes, rows: Sequence[Row], value: Callable[[Row], float], title: str) -> None:
    targets = list(dict.fromkeys(row.target for row in rows))
    for place, (arithmetic, colour) in enumerate(_COLOURS.items()):
        found = [row for row in rows if row.arithmetic == arithmetic]
        at = [targets.index(row.target) + (place - 1) * _WIDTH for row in found]
        bars = axes.bar(at, [value(row) for row in found], _WIDTH * 0.92, color=colour, label=arithmetic)
        axes.bar_label(bars, [short(value(row)) for row in found], fontsize=8, padding=3, rotation=90)
    axes.set_xticks(range(len(targets)), targets)
    _dress(axes, title)


def plot(rows: Sequence[Row], half_count: float) -> bytes:
    """PNG of the rows that have figures, and of the error that rounding to whole counts has by itself."""
    measured = [row for row in rows if not row.missing]
    figure = Figure(figsize=(11.5, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    time, flash, error = figure.subplots(1, 3, width_ratios=[1, 1, 0.7])
    _by_chip(time, measured, lambda row: row.microseconds, "time of an inference, µs (logarithmic)")
    time.set_yscale("log")
    low, high = time.get_ylim()
    time.set_ylim(low, high * (high / low) ** 0.15)  # room for the figures above the bars
    _by_chip(flash, measured, lambda row: row.flash, "flash, bytes")
    flash.margins(y=0.2)
    errors = {row.arithmetic: row.max_error for row in measured}  # the same on every chip, for the bits are
    bars = error.bar(list(errors), list(errors.values()), 0.5, color=[_COLOURS[name] for name in errors])
    error.bar_label(bars, [f"{value:.1e}" for value in errors.values()], fontsize=8, padding=3)
    error.axhline(half_count, color="#555555", linewidth=1, linestyle="--", label="rounding to whole counts alone")
    error.margins(y=0.2)
    error.legend(loc="upper left", fontsize=8, frameon=False)
    _dress(error, "largest error, half ranges")
    handles, labels = time.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()
