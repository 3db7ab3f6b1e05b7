"""A policy on its robot as a network of values and counts: sensor counts go in, actuator counts come out.

What lies between a robot's pins and its policy (scale and range of a sensor, normaliser, range and scale of an
actuator) becomes layers, which quantisation folds away. A clock is two inputs more, in units of 1/32767, that the
caller fills from `clock_counts`. An action filter remembers and is no layer; it is refused.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import NORMALISER_CLIP, Policy
from esmaml_robot.policy_layers import stages_of as policy_stages_of
from esmaml_robot.robot_spec import RobotSpec, Signal
from esmaml_robot.signals import Signals

from .fixed_plan import INT16, Counts
from .network import Activation, Clip, Dense, Layer, Network, Scale
from .reference import reference_of

F32 = npt.NDArray[np.float32]
I16 = npt.NDArray[np.int16]

#: What 1 is on a clock's inputs.
CLOCK_ONE = 32767
CLOCK_NAMES = ("clock_sine", "clock_cosine")


def _counts(signal: Signal, low: int, high: int) -> Counts:
    origin = 32768 if high > INT16[1] else 0
    offset = signal.offset + signal.scale * origin
    return Counts(signal.name, signal.unit, signal.scale, offset, low - origin, high - origin, origin)


def counts_of_robot(spec: RobotSpec, clock: bool = False) -> tuple[tuple[Counts, ...], tuple[Counts, ...]]:
    """Counts of the observed sensors, with those of a clock behind them, and counts of the actuators."""
    signals = Signals(spec)
    inputs = [_counts(s, *s.counts) for s in spec.observed]
    if clock:
        inputs += [Counts(name, "", 1 / CLOCK_ONE, 0.0, -CLOCK_ONE, CLOCK_ONE) for name in CLOCK_NAMES]
    limits = zip(signals.actuator_low[:, 0].tolist(), signals.actuator_high[:, 0].tolist(), strict=True)
    outputs = [_counts(a, *ends) for a, ends in zip(spec.actuators, limits, strict=True)]
    return tuple(inputs), tuple(outputs)


def clock_counts(steps: int) -> I16:
    """Sine and cosine of a clock for each of its ticks, (steps, 2): the last two inputs."""
    counts: I16 = np.rint(clock_table(steps).T.astype(np.float64) * CLOCK_ONE).astype(np.int16)
    return counts


def network_of_policy(policy: Policy, spec: RobotSpec) -> Network:
    """Sensors in SI to commands in SI, as layers; with a clock, its sine and cosine are the last two inputs.

    Raises:
        PolicyError, ExportError: as `reference_of`; also where the policy has an action filter.
    """
    reference = reference_of(policy, spec)
    layout, signals = policy.spec, reference.signals
    if layout.action_filter is not None:
        raise ExportError("this policy has an action filter, which has no fixed-point form; export it in float32.")
    extra = layout.network_inputs - layout.inputs

    def whole(values: F32, rest: float) -> F32:
        """For all inputs: what the sensors have, and `rest` for the clock."""
        return np.concatenate([values.ravel(), np.full(extra, rest, np.float32)])

    one = np.ones(layout.inputs, np.float32)
    layers: list[Layer] = [
        Scale(whole(signals.observation_centre, 0), whole(signals.observation_gain, 1)),
        Clip(whole(-one, -np.inf), whole(one, np.inf)),
    ]
    if not policy.normaliser.is_identity:
        limit = one * np.float32(NORMALISER_CLIP)
        layers.append(Scale(whole(policy.normaliser.mean, 0), whole(policy.normaliser.inverse_std, 1)))
        layers.append(Clip(whole(-limit, -np.inf), whole(limit, np.inf)))
    inner: F32 | None = None
    for stage in policy_stages_of(layout):
        weight = stage.weights(policy.theta)
        if inner is not None:  # the two factors of a low-displacement layer: their product is the smaller matrix
            weight, inner = (weight.astype(np.float64) @ inner).astype(np.float32), None
        if stage.bias is None:
            inner = weight
            continue
        layers.append(Dense(weight, policy.theta[stage.bias]))
        if stage.activated:
            layers.append(Activation(layout.activation))
    ends = np.ones(layout.outputs, np.float32)
    layers.append(Clip(-ends, ends))
    half, centre = signals.action_half.ravel(), signals.action_centre.ravel()
    layers.append(Scale(-centre / half, half))  # (y - centre) * gain
    names = tuple(s.name for s in spec.observed) + (CLOCK_NAMES if extra else ())
    return Network(names, tuple(layers), tuple(a.name for a in spec.actuators))
