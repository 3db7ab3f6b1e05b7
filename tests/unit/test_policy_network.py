"""A policy as a Network: the same commands as its reference, with clock and filter outside."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.errors import ExportError
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.float_model import forward32
from firmware_export.network import apply
from firmware_export.policy_network import network_of
from firmware_export.reference import TOLERANCE, random_memory, random_sensors, reference_of

ROVER = load_robot("rover_uno")
NORMALISER = Normaliser(np.float32([0.3, -0.2]), np.float32([2.5, 30.0]))
RANK_2 = {"layers": "low_displacement", "displacement_rank": 2}
KINDS = [
    {},
    {"hidden": ()},
    {"activation": "relu"},
    {"layers": "toeplitz"},
    RANK_2,
    {"clock_steps": 24},
    {"action_filter": 0.3},
    {**RANK_2, "clock_steps": 24, "action_filter": 0.3},
]


def make_policy(normaliser=NORMALISER, **kind):
    spec = PolicySpec(inputs=2, outputs=2, **{"hidden": (8,), **kind})
    return Policy(spec, directions.directions([3], spec.dimension)[0] * np.float32(0.6), normaliser)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_commands_are_those_of_the_policy(kind, normalised):
    policy = make_policy(NORMALISER if normalised else Normaliser.identity(2), **kind)
    parts = network_of(policy, ROVER)
    sensors, memory = random_sensors(ROVER, 500, 1), random_memory(policy.spec, 500, 1)
    sensors = sensors[np.abs(sensors).max(axis=1) < 1e6]  # what float32 rounds away far out, float64 does not
    memory = type(memory)(memory.ticks[: len(sensors)], memory.previous[: len(sensors)])
    reference = reference_of(policy, ROVER)
    x = sensors
    if parts.clock_steps is not None:
        x = np.hstack([sensors, clock_table(parts.clock_steps)[:, memory.ticks].T])
        assert parts.network.inputs == ("x", "y", "clock_sine", "clock_cosine")
    for values in (parts.network.forward(x), forward32(parts.network, x).astype(np.float64)):
        if parts.action_filter is not None:
            values = memory.previous + parts.action_filter * (values - memory.previous)
            values = apply(parts.after_filter, values)
        gap = np.abs(values - reference.actuators(sensors, memory)) / reference.signals.action_half[:, 0]
        assert gap.max() <= TOLERANCE
    assert (len(parts.notes()) == 0) == (parts.clock_steps is None and parts.action_filter is None)
    assert parts.network.outputs == ("vx", "vy")


def test_compact_layers_become_matrices():
    assert network_of(make_policy(layers="toeplitz"), ROVER).network.describe() == "2-8-2"
    assert network_of(make_policy(**RANK_2), ROVER).network.describe() == "2-16-8-16-2"


def test_a_policy_of_another_robot_is_refused():
    with pytest.raises(ExportError, match="export it with the robot"):
        network_of(
            Policy(PolicySpec(inputs=3, outputs=2, hidden=()), np.zeros(8, np.float32), Normaliser.identity(3)), ROVER
        )
