"""The rover's body: servo, force limit, mass, and what it does with its motors off."""

from __future__ import annotations

import numpy as np
import pytest

from sim.robots.rover import COASTING_DRAG_NS_M, MASS_KG, MAX_FORCE_N, SERVO_TIME_S, RoverBodies

PERIOD_S = 0.1


@pytest.fixture(params=[10, 20, 100])
def rate(request):
    return request.param


def bodies_at(positions, physics_rate_hz):
    bodies = RoverBodies(10, physics_rate_hz)
    bodies.reset(np.array(positions, dtype=np.float64).T)
    return bodies


def speeds(x, y):
    return np.array([[x], [y]], np.float32)


def test_the_force_limit_limits_acceleration():
    bodies = bodies_at([(0, 0)], 10)
    before = bodies.velocity.copy()
    for _ in range(5):
        bodies.step(speeds(50.0, -50.0), True)
        acceleration = (bodies.velocity - before) / PERIOD_S
        np.testing.assert_allclose(acceleration, [[MAX_FORCE_N], [-MAX_FORCE_N]] / MASS_KG, rtol=1e-9)
        before = bodies.velocity.copy()
    bodies.close()


def test_below_the_limit_the_servo_closes_the_gap_within_its_time():
    bodies = bodies_at([(0, 0)], 10)
    bodies.step(speeds(0.2, -0.3), True)  # F = m v / t = 2.5 N and 3 N, below 12 N
    gap = 1 - PERIOD_S / SERVO_TIME_S
    np.testing.assert_allclose(bodies.velocity[:, 0], [0.2 * (1 - gap), -0.3 * (1 - gap)], rtol=1e-6)
    np.testing.assert_allclose(bodies.position[:, 0], bodies.velocity[:, 0] * PERIOD_S, rtol=1e-9)
    bodies.close()


def test_commanded_speed_is_reached_without_overshoot(rate):
    bodies = bodies_at([(0, 0)], rate)
    previous = np.zeros(2)
    for _ in range(20):
        bodies.step(speeds(1.0, -0.4), True)
        now = bodies.velocity[:, 0].copy()
        assert (np.abs(now) >= np.abs(previous) - 1e-12).all()
        previous = now
    np.testing.assert_allclose(previous, [1.0, -0.4], rtol=1e-6)
    assert np.abs(previous[0]) <= 1.0 + 1e-6
    bodies.close()


def test_turning_round_takes_the_same_force(rate):
    bodies = bodies_at([(0, 0)], rate)
    for _ in range(20):
        bodies.step(speeds(1.0, 1.0), True)
    for _ in range(20):
        bodies.step(speeds(-1.0, 0.0), True)
    np.testing.assert_allclose(bodies.velocity[:, 0], [-1.0, 0.0], atol=1e-6)
    bodies.close()


def test_motors_off_coasts_to_a_stop(rate):
    bodies = bodies_at([(1, 2)], rate)
    for _ in range(20):
        bodies.step(speeds(1.0, -1.0), True)
    first, here = bodies.velocity[:, 0].copy(), bodies.position[:, 0].copy()
    bodies.step(speeds(1.0, -1.0), False)  # the command counts for nothing
    kept = 1 - COASTING_DRAG_NS_M / MASS_KG[:, 0] / rate  # of the speed, each physics step
    np.testing.assert_allclose(bodies.velocity[:, 0], first * kept ** (rate // 10), rtol=1e-9)
    for _ in range(100):
        bodies.step(speeds(1.0, -1.0), False)
    assert np.abs(bodies.velocity).max() < 1e-8
    # the geometric series of the steps: drag times way = momentum, but for the first step
    way = first * kept * MASS_KG[:, 0] / COASTING_DRAG_NS_M
    np.testing.assert_allclose(bodies.position[:, 0] - here, way, rtol=1e-6)
    bodies.close()


def test_a_rover_at_rest_stays_at_rest():
    for torque_on in (True, False):
        bodies = bodies_at([(0.3, -0.7)], 10)
        for _ in range(20):
            position = bodies.step(speeds(0.0, 0.0), torque_on)
        np.testing.assert_array_equal(position, [[0.3], [-0.7]])
        bodies.close()


def test_rates_agree_on_where_the_rover_ends():
    ends = []
    for rate in (10, 100, 1000):
        bodies = bodies_at([(0, 0)], rate)
        for _ in range(30):
            position = bodies.step(speeds(0.8, -0.5), True)
        ends.append(position[:, 0].copy())
        bodies.close()
    np.testing.assert_allclose(ends[1], ends[2], atol=0.008)  # one physics period of way
    np.testing.assert_allclose(ends[0], ends[2], atol=0.08)


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 70])
def test_each_rover_moves_as_if_it_were_alone(count):
    rng = np.random.default_rng(count)
    starts = rng.uniform(-1, 1, (count, 2))
    commands = rng.uniform(-1, 1, (15, 2, count)).astype(np.float32)
    bodies = bodies_at(starts, 10)
    many = np.stack([bodies.step(c, True).copy() for c in commands])
    for i in sorted({0, count // 2, count - 1}):
        bodies.reset(starts[i : i + 1].T)  # the same pool, used before
        alone = np.stack([bodies.step(c[:, i : i + 1], True).copy() for c in commands])
        np.testing.assert_array_equal(alone[..., 0], many[..., i])
    bodies.close()
