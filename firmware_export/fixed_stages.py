"""A network as stages y = clip(activation(W x + b)): the form that is quantised.

Scales, clips and sigmoids of a Network do not get code of their own. A scale is folded into the matrix before or after
it, a clip in front of the first matrix becomes a limit of the inputs, a sigmoid is a tanh with two scales around it.
Where nothing is there to fold into (two activations in a row, a scale behind the last one), a diagonal matrix is put
in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError

from .network import Activation, Clip, Dense, Network, Scale, activation

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Activations that have a fixed-point form.
KINDS = ("tanh", "sigmoid", "relu", "leaky_relu")


@dataclass(frozen=True, eq=False)
class Stage:
    """y = clip(activation(W x + b), low, high), in real numbers.

    Attributes:
        number: layer of the network that the matrix came from, for messages.
        weight, bias: (rows, columns), (rows,), float64.
        act: tanh, relu, leaky_relu, or None.
        low, high: (rows,), may be infinite.
    """

    number: int
    weight: F64
    bias: F64
    act: Activation | None
    low: F64
    high: F64

    def forward(self, x: F64) -> F64:
        """(batch, columns) -> (batch, rows)."""
        y: F64 = x @ self.weight.T + self.bias
        if self.act is not None:
            y = activation(self.act, y)
        return np.clip(y, self.low, self.high)

    @property
    def open(self) -> bool:
        """True while nothing but the matrix is there, so that a scale still folds into it."""
        return self.act is None and not (np.isfinite(self.low).any() or np.isfinite(self.high).any())


@dataclass(frozen=True, eq=False)
class Stages:
    """The limits of the network's inputs, and the stages in order. Each input counts as the nearest number inside."""

    low: F64
    high: F64
    stages: tuple[Stage, ...]

    def forward(self, x: F64) -> F64:
        """(batch, inputs) -> (batch, outputs), float64."""
        y = np.clip(x, self.low, self.high)
        for stage in self.stages:
            y = stage.forward(y)
        return y


