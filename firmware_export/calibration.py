"""Calibration of a network from elsewhere: rows from a file, ranges of its inputs, and the counts that follow.

Such a network has no robot that says what its inputs are in counts. They become fractions of 16 bits of a power of two
that the rows, or the range given, do not leave; beyond it they saturate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError

from .fixed_counts import MIN_ROWS, q15, rows_from_ranges
from .fixed_export import Calibration
from .fixed_plan import Counts
from .network import Clip, Network, Scale

F64 = npt.NDArray[np.float64]

#: Rows where only ranges are given, and the seed that they are a function of.
RANGE_ROWS, RANGE_SEED = 2000, 1
#: Outputs that nothing limits get this much more than they had in calibration.
OUTPUT_MARGIN = 1.25
#: What is left on either side of the rows' values where no range is given, as a share of their span.
INPUT_MARGIN = 0.125

_RANGE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<low>[^:=]+):(?P<high>[^:=]+)")
_WHAT = (
    "fixed point needs to know what the inputs are like: --calibration FILE with rows of inputs (.npy or CSV, a column "
    "an input), as the robot's sensors gave them; or --input-range LOW:HIGH, or NAME=LOW:HIGH for each input."
)


@dataclass(frozen=True)
class InputsGiven:
    """What a person says of a network's inputs: a file of rows, ranges as `parse_ranges` takes them, or both."""

    rows: Path | None = None
    ranges: tuple[str, ...] = ()


def read_rows(path: Path, inputs: int) -> F64:
    """Rows of inputs (rows, inputs) from a .npy file or a CSV, whose first line may be names. Raises ExportError."""
    try:
        if path.suffix == ".npy":
            rows = np.asarray(np.load(path, allow_pickle=False), np.float64)
        else:
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            first = lines[0].replace(";", ",").split(",") if lines else []
            skip = 0 if all(re.fullmatch(r"\s*[-+]?([\d.].*|nan|inf)\s*", cell, re.IGNORECASE) for cell in first) else 1
            cells = [line.replace(";", ",").split(",") for line in lines[skip:]]
            rows = np.array([[float(cell) for cell in row] for row in cells], np.float64)
    except (OSError, ValueError, EOFError) as problem:  # the last: an empty .npy
        raise ExportError(f"calibration rows {path} cannot be read: {problem}. {_WHAT}") from problem
    if rows.ndim == 1 and inputs == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or rows.shape[1] != inputs or len(rows) < MIN_ROWS:
        raise ExportError(
            f"calibration rows {path} have shape {rows.shape}; ({MIN_ROWS} or more, {inputs}) is needed, a column for "
            "each input."
        )
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ExportError(f"calibration rows {path}: row {row} is {rows[row].tolist()}; leave such rows out.")
    return rows


def parse_ranges(texts: Sequence[str], names: Sequence[str]) -> F64:
    """Ranges of the inputs (2, inputs): LOW:HIGH is for all, NAME=LOW:HIGH for one and stronger. Raises ExportError."""
    given: dict[str | None, tuple[float, float]] = {}
    for text in texts:
        match = _RANGE.fullmatch(text.strip())
        try:
            if match is None:
                raise ValueError
            low, high = float(match["low"]), float(match["high"])
            if not -np.inf < low < high < np.inf:
                raise ValueError
        except ValueError:
            raise ExportError(f"--input-range {text!r} is not LOW:HIGH or NAME=LOW:HIGH with LOW below HIGH.") from None
        name = match["name"]
        if name is not None and name not in names:
            raise ExportError(f"--input-range {text!r}: the network's inputs are {', '.join(names)}.")
        given[name] = (low, high)
    missing = [name for name in names if name not in given and None not in given]
    if missing:
        raise ExportError(f"no --input-range for {', '.join(missing)}; give LOW:HIGH for all others.")
    return np.array([given.get(name, given.get(None)) for name in names], np.float64).T


def _counts(names: Sequence[str], low: F64, high: F64, limited: bool) -> tuple[Counts, ...]:
    """Inputs in counts of a power of two; an input that stays on one side of zero has the middle at count 0.

    Limited ones go no further than low .. high.
    """
    one_sided = (low > 0) | (high < 0)
    centre = np.where(one_sided, (low + high) / 2, 0.0)
    found = []
    reach = np.maximum(high - centre, centre - low)
    for entry, offset, ends in zip(q15(names, reach), centre.tolist(), np.stack([low, high], axis=1), strict=True):
        counts = np.clip(np.rint((ends - offset) / entry.scale), entry.low, entry.high).astype(int).tolist()
        least, most = counts if limited else (entry.low, entry.high)
        found.append(replace(entry, offset=offset, low=least, high=most))
    return tuple(found)


def _largest_outputs(network: Network, rows: F64) -> F64:
    """What the outputs reach: the limits of a clip at the end, else what they are on the rows and some more."""
    largest: F64 = OUTPUT_MARGIN * np.abs(network.forward(rows)).max(axis=0)
    gain, offset = np.ones(len(largest)), np.zeros(len(largest))
    for layer in reversed(network.layers):
        if isinstance(layer, Clip):
            ends = np.abs(np.stack([layer.low, layer.high]).astype(np.float64) * gain + offset).max(axis=0)
            return np.where(np.isfinite(ends), ends, largest)
        if not isinstance(layer, Scale):
            break
        gain, offset = gain * layer.gain, offset - layer.centre.astype(np.float64) * layer.gain * gain
    return largest


def calibration_of(network: Network, given: InputsGiven) -> Calibration:
    """Counts and rows of a network from elsewhere.

    Raises:
        ExportError: nothing is known of the inputs; a file or a range is not what it has to be.
    """
    if given.rows is None and not given.ranges:
        raise ExportError(f"{_WHAT} The network's inputs are: {', '.join(network.inputs)}.")
    names = network.inputs
    seen = read_rows(given.rows, len(names)) if given.rows is not None else None
    if given.ranges:
        low, high = parse_ranges(given.ranges, names)
        inputs = _counts(names, low, high, limited=True)
        rows = rows_from_ranges(inputs, RANGE_ROWS, RANGE_SEED) if seen is None else np.clip(seen, low, high)
    else:
        assert seen is not None  # or there are ranges
        rows, margin = seen, INPUT_MARGIN * np.ptp(seen, axis=0)
        for name, gap, value in zip(names, margin, seen[0], strict=True):
            if gap == 0:
                raise ExportError(
                    f"input {name!r} is {value:g} in every calibration row, which says nothing of where it may go; "
                    f"give --input-range {name}=LOW:HIGH as well, or other rows."
                )
        inputs = _counts(names, seen.min(axis=0) - margin, seen.max(axis=0) + margin, limited=False)
    source = given.rows.name if given.rows is not None else "uniform over the inputs' ranges"
    return Calibration(inputs, q15(network.outputs, _largest_outputs(network, rows)), rows, source)
