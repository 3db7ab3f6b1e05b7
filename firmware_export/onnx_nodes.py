"""Nodes of an ONNX graph as layers of a Network: one function an operator, each of which refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from esmaml_robot.errors import ExportError

from .network import Activation, ActivationKind, Clip, Dense, Layer, Scale

F32 = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """One input of the graph: its name, its shape without the batch, and whether there is a batch axis."""

    name: str
    shape: tuple[int, ...]
    batched: bool

    @property
    def width(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Vector:
    """A value that depends on the inputs.

    Attributes:
        sources: the inputs of the graph, in the order of x.
        shape: without the batch.
        layers: what was done to x.
        column: rows of the batch were put under one another, entry by entry. skl2onnx does so at the end of networks
            with several outputs; nothing can be computed from it any more.
    """

    sources: tuple[Source, ...]
    shape: tuple[int, ...]
    layers: tuple[Layer, ...] = ()
    column: bool = False

    @property
    def width(self) -> int:
        return int(np.prod(self.shape))

    @property
    def batched(self) -> bool:
        return self.sources[0].batched


Value: TypeAlias = "Array | Vector"


@dataclass(eq=False)
class Node:
    """A node with what its inputs are; None is an input that was left out."""

    proto: Any
    inputs: list[Value | None]
    attributes: dict[str, Any] = field(default_factory=dict)

    def refuse(self, why: str) -> ExportError:
        name = self.proto.name or (self.proto.output[0] if self.proto.output else "without a name")
        return ExportError(f"node {name!r} ({self.proto.op_type}): {why} Nothing was written.")

    def vector(self, place: int = 0) -> Vector:
        value = self.inputs[place]
        if not isinstance(value, Vector):
            raise self.refuse("the network's input would have to be its first argument.")
        if value.column:
            raise self.refuse("a Reshape before it put the batch's rows under one another.")
        return value

    def constant(self, place: int, what: str) -> Array | None:
        """A constant input; None if it is left out."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(value, Vector):
            raise self.refuse(f"its {what} depends on the input; only constants are supported there.")
        return value

    def row(self, value: Array, like: Vector, what: str) -> F32:
        """A constant as one float32 for each entry of a vector."""
        try:
            full = np.broadcast_to(value, (1, *like.shape) if like.batched else like.shape)
        except ValueError as problem:
            raise self.refuse(f"its {what} has shape {value.shape}, which does not fit {like.shape}.") from problem
        return self.float32(full.ravel(), what)

    def float32(self, value: Array, what: str) -> F32:
        with np.errstate(over="ignore"):
            out = np.ascontiguousarray(value, dtype=np.float32)
        if np.isnan(out).any():
            raise self.refuse(f"its {what} holds NaN. Was training stopped by a divergence?")
        return out

    def finite(self, value: Array, what: str) -> F32:
        out = self.float32(value, what)
        if not np.isfinite(out).all():
            raise self.refuse(f"its {what} holds infinity, or a number that float32 cannot hold.")
        return out


def _then(x: Vector, *layers: Layer, shape: tuple[int, ...] | None = None) -> Vector:
    return replace(x, layers=(*x.layers, *layers), shape=x.shape if shape is None else shape)


def _scale(node: Node, x: Vector, centre: Array, gain: Array) -> Vector:
    width = (x.width,)
    rows = [node.finite(np.broadcast_to(v, width), what) for v, what in ((centre, "centre"), (gain, "factor"))]
    return _then(x, Scale(*rows))


def _arithmetic(node: Node) -> Vector:
    operator = node.proto.op_type
    left, right = node.inputs
    if isinstance(left, Vector) and isinstance(right, Vector):
        raise node.refuse("both of its inputs depend on the network's input; branches that meet are not supported.")
    x, constant = (node.vector(0), right) if isinstance(left, Vector) else (node.vector(1), left)
    assert isinstance(constant, np.ndarray)
    c = node.row(constant, x, "constant").astype(np.float64)
    zero, one = np.zeros(1), np.ones(1)
    if operator == "Add":
        return _scale(node, x, -c, one)
    if operator == "Mul":
        return _scale(node, x, zero, c)
    if operator == "Sub":
        return _scale(node, x, c, one if x is left else -one)
    if x is right:
        raise node.refuse("a division by the input is not supported.")
    if not c.all():
        raise node.refuse("it divides by zero.")
    return _scale(node, x, zero, 1 / c)


def _dense(node: Node, x: Vector, weight: Array, bias: Array | None) -> Vector:
    """Weight (outputs, inputs), bias a number or a row of them."""
    if len(x.shape) != 1 or weight.ndim != 2 or weight.shape[1] != x.width:
        raise node.refuse(f"a matrix of shape {weight.shape[::-1]} does not fit an input of shape {x.shape}.")
    outputs = weight.shape[0]
    result = replace(x, shape=(outputs,))
    row = np.zeros(outputs) if bias is None else node.row(bias, result, "bias")
    return _then(x, Dense(node.finite(weight, "matrix"), node.finite(row, "bias")), shape=(outputs,))


def _gemm(node: Node) -> Vector:
    x, a = node.vector(), node.attributes
    weight, bias = node.constant(1, "matrix"), node.constant(2, "bias")
    assert weight is not None
    if a.get("transA", 0):
        raise node.refuse("transA is set; the batch would have to be the second axis.")
    if weight.ndim != 2:
        raise node.refuse(f"its matrix has {weight.ndim} axes, two are needed.")
    weight = (weight if a.get("transB", 0) else weight.T) * np.float64(a.get("alpha", 1.0))
    return _dense(node, x, weight, None if bias is None else bias * np.float64(a.get("beta", 1.0)))


