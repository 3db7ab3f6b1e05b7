"""Robots with a world each, on the half cheetah: rows do not influence one another, worlds are as good as new ones."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.executors import InProcess, LocalProcesses
from esmaml_robot.items import Work
from esmaml_robot.policy import Normaliser, PolicyBatch, initial_theta
from esmaml_robot.robot_spec import load_robot
from sim.articulated import ArticulatedPlant
from sim.robots.cheetah import MOTORS, CheetahPlant
from sim.rollout import run_episodes
from sim.tasks import make_family
from sim.world import PhysicsSettings, RobotModel, RobotWorld

F = np.float32
CONFIG = run_config("cheetah_velocity", seed=0)
PLAIN = Normaliser.identity(CONFIG.policy.inputs)
ROWS = 11  # more than the family's width


@pytest.fixture(scope="module")
def family():
    made = make_family("cheetah_velocity")
    yield made
    made.close()


def batch(family, count=ROWS, seed=0):
    thetas = np.random.default_rng(seed).standard_normal((count, CONFIG.policy.dimension)).astype(F)
    return thetas, [family.sample("train", i) for i in range(count)], np.arange(count, dtype=np.uint32)


def run(family, rows, **more):
    return family.evaluate(CONFIG.policy, PLAIN, *rows, **more)


def pick(rows, which):
    thetas, tasks, seeds = rows
    return thetas[which], [tasks[i] for i in which], seeds[which]


@pytest.fixture(scope="module")
def together(family):
    return run(family, batch(family))


def test_the_robots_really_run(together):
    assert together.valid.all()
    assert together.steps.tolist() == [60] * ROWS
    assert len(set(together.returns.tolist())) == ROWS


@pytest.mark.parametrize("which", [[0], [10], [7, 8], [10, 3, 0, 5, 1]])
def test_a_row_has_the_same_bits_alone_in_any_company_and_in_any_world(family, together, which):
    """The worlds were used before, by other rows, in other tasks."""
    found = run(family, pick(batch(family), which))
    assert found.returns.tobytes() == together.returns[which].tobytes()


def test_new_worlds_give_the_same_bits_as_used_ones(together):
    new = make_family("cheetah_velocity")
    assert run(new, pick(batch(new), [4, 9])).returns.tobytes() == together.returns[[4, 9]].tobytes()
    new.close()


def test_every_reading_of_a_used_world_is_that_of_a_new_one(family):
    """Not the returns alone: every sensor in every period, after a world was left with motors on, in mid-air."""
    rows, readings = pick(batch(family), [2]), []
    new = make_family("cheetah_velocity")
    for one in (new, family):
        plant = one.plant
        plant.reset(rows[1], rows[2])
        for _ in range(7):
            plant.step(np.full((6, 1), 0.6, F))
        ticks = []
        run_episodes(plant, one.signals, PolicyBatch(CONFIG.policy, rows[0], PLAIN), *rows[1:], record=ticks.append)
        plant.reset(rows[1], rows[2])
        truth = [plant.step(np.full((6, 1), 0.1 * np.sin(0.5 * t), F)) for t in range(30)]
        readings.append((np.stack([t.sensor_counts for t in ticks]).tobytes(), np.stack(truth).tobytes()))
    new.close()
    assert readings[0] == readings[1]


# --- rows that have ended


class Steps:
    """Counts the physics steps of each of a plant's worlds."""

    def __init__(self, plant, monkeypatch):
        self.count = {}
        original = RobotWorld.step

        def step(world, count):
            self.count[id(world)] = self.count.get(id(world), 0) + count
            original(world, count)

        monkeypatch.setattr(RobotWorld, "step", step)
        self.worlds = plant.worlds

    def of(self, row):
        return self.count.get(id(self.worlds[row]), 0)


def test_rows_that_have_ended_cost_no_physics_and_disturb_nobody(family, together, monkeypatch):
    thetas, tasks, seeds = pick(batch(family), [0, 1, 2])
    thetas[1] = np.nan  # ends before the first step
    steps = Steps(family.plant, monkeypatch)
    outcome = run(family, (thetas, tasks, seeds))
    per_episode = 60 * family.plant.substeps
    assert [steps.of(row) for row in range(4)] == [per_episode, 0, per_episode, 0]
    assert outcome.valid.tolist() == [True, False, True]
    assert outcome.returns[[0, 2]].tobytes() == together.returns[[0, 2]].tobytes()


