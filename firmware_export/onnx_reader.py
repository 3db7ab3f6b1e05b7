"""An ONNX file as a Network: feed-forward graphs from PyTorch, Stable-Baselines3, scikit-learn and this project.

The graph is walked back from one output. Whatever has only constants as inputs is computed here; what is left has to be
a chain from the inputs to the output, each node of which is one layer or changes nothing:

    Gemm, MatMul, Linear regressors                        Dense
    Add, Sub, Mul, Div with a constant, Scaler             Scale
    Tanh, Sigmoid, Relu, LeakyRelu, Elu, Softsign          Activation
    Clip                                                   Clip
    Concat of inputs, which may be scaled and clipped      nothing
    Identity, Cast to float, Flatten, Reshape to a row     nothing

Everything else is refused with the name of the node and of its operator: a network that is exported in part is worse
than none. Scales next to a matrix go into it, where that costs no digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from esmaml_robot.errors import ExportError

from .folding import folded
from .network import Network
from .onnx_nodes import F32, HANDLERS, Array, Node, Source, Value, Vector

OLDEST_OPSET = 7  # before it, broadcasting was written in attributes
_OWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """What was read: the network, its inputs in the order in which they lie in x, the output's name, and remarks."""

    network: Network
    sources: tuple[Source, ...]
    output: str
    notes: tuple[str, ...]

    def feeds(self, x: F32) -> dict[str, F32]:
        """Rows of x (batch, inputs) as the graph takes them, by the names of its inputs; one row without a batch."""
        out, at = {}, 0
        for source in self.sources:
            part = np.ascontiguousarray(x[:, at : at + source.width])
            out[source.name] = part.reshape((len(x), *source.shape) if source.batched else source.shape)
            at += source.width
        return out


def _constant_result(node: Node, opsets: list[Any]) -> Array:
    """The value of a node whose inputs are all constants."""
    named = {n: value for n, value in zip(node.proto.input, node.inputs, strict=True) if isinstance(value, np.ndarray)}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in named.items()
    ]
    outputs = [helper.make_value_info(node.proto.output[0], helper.make_tensor_type_proto(TensorProto.UNDEFINED, None))]
    try:
        graph = helper.make_graph([node.proto], "constant", inputs, outputs)
        model = helper.make_model(graph, opset_imports=opsets)
        results: Any = ReferenceEvaluator(model).run(None, named)
        return np.asarray(results[0])
    except Exception as problem:  # the evaluator raises several unrelated classes
        raise node.refuse(f"its inputs are constants, and it cannot be computed from them: {problem}.") from problem


def _sources(graph: Any) -> dict[str, Vector]:
    """The inputs of the graph that are not constants."""
    stored = {tensor.name for tensor in (*graph.initializer, *graph.sparse_initializer)}
    found = {}
    for value in graph.input:
        if value.name in stored:
            continue
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or tensor.elem_type != TensorProto.FLOAT:
            kind = TensorProto.DataType.Name(tensor.elem_type) if value.type.HasField("tensor_type") else "no tensor"
            raise ExportError(
                f"input {value.name!r} is {kind}; only float32 tensors are supported. Export it as float32."
            )
        axes = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in tensor.shape.dim]
        batched = len(axes) != 1
        shape = tuple(axes[1:] if batched else axes)
        if not shape or any(n < 1 for n in shape) or (batched and axes[0] > 1):
            raise ExportError(
                f"input {value.name!r} has shape {axes} (0 is unknown); needed are a batch of any size or 1, and "
                "numbers of entries that are known. Export it with a fixed number of inputs."
            )
        found[value.name] = Vector((Source(value.name, shape, batched),), shape)
    return found


def _load(path: Path) -> Any:
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except OSError as problem:
        raise ExportError(f"cannot read {path}: {problem.strerror or problem}.") from problem
    except Exception as problem:  # protobuf and the checker raise unrelated classes
        first = str(problem).strip().splitlines()
        raise ExportError(
            f"{path} is not a sound ONNX file: {first[0] if first else type(problem).__name__}"
        ) from problem
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < OLDEST_OPSET:
            raise ExportError(f"{path} uses opset {opset.version}; {OLDEST_OPSET} or later is needed. Export it again.")
    return model


def _needed(graph: Any, output: str) -> list[Any]:
    """The nodes that the output depends on, in the order of the graph, which is one of computation."""
    wanted, nodes = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted |= set(node.input)
    return nodes[::-1]


def _choose_output(graph: Any, output: str | None, path: Path) -> str:
    names = [str(value.name) for value in graph.output]
    chosen = names[0] if output is None and len(names) == 1 else output
    if chosen is None or chosen not in names:
        said = "has several outputs" if output is None else f"has no output {output!r}"
        raise ExportError(f"{path} {said}; choose one of: {', '.join(names)}.")
    return chosen


def read_onnx(path: Path, output: str | None = None) -> OnnxModel:
    """The network of an ONNX file.

    Args:
        path: the file.
        output: which output, where there are several; nodes that it does not depend on are left alone.

    Raises:
        ExportError: the file cannot be read or is unsound, a node is not supported (it is named), shapes do not fit, a
            number is NaN or infinite, or an input of the graph has no part in the output.
    """
    model = _load(Path(path))
    graph = model.graph
    output = _choose_output(graph, output, path)
    vectors = _sources(graph)
    values: dict[str, Value] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer} | vectors
    for proto in _needed(graph, output):
        node = Node(proto, [], {a.name: helper.get_attribute_value(a) for a in proto.attribute})
        missing = [name for name in proto.input if name and name not in values]
        if missing:
            raise node.refuse(f"its input {missing[0]!r} is nowhere made in a form that is supported.")
        node.inputs = [values[name] if name else None for name in proto.input]
        if not any(isinstance(value, Vector) for value in node.inputs) and (
            proto.op_type == "Constant" or any(value is not None for value in node.inputs)
        ):
            values[proto.output[0]] = _constant_result(node, list(model.opset_import))
            continue
        handler = HANDLERS.get(proto.op_type) if proto.domain in _OWN_DOMAINS else None
        if handler is None:
            raise node.refuse(
                f"this operator is not supported; supported are {', '.join(sorted(HANDLERS))}. What is exported has "
                "to be a feed-forward network; leave what comes after it to the caller."
            )
        values[proto.output[0]] = handler(node)
    result = values.get(output)
    if not isinstance(result, Vector):
        raise ExportError(f"output {output!r} of {path} does not depend on any input. Nothing was written.")
    unused = sorted(set(vectors) - {source.name for source in result.sources})
    if unused:
        raise ExportError(f"input {unused[0]!r} of {path} has no part in output {output!r}. Nothing was written.")
    if not result.layers:
        raise ExportError(f"output {output!r} of {path} is its input; there is nothing to compute.")
    inputs = tuple(n for s in result.sources for n in _entries(s.name, s.width))
    layers, notes = folded(result.layers)
    return OnnxModel(Network(inputs, layers, _entries(output, result.width)), result.sources, output, notes)


def _entries(name: str, width: int) -> tuple[str, ...]:
    return tuple(f"{name}[{i}]" for i in range(width))
