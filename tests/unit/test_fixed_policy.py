"""Policies on their robots in fixed point: counts in, counts out, beside what the simulator computes."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.errors import ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.fixed_model import run
from firmware_export.fixed_policy import clock_counts, counts_of_robot, network_of_policy
from firmware_export.fixed_quantise import quantise
from firmware_export.reference import Memory, reference_of

KINDS = [
    {"hidden": (8,)},
    {"hidden": (), "clock_steps": 12},
    {"hidden": (9, 5), "activation": "relu"},
    {"hidden": (6,), "layers": "toeplitz"},
    {"hidden": (6,), "layers": "low_displacement", "displacement_rank": 2},
]


def policy_of(spec, kind, normalise):
    n = len(spec.observed)
    layout = PolicySpec(inputs=n, outputs=len(spec.actuators), **kind)
    theta = directions.directions([17], layout.dimension)[0] * np.float32(0.4)
    u = directions.uniforms(3, 2 * n).astype(np.float32)
    normaliser = Normaliser(u[:n] - np.float32(0.5), 1 + u[n:]) if normalise else Normaliser.identity(n)
    return Policy(layout, theta, normaliser)


def counts_and_commands(policy, spec, rows):
    """Counts of the sensors over all that they can give, and the counts of the actuators in the simulator."""
    sensors = spec.observed
    u = directions.uniforms(5, rows * len(sensors)).reshape(rows, -1)
    low, high = (np.array([s.counts[end] for s in sensors]) for end in (0, 1))
    counts = np.rint(low + u * (high - low)).astype(np.int32)
    reference = reference_of(policy, spec)
    whole = np.zeros((len(spec.sensors), rows), np.int32)
    whole[reference.signals.observed] = counts.T
    observed = reference.signals.to_si(whole)[reference.signals.observed].T
    steps = policy.spec.clock_steps or 1
    ticks = np.arange(rows) % steps
    memory = Memory(ticks, np.zeros((rows, policy.spec.outputs), np.float32))
    commands = reference.signals.to_counts(reference.actions(observed.astype(np.float32), memory).T).T
    if policy.spec.clock_steps:
        counts = np.concatenate([counts, clock_counts(steps)[ticks]], axis=1)
    return counts, commands


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=["mlp", "clock", "relu", "toeplitz", "rank-2"])
@pytest.mark.parametrize("robot", ["rover_uno", "half_cheetah"])
def test_commands_are_those_of_the_simulator(robot, kind, normalise):
    spec = load_robot(robot)
    policy = policy_of(spec, kind, normalise)
    inputs, outputs = counts_of_robot(spec, policy.spec.clock_steps is not None)
    counts, wanted = counts_and_commands(policy, spec, 600)
    scale, offset, origin = (np.array([getattr(i, key) for i in inputs]) for key in ("scale", "offset", "origin"))
    plan = quantise(network_of_policy(policy, spec), inputs, outputs, (counts[:300] - origin) * scale + offset)
    found = run(plan, counts - origin) + np.array([o.origin for o in outputs])
    span = np.array([o.high - o.low for o in plan.outputs])
    # half a count each for the roundings of both sides, and a thousandth of the range
    assert (np.abs(found - wanted) <= 1 + 1e-3 * span).all()
    assert (np.ptp(wanted, axis=0) > 0.2 * span).all()


def test_unsigned_counts_of_16_bits_have_an_origin():
    spec = load_robot("rover_uno")
    sensors = tuple(
        s.model_copy(update={"counts": (0, 65535), "offset": -3.0}) if s.observed else s for s in spec.sensors
    )
    spec = spec.model_copy(update={"sensors": sensors})
    inputs, _ = counts_of_robot(spec)
    assert [(i.low, i.high, i.origin) for i in inputs] == [(-32768, 32767, 32768)] * 2
    for entry, sensor in zip(inputs, spec.observed, strict=True):
        assert entry.scale * (100 - 32768) + entry.offset == pytest.approx(sensor.scale * 100 + sensor.offset)


def test_an_action_filter_is_refused():
    spec = load_robot("rover_uno")
    with pytest.raises(ExportError, match="action filter"):
        network_of_policy(policy_of(spec, {"hidden": (), "action_filter": 0.5}, False), spec)
