"""policy.onnx: one policy as an ONNX graph. The way in is onnx_reader.py.

    sensors [batch, n_observed] float32, SI  ->  actuators [batch, n_actuators] float32, SI

The graph has no state. What a policy remembers within an episode goes through its inputs and outputs, which are there
only where the policy needs them:

    clock [batch, 2]                         sin, cos of 2 pi tick / clock_steps, tick counting periods of the episode
    previous_action [batch, n_actuators]     zeros in the first period, then the output `action` of the last one
    action [batch, n_actuators]              actions in [-1, 1], what the filter goes on from

The metadata has `clock_steps` and `action_filter` where the policy has them.

Scaling, clip, normaliser, layers, clip and action scaling are inside, so a user connects wires and nothing else.
Opset 13 with IR version 7 (ONNX 1.8, 2020): every runtime of the last years reads it, and it needs nothing newer.

tanh is the operator Tanh, so the graph reads as what it is and converts to other formats. The rational function that
training and C use stays within 4.5e-7 of it; firmware_export/verify.py measures what that and the order in which a
runtime adds up a row amount to, and refuses an export in which weights magnify it beyond the tolerance.

The same policy gives the same bytes: names are fixed, metadata is sorted, and no time or path is stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
from onnx import TensorProto, helper, numpy_helper

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_bytes, make_folder
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import NORMALISER_CLIP, Policy
from esmaml_robot.policy_layers import stages_of
from esmaml_robot.policy_spec import CLOCK_INPUTS
from esmaml_robot.robot_spec import RobotSpec, Signal

from .reference import Memory, Reference, reference_of

F32 = npt.NDArray[np.float32]

OPSET = 13
IR_VERSION = 7
INPUT_NAME, OUTPUT_NAME = "sensors", "actuators"
CLOCK_NAME, PREVIOUS_NAME, ACTION_NAME = "clock", "previous_action", "action"


class _Graph:
    """Nodes and constants in the order in which they are added; a node is named after the value it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        """A float32 constant; asked for again under the same name, it is the one stored first."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def clip(self, x: str, limit: float, output: str) -> str:
        """Clip to [-limit, limit]; NaN stays NaN."""
        low, high = self.constant(f"minus_{limit:g}", -limit), self.constant(f"plus_{limit:g}", limit)
        return self.add("Clip", [x, low, high], output)


def _build(reference: Reference) -> _Graph:
    policy, signals = reference.policy, reference.signals
    graph = _Graph()
    x = graph.add(
        "Sub", [INPUT_NAME, graph.constant("sensor_centre", signals.observation_centre[:, 0])], "scaling/centred"
    )
    x = graph.add("Mul", [x, graph.constant("sensor_gain", signals.observation_gain[:, 0])], "scaling/scaled")
    x = graph.clip(x, 1.0, "observation")
    if not policy.normaliser.is_identity:
        x = graph.add("Sub", [x, graph.constant("normaliser_mean", policy.normaliser.mean)], "normaliser/centred")
        inverse_std = graph.constant("normaliser_inverse_std", policy.normaliser.inverse_std)
        x = graph.add("Mul", [x, inverse_std], "normaliser/scaled")
        x = graph.clip(x, NORMALISER_CLIP, "normaliser/clipped")
    if policy.spec.clock_steps is not None:
        x = graph.add("Concat", [x, CLOCK_NAME], "network_input", axis=1)
    x = _layers(graph, policy, x)
    alpha = policy.spec.action_filter
    x = graph.clip(x, 1.0, ACTION_NAME if alpha is None else "filter/wanted")
    if alpha is not None:
        x = graph.add("Sub", [x, PREVIOUS_NAME], "filter/difference")
        x = graph.add("Mul", [x, graph.constant("action_filter", alpha)], "filter/change")
        x = graph.add("Add", [PREVIOUS_NAME, x], ACTION_NAME)
    x = graph.add("Mul", [x, graph.constant("actuator_half", signals.action_half[:, 0])], "scaling/swing")
    graph.add("Add", [x, graph.constant("actuator_middle", signals.action_centre[:, 0])], OUTPUT_NAME)
    return graph


def _layers(graph: _Graph, policy: Policy, x: str) -> str:
    """The layers with their matrices written out; two matrices for a layer of low displacement rank."""
    layer, activation = 0, {"tanh": "Tanh", "relu": "Relu"}[policy.spec.activation]
    for stage in stages_of(policy.spec):
        if stage.bias is None:
            inner = graph.constant(f"layer{layer}.inner", stage.weights(policy.theta))
            x = graph.add("Gemm", [x, inner], f"layer{layer}/inner", transB=1)
            continue
        weight = graph.constant(f"layer{layer}.weight", stage.weights(policy.theta))
        bias = graph.constant(f"layer{layer}.bias", policy.theta[stage.bias])
        x = graph.add("Gemm", [x, weight, bias], f"layer{layer}/sum", transB=1)
        if stage.activated:
            x = graph.add(activation, [x], f"layer{layer}/{policy.spec.activation}")
        layer += 1
    return x


def feeds(policy: Policy, sensors: F32, memory: Memory) -> dict[str, F32]:
    """What a runtime has to be given for these sensors (B, n_observed) and memories, by the names of the inputs."""
    out = {INPUT_NAME: sensors}
    if policy.spec.clock_steps is not None:
        out[CLOCK_NAME] = np.ascontiguousarray(clock_table(policy.spec.clock_steps)[:, memory.ticks].T)
    if policy.spec.action_filter is not None:
        out[PREVIOUS_NAME] = memory.previous
    return out


def _describe(signals: tuple[Signal, ...]) -> str:
    """One line a signal, in order: name, unit and range."""
    return "\n".join(f"{s.name} [{s.unit}] {s.range[0]!r} .. {s.range[1]!r}" for s in signals)


def _value(name: str, width: int, doc: str) -> Any:
    """A named float32 input or output of shape [batch, width]."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width], doc_string=doc)


