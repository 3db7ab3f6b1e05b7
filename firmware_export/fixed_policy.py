"""A policy on its robot in counts: sensor counts go in, actuator counts come out.

What lies between a robot's pins and its policy (scale and range of a sensor, normaliser, range and scale of an
actuator) becomes layers (policy_network.py), which quantisation folds away. A clock is two inputs more, in units of
1/32767, that the caller fills from `clock_counts`. An action filter remembers and is no layer; it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import Policy, PolicySpec
from esmaml_robot.robot_spec import RobotSpec, Signal
from esmaml_robot.signals import Signals

from .fixed_model import run
from .fixed_plan import INT16, Counts, FixedNetwork
from .network import Network
from .policy_network import CLOCK_NAMES, network_of

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]

#: What 1 is on a clock's inputs.
CLOCK_ONE = 32767


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
    """What of a policy can be quantised: all of `policy_network.network_of` where nothing remembers.

    Raises:
        PolicyError, ExportError: as `network_of`; also where the policy has an action filter.
    """
    parts = network_of(policy, spec)
    if parts.action_filter is not None:
        raise ExportError("this policy has an action filter, which has no fixed-point form; export it in float32.")
    return parts.network


def pin_counts(policy: PolicySpec, counts: I32, tick: int) -> I32:
    """Counts of the policy's inputs (B, inputs) in a control period, of those of its observed sensors (B, sensors)."""
    if policy.clock_steps is None:
        return counts
    clock = clock_counts(policy.clock_steps)[tick % policy.clock_steps]
    return np.concatenate([counts, np.broadcast_to(clock, (len(counts), 2))], axis=1)


def calibration_rows(policy: PolicySpec, spec: RobotSpec, seen: Sequence[I32]) -> F64:
    """Values of the policy's inputs (rows, inputs), of what its sensors gave in each control period from 0 on.

    Args:
        seen: for each control period the counts of the observed sensors, (B, sensors); B may differ.
    """
    inputs, _ = counts_of_robot(spec, policy.clock_steps is not None)
    rows = np.concatenate([pin_counts(policy, counts, tick) for tick, counts in enumerate(seen)])
    scale, offset, origin = (np.array([getattr(i, key) for i in inputs]) for key in ("scale", "offset", "origin"))
    values: F64 = (rows - origin) * scale + offset
    return values


def command_counts(plan: FixedNetwork, inputs: I32) -> I32:
    """Counts as the pins take them (B, actuators), of those that the pins give and of the clock (B, inputs)."""
    into, out = (np.array([s.origin for s in signals]) for signals in (plan.inputs, plan.outputs))
    commands: I32 = (run(plan, inputs - into) + out).astype(np.int32)
    return commands
