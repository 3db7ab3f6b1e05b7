"""The cart-pole: its equations of motion, what each hidden parameter does, and rows that are independent."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.robot_spec import load_robot
from sim.robots.cartpole import CART_KG, GRAVITY_M_S2, POLE_KG, POLE_M, CartPoleBodies
from sim.tasks import make_family
from sim.tasks.cartpole import GYRO_PER_ANGLE, START_TILT_RAD, CartpoleSensors
from sim.trajectories import sensor_paths

F = np.float32
LINEAR = PolicySpec(inputs=4, outputs=1, hidden=())
MLP = PolicySpec(inputs=4, outputs=1, hidden=(8,))
PLAIN = Normaliser.identity(4)
#: position, speed, angle, gyro: balances a pole whose sensors and motor are right
BALANCES = np.array([1.6, 1.1, 3.9, 2.8, 0.0], F)
RIGHT = {"mounting_error": 0.0, "motor_gain": 1.0, "polarity": 1.0}


@pytest.fixture(scope="module")
def family():
    made = make_family("cartpole_sensors")
    yield made
    made.close()


def task(**changes):
    return Task("cartpole_sensors", RIGHT | changes)


def run(family, thetas, tasks, policy=LINEAR):
    return family.evaluate(policy, PLAIN, np.stack(thetas).astype(F), tasks, np.arange(len(tasks), dtype=np.uint32))


def test_the_body_follows_the_equations_of_motion():
    rate, mass, length, moment = 1000, CART_KG + POLE_KG, POLE_M / 2, POLE_KG * POLE_M**2 / 12
    tilt, force = np.linspace(-0.4, 0.4, 40), np.linspace(-2, 2, 40)  # two worlds
    bodies = CartPoleBodies(rate, rate)
    bodies.reset(np.stack([np.zeros(40), tilt]))
    position, speed = np.stack([np.zeros(40), tilt]), np.zeros((2, 40))
    for _ in range(300):
        bodies.step(force)
        sine, cosine = np.sin(position[1]), np.cos(position[1])
        coupling = POLE_KG * length * cosine
        push = force + POLE_KG * length * sine * speed[1] ** 2
        weight = POLE_KG * GRAVITY_M_S2 * length * sine
        inertia = moment + POLE_KG * length**2
        determinant = mass * inertia - coupling**2
        acceleration = np.stack([inertia * push - coupling * weight, mass * weight - coupling * push]) / determinant
        speed = speed + acceleration / rate
        position = position + speed / rate
        np.testing.assert_allclose(bodies.position, position, atol=1e-10)
        np.testing.assert_allclose(bodies.velocity, speed, atol=1e-10)
    assert np.abs(position[1]).max() > 0.5
    bodies.close()


def test_a_pole_that_nobody_balances_falls_and_one_that_somebody_does_stands(family):
    still, balanced = run(family, [np.zeros(5), BALANCES], [task()] * 2).returns
    assert 0.1 < still < 0.3
    assert balanced == pytest.approx(1.0, abs=1e-4)


def test_the_return_is_the_share_of_the_episode_that_it_stood(family):
    outcome = run(family, [np.zeros(5), BALANCES], [task()] * 2)
    np.testing.assert_allclose(outcome.returns, outcome.steps / 150, rtol=1e-5)
    path, _ = sensor_paths(family, LINEAR, PLAIN, np.zeros((1, 5), F), [task()])
    tilt = path[: outcome.steps[0] + 1, 4, 0]
    assert tilt[0] == pytest.approx(START_TILT_RAD, abs=1e-4)
    assert (np.abs(tilt[:-1]) <= 0.5).all()
    assert abs(tilt[-1]) > 0.5


def test_wired_the_other_way_round_the_same_policy_throws_the_pole_over(family):
    right, wrong, mended = run(
        family, [BALANCES, BALANCES, -BALANCES], [task(), task(polarity=-1.0), task(polarity=-1.0)]
    ).returns
    assert wrong < 0.2
    assert right == mended == pytest.approx(1.0, abs=1e-4)


def test_the_mounting_error_is_in_the_angle_and_twice_in_the_gyro_and_not_in_the_tilt(family):
    thetas = np.zeros((2, 5), F)
    (plain, askew) = (
        sensor_paths(family, LINEAR, PLAIN, thetas[:1], [task(mounting_error=e)])[0][:10, :, 0] for e in (0.0, 0.2)
    )
    np.testing.assert_allclose(askew[:, 2] - plain[:, 2], 0.2, atol=1e-4)
    np.testing.assert_allclose(askew[:, 3] - plain[:, 3], GYRO_PER_ANGLE * 0.2, atol=5e-4)
    np.testing.assert_array_equal(askew[:, [0, 1, 4]], plain[:, [0, 1, 4]])


def test_the_gain_scales_the_force(family):
    push = np.array([0, 0, 0, 0, 0.2], F)
    travelled = [
        sensor_paths(family, LINEAR, PLAIN, push[None], [task(motor_gain=g, polarity=p)])[0][2, 0, 0]
        for g, p in ((0.7, 1.0), (1.3, 1.0), (1.3, -1.0))
    ]
    still = sensor_paths(family, LINEAR, PLAIN, np.zeros((1, 5), F), [task()])[0][2, 0, 0]
    moved = np.array(travelled) - still
    assert moved[1] / moved[0] == pytest.approx(1.3 / 0.7, rel=0.05)
    assert moved[2] == pytest.approx(-moved[1], rel=0.05)


def test_no_policy_without_memory_balances_both_polarities(family):
    tasks = [task(polarity=p) for p in (1.0, -1.0)] * 64
    thetas = np.repeat(3 * np.random.default_rng(0).standard_normal((64, 5)), 2, axis=0)
    both = run(family, thetas, tasks).returns.reshape(64, 2)
    assert both.max() > 0.99  # one of them
    assert both.min(axis=1).max() < 0.5


def test_rows_together_are_each_alone_bit_for_bit(family):
    thetas = np.random.default_rng(1).standard_normal((40, MLP.dimension)).astype(F)
    tasks, seeds = [family.sample("test", i) for i in range(40)], np.arange(40, dtype=np.uint32)
    together = family.evaluate(MLP, PLAIN, thetas, tasks, seeds)
    for i in (0, 5, 31, 32, 39):
        alone = family.evaluate(MLP, PLAIN, thetas[i : i + 1], [tasks[i]], seeds[i : i + 1])
        assert alone.returns[0] == together.returns[i]
        assert alone.steps[0] == together.steps[i]
    assert len(set(together.steps.tolist())) > 5


def test_laws_and_splits(family):
    drawn = {s: [family.sample(s, i).parameters for i in range(300)] for s in ("train", "validation", "test")}
    assert len({tuple(p.values()) for split in drawn.values() for p in split}) == 900
    for parameters in drawn["test"]:
        assert abs(parameters["mounting_error"]) <= 0.3
        assert 0.7 <= parameters["motor_gain"] <= 1.3
    assert sum(p["polarity"] for p in drawn["test"]) == 0


def test_a_robot_of_other_sensors_is_refused():
    with pytest.raises(ConfigError, match="robot rover_uno: the simulated cart-pole has sensors"):
        _ = CartpoleSensors(load_robot("rover_uno")).plant
