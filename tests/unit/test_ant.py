"""The ant: it stands, walks both ways, what ends an episode, and rows that are independent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.robot_spec import load_robot
from sim.robots.ant import STANCE_HEIGHT_M, AntPlant, roll_pitch_yaw
from sim.tasks import make_family
from sim.trajectories import sensor_paths
from sim.world import PhysicsSettings

F = np.float32
POLICY = PolicySpec(inputs=4, outputs=8, hidden=(), clock_steps=20)
PLAIN = Normaliser.identity(4)


@pytest.fixture(scope="module")
def family():
    made = make_family("ant_direction")
    yield made
    made.close()


def way(direction):
    return Task("ant_direction", {"direction": direction})


def gaits(count, seed=0):
    """Random gaits out of the clock alone, (count, d): theta is row after row of the weights, then the biases."""
    weights = np.zeros((count, 8, 6))
    weights[:, :, 4:] = np.random.default_rng(seed).normal(0, 0.7, (count, 8, 2))
    return np.concatenate([weights.reshape(count, 48), np.zeros((count, 8))], axis=1).astype(F)


def run(family, thetas, tasks):
    return family.evaluate(POLICY, PLAIN, np.asarray(thetas, F), tasks, np.arange(len(tasks), dtype=np.uint32))


def axis_angle(axis, angle):
    return (*(math.sin(angle / 2) * a for a in axis), math.cos(angle / 2))


def test_angles_of_a_quaternion():
    for place, axis in enumerate(np.eye(3).tolist()):
        for angle in (-1.2, 0.0, 0.3, 1.5):
            expected = [0.0, 0.0, 0.0]
            expected[place] = angle
            assert roll_pitch_yaw(axis_angle(axis, angle)) == pytest.approx(expected, abs=1e-12)
    assert roll_pitch_yaw((0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)))[1] == pytest.approx(math.pi / 2)  # no NaN


def test_at_rest_it_stands(family):
    path, returns = sensor_paths(family, POLICY, PLAIN, np.zeros((1, POLICY.dimension), F), [way(1.0)])
    assert abs(returns[0]) < 0.01
    assert np.abs(path[:, :3, 0]).max() < 0.02
    assert family.plant.worlds[0].base().position[2] == pytest.approx(STANCE_HEIGHT_M, abs=0.02)


def test_random_gaits_walk_either_way_and_what_one_task_pays_the_other_costs(family):
    thetas = gaits(24)
    forward = run(family, thetas, [way(1.0)] * 24)
    backward = run(family, thetas, [way(-1.0)] * 24)
    assert (forward.steps == 60).all()
    np.testing.assert_array_equal(forward.returns, -backward.returns)
    assert forward.returns.max() > 0.3  # m/s over 2 s
    assert forward.returns.min() < -0.3


def test_the_return_is_the_way_gone_over_time(family):
    theta = gaits(24)[:1]
    path, returns = sensor_paths(family, POLICY, PLAIN, theta, [way(1.0)])
    gone = family.plant.worlds[0].base().position[0]
    assert returns[0] == pytest.approx(gone / 2.0, abs=0.002)
    np.testing.assert_allclose(path[1:, 3, 0], path[1:, 4, 0], atol=1e-6)  # merit is forward velocity here


def test_a_fall_ends_the_episode_and_counts_as_half_a_metre_a_second_backwards(family):
    plant = AntPlant(family.spec, PhysicsSettings(solver_iterations=10), lambda task, forward: forward)
    seeds = np.zeros(1, np.uint32)
    plant.reset([way(1.0)], seeds)
    plant.worlds[0].place_base((0.0, 0.0, 0.5), axis_angle((1.0, 0.0, 0.0), 1.4))  # on its side
    commands = np.array([[a.safe] for a in family.spec.actuators], F)
    si = family.signals.to_si(family.signals.quantise(plant.step(commands)))
    assert family.signals.aborted(si)[0]
    assert family.spec.reward.after_abort * family.spec.episode.steps == pytest.approx(-0.5)
    plant.close()


def test_a_motor_has_its_share_of_the_force_and_no_more(family):
    plant = AntPlant(family.spec, PhysicsSettings(solver_iterations=10), lambda task, forward: forward)
    commands = np.array([[a.safe] for a in family.spec.actuators], F)
    commands[0] += 0.5  # a hip
    turned = []
    for share in (1.0, 0.1, 0.0):
        plant.reset([way(1.0)], np.zeros(1, np.uint32))
        plant.efforts = [share, *[1.0] * 7]
        for _ in range(6):
            plant.step(commands)
        turned.append(plant.servo_joints(0)[0][0])
    plant.close()
    full, tenth, none = turned  # of half a radian, after a fifth of a second
    assert 0.1 < full < 0.5
    assert 0.005 < tenth < 0.1 * full
    assert abs(none) < 0.1 * tenth


def test_rows_together_are_each_alone_bit_for_bit(family):
    count = 11  # more than stand side by side
    thetas = np.random.default_rng(3).normal(0, 0.5, (count, POLICY.dimension)).astype(F)
    tasks, seeds = [family.sample("test", i) for i in range(count)], np.arange(count, dtype=np.uint32)
    together = family.evaluate(POLICY, PLAIN, thetas, tasks, seeds).returns
    for i in (10, 7, 0):
        alone = family.evaluate(POLICY, PLAIN, thetas[i : i + 1], [tasks[i]], seeds[i : i + 1]).returns
        assert alone[0] == together[i]


def test_both_ways_come_in_turn(family):
    for split in ("train", "validation", "test"):
        ways = [family.sample(split, i).parameters["direction"] for i in range(6)]
        assert ways == [1.0, -1.0] * 3


def test_a_robot_of_other_sensors_is_refused():
    with pytest.raises(ConfigError, match="robot half_cheetah: the simulated body has sensors"):
        AntPlant(load_robot("half_cheetah"), PhysicsSettings(), lambda task, forward: forward)
