"""Task families in the real simulator: reference returns by hand, aborts, splits, and rows that are independent."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError, SimulationError
from esmaml_robot.evaluation import Task, TaskEvaluator, TaskFamily
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from sim.rollout import run_episodes
from sim.tasks import make_family
from sim.tasks.beacon import CORNERS, FourCorners, Nav2d
from sim.trajectories import sensor_paths

F = np.float32
LINEAR = PolicySpec(inputs=2, outputs=2, hidden=())
MLP = PolicySpec(inputs=2, outputs=2, hidden=(8,))
PLAIN = Normaliser.identity(2)


@pytest.fixture(scope="module")
def corners():
    family = make_family("four_corners")
    yield family
    family.close()


@pytest.fixture(scope="module")
def nav():
    family = make_family("nav2d")
    yield family
    family.close()


def towards(x, y, gain=3.0, range_m=2.5):
    """A linear policy with action = gain * (goal - position): theta = W row by row, then b."""
    return np.array([-gain * range_m, 0, 0, -gain * range_m, gain * x, gain * y], F)


def constant(vx, vy):
    return np.array([0, 0, 0, 0, vx, vy], F)


def run(family, thetas, tasks, policy=LINEAR, normaliser=PLAIN):
    seeds = np.arange(len(tasks), dtype=np.uint32)
    return family.evaluate(policy, normaliser, np.stack(thetas).astype(F), tasks, seeds)


def task(family, goal, start=(0.0, 0.0)):
    x, y = goal
    return Task(family.name, {"goal_x": x, "goal_y": y, "start_x": start[0], "start_y": start[1]})


def random_thetas(count, seed=0, scale=2.0, policy=MLP):
    return (scale * np.random.default_rng(seed).standard_normal((count, policy.dimension))).astype(F)


# --- four corners


@pytest.mark.parametrize("policy", [LINEAR, MLP])
def test_the_zero_policy_gives_exactly_minus_400(corners, policy):
    tasks = [corners.sample("test", i) for i in range(8)]
    outcome = run(corners, np.zeros((8, policy.dimension), F), tasks, policy)
    assert outcome.returns.tolist() == [-400.0] * 8
    assert outcome.steps.tolist() == [100] * 8
    assert outcome.valid.all()


def test_the_rest_initialisation_rests(corners):
    theta = initial_theta(MLP, "rest", 8.0, 0)
    assert run(corners, [theta], [corners.sample("test", 0)], MLP).returns.tolist() == [-400.0]


def test_a_controller_reaches_its_corner_and_nothing_at_another(corners):
    tasks = [corners.sample("test", i) for i in range(4)] * 4
    goals = [CORNERS[i // 4] for i in range(16)]
    outcome = run(corners, [towards(*g) for g in goals], tasks)
    for one, goal, value in zip(tasks, goals, outcome.returns, strict=True):
        if (one.parameters["goal_x"], one.parameters["goal_y"]) == goal:
            assert value > -60
        else:
            assert value == -400.0
    assert outcome.valid.all()


def test_the_return_is_the_documented_sum_over_the_path(corners):
    # -4 + max(0, 4 - d^2) a period, d after the period; float64 from the recorded positions, 1 mm and 4 mm^2 counts
    one = task(corners, (2.0, 2.0), (0.1, -0.15))
    for theta in (towards(2, 2), towards(1.0, 1.9, gain=0.7), constant(0.3, 0.4)):
        paths, returns = sensor_paths(corners, LINEAR, PLAIN, theta[None], [one])
        assert paths.shape == (101, 3, 1)
        squared = ((paths[1:, :2, 0].astype(np.float64) - 2.0) ** 2).sum(axis=1)
        expected = (-4 + np.maximum(0, 4 - squared)).sum()
        assert returns[0] == pytest.approx(expected, abs=100 * 0.006)


def test_the_first_reading_is_the_start(corners):
    one = task(corners, (2.0, 2.0), (0.123, -0.1))
    paths, _ = sensor_paths(corners, LINEAR, PLAIN, np.zeros((1, 6), F), [one])
    np.testing.assert_allclose(paths[:, 0, 0], 0.123, atol=1e-6)
    np.testing.assert_allclose(paths[:, 1, 0], -0.1, atol=1e-6)


def test_a_rover_moves_at_most_a_tenth_of_a_metre_a_period(corners):
    paths, _ = sensor_paths(corners, LINEAR, PLAIN, constant(1, -1)[None], [corners.sample("test", 0)])
    steps = np.abs(np.diff(paths[:40, :2, 0], axis=0))
    assert steps.max() <= 0.1005  # and the rounding of a millimetre count
    assert steps[-1].min() > 0.098


def test_leaving_the_arena_ends_the_episode_and_charges_every_period_left(corners):
    one = task(corners, (2.0, 0.0))  # straight through the beacon and out on the other side
    theta = constant(1.0, 0.0)
    paths, returns = sensor_paths(corners, LINEAR, PLAIN, theta[None], [one])
    outcome = run(corners, [theta], [one])
    ran = int(outcome.steps[0])
    x = paths[:, 0, 0]
    assert ran == len(paths) - 1 < 60
    assert (x[:ran] <= 4.5).all()
    assert x[ran] > 4.5
    total = F(0)
    for tick in range(1, ran + 1):
        total = F(total + F(F(-4) + paths[tick, 2, 0]))
    assert total > -4 * ran + 50  # it did collect on the way
    for _ in range(100 - ran):
        total = F(total + F(-4))
    assert outcome.returns[0] == returns[0] == total
    assert outcome.valid.all()


def test_an_abort_of_one_row_leaves_the_others_running(corners):
    tasks = [corners.sample("test", 0)] * 3
    outcome = run(corners, [constant(-1, 0), towards(2, 2), constant(0, -1)], tasks)
    assert outcome.returns[[0, 2]].tolist() == [-400.0, -400.0]
    assert outcome.steps[1] == 100
    assert max(outcome.steps[[0, 2]]) < 60
    assert outcome.returns[1] == run(corners, [towards(2, 2)], tasks[:1]).returns[0]


def test_a_policy_that_is_not_finite_is_an_invalid_row_only(corners):
    tasks = [corners.sample("test", i) for i in range(3)]
    bad = np.full(6, np.nan, F)
    outcome = run(corners, [towards(2, 2), bad, towards(-2, -2)], tasks)
    assert outcome.valid.tolist() == [True, False, True]
    assert np.isnan(outcome.returns[1])
    for i in (0, 2):
        alone = run(corners, [[towards(2, 2), bad, towards(-2, -2)][i]], [tasks[i]])
        assert alone.returns[0] == outcome.returns[i]


class Breaking:
    """The real bodies, but one reading of one robot is `value` after period `period` (0: at the start)."""

    def __init__(self, family, row, period, value):
        self.plant, self.row, self.period, self.value = family.plant, row, period, value

    def spoil(self, truth):
        if self.ticks == self.period:
            truth = truth.copy()
            truth[1, self.row] = self.value
        return truth

    def reset(self, tasks, seeds):
        self.ticks = 0
        return self.spoil(self.plant.reset(tasks, seeds))

    def step(self, commands, torque_on=True, running=None):
        self.ticks += 1
        return self.spoil(self.plant.step(commands, torque_on, running))


@pytest.mark.parametrize("period", [0, 1, 5, 100])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_body_that_is_not_finite_ends_the_run_and_names_the_place(corners, period, value):
    tasks = [corners.sample("test", i) for i in range(3)]
    batch = PolicyBatch(LINEAR, np.stack([towards(*c) for c in CORNERS[:3]]), PLAIN)
    seeds = np.array([7, 4_000_000_000, 9], np.uint32)
    with pytest.raises(SimulationError) as caught:
        run_episodes(Breaking(corners, 1, period, value), corners.signals, batch, tasks, seeds)
    said = str(caught.value)
    for part in (
        "task family four_corners",
        f"sensor 'y' is {value}",
        f"after control period {period} ",
        "seed 4000000000",
        f"in task {tasks[1].parameters}",
        "raise physics_rate_hz",
    ):
        assert part in said
    assert "\n" not in said


def test_what_a_body_does_after_its_episode_ended_does_not_matter(corners):
    tasks = [corners.sample("test", i) for i in range(2)]
    thetas = np.stack([constant(-1, 0), towards(*CORNERS[1])])
    seeds = np.zeros(2, np.uint32)
    whole = corners.evaluate(LINEAR, PLAIN, thetas, tasks, seeds)
    assert whole.steps[0] < 60
    broken = Breaking(corners, 0, 70, np.nan)
    outcome = run_episodes(broken, corners.signals, PolicyBatch(LINEAR, thetas, PLAIN), tasks, seeds)
    assert broken.ticks == 100
    assert outcome.returns.tobytes() == whole.returns.tobytes()
    assert outcome.valid.all()


def test_observed_moments_are_those_of_what_the_policy_saw(corners):
    tasks = [corners.sample("test", i) for i in range(3)]
    thetas = np.stack([towards(2, 2), constant(-1, 0), np.full(6, np.nan, F)])
    seeds = np.zeros(3, np.uint32)
    outcome = corners.evaluate(LINEAR, PLAIN, thetas, tasks, seeds, observe=True)
    assert corners.evaluate(LINEAR, PLAIN, thetas, tasks, seeds).observed is None
    assert outcome.steps[0] == 100 > outcome.steps[1] > outcome.steps[2] == 0
    ticks = []
    batch = PolicyBatch(LINEAR, thetas, PLAIN)
    run_episodes(corners.plant, corners.signals, batch, tasks, seeds, record=ticks.append)
    for row, count in enumerate([100, outcome.steps[1], 1]):  # one look was enough for the policy of NaN
        seen = [corners.signals.observe(corners.signals.to_si(t.sensor_counts))[:, row] for t in ticks[:count]]
        found, expected = outcome.observed[row], Moments.of(np.array(seen))
        assert found.count == expected.count == count
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
        np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-9, atol=1e-12)


# --- splits


def test_test_tasks_cycle_the_four_corners(corners):
    found = [corners.sample("test", i).parameters for i in range(12)]
    assert [(p["goal_x"], p["goal_y"]) for p in found] == [*CORNERS] * 3
    starts = np.array([[p["start_x"], p["start_y"]] for p in found])
    assert np.abs(starts).max() <= 0.2
    assert len({tuple(s) for s in starts}) == 12


def test_splits_share_no_start(corners):
    starts = {
        split: {(p["start_x"], p["start_y"]) for p in (corners.sample(split, i).parameters for i in range(1500))}
        for split in ("train", "validation", "test")
    }
    assert [len(s) for s in starts.values()] == [1500] * 3
    assert not starts["train"] & starts["validation"]
    assert not starts["train"] & starts["test"]
    assert not starts["validation"] & starts["test"]
    xs = np.array(sorted(starts["train"]))
    assert np.abs(xs.mean(axis=0)).max() < 4 * 0.4 / np.sqrt(12 * 1500)


def test_splits_share_no_goal(nav):
    goals = [
        {(p["goal_x"], p["goal_y"]) for p in (nav.sample(split, i).parameters for i in range(500))}
        for split in ("train", "validation", "test")
    ]
    assert len(goals[0] | goals[1] | goals[2]) == 1500


@pytest.mark.parametrize("name", ["four_corners", "nav2d"])
def test_a_task_is_a_function_of_split_and_number(name, corners, nav):
    family = {"four_corners": corners, "nav2d": nav}[name]
    assert isinstance(family, TaskFamily)
    again = family.sample("train", 77)
    assert again == family.sample("train", 77)
    assert again.family == name
    assert Task(**again.to_json()) == again


# --- nav2d


def test_nav2d_of_a_rover_that_stays(nav):
    tasks = [nav.sample("test", i) for i in range(50)]
    outcome = run(nav, np.zeros((50, 6), F), tasks)
    squared = [t.parameters["goal_x"] ** 2 + t.parameters["goal_y"] ** 2 for t in tasks]
    far = np.array(squared) > 0.0105
    np.testing.assert_allclose(outcome.returns[far], -100 * np.array(squared)[far], atol=100 * 0.00026)
    # E d^2 = 2/3 with standard deviation 0.42 for goals in the square
    assert outcome.returns.mean() == pytest.approx(-66.7, abs=4 * 100 * 0.42 / np.sqrt(50))


def test_nav2d_ends_at_the_goal(nav):
    outcome = run(nav, [towards(0.6, -0.3, range_m=1.5), towards(-0.6, 0.3, range_m=1.5)], [task(nav, (0.6, -0.3))] * 2)
    assert outcome.steps[0] < 20
    assert outcome.returns[0] > -5
    assert outcome.steps[1] == 100
    assert outcome.returns[1] < -100


# --- independence


@pytest.mark.parametrize("name", ["four_corners", "nav2d"])
def test_40_rows_together_are_each_alone_bit_for_bit(name, corners, nav):
    family = {"four_corners": corners, "nav2d": nav}[name]
    thetas, tasks = random_thetas(40), [family.sample("train", i) for i in range(40)]
    normaliser = Normaliser(np.array([0.1, -0.1]), np.array([1.5, 2.0]))
    together = run(family, thetas, tasks, MLP, normaliser)
    assert len(np.unique(together.returns)) > 8
    for i in range(40):
        alone = run(family, thetas[i : i + 1], tasks[i : i + 1], MLP, normaliser)
        assert alone.returns.tobytes() == together.returns[i : i + 1].tobytes()
        assert alone.steps[0] == together.steps[i]


@pytest.mark.parametrize("count", [1, 2, 5, 32, 33, 64, 70])
def test_any_number_of_rows_gives_the_same_bits(corners, count):
    thetas, tasks = random_thetas(70, seed=1), [corners.sample("train", i) for i in range(70)]
    whole = run(corners, thetas, tasks, MLP)
    part = run(corners, thetas[70 - count :], tasks[70 - count :], MLP)
    assert part.returns.tobytes() == whole.returns[70 - count :].tobytes()


def test_a_new_family_gives_the_same_bits_as_a_used_one(corners):
    thetas, tasks = random_thetas(6, seed=2), [corners.sample("train", i) for i in range(6)]
    new = make_family("four_corners")
    assert run(new, thetas, tasks, MLP).returns.tobytes() == run(corners, thetas, tasks, MLP).returns.tobytes()
    new.close()


def test_physics_at_twice_the_rate(corners):
    spec = load_robot("rover_uno").model_copy(update={"physics_rate_hz": 20})
    fine = FourCorners(spec)
    thetas, tasks = random_thetas(33, seed=3), [corners.sample("train", i) for i in range(33)]
    together = run(fine, thetas, tasks, MLP)
    for i in (0, 7, 32):
        assert run(fine, thetas[i : i + 1], tasks[i : i + 1], MLP).returns[0] == together.returns[i]
    outcome = run(fine, [np.zeros(6, F), towards(2, 2)], [fine.sample("test", 0)] * 2)
    assert outcome.returns[0] == -400.0
    coarse = run(corners, [towards(2, 2)], [fine.sample("test", 0)])
    assert outcome.returns[1] == pytest.approx(coarse.returns[0], abs=4.5)  # about a period sooner or later
    assert outcome.returns[1] != coarse.returns[0]
    fine.close()


def test_task_evaluator_is_the_family_with_one_task(corners):
    one = corners.sample("test", 1)
    thetas, seeds = random_thetas(3, seed=4), np.arange(3, dtype=np.uint32)
    evaluator = TaskEvaluator(corners, MLP, PLAIN, one)
    expected = corners.evaluate(MLP, PLAIN, thetas, [one] * 3, seeds)
    assert evaluator.evaluate(thetas, seeds).returns.tobytes() == expected.returns.tobytes()


# --- errors


def test_unknown_family():
    with pytest.raises(ConfigError, match=r"no task family 'four_corner': did you mean 'four_corners'\?"):
        make_family("four_corner")
    with pytest.raises(ConfigError, match="known: four_corners, nav2d"):
        make_family("zzz")


def test_a_robot_of_other_sensors_is_refused_when_its_bodies_are_made():
    with pytest.raises(ConfigError, match=r"robot rover_nav: .*'beacon'.*'distance_squared'.*make them agree"):
        _ = FourCorners(load_robot("rover_nav")).plant
    with pytest.raises(ConfigError, match="robot rover_uno"):
        _ = Nav2d(load_robot("rover_uno")).plant
