"""Worker processes and families that fail: what a crash, an error or a broken task costs, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from esmaml_robot import meta
from esmaml_robot.checkpoint import RunFolder, metrics_until
from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import EsmamlError, PolicyError
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.executors import InProcess, LocalProcesses, _cause, make_executor
from esmaml_robot.items import Work
from esmaml_robot.policy import Normaliser, initial_theta
from esmaml_robot.training import train
from sim.tasks import make_family

F = np.float32
SETTINGS = ("meta.pairs=4", "operator.queries=3", "policy.hidden=[4]")
EPISODES = 200  # five iterations of 4 pairs, 2 halves, 3 + 2 episodes


def config(episodes=EPISODES, seed=1, *more):
    return run_config("four_corners", seed=seed, episodes=episodes, settings=(*SETTINGS, *more))


def kill_one(processes, number):
    os.kill(processes.process_ids[number], signal.SIGKILL)


def work(one, iteration):
    """The items of an iteration, at the run's initial parameters."""
    theta = initial_theta(one.policy, one.initial, one.initial_gain, one.seed)
    return Work("train", theta, iteration, Normaliser.identity(one.policy.inputs))


def same(a, b):
    assert a.values.tobytes() == b.values.tobytes()
    assert a.episodes == b.episodes
    for x, y in zip(a.observed, b.observed, strict=True):
        assert (x.count, x.mean.tobytes(), x.squares.tobytes()) == (y.count, y.mean.tobytes(), y.squares.tobytes())


def test_a_killed_worker_changes_nothing():
    one = config(EPISODES, 1, "normalise=true")
    with InProcess(one, make_family) as alone:
        expected = [alone.run(work(one, i)) for i in range(4)]
    assert sum(m.count for m in expected[0].observed) > 0
    with LocalProcesses(one, make_family, 2) as workers:
        first = workers.process_ids
        assert len(set(first)) == 2
        found = [workers.run(work(one, 0))]
        kill_one(workers, 0)  # between two iterations
        found.append(workers.run(work(one, 1)))
        assert workers.process_ids[0] != first[0]
        assert workers.process_ids[1] == first[1]
        for iteration, delay in ((2, 0.0), (3, 0.01)):  # while it works
            timer = threading.Timer(delay, kill_one, (workers, 1))
            timer.start()
            found.append(workers.run(work(one, iteration)))
            timer.join()
    for a, b in zip(found, expected, strict=True):
        same(a, b)


def test_workers_are_gone_when_the_executor_is_closed():
    with LocalProcesses(config(), make_family, 2) as workers:
        ids = workers.process_ids
        workers.run(work(config(), 0))
    for pid in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_more_workers_than_items():
    assert isinstance(make_executor(config(), make_family, 1), InProcess)
    one = config(100, 1, "meta.pairs=1")
    with LocalProcesses(one, toy_family, 5) as workers:
        assert len(workers.process_ids) == 2
        found = workers.run(work(one, 0))
    with InProcess(one, toy_family) as alone:
        same(found, alone.run(work(one, 0)))


# --- a family that fails


class Toy:
    """Returns that are a function of parameters and task; a task in `broken` fails, as a simulation that blew up."""

    name, spec, preset = "toy", None, {}
    interface_hash, inputs, outputs = "0" * 16, 2, 2

    def __init__(self, broken=()):
        self.broken = set(broken)

    def sample(self, split, seed):
        return Task("toy", {"index": float(seed), "goal": (seed % 100) / 100})

    def evaluate(self, policy, normaliser, params, tasks, episode_seeds, observe=False):
        goals = np.array([t.parameters["goal"] for t in tasks])
        returns = -((params.astype(np.float64) - goals[:, None]) ** 2).sum(axis=1)
        valid = np.array([t.parameters["index"] not in self.broken for t in tasks])
        values = np.where(valid, returns, np.nan).astype(F)
        return EpisodeBatch(values, np.ones(len(values), np.int32), valid)


def toy_family(name, options):
    return Toy()


def raising_family(name, options):
    class Raising(Toy):
        def evaluate(self, *args, observe):
            raise PolicyError("the task family is out of order.")

    return Raising()


def dying_family(name, options):
    os._exit(9)


@pytest.mark.parametrize("operator", ["hill_climb", "none"])
def test_a_failed_episode_costs_its_pair_only(tmp_path, operator):
    one = config(40, 1, f"operator.name={operator}", "meta.pairs=4")
    one = one.model_copy(update={"episodes": one.episodes_per_iteration})
    items = meta.work_items(one.meta, one.seed, 0)
    broken = float(items[2].task_index)  # of pair 1
    folder = RunFolder(tmp_path / "run")
    state = train(one, folder, lambda name, options: Toy({broken})).state
    assert [r["failed"] for r in metrics_until(folder.metrics_file, 1)] == [2]
    assert np.isfinite(state.theta).all()

    # the same by hand: the values of the other three pairs in a step of their own
    with InProcess(one, toy_family) as whole:
        values = whole.run(work(one, 0)).values
    kept = [0, 1, 4, 5, 6, 7]
    start = meta.start(initial_theta(one.policy, one.initial, one.initial_gain, one.seed))
    expected = meta.tell(one.meta, start, [items[i] for i in kept], values[kept], 0)
    assert state.theta.tobytes() == expected.theta.tobytes()


def test_when_every_pair_fails_the_run_says_so_and_keeps_its_checkpoint(tmp_path):
    class AllBroken(Toy):
        def sample(self, split, seed):
            self.broken.add(float(seed))
            return super().sample(split, seed)

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(PolicyError, match="iteration 0: every pair has a failed episode"):
        train(config(), folder, lambda name, options: AllBroken())
    assert folder.newest().state.iteration == 0


def test_an_error_in_a_worker_arrives_as_it_is():
    with (
        LocalProcesses(config(), raising_family, 2) as workers,
        pytest.raises(PolicyError, match="the task family is out of order"),
    ):
        workers.run(work(config(), 0))


@pytest.mark.slow
def test_workers_that_always_die_end_the_run_with_advice():
    with (
        LocalProcesses(config(), dying_family, 1) as workers,
        pytest.raises(EsmamlError, match=r"workers died \d+ times, last with items 0 to 7 of iteration 7") as caught,
    ):
        workers.run(work(config(), 7))
    said = str(caught.value)
    assert "exit code 9: something that it ran" in said
    assert "to see where it dies, go on with --resume --workers 1 and PYTHONFAULTHANDLER=1" in said
    assert "memory" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (9, "exit code 9: something that it ran"),
        (-9, "SIGKILL from outside: too little memory?"),
        (-11, "signal 11, Segmentation fault: a crash in compiled code"),
        (None, "did not end"),
    ],
)
def test_how_a_worker_ended_is_said_in_words(exit_code, words):
    assert words in _cause(exit_code)