def metadata(policy: Policy, spec: RobotSpec) -> dict[str, str]:
    """What the model says of itself: hashes, robot, signals in order, control rate, clock and filter."""
    layout = policy.spec
    memory = {
        **({} if layout.clock_steps is None else {"clock_steps": str(layout.clock_steps)}),
        **({} if layout.action_filter is None else {"action_filter": repr(float(np.float32(layout.action_filter)))}),
    }
    return memory | {
        "actuators": _describe(spec.actuators),
        "control_rate_hz": str(spec.control_rate_hz),
        "layout_hash": policy.spec.layout_hash,
        "policy": policy.spec.describe(),
        "policy_hash": policy.policy_hash,
        "robot": spec.name,
        "sensors": _describe(spec.observed),
        "spec_hash": spec.spec_hash,
    }


def onnx_bytes(policy: Policy, spec: RobotSpec) -> bytes:
    """The checked model, serialised. Raises as `write_onnx` does, but for the disk."""
    graph = _build(reference_of(policy, spec))
    layout = policy.spec
    inputs = [_value(INPUT_NAME, layout.inputs, _describe(spec.observed))]
    outputs = [_value(OUTPUT_NAME, layout.outputs, _describe(spec.actuators))]
    if layout.clock_steps is not None:
        told = f"sin, cos of 2 pi tick / {layout.clock_steps}; tick counts the control periods of an episode from 0"
        inputs.append(_value(CLOCK_NAME, CLOCK_INPUTS, told))
    if layout.action_filter is not None:
        told = f"output {ACTION_NAME!r} of the last control period; zeros in the first one of an episode"
        inputs.append(_value(PREVIOUS_NAME, layout.outputs, told))
        outputs.append(_value(ACTION_NAME, layout.outputs, "actions in [-1, 1]; the filter goes on from them"))
    for name, tensor in graph.constants.items():
        # scales and gains can overflow float32 even where the robot file is sound
        if not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise ExportError(f"robot {spec.name!r}: {name} is not finite in float32; narrow the range in its file.")
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", inputs, outputs, list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="esmaml-robot",
        producer_version=__version__,
        doc_string=f"Policy of robot {spec.name}: sensors in SI units to actuator commands in SI units.",
    )
    for key, value in sorted(metadata(policy, spec).items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as problem:  # the checker raises several unrelated classes
        raise ExportError(f"onnx refuses the exported model: {problem}; check the installed onnx version.") from problem
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def write_onnx(policy: Policy, spec: RobotSpec, path: Path) -> Path:
    """Write the model to `path`, its folder created if missing; the file is whole or unchanged.

    Returns:
        `path`.

    Raises:
        PolicyError: a parameter is NaN or infinite; nothing is written.
        ExportError: policy and robot do not fit, onnx refuses the model, or the file cannot be written.
    """
    data = onnx_bytes(policy, spec)
    path = Path(path)
    make_folder(path.parent, error=ExportError)
    return atomic_write_bytes(path, data, error=ExportError)
