"""Inputs and outputs in counts, calibration rows, and how inputs are placed in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.errors import ExportError

from .fixed_plan import INT16, Counts
from .fixed_stages import Stages

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

MIN_ROWS = 32


def limits_of(signals: Sequence[Counts]) -> tuple[I64, I64]:
    """Smallest and largest counts."""
    return np.array([s.low for s in signals], np.int64), np.array([s.high for s in signals], np.int64)


def scales_of(signals: Sequence[Counts]) -> tuple[F64, F64]:
    """Scale and offset."""
    return np.array([s.scale for s in signals], np.float64), np.array([s.offset for s in signals], np.float64)


def rows_from_ranges(inputs: Sequence[Counts], rows: int, seed: int) -> F64:
    """Calibration rows where there are no rollouts: values uniform over the inputs' counts, (rows, inputs)."""
    (low, high), (scale, offset) = limits_of(inputs), scales_of(inputs)
    u = directions.uniforms(seed, rows * len(inputs)).reshape(rows, -1)
    values: F64 = np.rint(low + u * (high - low)) * scale + offset
    return values


def q15(names: Sequence[str], largest: npt.ArrayLike) -> tuple[Counts, ...]:
    """Counts of 1/32768 of a power of two, `largest` (a number each) or the next above: for signals without counts."""
    reach = 2.0 ** np.ceil(np.log2(np.maximum(np.abs(np.asarray(largest, np.float64)), 2.0**-20)))
    return tuple(Counts(name, "", float(top) / 32768, 0.0, *INT16) for name, top in zip(names, reach, strict=True))


def counts_of(inputs: Sequence[Counts], calibration: npt.ArrayLike) -> I64:
    """Calibration rows in counts, (rows, inputs). Raises ExportError where one is not finite or beyond its counts."""
    rows = np.asarray(calibration, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(inputs) or len(rows) < MIN_ROWS:
        raise ExportError(
            f"calibration rows have shape {rows.shape}; ({MIN_ROWS} or more, {len(inputs)}) is needed, a value for "
            "each input."
        )
    (low, high), (scale, offset) = limits_of(inputs), scales_of(inputs)
    ends = np.sort(np.stack([scale * low + offset, scale * high + offset]), axis=0)
    for i, entry in enumerate(inputs):
        column = rows[:, i]
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise ExportError(
                f"calibration row {bad[0]}: input {entry.name!r} is {column[bad[0]]}; leave such rows out."
            )
        beyond = np.flatnonzero(np.maximum(ends[0, i] - column, column - ends[1, i]) > abs(entry.scale))
        if beyond.size:
            raise ExportError(
                f"calibration row {beyond[0]}: input {entry.name!r} is {column[beyond[0]]:.6g}, outside what its "
                f"counts can carry ({ends[0, i]:.6g} .. {ends[1, i]:.6g}); give it a larger scale, or clip "
                "the rows as the sensor does."
            )
    counts: I64 = np.clip(np.rint((rows - offset) / scale), low, high).astype(np.int64)
    return counts


def limited(inputs: Sequence[Counts], stages: Stages) -> tuple[Counts, ...]:
    """The inputs with the network's own clip taken into their limits, to the nearest count."""
    found = []
    for entry, least, most in zip(inputs, stages.low.tolist(), stages.high.tolist(), strict=True):
        ends = sorted((end - entry.offset) / entry.scale for end in (least, most))
        low, high = (int(np.rint(np.clip(end, entry.low, entry.high))) for end in ends)
        if low >= high:
            raise ExportError(
                f"input {entry.name!r}: the network clips it to {least:.6g} .. {most:.6g}, which leaves no two of its "
                f"counts {entry.low} .. {entry.high}; check its scale and offset."
            )
        found.append(replace(entry, low=low, high=high))
    return tuple(found)


def placed(inputs: Sequence[Counts], least_bits: int) -> tuple[I64, I64]:
    """Centre and shift of each input: counts that lie on one side are centred, small ones shifted up to `least_bits`.

    Where an input has few bits and another one many, the same weight is a large number for the one and a small one for
    the other; shifting brings them together.
    """
    low, high = limits_of(inputs)
    middle = (low + high + 1) >> 1
    centre = np.where(np.abs(middle) * 8 > high - low, middle, 0)
    bits = np.ceil(np.log2(np.maximum(high - centre + 1, centre - low))).astype(np.int64)
    return centre, np.maximum(least_bits - bits, 0)
