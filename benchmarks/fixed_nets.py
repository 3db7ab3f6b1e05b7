"""Networks that fixed point is measured and tested on: three that other exporters were measured on, and random ones.

Everything is a function of a seed. The three have weights of spread 1/sqrt(inputs), tanh between layers and outputs
clipped to [-1, 1], as policies have; inputs and outputs are 16-bit fractions of [-1, 1]. Random ones have odd and small
widths, every activation that has a fixed-point form, scales and clips in any place, sensors of few bits, unsigned
sensors, and actuators of few counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt

from firmware_export.fixed_counts import limits_of, q15, scales_of
from firmware_export.fixed_plan import Counts
from firmware_export.fixed_stages import KINDS
from firmware_export.network import Activation, ActivationKind, Clip, Dense, Layer, Network, Scale

from .fixed_images import mixed

F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]

WIDTHS = {"lin28x8": (28, 8), "mlp8_32_4": (8, 32, 4), "mlp17_64_64_6": (17, 64, 64, 6)}
CALIBRATION = 1000


@dataclass(frozen=True)
class Case:
    """A network with what it is quantised with."""

    network: Network
    inputs: tuple[Counts, ...]
    outputs: tuple[Counts, ...]
    calibration: F64


class _Draw:
    """Numbers between 0 and 1, a function of the seed and of how many were taken."""

    def __init__(self, seed: int) -> None:
        self._next = np.uint32(seed * 7919 % 2**32) << np.uint32(16)

    def __call__(self, *shape: int) -> F64:
        size = int(np.prod(shape))
        bits = mixed(self._next + np.arange(size, dtype=np.uint32))
        self._next = self._next + np.uint32(size)
        u: F64 = ((bits + 0.5) / 2.0**32).reshape(shape)
        return u

    def one(self) -> float:
        return float(self(1)[0])

    def whole(self, low: int, high: int) -> int:
        """Low to high, both included."""
        return low + int(self.one() * (high - low + 1))

    def dense(self, rows: int, columns: int, gain: float) -> Dense:
        """Weights of spread gain / sqrt(columns): sums of four uniform numbers, nearly normal."""
        weight = (self(4, rows, columns).sum(axis=0) - 2) * np.sqrt(3 / columns) * gain
        return Dense(weight.astype(np.float32), (0.2 * gain * (self(rows) - 0.5)).astype(np.float32))


def uniform_rows(inputs: tuple[Counts, ...], rows: int, seed: int) -> F64:
    """Values uniform over the inputs' counts, (rows, inputs)."""
    (low, high), (scale, offset) = limits_of(inputs), scales_of(inputs)
    values: F64 = np.rint(low + _Draw(seed)(rows, len(inputs)) * (high - low)) * scale + offset
    return values


def _named(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(count))


def measured_case(name: str, seed: int = 1) -> Case:
    """One of WIDTHS."""
    widths, draw = WIDTHS[name], _Draw(seed)
    layers: list[Layer] = []
    for columns, rows in pairwise(widths):
        layers += [draw.dense(rows, columns, 1.0), Activation("tanh")]
    one = np.ones(widths[-1], np.float32)
    layers[-1] = Clip(-one, one)
    network = Network(_named("x", widths[0]), tuple(layers), _named("y", widths[-1]))
    inputs, outputs = q15(network.inputs, np.ones(widths[0])), q15(network.outputs, one)
    return Case(network, inputs, outputs, uniform_rows(inputs, CALIBRATION, seed + 1))


def _sensor(name: str, draw: _Draw) -> Counts:
    bits = draw.whole(6, 16)
    scale = float(np.float32(2.0 ** (1 - bits) * (0.5 + draw.one())))
    kind = draw.whole(0, 2)
    if kind == 0:  # signed
        return Counts(name, "rad", scale, 0.1 * draw.one(), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 16 or kind == 1:  # unsigned, with an origin
        half = 2 ** (bits - 1)
        return Counts(name, "V", -scale, draw.one(), -half, half - 1, origin=half)
    return Counts(name, "V", scale, -0.5 * 2**bits * scale, 0, 2**bits - 1)


def _spice(draw: _Draw, width: int) -> list[Layer]:
    """Scales and clips, or nothing."""
    layers: list[Layer] = []
    if draw.one() < 0.3:
        layers.append(Scale((0.2 * (draw(width) - 0.5)).astype(np.float32), (0.5 + draw(width)).astype(np.float32)))
    if draw.one() < 0.2:
        layers.append(Clip(-(0.4 + draw(width)).astype(np.float32), (0.4 + draw(width)).astype(np.float32)))
    return layers


def random_case(seed: int, widest: int = 24) -> Case:
    """A random network, at most `widest` wide."""
    draw = _Draw(1000 + seed)
    widths = [draw.whole(1, widest) for _ in range(draw.whole(2, 4))]
    inputs = tuple(_sensor(name, draw) for name in _named("sensor_", widths[0]))
    layers = _spice(draw, widths[0])
    kind = cast(ActivationKind, KINDS[draw.whole(0, len(KINDS) - 1)])
    for number, (columns, rows) in enumerate(pairwise(widths)):
        layers.append(draw.dense(rows, columns, 0.3 + 1.5 * draw.one()))
        layers += _spice(draw, rows)
        if number < len(widths) - 2 or draw.one() < 0.3:
            layers.append(Activation(kind, 0.2 * draw.one() if kind == "leaky_relu" else 0.0))
            layers += _spice(draw, rows)
    limit = np.full(widths[-1], 1 + 2 * draw.one(), np.float32)
    layers.append(Clip(-limit, limit))
    network = Network(tuple(i.name for i in inputs), tuple(layers), _named("actuator_", widths[-1]))
    top = draw.whole(100, 32767)
    outputs = tuple(
        Counts(name, "us", 4.0 / top, -2.0 if number % 2 else 0.0, -top * (number % 2 == 0), top)
        for number, name in enumerate(network.outputs)
    )
    return Case(network, inputs, outputs, uniform_rows(inputs, 128, seed))
