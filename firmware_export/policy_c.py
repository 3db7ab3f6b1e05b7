"""policy.h and policy.c: one policy as two C99 files that need nothing else, with the vectors to prove themselves.

The C repeats esmaml_robot/policy.py operation by operation: per output row, products added to the bias in the order of
the inputs, one rounding an operation, tanh from the same constants. With contraction off it gives the same bits.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot import policy as policy_module
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.policy import NORMALISER_CLIP, TANH_LIMIT, Policy
from esmaml_robot.robot_spec import RobotSpec

from .c_source import float_literal, float_literals, render
from .reference import TOLERANCE, make_vectors, reference_of

POLICY_FILES = ("policy.h", "policy.c")
DEFAULT_VECTORS = 16

_BUFFERS = ("ping", "pong")


def _constant(value: float, what: str) -> str:
    return float_literal(np.float32(value), what)


def _plan(policy: Policy, literals: list[str]) -> tuple[list[dict[str, Any]], list[tuple[str, int]], str]:
    """Where each layer reads and writes.

    Two buffers on the stack take turns, each as wide as the widest thing it holds; the last layer writes into the
    caller's array. Returns the layers, the buffers (name, size), and the buffer of the normalised observation.
    """
    normalised = not policy.normaliser.is_identity
    sizes = [0, 0]
    turn = 0
    source = "observation"
    if normalised:
        source, sizes[0], turn = _BUFFERS[0], policy.spec.inputs, 1
    layers: list[dict[str, Any]] = []
    at = 0
    for index, (inputs, outputs) in enumerate(policy.spec.layers):
        if index == len(policy.spec.layers) - 1:
            target = "action"
        else:
            target, sizes[turn], turn = _BUFFERS[turn], max(sizes[turn], outputs), 1 - turn
        bias_at = at + inputs * outputs
        layers.append(
            {
                "inputs": inputs,
                "outputs": outputs,
                "at": at,
                "bias_at": bias_at,
                "weights": [literals[at + r * inputs : at + (r + 1) * inputs] for r in range(outputs)],
                "bias": literals[bias_at : bias_at + outputs],
                "source": source,
                "target": target,
            }
        )
        source, at = target, bias_at + outputs
    buffers = [(name, size) for name, size in zip(_BUFFERS, sizes, strict=True) if size]
    return layers, buffers, _BUFFERS[0]


def render_policy_c(policy: Policy, spec: RobotSpec, vectors: int = DEFAULT_VECTORS) -> dict[str, str]:
    """The two files by name, as text. Raises as `write_policy_c` does, but for the disk."""
    reference = reference_of(policy, spec)
    sensors, commands = make_vectors(reference, vectors)
    literals = float_literals(policy.theta, "theta")
    layers, buffers, normaliser_buffer = _plan(policy, literals)
    signals, hidden = reference.signals, sum(policy.spec.hidden)
    normaliser: dict[str, Any] | None = None
    if not policy.normaliser.is_identity:
        normaliser = {
            "mean": float_literals(policy.normaliser.mean, "normaliser mean"),
            "inverse_std": float_literals(policy.normaliser.inverse_std, "normaliser inverse_std"),
            "low": _constant(-NORMALISER_CLIP, "normaliser clip"),
            "high": _constant(NORMALISER_CLIP, "normaliser clip"),
            "buffer": normaliser_buffer,
        }
    inverse_half = np.float32(1) / signals.action_half
    context: dict[str, Any] = {
        "policy": policy,
        "spec": spec,
        "period_us": round(1e6 / spec.control_rate_hz),
        "layers": layers,
        "buffers": buffers,
        "normaliser": normaliser,
        "sensor_centre": float_literals(signals.observation_centre, "sensor centre"),
        "sensor_gain": float_literals(signals.observation_gain, "sensor gain"),
        "actuator_half": float_literals(signals.action_half, "actuator half range"),
        "actuator_middle": float_literals(signals.action_centre, "actuator middle"),
        "actuator_inverse_half": float_literals(inverse_half, "1 / actuator half range"),
        "vectors": vectors,
        "vector_sensors": [float_literals(row, "test vector") for row in sensors],
        "vector_actuators": [float_literals(row, "test vector") for row in commands],
        "tolerance": f"{TOLERANCE:.0e}",
        "tanhs": hidden,
        "tanh": {
            "low": _constant(-TANH_LIMIT, "tanh limit"),
            "high": _constant(TANH_LIMIT, "tanh limit"),
            "p": [_constant(c, "tanh numerator") for c in policy_module.TANH_P],
            "q": [_constant(c, "tanh denominator") for c in policy_module.TANH_Q],
        },
        "crc": zlib.crc32(policy.theta.astype("<f4").tobytes()),
        "parameter_bytes": 4 * policy.spec.dimension,
        "vector_bytes": 4 * (sensors.size + commands.size),
        # policy_act holds an observation and an action, policy_selftest one more row of commands
        "stack_bytes": 4 * (policy.spec.inputs + 2 * policy.spec.outputs + sum(size for _, size in buffers)),
        "products": sum(n_in * n_out for n_in, n_out in policy.spec.layers),
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
