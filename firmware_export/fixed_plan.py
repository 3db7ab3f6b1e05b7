"""A network in integers, as plain data: weights, formats, limits, and the proof that no accumulator overflows.

What the integers mean, and what is done with them, in this order; fixed_model.py does it in numpy, the generated C does
the same and gives the same bits. All numbers are 16-bit integers but where it is said; >> rounds down.

    x = (min(max(count, low), high) - centre) << shift          each input
    a = bias + sum of w x                                       32 bits, w of 16 or of 8
    z = limit16((a * m) >> s)                                   each row: m of 1 to 32767; each layer: s = 24 or 16
    y = tanh table of z, or z, or (z * alpha + 2^14) >> 15 where z < 0
    y = min(max(y, low), high)                                  where a layer has limits
    count = y of the last layer

A row therefore has a scale of its own, m / 2^s, folded exactly into its weights; shifts are whole bytes. Rounding to
nearest is in the biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from esmaml_robot import identity
from esmaml_robot.errors import ExportError

from .fixed_table import TanhTable, tanh_table

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

INT16 = (-(2**15), 2**15 - 1)
INT32 = (-(2**31), 2**31 - 1)
#: Shift of a layer: whole bytes, which an 8-bit processor does by picking another register.
SHIFTS = (24, 16)
LARGEST_MULTIPLIER = 2**15 - 1
#: Widest layer: an AVR's kernel adds up 256 products of bytes in 24 bits.
MAX_WIDTH = 256


@dataclass(frozen=True)
class Counts:
    """An input or output in counts: value = scale * count + offset.

    Attributes:
        name, unit: of the value.
        low, high: the counts that are admissible, within 16 bits. Beyond, a count counts as the nearest of them.
        origin: what the caller subtracts from the pin's counts to get these, 32768 where those are unsigned and reach
            beyond 32767; outputs are to be added to it.
    """

    name: str
    unit: str
    scale: float
    offset: float
    low: int
    high: int
    origin: int = 0

    def __post_init__(self) -> None:
        if not INT16[0] <= self.low < self.high <= INT16[1]:
            raise ExportError(
                f"{self.name!r}: counts {self.low} .. {self.high} are not a range within {INT16[0]} .. {INT16[1]}; "
                "give unsigned counts an origin of 32768."
            )
        for name in ("scale", "offset"):  # a numpy number would print as one in the header
            object.__setattr__(self, name, float(getattr(self, name)))
        if not (np.isfinite([self.scale, self.offset]).all() and abs(self.scale) > 1e-30):
            raise ExportError(f"{self.name!r}: scale {self.scale} and offset {self.offset} do not make a value.")


def bounds(weight: I64, bias: I64, low: I64, high: I64) -> tuple[I64, I64]:
    """What bias + W x can reach at any time while it is added up, for all x within low .. high: (smallest, largest).

    Whatever the order of the products, and wherever the bias comes in: all that pull one way are taken at their worst,
    and none of the others.
    """
    ends = weight * low, weight * high
    down: I64 = np.minimum(np.minimum(*ends), 0).sum(axis=1) + np.minimum(bias, 0)
    up: I64 = np.maximum(np.maximum(*ends), 0).sum(axis=1) + np.maximum(bias, 0)
    return down, up


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """One layer.

    Attributes:
        number: of the network's layer that the matrix came from, for messages.
        weight: (rows, columns); bias (rows,), 32 bits; multiplier (rows,).
        shift: 24 or 16.
        act: what follows; alpha is the slope of leaky_relu in units of 2^-15.
        low, high: (rows,), limits of y.
        step: what one unit of y is worth; y stands for (y + 1/2) step behind a table, else for y step.
    """

    number: int
    weight: I64
    bias: I64
    multiplier: I64
    shift: int
    act: Literal["none", "tanh", "leaky_relu"]
    alpha: int
    low: I64
    high: I64
    step: float

    @property
    def half(self) -> float:
        return 0.5 if self.act == "tanh" else 0.0

    def range_of(self, table: TanhTable) -> tuple[I64, I64]:
        """Smallest and largest y of each row, over all z."""
        ends = np.array(INT16, np.int64)
        if self.act == "tanh":
            ends = table(ends)
        elif self.act == "leaky_relu":
            ends = np.array([(INT16[0] * self.alpha + 2**14) >> 15, INT16[1]])
        return np.clip(ends[0], self.low, self.high), np.clip(ends[1], self.low, self.high)


@dataclass(frozen=True, eq=False)
class FixedNetwork:
    """A network in integers. Made by fixed_quantise.py.

    Attributes:
        bits: of a weight, 16 or 8.
        fraction: bits behind the point of what the tanh table gives.
        centre, shift: (inputs,), see above.
        output_range: (outputs,), what an error is measured by, in counts.
        error: largest difference to the network in float64 over the calibration rows, as a share of output_range;
            without the rounding to whole counts it would be smaller.
    """

    bits: Literal[16, 8]
    fraction: int
    inputs: tuple[Counts, ...]
    centre: I64
    shift: I64
    layers: tuple[FixedLayer, ...]
    outputs: tuple[Counts, ...]
    output_range: F64
    error: float

    @property
    def table(self) -> TanhTable:
        return tanh_table(self.fraction)

    @property
    def has_tanh(self) -> bool:
        return any(layer.act == "tanh" for layer in self.layers)

    @property
    def products(self) -> int:
        return sum(layer.weight.size for layer in self.layers)

    def input_range(self) -> tuple[I64, I64]:
        """Smallest and largest x of each input."""
        low, high = (np.array([getattr(i, end) for i in self.inputs], np.int64) for end in ("low", "high"))
        return (low - self.centre) << self.shift, (high - self.centre) << self.shift

    def accumulators(self) -> list[tuple[I64, I64]]:
        """For each layer what its accumulators can reach at any time, over all inputs: (smallest, largest), (rows,)."""
        found = []
        low, high = self.input_range()
        for layer in self.layers:
            found.append(bounds(layer.weight, layer.bias, low, high))
            low, high = layer.range_of(self.table)
        return found

    def check(self) -> None:
        """Raise ExportError unless everything fits its format; a plan that is exported has been through this."""
        limit = 32767 if self.bits == 16 else 127
        least, most = self.input_range()
        for entry, bad in zip(self.inputs, (least < INT16[0]) | (most > INT16[1]), strict=True):
            if bad:
                raise ExportError(f"input {entry.name!r} does not fit 16 bits after its shift.")
        widest = max(len(self.inputs), *(len(layer.weight) for layer in self.layers))
        if widest > MAX_WIDTH:
            raise ExportError(f"a layer is {widest} wide; fixed point goes up to {MAX_WIDTH}.")
        for layer, (down, up) in zip(self.layers, self.accumulators(), strict=True):
            for what, bad in (
                ("an accumulator beyond 32 bits", (down < INT32[0]) | (up > INT32[1])),
                (f"a weight beyond {self.bits} bits", (np.abs(layer.weight) > limit).any(axis=1)),
                ("a multiplier out of range", (layer.multiplier < 1) | (layer.multiplier > LARGEST_MULTIPLIER)),
            ):
                if bad.any():
                    raise ExportError(f"layer {layer.number}, row {int(np.argmax(bad))} has {what}.")

    def describe(self) -> list[str]:
        """The formats and bounds in words, a line each."""
        lines = []
        for layer, (down, up) in zip(self.layers, self.accumulators(), strict=True):
            rows, columns = layer.weight.shape
            worst = max(int(-down.min()), int(up.max()))
            after = {"none": "", "tanh": ", tanh", "leaky_relu": ", leaky relu"}[layer.act]
            lines.append(
                f"layer {layer.number}: {rows} x {columns}, int{self.bits} weights up to "
                f"{int(np.abs(layer.weight).max())}, row multipliers {int(layer.multiplier.min())} to "
                f"{int(layer.multiplier.max())}, shift {layer.shift}{after}; accumulators within {worst}, "
                f"{100 * worst / 2**31:.1f} % of 32 bits"
            )
        return lines

    @property
    def fixed_hash(self) -> str:
        """Of everything that the bits depend on."""
        parts: list[bytes] = [
            f"{self.bits} {self.fraction} {[(i.low, i.high) for i in self.inputs]}".encode(),
            _bytes([self.centre, self.shift]),
        ]
        for layer in self.layers:
            parts.append(f"{layer.weight.shape} {layer.shift} {layer.act} {layer.alpha}".encode())
            parts.append(_bytes([layer.weight, layer.bias, layer.multiplier, layer.low, layer.high]))
        return identity.digest(b"|".join(parts))


def _bytes(arrays: Sequence[I64]) -> bytes:
    return b"".join(np.ascontiguousarray(a, dtype="<i8").tobytes() for a in arrays)
