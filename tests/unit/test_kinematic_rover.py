"""The published navigation tasks, to the digit: es_maml's kinematics with es_maml's goals.

The figures are those of the published tasks, computed by its definition (positions clipped, at most 0.1 m a period):
standing still and an oracle that heads straight for the goal, on the tasks 0 to 49 and 50 to 99.
"""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from sim.robots.rover import KinematicRovers
from sim.tasks import make_family
from sim.tasks.beacon import CORNERS

F = np.float32
LINEAR = PolicySpec(inputs=2, outputs=2, hidden=())
PLAIN = Normaliser.identity(2)


def towards(x, y, range_m):
    """Linear policy that heads for (x, y) at up to 1 m/s and lands on it; range_m is what it sees as 1."""
    return np.array([-10 * range_m, 0, 0, -10 * range_m, 10 * x, 10 * y], F)


def at(name, goals):
    return [Task(name, {"goal_x": x, "goal_y": y, "start_x": 0.0, "start_y": 0.0}) for x, y in goals]


def run(family, thetas, tasks):
    return family.evaluate(LINEAR, PLAIN, np.stack(thetas).astype(F), tasks, np.zeros(len(tasks), np.uint32))


@pytest.mark.parametrize(("numbers", "still", "oracle"), [(range(50), -68.9, -1.43), (range(50, 100), -62.1, -1.21)])
def test_nav2d_has_the_published_returns(numbers, still, oracle):
    family = make_family("nav2d", {"dynamics": "kinematic"})
    goals = [np.random.RandomState(n).uniform(-1.0, 1.0, 2).tolist() for n in numbers]
    tasks = at("nav2d", goals)
    assert run(family, [np.zeros(6)] * 50, tasks).returns.mean() == pytest.approx(still, abs=0.05)
    straight = run(family, [towards(x, y, 1.5) for x, y in goals], tasks)
    assert straight.returns.mean() == pytest.approx(oracle, abs=0.005)
    assert (straight.steps <= 11).all()  # over within 0.1 m of the goal


def test_four_corners_has_the_published_returns():
    family = make_family("four_corners", {"dynamics": "kinematic"})
    tasks = at("four_corners", CORNERS)
    assert run(family, [np.zeros(6)] * 4, tasks).returns.tolist() == [-400.0] * 4
    right = run(family, [towards(*c, 2.5) for c in CORNERS], tasks).returns
    np.testing.assert_allclose(right, -40.3, atol=0.05)
    wrong = run(family, [towards(*c, 2.5) for c in CORNERS[1:] + CORNERS[:1]], tasks).returns
    assert wrong.tolist() == [-400.0] * 4


def test_a_rover_moves_by_its_speed_at_once_and_stops_at_the_wall():
    rovers = KinematicRovers(10, 1.0)
    rovers.reset(np.array([[0.0, 0.85], [0.0, -0.2]]))
    speeds = np.array([[1.0, 1.0], [-0.5, 0.0]], F)
    np.testing.assert_allclose(rovers.step(speeds, True), [[0.1, 0.95], [-0.05, -0.2]], atol=1e-12)
    np.testing.assert_allclose(rovers.step(speeds, True), [[0.2, 1.0], [-0.1, -0.2]], atol=1e-12)
    np.testing.assert_allclose(rovers.step(speeds, False), [[0.2, 1.0], [-0.1, -0.2]], atol=1e-12)


def test_bullet_and_kinematic_rovers_differ_by_their_inertia():
    outcome = {}
    for dynamics in ("bullet", "kinematic"):
        family = make_family("four_corners", {"dynamics": dynamics})
        outcome[dynamics] = run(family, [towards(*CORNERS[0], 2.5)], at("four_corners", CORNERS[:1])).returns[0]
        family.close()
    assert -60 < outcome["bullet"] < outcome["kinematic"] - 0.5
