"""The body behind a virtual robot's pins: driven tick by tick in counts, it is the robot of training bit for bit."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from esmaml_robot.robot_spec import load_robot
from esmaml_robot.signals import Signals
from sim.rollout import run_episodes
from sim.tasks import make_family
from sim.virtual_robot.plants import make_plant

MLP = PolicySpec(inputs=2, outputs=2, hidden=(8,))
PLAIN = Normaliser.identity(2)
F = np.float32


def thetas():
    rng = np.random.default_rng(0)
    straight = np.zeros(MLP.dimension, F)
    straight[-2:] = [1.0, 0.1]  # leaves the arena
    return [*(2 * rng.standard_normal((4, MLP.dimension))).astype(F), straight, np.zeros(MLP.dimension, F)]


def towards(goal, spec):
    """An MLP that steers to `goal` (x, y): one hidden unit an axis, nearly linear."""
    first, second, bias = np.zeros((8, 2)), np.zeros((2, 8)), np.zeros(2)
    for axis in range(2):
        first[axis, axis], second[axis, axis] = 0.1, -30
        bias[axis] = 30 * np.tanh(0.1 * goal[axis] / spec.sensors[axis].range[1])
    return np.concatenate([first.ravel(), np.zeros(8), second.ravel(), bias]).astype(F)


def drive(plant, spec, theta, seed=0):
    """An episode as a controller runs it, written with Signals alone: counts, commands, return and steps."""
    signals, policy = Signals(spec), PolicyBatch(MLP, theta[None], PLAIN)
    counts = plant.reset(seed)
    si, command = signals.to_si(counts[:, None]), signals.safe
    seen, given, total, steps = [counts.tolist()], [], F(0), 0
    for tick in range(spec.episode.steps):
        command = signals.limit(signals.to_counts(policy.act(signals.observe(si))), command)
        counts = plant.step(command[:, 0], True)
        previous, si = si, signals.to_si(counts[:, None])
        seen.append(counts.tolist())
        given.append(command[:, 0].tolist())
        total, steps = F(total + signals.reward(si, previous, command)[0]), steps + 1
        if signals.aborted(si)[0]:
            for _ in range(spec.episode.steps - tick - 1):
                total = F(total + F(spec.reward.after_abort))
            break
    return seen, given, total, steps


@pytest.mark.parametrize("name", ["four_corners", "nav2d"])
def test_tick_by_tick_equals_run_episodes_bit_for_bit(name):
    family = make_family(name)
    spec, steps_seen = family.spec, set()
    goal = family.sample("test", 6).parameters
    for number, theta in enumerate([*thetas(), towards((goal["goal_x"], goal["goal_y"]), spec)]):
        ticks = []
        batch = PolicyBatch(MLP, theta[None], PLAIN)
        one = family.sample("test", number)
        outcome = run_episodes(family.plant, family.signals, batch, [one], np.zeros(1, np.uint32), ticks.append)
        seen, given, total, steps = drive(make_plant(spec, number, None), spec, theta)
        assert seen == [t.sensor_counts[:, 0].tolist() for t in ticks]
        assert given == [t.commands[:, 0].tolist() for t in ticks[:-1]]
        assert total == outcome.returns[0]
        assert steps == outcome.steps[0]
        steps_seen.add(steps)
    assert len(steps_seen) > 1  # one of them ended early
    family.close()


def test_a_plant_repeats_and_forgets_the_episode_before():
    spec = load_robot("rover_uno")
    plant, (first, second, *_) = make_plant(spec, 2, None), thetas()
    expected = drive(plant, spec, first)
    drive(plant, spec, second)
    assert drive(plant, spec, first, seed=9) == expected


def test_torque_off_lets_the_rover_roll_to_a_stop():
    spec = load_robot("rover_uno")
    plant = make_plant(spec, 0, None)
    plant.reset(0)
    for _ in range(10):
        rolling = plant.step(np.array([1000, 0]), True)
    for _ in range(60):
        stopped = plant.step(np.array([1000, 0]), False)
    assert stopped[0] > rolling[0] + 200
    np.testing.assert_array_equal(plant.step(np.array([1000, 0]), False), stopped)


def test_counts_are_whole_numbers_within_the_sensors_limits():
    spec = load_robot("rover_uno")
    plant = make_plant(spec, 0, json.dumps({"start_x": 1e6, "start_y": -1e6}))
    counts = plant.reset(0)
    assert counts.dtype == np.int32
    assert counts.tolist() == [32000, -32000, 0]


def test_a_task_of_ones_own_replaces_what_it_names():
    spec = load_robot("rover_uno")
    counts = make_plant(spec, 0, '{"start_x": 0.5, "start_y": -0.25, "goal_x": 0.5, "goal_y": -0.25}').reset(0)
    assert counts.tolist() == [500, -250, 1023]
    same = make_plant(spec, 3, "{}").reset(0)
    np.testing.assert_array_equal(same, make_plant(spec, 3, None).reset(0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JSON object of numbers"),
        ("{goal_x: 1}", "not a JSON object of numbers"),
        ("[1, 2]", "not a JSON object of numbers"),
        ("3", "not a JSON object of numbers"),
        ('{"goal_x": "left"}', "not a JSON object of numbers"),
        ('{"goal_x": null}', "not a JSON object of numbers"),
        ('{"goal_x": 1' + "0" * 400 + "}", "not a JSON object of numbers"),
        ('{"goal_z": 1}', "task key 'goal_z' is unknown; known: goal_x, goal_y, start_x, start_y"),
        ('{"goal_x": NaN}', "task key 'goal_x' is nan; a finite number is needed"),
        ('{"goal_y": -Infinity}', "task key 'goal_y' is -inf; a finite number is needed"),
        ('{"goal_y": 1e999}', "task key 'goal_y' is inf; a finite number is needed"),
    ],
)
def test_bad_task_json_is_refused(text, words):
    with pytest.raises(ConfigError) as caught:
        make_plant(load_robot("rover_uno"), 0, text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rover_starts_without_the_bodies_of_other_robots():
    script = (
        "import sys; from esmaml_robot.robot_spec import load_robot; from sim.virtual_robot.plants import make_plant;"
        "make_plant(load_robot('rover_uno'), 0, None).reset(0);"
        "print([m for m in sys.modules if m.startswith('sim.robots.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ast.literal_eval(done.stdout) == ["sim.robots.rover"]


def test_a_robot_without_a_body_is_refused():
    spec = load_robot("rover_uno").model_copy(update={"name": "walker"})
    with pytest.raises(
        ConfigError, match=r"there is no simulated body for robot 'walker'; there is one for: .*rover_nav, rover_uno"
    ):
        make_plant(spec, 0, None)


def test_the_body_is_of_the_family_that_was_asked_for():
    spec = load_robot("half_cheetah")
    commands = np.array([round(a.range[0] / a.scale) for a in spec.actuators])

    def merits(*family):
        plant = make_plant(spec, 1, None, *family)
        plant.reset(0)
        return [int(plant.step(commands, True)[3]) for _ in range(5)]

    by_default, direction, velocity = merits(), merits("cheetah_direction"), merits("cheetah_velocity", {})
    assert by_default == direction != velocity
    assert max(velocity) <= 0  # less the further it is from the hidden speed
    with pytest.raises(ConfigError, match="option physcis"):
        make_plant(spec, 1, None, "cheetah_velocity", {"physcis": {}})
    with pytest.raises(ConfigError, match="is on robot rover_uno, not on this half_cheetah"):
        make_plant(spec, 1, None, "four_corners")
    with pytest.raises(ConfigError, match="no robot to stand behind a port"):
        make_plant(spec, 1, None, "gym:CartPole-v1")
