"""Combo: the sum that es_maml pays, goals that switch off, options, and rows that are independent."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.robot_spec import load_robot
from sim.tasks import make_family
from sim.tasks.combo import Combo

F = np.float32
LINEAR = PolicySpec(inputs=2, outputs=2, hidden=())
RANDOM = PolicySpec(inputs=2, outputs=2, hidden=(8,))
PLAIN = Normaliser.identity(2)
RADIUS = 8.0**0.5
RANGE_M = 3.0  # what the policy sees as 1


@pytest.fixture(scope="module")
def kinematic():
    return make_family("combo", {"dynamics": "kinematic"})


@pytest.fixture(scope="module")
def bullet():
    family = make_family("combo")
    yield family
    family.close()


def task(paying, start=(0.0, 0.0)):
    return Task("combo", {"paying": float(paying), "start_x": start[0], "start_y": start[1]})


def goal(number, count=4):
    angle = 2 * np.pi * number / count
    return RADIUS * np.cos(angle), RADIUS * np.sin(angle)


def towards(x, y):
    """Linear policy that heads for (x, y) at up to 1 m/s and lands on it."""
    return np.array([-10 * RANGE_M, 0, 0, -10 * RANGE_M, 10 * x, 10 * y], F)


def run(family, thetas, tasks, policy=LINEAR):
    return family.evaluate(policy, PLAIN, np.stack(thetas).astype(F), tasks, np.arange(len(tasks), dtype=np.uint32))


def published(path, paying, count):
    """Return of a path (T, 2) of positions, by the definition of NavigationTaskCombo, and the goals visited."""
    total, visited = 0.0, set()
    for position in path:
        for number in range(count):
            squared = float(((position - goal(number, count)) ** 2).sum())
            if number not in paying:
                total += 10000.0 * min(0.0, squared - 4.0)
            elif number not in visited:
                total += -4.0 + max(0.0, 4.0 - squared)
                if squared < 0.01:
                    visited.add(number)
    return total, visited


def straight(target, start=(0.0, 0.0), periods=100):
    """Positions after each period on the way to a target, 0.1 m a period along each axis."""
    position, out = np.array(start), []
    for _ in range(periods):
        position = position + np.clip(np.array(target) - position, -0.1, 0.1)
        out.append(position)
    return np.array(out)


def test_the_goal_that_pays_is_paid_until_it_is_visited(kinematic):
    for number in range(4):
        value = run(kinematic, [towards(*goal(number))], [task(1 << number)]).returns[0]
        expected, visited = published(straight(goal(number)), {number}, 4)
        assert visited == {number}
        assert value == pytest.approx(expected, abs=0.2)  # counts of 1 mm and 2 cm^2, 29 periods until the visit
        assert -60 < value < -55


def test_a_goal_that_does_not_pay_costs_ten_thousand_times_as_much(kinematic):
    for number in (0, 1, 2, 3):
        value = run(kinematic, [towards(*goal(number))], [task(1 << (number + 1) % 4)]).returns[0]
        expected, _ = published(straight(goal(number)), {(number + 1) % 4}, 4)
        assert value == pytest.approx(expected, rel=1e-3)
        assert value < -3e6


def test_standing_still_costs_four_a_period_for_every_goal_left():
    for goals, paying in ((4, 1), (6, 2), (5, 5)):
        family = make_family("combo", {"dynamics": "kinematic", "num_goals": goals, "num_correct": paying})
        value = run(family, [np.zeros(6)], [task((1 << paying) - 1)]).returns[0]
        assert value == -4.0 * paying * 100


def test_of_two_goals_that_pay_the_other_one_still_costs_after_the_first_visit():
    family = make_family("combo", {"dynamics": "kinematic", "num_goals": 6, "num_correct": 2})
    one = run(family, [towards(*goal(0, 6))], [task(0b001001)]).returns[0]  # goals 0 and 3, opposite ones
    expected, visited = published(straight(goal(0, 6)), {0, 3}, 6)
    assert visited == {0}
    assert one == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(("goals", "paying", "subsets"), [(4, 1, 4), (4, 2, 6), (6, 2, 15)])
def test_every_subset_is_drawn_and_has_the_right_number_of_goals(goals, paying, subsets):
    family = make_family("combo", {"num_goals": goals, "num_correct": paying})
    masks = [int(family.sample("train", i).parameters["paying"]) for i in range(400)]
    assert len(set(masks)) == subsets
    assert {m.bit_count() for m in masks} == {paying}
    assert max(masks) < 1 << goals


def test_splits_share_no_task(kinematic):
    drawn = [
        tuple(kinematic.sample(s, i).parameters.values()) for s in ("train", "validation", "test") for i in range(200)
    ]
    assert len(set(drawn)) == 600


def test_more_goals_that_pay_than_goals_is_refused():
    with pytest.raises(ConfigError, match="num_correct is 5; there are 4 goals"):
        make_family("combo", {"num_correct": 5})


def test_a_robot_of_other_sensors_is_refused():
    with pytest.raises(ConfigError, match="robot rover_nav: the simulated rover has sensors"):
        _ = Combo(load_robot("rover_nav")).plant


@pytest.mark.parametrize("dynamics", ["kinematic", "bullet"])
def test_rows_are_independent_and_the_hidden_goal_decides(dynamics, request):
    family = request.getfixturevalue(dynamics)
    tasks = [family.sample("test", i) for i in range(40)]
    thetas = (2 * np.random.default_rng(0).standard_normal((40, RANDOM.dimension))).astype(F)
    seeds = np.arange(40, dtype=np.uint32)
    together = family.evaluate(RANDOM, PLAIN, thetas, tasks, seeds).returns
    for i in (0, 17, 39):
        alone = family.evaluate(RANDOM, PLAIN, thetas[i : i + 1], [tasks[i]], seeds[i : i + 1]).returns
        assert alone[0] == together[i]
    one = run(family, [towards(*goal(1))] * 4, [task(1 << i) for i in range(4)]).returns
    assert one.argmax() == 1
    assert (np.delete(one, 1) < -1e6).all()
