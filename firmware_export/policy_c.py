"""policy.h and policy.c: one policy as two C99 files that need nothing else, with the vectors to prove themselves.

The C repeats esmaml_robot/policy.py operation by operation: per output row, products added to the bias in the order of
the inputs, one rounding an operation, tanh from the same constants, clock from the same table. With contraction off it
gives the same bits. Compact layers stay compact: theta is read where numpy would read it, and no matrix is built.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.float32 import TANH_LIMIT, TANH_P, TANH_Q, clock_table
from esmaml_robot.policy import NORMALISER_CLIP, Policy
from esmaml_robot.policy_layers import Layer, layers_of
from esmaml_robot.policy_spec import PolicySpec
from esmaml_robot.robot_spec import RobotSpec

from .c_source import float_literal, float_literals, render
from .reference import TOLERANCE, make_vectors, reference_of

POLICY_FILES = ("policy.h", "policy.c")
DEFAULT_VECTORS = 16

_BUFFERS = ("ping", "pong")
_FUNCTIONS = {"dense": "affine", "toeplitz": "toeplitz", "low_displacement": "low_displacement"}


def _constant(value: float, what: str) -> str:
    return float_literal(np.float32(value), what)


def _weights(spec: PolicySpec, layer: Layer, literals: list[str]) -> tuple[str, list[list[str]]]:
    """What the weights of a layer are, for the comment, and their constants in the rows in which they are printed."""
    constants = literals[layer.at : layer.bias_at]
    if spec.layers == "toeplitz":
        return f"t [{len(constants)}]", [constants]
    if spec.displacement_rank is not None:
        what = f"g [{spec.displacement_rank}][{layer.size}], then h [{spec.displacement_rank}][{layer.size}]"
        return what, [constants[at : at + layer.size] for at in range(0, len(constants), layer.size)]
    rows = [constants[at : at + layer.inputs] for at in range(0, len(constants), layer.inputs)]
    return f"weights [{layer.outputs}][{layer.inputs}]", rows


def _plan(policy: Policy, literals: list[str]) -> tuple[list[dict[str, Any]], list[tuple[str, int]]]:
    """Where each layer reads and writes.

    Two buffers on the stack take turns, each as wide as the widest thing it holds; the last layer writes into the
    caller's array. The first buffer holds what the network sees where that is more than the observation as it came.
    Returns the layers, and the buffers (name, size).
    """
    spec = policy.spec
    sizes = [0, 0]
    turn = 0
    source = "observation"
    if spec.clock_steps is not None or not policy.normaliser.is_identity:
        source, sizes[0], turn = _BUFFERS[0], spec.network_inputs, 1
    places = layers_of(spec)
    layers: list[dict[str, Any]] = []
    for place in places:
        if place is places[-1]:
            target = "action"
        else:
            target, sizes[turn], turn = _BUFFERS[turn], max(sizes[turn], place.outputs), 1 - turn
        what, weights = _weights(spec, place, literals)
        layers.append(
            {
                "inputs": place.inputs,
                "outputs": place.outputs,
                "at": place.at,
                "bias_at": place.bias_at,
                "weights_are": what,
                "weights": weights,
                "bias": literals[place.bias_at : place.end],
                "source": source,
                "target": target,
            }
        )
        source = target
    return layers, [(name, size) for name, size in zip(_BUFFERS, sizes, strict=True) if size]


def _products(spec: PolicySpec) -> int:
    """Products of one forward pass."""
    if spec.displacement_rank is not None:
        return sum(spec.displacement_rank * layer.size * (layer.inputs + layer.outputs) for layer in layers_of(spec))
    return sum(n_in * n_out for n_in, n_out in spec.shapes)


def _memory(spec: PolicySpec) -> str:
    """What the policy remembers within an episode, in words."""
    parts = [
        *(["a clock"] if spec.clock_steps is not None else []),
        *(["an action filter"] if spec.action_filter is not None else []),
    ]
    return " and ".join(parts) or "neither clock nor filter"


def render_policy_c(policy: Policy, spec: RobotSpec, vectors: int = DEFAULT_VECTORS) -> dict[str, str]:
    """The two files by name, as text. Raises as `write_policy_c` does, but for the disk."""
    reference = reference_of(policy, spec)
    sensors, commands = make_vectors(reference, vectors)
    literals = float_literals(policy.theta, "theta")
    layers, buffers = _plan(policy, literals)
    layout, signals = policy.spec, reference.signals
    # the inner vector of a low-displacement layer
    largest = max(layer.size for layer in layers_of(layout)) if layout.displacement_rank is not None else 0
    normaliser: dict[str, Any] | None = None
    if not policy.normaliser.is_identity:
        normaliser = {
            "mean": float_literals(policy.normaliser.mean, "normaliser mean"),
            "inverse_std": float_literals(policy.normaliser.inverse_std, "normaliser inverse_std"),
            "low": _constant(-NORMALISER_CLIP, "normaliser clip"),
            "high": _constant(NORMALISER_CLIP, "normaliser clip"),
        }
    clock: dict[str, Any] | None = None
    if layout.clock_steps is not None:
        sine, cosine = clock_table(layout.clock_steps)
        clock = {"sine": float_literals(sine, "clock sine"), "cosine": float_literals(cosine, "clock cosine")}
    inverse_half = np.float32(1) / signals.action_half
    context: dict[str, Any] = {
        "policy": policy,
        "spec": spec,
        "period_us": round(1e6 / spec.control_rate_hz),
        "layers": layers,
        "buffers": buffers,
        "input": _BUFFERS[0],
        "normaliser": normaliser,
        "clock": clock,
        "filter": None if layout.action_filter is None else _constant(layout.action_filter, "action filter"),
        "memory": _memory(layout),
        "kind": layout.layers,
        "function": _FUNCTIONS[layout.layers],
        "largest": largest,
        "sensor_centre": float_literals(signals.observation_centre, "sensor centre"),
        "sensor_gain": float_literals(signals.observation_gain, "sensor gain"),
        "actuator_half": float_literals(signals.action_half, "actuator half range"),
        "actuator_middle": float_literals(signals.action_centre, "actuator middle"),
        "actuator_inverse_half": float_literals(inverse_half, "1 / actuator half range"),
        "vectors": vectors,
        "vector_sensors": [float_literals(row, "test vector") for row in sensors],
        "vector_actuators": [float_literals(row, "test vector") for row in commands],
        "tolerance": f"{TOLERANCE:.0e}",
        "activation": {"tanh": "tanh32", "relu": "relu"}[layout.activation] if layout.hidden else None,
        "activations": sum(layout.hidden),
        "tanh": {
            "low": _constant(-TANH_LIMIT, "tanh limit"),
            "high": _constant(TANH_LIMIT, "tanh limit"),
            "p": [_constant(c, "tanh numerator") for c in TANH_P],
            "q": [_constant(c, "tanh denominator") for c in TANH_Q],
        },
        "crc": zlib.crc32(policy.theta.astype("<f4").tobytes()),
        "parameter_bytes": 4 * layout.dimension,
        "vector_bytes": 4 * (sensors.size + commands.size),
        # policy_act holds an observation and an action, policy_selftest one more row of commands and a state
        "stack_bytes": 4 * (layout.inputs + 3 * layout.outputs + 1 + largest + sum(size for _, size in buffers)),
        "products": _products(layout),
    }
    return {name: render(f"{name}.j2", **context) for name in POLICY_FILES}


def write_policy_c(policy: Policy, spec: RobotSpec, folder: Path, vectors: int = DEFAULT_VECTORS) -> list[Path]:
    """Write policy.h and policy.c into `folder` (created if missing); each file is whole or unchanged.

    Args:
        policy: the policy; its inputs are the robot's observed sensors, its outputs the robot's actuators.
        spec: the robot, for names, units, ranges and rates.
        folder: where the files go.
        vectors: number of test vectors that policy_selftest replays, at least 8.

    Returns:
        The two paths, header first.

    Raises:
        PolicyError: a parameter is NaN or infinite; nothing is written.
        ExportError: policy and robot do not fit, a command overflows, or the files cannot be written.
    """
    texts = render_policy_c(policy, spec, vectors)  # all that can be refused is refused before a file is touched
    folder = make_folder(Path(folder), error=ExportError)
    return [atomic_write_text(folder / name, text, error=ExportError) for name, text in texts.items()]
