"""A policy on its robot as a Network: sensors in SI in, actuator commands in SI out.

Its numbers are float32 as the policy's are, but the Network is a description, not the arithmetic of training: tanh is
tanh, and actuator scaling (a * half + middle) is written as (a - centre) * gain, so results agree within TOLERANCE of
reference.py and not bit for bit. What repeats training's bits is policy.c.

A clock and an action filter have a state and stay outside; PolicyNetwork says which there are, and what the network
then takes and gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esmaml_robot.policy import NORMALISER_CLIP, Policy
from esmaml_robot.policy_layers import stages_of
from esmaml_robot.robot_spec import RobotSpec

from .network import Activation, Clip, Dense, Layer, Network, Scale
from .reference import Reference, reference_of

F32 = npt.NDArray[np.float32]

#: Names of a clock's inputs, which come after the sensors: sine and cosine of 2 pi tick / clock_steps.
CLOCK_NAMES = ("clock_sine", "clock_cosine")


@dataclass(frozen=True, eq=False)
class PolicyNetwork:
    """A policy without its memory.

    Attributes:
        network: sensors (and the clock's two numbers, where there is one) to actuator commands; with an action filter
            to actions in [-1, 1], which the filter takes.
        clock_steps: control periods of the clock's turn, or None.
        action_filter: share of the way that the filter goes in a period, or None.
        after_filter: what makes commands of filtered actions; None without a filter, where it is in the network.
    """

    network: Network
    clock_steps: int | None
    action_filter: float | None
    after_filter: Scale | None

    def notes(self) -> tuple[str, ...]:
        """What the caller has to do beside the network, in words."""
        out = []
        if self.clock_steps is not None:
            out.append(
                f"The last two inputs are sine and cosine of 2 pi tick / {self.clock_steps}; tick counts control "
                "periods of the episode from 0."
            )
        if self.action_filter is not None:
            out.append(
                f"Outputs are actions in [-1, 1] before a filter: action += {self.action_filter:g} * (output - action);"
                " action being 0 where an episode begins; the actuators' scaling comes after it."
            )
        return tuple(out)


def _row(values: npt.NDArray[np.float32], after: float = 0.0, extra: int = 0) -> F32:
    """A row of constants, with `extra` entries `after` at the end for the clock."""
    return np.concatenate([np.ravel(values), np.full(extra, after)]).astype(np.float32)


def _limits(inputs: int, limit: float, extra: int) -> Clip:
    row = np.full(inputs, limit, dtype=np.float32)
    return Clip(_row(-row, -np.inf, extra), _row(row, np.inf, extra))


def _dense(reference: Reference) -> list[Layer]:
    """The matrices written out, Toeplitz as one and low displacement as two, with activations between layers."""
    policy, layers = reference.policy, list[Layer]()
    for stage in stages_of(policy.spec):
        weight = np.ascontiguousarray(stage.weights(policy.theta))
        bias = np.zeros(len(weight), np.float32) if stage.bias is None else policy.theta[stage.bias]
        layers.append(Dense(weight, bias))
        if stage.activated:
            layers.append(Activation("tanh" if policy.spec.activation == "tanh" else "relu"))
    return layers


def network_of(policy: Policy, spec: RobotSpec) -> PolicyNetwork:
    """A policy on its robot as a Network.

    Raises:
        PolicyError: a parameter is NaN or infinite.
        ExportError: policy and robot do not fit, or a scale of the robot is not finite in float32.
    """
    reference = reference_of(policy, spec)
    signals, layout = reference.signals, policy.spec
    n, clock = layout.inputs, 0 if layout.clock_steps is None else len(CLOCK_NAMES)
    layers: list[Layer] = [
        Scale(_row(signals.observation_centre, 0, clock), _row(signals.observation_gain, 1, clock)),
        _limits(n, 1.0, clock),
    ]
    if not policy.normaliser.is_identity:
        layers.append(Scale(_row(policy.normaliser.mean, 0, clock), _row(policy.normaliser.inverse_std, 1, clock)))
        layers.append(_limits(n, NORMALISER_CLIP, clock))
    layers += _dense(reference)
    layers.append(_limits(layout.outputs, 1.0, 0))
    half, middle = (np.ravel(v).astype(np.float64) for v in (signals.action_half, signals.action_centre))
    scaling = Scale((-middle / half).astype(np.float32), half.astype(np.float32))
    if layout.action_filter is None:
        layers.append(scaling)
    names = tuple(s.name for s in spec.observed) + (CLOCK_NAMES if clock else ())
    return PolicyNetwork(
        network=Network(names, tuple(layers), tuple(a.name for a in spec.actuators)),
        clock_steps=layout.clock_steps,
        action_filter=layout.action_filter,
        after_filter=None if layout.action_filter is None else scaling,
    )