def _matmul(node: Node) -> Vector:
    weight = node.constant(1, "second factor")
    assert weight is not None
    if weight.ndim != 2:
        raise node.refuse(f"its matrix has {weight.ndim} axes, two are needed.")
    return _dense(node, node.vector(), weight.T, None)


def _activation(kind: ActivationKind, alpha: float = 0.0) -> Callable[[Node], Vector]:
    def layer(node: Node) -> Vector:
        value = np.float32(node.attributes.get("alpha", alpha))
        if not np.isfinite(value):
            raise node.refuse(f"its alpha is {value}.")
        return _then(node.vector(), Activation(kind, float(value) if alpha else 0.0))

    return layer


def _clip(node: Node) -> Vector:
    x = node.vector()
    limits = []
    for place, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = node.constant(place, name)
        value = np.asarray(node.attributes.get(name, default)) if given is None else given
        limits.append(node.row(value, x, name))
    if (limits[0] > limits[1]).any():
        raise node.refuse("its min lies above its max.")
    return _then(x, Clip(limits[0], limits[1]))


def _cast(node: Node) -> Vector:
    if node.attributes["to"] != TensorProto.FLOAT:
        raise node.refuse(f"it casts to {TensorProto.DataType.Name(node.attributes['to'])}; only float is supported.")
    return node.vector()


def _flat(node: Node, x: Vector, fits: bool) -> Vector:
    if not fits:
        raise node.refuse(f"it does more than to make a row of an input of shape {x.shape}.")
    return replace(x, shape=(x.width,))


def _flatten(node: Node) -> Vector:
    return _flat(node, node.vector(), node.vector().batched and node.attributes.get("axis", 1) == 1)


def _reshape(node: Node) -> Vector:
    x, shape = node.vector(), node.constant(1, "shape")
    wanted = [int(n) for n in ([] if shape is None else shape.ravel())]
    if wanted == [-1, 1] and x.batched and len(x.shape) == 1 and x.width > 1:
        return replace(x, column=True)
    if wanted == [-1] and not x.batched:
        wanted = [x.width]
    elif len(wanted) == 2 and wanted[1] == -1 and wanted[0] in (0, 1):
        wanted = [wanted[0], x.width]
    # a batch of 1, written out, is what an export without a dynamic batch has
    fits = (len(wanted) == 2 and wanted[0] in (-1, 0, 1)) if x.batched else len(wanted) == 1
    return _flat(node, x, fits and wanted[-1] == x.width)


def _padded(layer: Layer, before: int, after: int) -> Layer:
    """A scale or clip of a part of a longer vector."""

    def pad(values: F32, filling: float) -> F32:
        return np.concatenate([np.full(before, filling), values, np.full(after, filling)]).astype(np.float32)

    if isinstance(layer, Scale):
        return Scale(pad(layer.centre, 0), pad(layer.gain, 1))
    assert isinstance(layer, Clip)
    return Clip(pad(layer.low, -np.inf), pad(layer.high, np.inf))


def _concat(node: Node) -> Vector:
    parts: list[Vector] = []
    for part in node.inputs:
        if not isinstance(part, Vector) or not all(isinstance(layer, Scale | Clip) for layer in part.layers):
            raise node.refuse("it joins more than inputs, or inputs that are scaled or clipped.")
        parts.append(part)
    rank = 2 if parts[0].batched else 1
    if any(len(part.shape) != 1 for part in parts) or node.attributes.get("axis") not in (-1, rank - 1):
        raise node.refuse("it joins inputs along another axis than the last, or inputs that are not rows.")
    sources = tuple(source for part in parts for source in part.sources)
    if len({source.name for source in sources}) < len(sources):
        raise node.refuse("it joins an input with itself.")
    layers: list[Layer] = []
    total, before = sum(part.width for part in parts), 0
    for part in parts:
        layers += [_padded(layer, before, total - before - part.width) for layer in part.layers]
        before += part.width
    return Vector(sources, (total,), tuple(layers))


def _scaler(node: Node) -> Vector:
    x = node.vector()
    offset, scale = (
        np.asarray(node.attributes.get(name, default), np.float64)
        for name, default in (("offset", [0.0]), ("scale", [1.0]))
    )
    if {offset.size, scale.size} - {1, x.width}:
        raise node.refuse(f"it has {offset.size} offsets and {scale.size} scales for {x.width} inputs.")
    return _scale(node, x, offset, scale)


def _linear_regressor(node: Node) -> Vector:
    x, a = node.vector(), node.attributes
    if a.get("post_transform", b"NONE") not in (b"NONE", "NONE"):
        raise node.refuse("its post_transform is not supported.")
    targets = int(a.get("targets", 1))
    weight = np.asarray(a.get("coefficients", []))
    if weight.size != targets * x.width:
        raise node.refuse(f"it has {weight.size} coefficients for {targets} x {x.width}.")
    return _dense(node, x, weight.reshape(targets, x.width), np.asarray(a["intercepts"]) if "intercepts" in a else None)


def _same(node: Node) -> Vector:
    return node.vector()


#: Operator -> what turns a node of it into a vector with one more layer, or refuses it.
HANDLERS: dict[str, Callable[[Node], Vector]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Tanh": _activation("tanh"),
    "Sigmoid": _activation("sigmoid"),
    "Relu": _activation("relu"),
    "LeakyRelu": _activation("leaky_relu", 0.01),
    "Elu": _activation("elu", 1.0),
    "Softsign": _activation("softsign"),
    "Clip": _clip,
    "Cast": _cast,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Concat": _concat,
    "Identity": _same,
    "Scaler": _scaler,
    "LinearRegressor": _linear_regressor,
}
