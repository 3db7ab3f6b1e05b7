"""Looked up is as computed: tables and lanes against signals.py, bit for bit, on every robot that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.robot_spec import RobotSpec, load_robot
from esmaml_robot.signals import Signals
from sim.tables import Tables, lanes_of

ROBOTS = sorted(p.stem for p in (Path(__file__).parents[2] / "hardware_configs").glob("*.yaml"))
BATCH = 37


def many_kinds():
    """Gaps between observed sensors, a negative scale, offsets, slow actuators, all kinds of reward, two aborts."""
    plain = load_robot("rover_uno").model_dump(mode="json")
    plain["sensors"][0] |= {"offset": 0.3, "observed": True}
    plain["sensors"][1] |= {"scale": -0.001, "observed": False}
    plain["sensors"][2] |= {"observed": True}
    plain["actuators"][0] |= {"range": [-0.5, 1.0], "rate_limit": 0.7}
    plain["actuators"][1] |= {"scale": -0.002, "offset": 0.1, "counts": [-600, 600]}
    plain["abort"] = [
        {"name": "far", "sensor": "x", "allowed": [-4.5, 4.5]},
        {"name": "near", "sensor": "x", "allowed": [-3.0, 20.0]},
    ]
    plain["reward"]["terms"] = [
        {"kind": "constant", "weight": 0.7},
        {"kind": "linear", "sensor": "x", "weight": -0.13},
        {"kind": "square", "sensor": "x", "weight": -2.1, "target": 0.1},
        {"kind": "constant", "weight": -0.3},
        {"kind": "square", "sensor": "beacon", "weight": 1.7, "target": 0.4},
        {"kind": "progress", "sensor": "y", "weight": 11.3},
        {"kind": "action_square", "actuator": "vx", "weight": -0.3},
        {"kind": "constant", "weight": 0.2},
        {"kind": "linear", "sensor": "x", "weight": 0.9},
    ]
    return RobotSpec.model_validate(plain)


@pytest.fixture(params=[*ROBOTS, "many_kinds"])
def signals(request):
    return Signals(many_kinds() if request.param == "many_kinds" else load_robot(request.param))


def uniform(seed, low, high, batch=BATCH):
    """(signals, batch) between columns low and high."""
    rows = len(low)
    return low + (high - low) * directions.uniforms(seed, rows * batch).reshape(rows, batch)


def truth_of(signals, seed):
    """Sensor values within and a little beyond what counts can show."""
    ends = [(c * signals.sensor_scale + signals.sensor_offset) for c in (signals.sensor_low, signals.sensor_high)]
    middle, half = (ends[0] + ends[1]) / 2.0, (ends[1] - ends[0]) / 2.0
    return uniform(seed, middle - 1.1 * half, middle + 1.1 * half)


def same_bits(found, expected):
    assert found.dtype == expected.dtype
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_sensors(signals):
    lanes, truth = lanes_of(signals, BATCH), truth_of(signals, 1)
    places, counts = lanes.places(truth), signals.quantise(truth)
    same_bits(lanes.counts(places), counts)
    same_bits(lanes.observe(places), signals.observe(signals.to_si(counts)))


def test_aborts(signals):
    lanes, truth = lanes_of(signals, BATCH), truth_of(signals, 2)
    expected = signals.aborted(signals.to_si(signals.quantise(truth)))
    running = np.arange(BATCH) % 3 != 0
    for mask, wanted in ((None, expected), (running, expected & running)):
        found = lanes.aborted(lanes.places(truth), mask)
        assert (found is None) == (not wanted.any())
        if found is not None:
            same_bits(found, wanted)


def test_rewards(signals):
    lanes, now, before = lanes_of(signals, BATCH), truth_of(signals, 3), truth_of(signals, 4)
    commands = np.rint(uniform(5, signals.actuator_low, signals.actuator_high)).astype(np.int32)
    si = [signals.to_si(signals.quantise(t)) for t in (now, before)]
    found = lanes.reward(lanes.places(now), lanes.places(before), commands)
    np.testing.assert_array_equal(found, signals.reward(*si, commands))
    assert found.dtype == np.float32


def test_commands(signals):
    lanes = lanes_of(signals, BATCH)
    one = np.ones_like(signals.action_half)
    actions = np.clip(uniform(6, -1.2 * one, 1.2 * one), -1.0, 1.0).astype(np.float32)
    actions[:, :3] = [0.0, -0.0, 1.0]
    previous = np.rint(uniform(7, signals.actuator_low, signals.actuator_high)).astype(np.int32)
    found = lanes.commands(actions, previous)
    same_bits(found, signals.limit(signals.to_counts(actions), previous))
    np.testing.assert_array_equal(lanes.commands_si(found), signals.commands_si(found))


def test_actions_beyond_one_are_limited_to_the_range(signals):
    lanes = lanes_of(signals, 2)
    actions = np.tile(np.array([-1e6, 1e6], np.float32), (len(signals.spec.actuators), 1))
    previous = np.repeat(signals.safe, 2, axis=1)
    ends = np.where(actions * np.sign(signals.actuator_scale) < 0, signals.actuator_low, signals.actuator_high)
    same_bits(lanes.commands(actions, previous), signals.limit(ends.astype(np.int32), previous))


def test_terms_on_one_sensor_are_one_table():
    assert len(Tables(Signals(many_kinds())).reward_terms) == 1 + 5
    assert len(Tables(Signals(load_robot("rover_uno"))).reward_terms) == 1
