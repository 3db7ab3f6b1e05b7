"""The Cortex-M4F's control period in instructions: the commands are numpy's, and integers take fewer than float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from esmaml_robot.signals import Signals
from firmware_export.control_period import Recorded, count_instructions
from firmware_export.fixed_policy import command_counts, pin_counts
from firmware_export.frozen_policy import freeze, write_frozen_c
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
SIGNALS = Signals(SPEC)
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
POLICY = Policy(LAYOUT, initial_theta(LAYOUT, "scaled", 0.7, 3), Normaliser.identity(2))
STEPS = SPEC.episode.steps


def sensor_rows(seed):
    """Counts of an episode that no abort condition ends."""
    rng = np.random.default_rng(seed)
    return np.column_stack([*rng.integers(-4000, 4000, (2, STEPS + 1)), rng.integers(0, 1024, STEPS + 1)]).astype(
        np.int32
    )


def in_float32(sensors):
    batch = PolicyBatch(LAYOUT, POLICY.theta[None], POLICY.normaliser)
    batch.reset()
    observed = [SIGNALS.observe(SIGNALS.to_si(row[:, None])) for row in sensors]
    return np.concatenate([SIGNALS.to_counts(batch.act(x, tick)).T for tick, x in enumerate(observed)])


def episode(commands, seed):
    """The record of an episode; its last commands are the safe ones."""
    sensors = sensor_rows(seed)
    given = np.clip(commands(sensors), SIGNALS.actuator_low.ravel(), SIGNALS.actuator_high.ravel()).astype(np.int32)
    given[-1] = SIGNALS.safe.ravel()
    return Recorded(sensors, given)


@pytest.fixture
def generated(tmp_path):
    write_policy_c(POLICY, SPEC, tmp_path)
    write_robot_c(SPEC, tmp_path)
    return tmp_path


def test_integers_take_fewer_instructions_than_float32(generated):
    episodes = [episode(in_float32, seed) for seed in (0, 1)]
    floats = count_instructions(SPEC, generated, episodes, generated / "floats")
    frozen = freeze(POLICY, SPEC, "int16")
    write_frozen_c(frozen, generated)

    def in_int16(sensors):
        observed = pin_counts(LAYOUT, sensors[:, SIGNALS.observed], 0)
        return command_counts(frozen.plan, observed)

    episodes = [episode(in_int16, seed) for seed in (0, 1)]
    integers = count_instructions(SPEC, generated, episodes, generated / "integers", frozen=True)
    for counted in (floats, integers):
        assert counted.periods == 2 * STEPS
        assert counted.least <= counted.mean <= counted.most
        assert counted.most_us == pytest.approx(counted.most / 25)
    assert 500 < integers.most < floats.least < 10_000


def test_commands_that_are_not_those_of_the_episode_are_refused(generated):
    recorded = episode(in_float32, 0)
    changed = recorded.actuators.copy()
    changed[7, 1] += 1
    with pytest.raises(RuntimeError, match=f"control period 7 of {STEPS + 1} gave .* were policy and episodes"):
        count_instructions(SPEC, generated, [replace(recorded, actuators=changed)], generated / "out")