@dataclass
class _Walk:
    """Stages so far, and the scale (gain, offset) that waits for the next matrix."""

    width: int
    low: F64
    high: F64
    done: list[Stage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gain, self.offset = np.ones(self.width), np.zeros(self.width)

    def matrix(self, number: int, weight: F64, bias: F64) -> None:
        rows = len(bias)
        unlimited = np.full(rows, np.inf)
        before = self.done[-1].weight if self.done and self.done[-1].open else None
        if before is not None and rows * before.shape[1] <= weight.size + before.size:
            # two factors with nothing between them: their product is the smaller matrix, and rounds once
            weight, bias = weight @ before, weight @ self.done.pop().bias + bias
        else:
            weight, bias = weight * self.gain, weight @ self.offset + bias
        self.done.append(Stage(number, weight, bias, None, -unlimited, unlimited))
        self.width, self.gain, self.offset = rows, np.ones(rows), np.zeros(rows)

    def open_stage(self, number: int) -> Stage:
        """The last stage, if an activation or clip may still be added to it; else a diagonal one."""
        waits = (self.gain != 1).any() or self.offset.any()
        if not self.done or waits or not self.done[-1].open:
            self.matrix(number, np.eye(self.width), np.zeros(self.width))
        return self.done[-1]

    def scale(self, gain: F64, offset: F64) -> None:
        """The vector times gain plus offset."""
        if self.done and self.done[-1].act is None:  # limits are scaled as what they limit
            last = self.done[-1]
            with np.errstate(invalid="ignore"):  # an infinite limit times a gain of zero: there is nothing to limit
                ends = np.stack([last.low * gain + offset, last.high * gain + offset])
            self.done[-1] = replace(
                last,
                weight=last.weight * gain[:, None],
                bias=last.bias * gain + offset,
                low=np.where(gain == 0, -np.inf, ends.min(axis=0)),
                high=np.where(gain == 0, np.inf, ends.max(axis=0)),
            )
        else:
            self.gain, self.offset = self.gain * gain, self.offset * gain + offset

    def activate(self, number: int, layer: Activation) -> None:
        if layer.kind not in KINDS:
            raise ExportError(
                f"layer {number} ({layer.kind}) has no fixed-point form; there are {', '.join(KINDS)}. "
                "Export the network in float32, or train it with one of these."
            )
        stage = self.open_stage(number)
        if layer.kind == "sigmoid":  # 1/2 + 1/2 tanh(x/2)
            stage = replace(stage, weight=0.5 * stage.weight, bias=0.5 * stage.bias)
            self.done[-1] = replace(stage, act=Activation("tanh"))
            self.scale(np.full(self.width, 0.5), np.full(self.width, 0.5))
        else:
            self.done[-1] = replace(stage, act=layer)

    def clip(self, number: int, low: F64, high: F64) -> None:
        if (low > high).any():
            raise ExportError(f"layer {number} (clip) has a lower limit above the upper one.")
        waits = (self.gain != 1).any() or self.offset.any()
        if not self.done:
            self._clip_inputs(number, low, high)
            return
        if waits:
            self.open_stage(number)
        last = self.done[-1]
        # one clip after another: the second one decides where they do not overlap
        self.done[-1] = replace(last, low=np.clip(last.low, low, high), high=np.clip(last.high, low, high))

    def _clip_inputs(self, number: int, low: F64, high: F64) -> None:
        """Limits of gain * input + offset, as limits of the input."""
        moving = self.gain != 0
        self.offset = np.where(moving, self.offset, np.clip(self.offset, low, high))
        gain = np.where(moving, self.gain, 1.0)
        ends = np.stack([(low - self.offset) / gain, (high - self.offset) / gain])
        lows = np.where(moving, ends.min(axis=0), -np.inf)
        highs = np.where(moving, ends.max(axis=0), np.inf)
        self.low, self.high = np.clip(self.low, lows, highs), np.clip(self.high, lows, highs)


def stages_of(network: Network) -> Stages:
    """The stages of a network.

    Raises ExportError where an activation has no fixed-point form.
    """
    width = len(network.inputs)
    walk = _Walk(width, np.full(width, -np.inf), np.full(width, np.inf))
    for number, layer in enumerate(network.layers):
        if isinstance(layer, Dense):
            walk.matrix(number, layer.weight.astype(np.float64), layer.bias.astype(np.float64))
        elif isinstance(layer, Scale):
            gain = layer.gain.astype(np.float64)
            walk.scale(gain, -layer.centre.astype(np.float64) * gain)
        elif isinstance(layer, Clip):
            walk.clip(number, layer.low.astype(np.float64), layer.high.astype(np.float64))
        else:
            walk.activate(number, layer)
    if not walk.done or (walk.gain != 1).any() or walk.offset.any():
        walk.open_stage(len(network.layers) - 1)
    return Stages(walk.low, walk.high, tuple(walk.done))


def in_counts(stages: Stages, scale: F64, offset: F64, low: I64, high: I64) -> Stages:
    """The same network with outputs in counts, value = scale * count + offset, within low .. high."""
    last = stages.stages[-1]
    before = stages.stages[:-1]
    if last.act is not None:
        rows = len(last.bias)
        unlimited = np.full(rows, np.inf)
        before, last = stages.stages, Stage(last.number, np.eye(rows), np.zeros(rows), None, -unlimited, unlimited)
    ends = np.stack([(last.low - offset) / scale, (last.high - offset) / scale])
    counted = replace(
        last,
        weight=last.weight / scale[:, None],
        bias=(last.bias - offset) / scale,
        low=np.clip(ends.min(axis=0), low, high),
        high=np.clip(ends.max(axis=0), low, high),
    )
    return replace(stages, stages=(*before, counted))
