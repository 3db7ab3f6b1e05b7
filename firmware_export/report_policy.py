"""A policy on its robot as what can be measured: sensor counts to actuator counts, in float32 and in integers.

Each form is what the firmware runs in a control period between reading its sensors and limiting its commands, so the
rows of a report can be compared: float32 includes scaling of counts on both sides, integers have it in their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import RobotSpec
from esmaml_robot.signals import Signals

from .build import RUNTIME
from .fixed_policy import network_of_policy
from .frozen_policy import FrozenPolicy, render_frozen_c
from .policy_c import render_policy_c
from .report_sources import EXACT, Array, Sources
from .robot_c import render_robot_c

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: Situations that a chip is given, and that numpy alone looks at for the largest error.
VECTORS, ROWS = 16, 4096

_FLOAT_ADAPTER = """#include "bench.h"
#include "policy.h"
#include "robot_model.h"
#include "rom.h"
static float parameters[POLICY_PARAMETERS];
static struct policy_state state;
void bench_prepare(void)
{
    int i;
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        parameters[i] = rom_f32(&policy_parameters[i]);
    }
    policy_reset(&state);
}
void bench_infer(const bench_input *x, bench_output *y)
{
    float si[ROBOT_SENSORS], observation[POLICY_INPUTS], action[POLICY_OUTPUTS];
    robot_sensors_si(x, si);
    robot_observe(si, observation);
    policy_forward(parameters, &state, observation, action);
    (void)robot_counts(action, y);
}
"""
_FROZEN_ADAPTER = """#include "bench.h"
#include "policy.h"
static struct policy_state state;
void bench_prepare(void)
{
    policy_reset(&state);
}
void bench_infer(const bench_input *x, bench_output *y)
{
    (void)policy_act_counts(&state, x, y);
}
"""


@dataclass(frozen=True, eq=False)
class PolicyCase:
    """Sensor counts (VECTORS, n_sensors), one control period after the other, and the commands of numpy, in counts.

    max_error: of the commands of ROWS situations against the policy in float64, in half ranges of the actuators.
    """

    inputs: I32
    outputs: I32
    max_error: float


def random_counts(spec: RobotSpec, rows: int, seed: int) -> I32:
    """Counts of all sensors, (rows, n_sensors), uniform over the sensors' ranges."""
    signals = Signals(spec)
    low, high = (np.array([s.range[end] for s in spec.sensors]) for end in (0, 1))
    u = directions.uniforms(seed, rows * len(low)).reshape(rows, -1)
    return np.ascontiguousarray(signals.quantise((low + u * (high - low)).T).T)


def exact_commands(policy: Policy, spec: RobotSpec, counts: I32, ticks: I64) -> F64:
    """What the policy commands in float64, in SI, (rows, n_actuators); to a filter each row begins an episode."""
    signals = Signals(spec)
    scale, offset = (np.array([getattr(s, key) for s in spec.observed]) for key in ("scale", "offset"))
    values: F64 = counts[:, [i for i, s in enumerate(spec.sensors) if s.observed]] * scale + offset
    steps, share = policy.spec.clock_steps, policy.spec.action_filter
    if steps is not None:
        values = np.concatenate([values, clock_table(steps).T.astype(np.float64)[ticks % steps]], axis=1)
    unfiltered = Policy(policy.spec.model_copy(update={"action_filter": None}), policy.theta, policy.normaliser)
    commands = network_of_policy(unfiltered, spec).forward(values)
    if share is None:
        return commands
    middle = signals.action_centre[:, 0].astype(np.float64)  # of action 0, which a filter begins with
    return np.asarray(middle + share * (commands - middle))


def _in_half_ranges(spec: RobotSpec, found: I32, exact: F64) -> float:
    signals = Signals(spec)
    si = found * np.array([a.scale for a in spec.actuators]) + np.array([a.offset for a in spec.actuators])
    return float((np.abs(si - exact) / signals.action_half[:, 0]).max())


def _float_commands(policy: Policy, spec: RobotSpec, counts: I32, ticks: I64, one_after_another: bool) -> I32:
    """Counts of the actuators as the float32 firmware gives them, (rows, n_actuators)."""
    signals = Signals(spec)
    seen = np.ascontiguousarray(signals.observe(signals.to_si(counts.T)).T)
    previous = np.zeros((len(counts), policy.spec.outputs), np.float32)
    if not one_after_another:
        return signals.to_counts(policy.act(seen, ticks, previous).T).T
    rows = []
    for i in range(len(counts)):
        previous[:1] = policy.act(seen[i : i + 1], ticks[i : i + 1], previous[:1])
        rows.append(previous[0].copy())
    return signals.to_counts(np.stack(rows).T).T


def _frozen_commands(frozen: FrozenPolicy, counts: I32, ticks: I64) -> I32:
    out = np.zeros((len(counts), len(frozen.spec.actuators)), np.int32)
    for tick in np.unique(ticks).tolist():
        rows = ticks == tick
        out[rows] = frozen.commands(counts[rows].T, tick).T
    return out


def case_of(policy: Policy, spec: RobotSpec, frozen: FrozenPolicy | None) -> PolicyCase:
    """What a chip is given, and what it has to answer; of the float32 policy, or of one in integers."""
    steps = policy.spec.clock_steps or 1
    inputs, many = random_counts(spec, VECTORS, seed=1), random_counts(spec, ROWS, seed=2)
    ticks, turns = np.arange(VECTORS) % steps, np.arange(ROWS) % steps
    if frozen is None:
        outputs = _float_commands(policy, spec, inputs, ticks, one_after_another=True)
        found = _float_commands(policy, spec, many, turns, one_after_another=False)
    else:
        outputs = _frozen_commands(frozen, inputs, ticks)
        found = _frozen_commands(frozen, many, turns)
    return PolicyCase(inputs, outputs, _in_half_ranges(spec, found, exact_commands(policy, spec, many, turns)))


def _integers(values: Array) -> Array:
    return np.asarray(values, np.int32)


def sources_of(policy: Policy, spec: RobotSpec, frozen: FrozenPolicy | None) -> Sources:
    """The C of one form, as the firmware has it."""
    robot = render_robot_c(spec)
    return Sources(
        files=render_policy_c(policy, spec, 8) | robot if frozen is None else render_frozen_c(frozen),
        adapter=_FLOAT_ADAPTER if frozen is None else _FROZEN_ADAPTER,
        input="int32_t",
        output="int32_t",
        encode=_integers,
        flags=(*EXACT, "-DESMAML_FIRMWARE", f"-I{RUNTIME}"),
    )
