"""A feed-forward network as plain data: what every way in (checkpoint, ONNX) becomes, and every way out is made of.

A network is a chain of layers on one vector. What a policy brings beside its matrices (sensor scaling, normaliser,
action limits) is a layer of its own here, so that an exporter may fold it into its neighbour, and says so when it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

ActivationKind: TypeAlias = Literal["tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign"]


@dataclass(frozen=True, eq=False)
class Dense:
    """y = W x + b; weight (outputs, inputs), bias (outputs,)."""

    weight: F32
    bias: F32


@dataclass(frozen=True, eq=False)
class Scale:
    """y = (x - centre) * gain, entry by entry; both (width,)."""

    centre: F32
    gain: F32


@dataclass(frozen=True)
class Activation:
    """An activation, entry by entry; alpha is the slope of leaky_relu below zero, the limit of elu far below."""

    kind: ActivationKind
    alpha: float = 0.0


@dataclass(frozen=True, eq=False)
class Clip:
    """y = min(max(x, low), high), entry by entry; both (width,). NaN stays NaN."""

    low: F32
    high: F32


Layer: TypeAlias = Dense | Scale | Activation | Clip


@dataclass(frozen=True, eq=False)
class Network:
    """Inputs by name, layers in order, outputs by name.

    Raises ExportError where layers do not fit each other, or a number is NaN or infinite (but for the limits of a clip,
    which may be infinite).
    """

    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        widths = self.widths
        if widths[-1] != len(self.outputs):
            raise ExportError(
                f"the last layer gives {widths[-1]} numbers; the network has {len(self.outputs)} outputs."
            )
        for number, layer in enumerate(self.layers):
            for name, values in vars(layer).items():
                if isinstance(values, np.ndarray) and (
                    np.isnan(values).any() if isinstance(layer, Clip) else not np.isfinite(values).all()
                ):
                    raise ExportError(
                        f"layer {number} ({type(layer).__name__.lower()}): {name} holds NaN or infinity; nothing of it "
                        "can be exported. Was training stopped by a divergence?"
                    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the vector before the first layer and after each."""
        widths = [len(self.inputs)]
        for number, layer in enumerate(self.layers):
            before = widths[-1]
            if isinstance(layer, Dense):
                takes, gives = layer.weight.shape[1], layer.weight.shape[0]
                fits = takes == before and layer.bias.shape == (gives,)
            elif isinstance(layer, Activation):
                takes = gives = before
                fits = True
            else:
                shapes = {values.shape for values in vars(layer).values()}
                takes = gives = next(iter(shapes))[0]
                fits = shapes == {(before,)}
            if not fits:
                raise ExportError(
                    f"layer {number} ({type(layer).__name__.lower()}) takes {takes} numbers and is given {before}, or "
                    "its parts do not fit each other."
                )
            widths.append(gives)
        return tuple(widths)

    def describe(self) -> str:
        """The widths, repeated ones left out: 17-64-64-6 for three matrices and what is between them."""
        matrices = [layer.weight.shape[0] for layer in self.layers if isinstance(layer, Dense)]
        return "-".join(map(str, (len(self.inputs), *matrices)))

    @property
    def products(self) -> int:
        """Multiply-accumulates of one forward pass, those of the dense layers."""
        return sum(layer.weight.size for layer in self.layers if isinstance(layer, Dense))

    def forward(self, x: npt.ArrayLike) -> F64:
        """The exact answer, in float64: (batch, inputs) -> (batch, outputs)."""
        values: F64 = np.atleast_2d(np.asarray(x, np.float64))
        for layer in self.layers:
            values = apply(layer, values)
        return values


def apply(layer: Layer, x: F64) -> F64:
    """One layer in float64, (batch, width before) -> (batch, width after)."""
    if isinstance(layer, Dense):
        y: F64 = x @ layer.weight.astype(np.float64).T + layer.bias
    elif isinstance(layer, Scale):
        y = (x - layer.centre) * layer.gain
    elif isinstance(layer, Clip):
        y = np.clip(x, layer.low, layer.high)
    else:
        y = activation(layer, x)
    return y


def activation(layer: Activation, x: F64) -> F64:
    """An activation in float64, entry by entry."""
    y: F64
    if layer.kind == "tanh":
        y = np.tanh(x)
    elif layer.kind == "sigmoid":
        y = 0.5 + 0.5 * np.tanh(0.5 * x)
    elif layer.kind == "relu":
        y = np.maximum(x, 0.0)
    elif layer.kind == "leaky_relu":
        y = np.where(x < 0.0, layer.alpha * x, x)
    elif layer.kind == "elu":
        y = np.where(x < 0.0, layer.alpha * np.expm1(np.minimum(x, 0.0)), x)
    else:
        y = x / (1.0 + np.abs(x))
    return y