def test_a_row_can_end_at_any_period(family, monkeypatch):
    _, tasks, seeds = batch(family, 3)
    plant, commands = family.plant, np.zeros((6, 3), F)
    plant.reset(tasks, seeds)
    steps = Steps(plant, monkeypatch)
    plant.step(commands)
    kept = plant.step(commands, True, np.array([True, False, True]))
    after = plant.step(commands, True, np.array([False, False, True]))
    assert [steps.of(row) // plant.substeps for row in range(3)] == [2, 1, 3]
    np.testing.assert_array_equal(after[:, :2], kept[:, :2])  # what they sensed last
    assert not np.array_equal(after[:, 2], kept[:, 2])


def test_readings_are_the_callers_to_keep(family):
    _, tasks, seeds = batch(family, 2)
    first = family.plant.reset(tasks, seeds)
    start = first.copy()
    second = family.plant.step(np.full((6, 2), 0.5, F))
    moved = second.copy()
    family.plant.step(np.full((6, 2), -0.5, F))
    np.testing.assert_array_equal(first, start)
    np.testing.assert_array_equal(second, moved)


# --- the base class


class Heavy(ArticulatedPlant):
    """The cheetah with a torso of the task's mass, driven by torques; senses height and torso pitch."""

    def __init__(self):
        spec = load_robot("half_cheetah")
        model = RobotModel("pybullet_data:mjcf/half_cheetah.xml", floor=0.8)
        super().__init__(spec, model, PhysicsSettings(), driven=list(MOTORS), read=["ignorez", "ignorey"])

    def prepare(self, world, row, task, episode_seed):
        world.change_dynamics("torso", mass=task.parameters["mass"])

    def drive(self, world, row, command):
        for _ in range(self.substeps):
            world.command_torques(command)
            world.step(1)

    def sense(self, world, row):
        positions, velocities = world.read_joints()
        return [*positions, *velocities]


def test_what_a_task_changes_is_gone_at_the_next_reset():
    plant, light, heavy = Heavy(), Task("t", {"mass": 3.0}), Task("t", {"mass": 30.0})
    readings = []
    for masses in ([light], [heavy], [light], [heavy, light], [light, heavy]):
        plant.reset(masses, np.zeros(len(masses), np.uint32))
        readings.append(np.stack([plant.step(np.full((6, len(masses)), 5.0, F)) for _ in range(20)]))
    one, two = readings[0][..., 0], readings[1][..., 0]
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(readings[2][..., 0], one)
    np.testing.assert_array_equal(readings[3], np.stack([two, one], axis=-1))
    np.testing.assert_array_equal(readings[4], np.stack([one, two], axis=-1))
    plant.close()
    assert plant.worlds == []


class Settling(Heavy):
    """Settles on the floor before an episode begins; position servos."""

    def prepare(self, world, row, task, episode_seed):
        world.step(30)

    def drive(self, world, row, command):
        world.command_positions(command, [100.0] * 6, [0.1] * 6, [1.0] * 6)
        world.step(self.substeps)


def test_motors_of_the_episode_before_do_not_act_before_the_first_command():
    plant, tasks, seeds = Settling(), [Task("t", {})], np.zeros(1, np.uint32)
    first = plant.reset(tasks, seeds)
    for _ in range(10):
        plant.step(np.full((6, 1), 0.7, F))
    np.testing.assert_array_equal(plant.reset(tasks, seeds), first)
    plant.close()


def test_motors_off_lets_the_body_fall(family):
    _, tasks, seeds = batch(family, 1)
    plant = family.plant
    poses = {}
    for torque_on in (True, False):
        plant.reset(tasks, seeds)
        for _ in range(40):
            plant.step(np.array([[0.5], [0.5], [0.5], [-0.5], [-0.5], [-0.5]], F), torque_on)
        positions, velocities = plant.worlds[0].read_joints()
        poses[torque_on] = positions
        assert np.isfinite([*positions, *velocities]).all()
    held, loose = np.array(poses[True][3:]), np.array(poses[False][3:])
    assert np.abs(held - [0.5, 0.5, 0.5, -0.5, -0.5, -0.5]).max() < np.abs(loose - held).max()


def test_a_robot_file_that_is_not_the_body_is_refused():
    with pytest.raises(ConfigError, match=r"robot rover_uno: the simulated body has sensors pitch.*make them agree"):
        CheetahPlant(load_robot("rover_uno"), PhysicsSettings(), lambda task, forward: forward)


# --- worker processes


def work(config, iteration=0):
    theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
    return Work("train", theta, iteration, Normaliser.identity(config.policy.inputs))


def peak_memory_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        (line,) = [x for x in file if x.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def test_a_worker_of_the_cheetah_stays_small_and_killing_one_changes_nothing():
    """The peak of a worker that has all its worlds: 336 MB was seen, eight worlds of 28 MB and Python with numpy."""
    config = run_config("cheetah_velocity", seed=1, settings=("meta.pairs=8", "operator.queries=1", "normalise=true"))
    with InProcess(config, make_family) as alone:
        expected = [alone.run(work(config, i)) for i in range(2)]
    with LocalProcesses(config, make_family, 2) as workers:
        found = [workers.run(work(config, 0))]
        peaks = [peak_memory_mb(pid) for pid in workers.process_ids]
        timer = threading.Timer(0.1, lambda: os.kill(workers.process_ids[1], signal.SIGKILL))
        timer.start()
        before = workers.process_ids
        found.append(workers.run(work(config, 1)))
        timer.join()
        assert workers.process_ids[0] == before[0]
        assert workers.process_ids[1] != before[1]
    assert max(peaks) < 400, peaks
    assert min(peaks) > 100, peaks  # the worlds were there
    for a, b in zip(found, expected, strict=True):
        assert a.values.tobytes() == b.values.tobytes()
        assert a.episodes == b.episodes
        assert [m.mean.tobytes() for m in a.observed] == [m.mean.tobytes() for m in b.observed]


@pytest.mark.parametrize("name", ["ant_direction", "quadruped_dynamics", "minitaur_dynamics"])
def test_a_worker_of_the_other_robots_with_worlds_of_their_own_stays_small(name):
    """Seen were 339, 296 and 275 MB; families that share a world between robots take 120 MB or less."""
    config = run_config(name, seed=1, settings=("meta.pairs=4", "operator.queries=1"))
    with LocalProcesses(config, make_family, 1) as workers:
        workers.run(work(config, 0))
        (peak,) = map(peak_memory_mb, workers.process_ids)
    assert 100 < peak < 400
