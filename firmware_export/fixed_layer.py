"""One stage in integers: its formats, its rounded weights, its proof.

The accumulator of a row is worth unit * m / 2^s, where m is chosen as small as weights and sums allow: then the
weights have the most bits. What is found is checked in integers, and m raised, the row's format lowered, until the
bound over all inputs holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError

from .fixed_plan import INT16, INT32, LARGEST_MULTIPLIER, SHIFTS, FixedLayer, bounds
from .fixed_rounding import round_rows
from .fixed_stages import Stage
from .fixed_table import DOMAIN

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bits = Literal[16, 8]

LARGEST_WEIGHT: dict[int, int] = {16: 32767, 8: 127}
#: Hidden values that no table bounds may be so many times what they were in calibration; beyond, they saturate.
MARGIN = 2.0


@dataclass(frozen=True)
class Columns:
    """What a matrix multiplies: x of low .. high, which stands for step * x + offset. Each (columns,)."""

    step: F64
    offset: F64
    low: I64
    high: I64


@dataclass(frozen=True)
class _Values:
    """What z and y of a layer are: z stands for unit * z (+ 1/2 before a table), y for step * y, within low .. high."""

    act: Literal["none", "tanh", "leaky_relu"]
    alpha: int
    unit: float
    step: float
    low: I64
    high: I64


def _values(stage: Stage, wanted: F64, fraction: int, outputs: bool) -> _Values:
    kind = None if stage.act is None else stage.act.kind
    alpha = 0
    if kind == "leaky_relu" and stage.act is not None:
        if not 0 <= stage.act.alpha <= 1:
            raise ExportError(
                f"layer {stage.number}: leaky_relu with slope {stage.act.alpha}; 0 to 1 has a fixed-point form."
            )
        alpha = min(round(stage.act.alpha * 32768), 32767)
    act: Literal["none", "tanh", "leaky_relu"] = (
        "tanh" if kind == "tanh" else "leaky_relu" if kind == "leaky_relu" else "none"
    )
    least, most = INT16
    half = 0.0
    if outputs:
        unit = step = 1.0
    elif act == "tanh":
        unit, step, half = DOMAIN / 32768, 2.0**-fraction, 0.5
    else:
        seen = np.clip(np.maximum(wanted, 0.0) if kind == "relu" else wanted, stage.low, stage.high)
        unit = step = MARGIN * max(float(np.abs(seen).max()), 1e-6) / 2**fraction
        least, most = -(2**fraction), 2**fraction - 1
    if kind == "relu":  # a lower limit is all that it is
        least = 0
    low, high = (np.clip(np.rint(end / step - half), least, most).astype(np.int64) for end in (stage.low, stage.high))
    return _Values(act, alpha, unit, step, low, high)


def _multipliers(stage: Stage, sums: F64, least: F64, values: _Values, bits: Bits) -> tuple[I64, int]:
    """Multiplier of each row, and the layer's shift, so that an accumulator is worth at least `least`."""
    for shift in SHIFTS:
        multiplier = np.maximum(np.ceil(least / values.unit * 2.0**shift), 1)
        if (multiplier < LARGEST_MULTIPLIER).all():  # one more is left for rounding
            return multiplier.astype(np.int64), shift
    row = int(np.argmax(multiplier))
    counts = " counts" if values.unit == 1 else ""
    raise ExportError(
        f"layer {stage.number}, row {row}: its sums reach {sums[row]:.3g}{counts}, "
        f"{multiplier[row] / LARGEST_MULTIPLIER:.3g} times what int{bits} fixed point can carry here; export the "
        "network in float32, give its outputs a larger scale, or train it with smaller weights."
    )


def quantise_layer(
    stage: Stage, taken: Columns, x: I64, wanted: F64, bits: Bits, fraction: int, outputs: bool
) -> FixedLayer:
    """One stage in integers.

    Args:
        taken: what its columns mean.
        x: (n, columns), what they are in calibration.
        wanted: (n, rows), W x + b in real numbers, by the network in float64.
        bits: of a weight.
        fraction: bits behind the point of what comes out of a hidden stage.
        outputs: True where what comes out are counts.

    Raises ExportError, naming layer and row, where weights do not fit.
    """
    values = _values(stage, wanted, fraction, outputs)
    columns = stage.weight * taken.step
    reach = np.maximum(np.abs(taken.low), np.abs(taken.high))
    sums = np.abs(columns) @ reach + np.abs(stage.weight @ taken.offset + stage.bias)
    least = np.maximum(np.abs(columns).max(axis=1) / LARGEST_WEIGHT[bits], sums / 2**31)
    multiplier, shift = _multipliers(stage, sums, least, values, bits)
    while True:
        worth = values.unit * multiplier / 2.0**shift
        weight = round_rows(columns / worth[:, None], x, LARGEST_WEIGHT[bits])
        # what is left on average goes into the bias, and so does the half unit that rounding down takes away, but
        # before a table, whose arguments have it anyway
        rest = (wanted / worth - x.astype(np.float64) @ weight.T).mean(axis=0)
        rounding = 0.0 if values.act == "tanh" else 0.5 * values.unit / worth
        bias = np.rint(rest + rounding)
        over = np.abs(bias) > INT32[1]
        bias = np.where(over, 0, bias).astype(np.int64)
        down, up = bounds(weight, bias, taken.low, taken.high)
        over |= (down < INT32[0]) | (up > INT32[1])
        if not over.any():
            break
        multiplier = multiplier + over
        if (multiplier > LARGEST_MULTIPLIER).any():
            raise ExportError(
                f"layer {stage.number}, row {int(np.argmax(multiplier))}: its sum does not fit 32 bits; export the "
                "network in float32."
            )
    return FixedLayer(
        number=stage.number, weight=weight, bias=bias, multiplier=multiplier, shift=shift, act=values.act,
        alpha=values.alpha, low=values.low, high=values.high, step=values.step,
    )  # fmt: skip
