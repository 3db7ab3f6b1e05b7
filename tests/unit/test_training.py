"""Whole training runs in the real simulator: the bits depend on the configuration alone, whatever happens meanwhile."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from esmaml_robot.checkpoint import RunConfig, RunFolder, save_checkpoint
from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import CheckpointError, ConfigError
from esmaml_robot.files import only_writer
from esmaml_robot.training import train
from sim.tasks import make_family

F = np.float32
SETTINGS = ("meta.pairs=4", "operator.queries=3", "policy.hidden=[4]", "meta.averaging=3")
EPISODES = 200  # five iterations of 4 pairs, 2 halves, 3 + 2 episodes
COMMAND = "from esmaml_robot.cli.main import run; run()"


def config(episodes=EPISODES, seed=1, *more):
    return run_config("four_corners", seed=seed, episodes=episodes, settings=(*SETTINGS, *more))


def end(folder):
    """What a run came to: all that is in its newest checkpoint, and its metrics."""
    checkpoint = RunFolder(folder).newest()
    state, observed, best = checkpoint.state, checkpoint.observed, checkpoint.best
    arrays = [state.theta, state.mean, state.first, state.second, observed.mean, observed.squares]
    arrays += [np.float64(observed.count), np.float64(best.score), np.float64(best.stale)]
    for normaliser in filter(None, (checkpoint.normaliser, best.normaliser)):
        arrays += [normaliser.mean, normaliser.inverse_std]
    if best.theta is not None:
        arrays.append(best.theta)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [a.tobytes() for a in arrays], state.iteration, state.episodes, rows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train(config(), RunFolder(folder), make_family)
    return end(folder)


def test_a_run_learns_something_and_writes_it_down(undisturbed):
    _, iteration, episodes, rows = undisturbed
    assert iteration == 5
    assert episodes == EPISODES
    assert [r["iteration"] for r in rows] == [1, 2, 3, 4, 5]
    assert [r["episodes"] for r in rows] == [40, 80, 120, 160, 200]
    assert {r["failed"] for r in rows} == {0}
    assert all(-800 <= r["mean_return"] < 0 for r in rows)
    assert len({r["theta_norm"] for r in rows}) == 5


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bits(tmp_path, undisturbed, workers):
    seen = []
    train(config(), RunFolder(tmp_path / "run"), make_family, workers=workers, on_progress=seen.append)
    assert end(tmp_path / "run") == undisturbed
    assert [p.iteration for p in seen] == [1, 2, 3, 4, 5]
    assert seen[-1].iterations == 5


def test_another_seed_gives_another_policy(tmp_path, undisturbed):
    train(config(seed=2), RunFolder(tmp_path / "run"), make_family)
    assert end(tmp_path / "run")[0] != undisturbed[0]


def test_a_folder_that_another_program_trains_in_is_left_alone(tmp_path, undisturbed):
    def meanwhile(progress):
        if progress.iteration == 2:
            with pytest.raises(CheckpointError, match="another program is at work in"):
                train(config(), RunFolder(tmp_path / "run"), make_family, resume=True)

    train(config(), RunFolder(tmp_path / "run"), make_family, on_progress=meanwhile)
    assert end(tmp_path / "run") == undisturbed
    with only_writer(tmp_path / "run"):
        pass  # the lock went with the run


class Interrupted(Exception):
    pass


#: Everything that a run can have beside the plain loop, so that each part proves to be independent of workers.
VARIANTS = {
    "zero_order": (
        *("normalise=true", "meta.score_episodes=2", "meta.directions=orthogonal"),
        *("validation.every=2", "validation.tasks=3", "validation.patience=9"),
    ),
    "first_order": ("meta.method=first_order", "meta.tasks=5", "meta.score_episodes=2", "normalise=true"),
    "first_order_hessian": (
        *("meta.method=first_order_hessian", "operator.name=es_gradient", "operator.queries=4", "meta.tasks=3"),
        *("validation.every=1", "validation.tasks=5"),
    ),
}


def variant(name):
    """A run of four iterations with the settings of VARIANTS."""
    one = config(10_000, 1, *VARIANTS[name])
    block = one.episodes_per_iteration * 4
    if one.validation.every:
        block += one.episodes_per_validation * -(-4 // one.validation.every)
    return one.model_copy(update={"episodes": block})


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_same_bits_with_any_workers_and_when_it_is_interrupted(tmp_path, name):
    one = variant(name)
    train(one, RunFolder(tmp_path / "alone"), make_family)
    alone = end(tmp_path / "alone")
    assert alone[1:3] == (4, one.episodes)
    assert len({r["theta_norm"] for r in alone[3]}) == 4
    for workers in (2, 3):
        train(one, RunFolder(tmp_path / str(workers)), make_family, workers=workers)
        assert end(tmp_path / str(workers)) == alone

    stops = iter([1, 2, 4])
    stop_at = next(stops)

    def stop(progress):
        if progress.iteration == stop_at:
            raise Interrupted

    while stop_at is not None:
        with pytest.raises(Interrupted):
            train(one, RunFolder(tmp_path / "cut"), make_family, resume=True, checkpoint_seconds=0.0, on_progress=stop)
        stop_at = next(stops, None)
    assert end(tmp_path / "cut") == alone


@pytest.mark.parametrize("after", [1, 3, 5])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_interrupted_and_resumed_is_undisturbed(tmp_path, undisturbed, after, seconds):
    def stop(progress):
        if progress.iteration == after:
            raise Interrupted

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(config(), folder, make_family, checkpoint_seconds=seconds, on_progress=stop)
    assert folder.newest().state.iteration == (after if seconds == 0.0 or after == 5 else 0)
    train(config(), folder, make_family, resume=True)
    assert end(tmp_path / "run") == undisturbed


def test_resuming_a_finished_run_changes_nothing(tmp_path, undisturbed):
    folder = RunFolder(tmp_path / "run")
    for resume in (False, True, True):
        train(config(), folder, make_family, resume=resume)
    assert end(tmp_path / "run") == undisturbed


def test_stopped_right_after_a_checkpoint_loses_no_line(tmp_path, undisturbed):
    class Stopping(RunFolder):
        def keep_newest(self, count):  # called when a checkpoint is on disk
            super().keep_newest(count)
            if self.newest().state.iteration == 3:
                raise Interrupted

    with pytest.raises(Interrupted):
        train(config(), Stopping(tmp_path / "run"), make_family, checkpoint_seconds=0.0)
    train(config(), RunFolder(tmp_path / "run"), make_family, resume=True)
    assert end(tmp_path / "run") == undisturbed


def test_stopped_before_the_first_checkpoint_can_be_resumed(tmp_path, undisturbed):
    folder = RunFolder(tmp_path / "run")
    folder.create(config())
    with pytest.raises(CheckpointError, match="add --resume"):
        train(config(), folder, make_family)
    train(config(), folder, make_family, resume=True)
    assert end(tmp_path / "run") == undisturbed


def test_a_torn_metrics_line_is_written_again(tmp_path, undisturbed):
    folder = RunFolder(tmp_path / "run")

    def stop(progress):
        if progress.iteration == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(config(), folder, make_family, checkpoint_seconds=1e9, on_progress=stop)
    with folder.metrics_file.open("a") as file:
        file.write('{"iteration": 4, "epis')
    train(config(), folder, make_family, resume=True)
    assert end(tmp_path / "run") == undisturbed


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(tmp_path):
    folder = RunFolder(tmp_path / "run")
    train(config(40), folder, make_family)
    files = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match="holds a run already; add --resume to go on, or choose another --out"):
        train(config(40), folder, make_family)
    for other, key in [
        (config(40, 9), "seed"),
        (config(39), "episodes"),
        (config(40, 1, "operator.sigma=0.3"), "operator"),
        (config(40, 1, "meta.sigma=0.3"), "meta"),
        (config(40, 1, "policy.hidden=[5]"), "policy"),
    ]:
        with pytest.raises(CheckpointError, match=rf"made with other settings \({key}\)"):
            train(other, folder, make_family, resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == files


@pytest.mark.parametrize("more", [(), ("validation.every=2", "validation.tasks=2")])
@pytest.mark.parametrize("first", [80, 120])
def test_a_run_that_is_given_more_episodes_is_the_run_that_had_them_from_the_start(tmp_path, first, more):
    rates = ("meta.learning_rate_final=null", *more)
    whole, folder = config(EPISODES, 1, *rates), RunFolder(tmp_path / "run")
    train(whole, RunFolder(tmp_path / "whole"), make_family)
    if more:
        first += 20  # validations of two tasks, 10 episodes each: after two iterations, and at the end
    train(config(first, 1, *rates), folder, make_family)
    if more and first > 100:
        with pytest.raises(CheckpointError, match="it ended with a validation, which comes every 2 iterations"):
            train(whole, folder, make_family, resume=True)
        return
    train(whole, folder, make_family, resume=True)
    assert end(tmp_path / "run") == end(tmp_path / "whole")
    assert folder.config_file.read_text() == (tmp_path / "whole" / "config.yaml").read_text()
    assert folder.newest().config == whole


def test_a_run_whose_schedules_go_by_its_budget_cannot_get_a_larger_one(tmp_path):
    folder = RunFolder(tmp_path / "run")
    train(config(40), folder, make_family)
    files = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match=r"meta.learning_rate went towards .* esmaml train four_corners --from"):
        train(config(80), folder, make_family, resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == files


def test_killed_while_it_is_given_more_episodes_it_says_so_afterwards(tmp_path, monkeypatch):
    rates = "meta.learning_rate_final=null"
    folder = RunFolder(tmp_path / "run")
    train(config(40, 1, rates), folder, make_family)

    def killed(self, config):
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "describe", killed)
        with pytest.raises(Interrupted):
            train(config(80, 1, rates), folder, make_family, resume=True)
    train(folder.newest().config, folder, make_family, resume=True)
    assert folder.newest().state.episodes == 80
    assert "episodes: 80" in folder.config_file.read_text()


def test_a_budget_below_one_iteration_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigError, match="episodes is 39, too few for one iteration; give at least 40, or take fewer"):
        train(config(39), folder, make_family)
    validated = ("validation.every=3", "validation.tasks=2")  # one at the end, of 2 (3 + 2) episodes
    with pytest.raises(ConfigError, match="give at least 50,"):
        train(config(49, 1, *validated), folder, make_family)
    assert not folder.path.exists()
    for episodes, more in ((40, ()), (50, validated)):
        state = train(config(episodes, 1, *more), RunFolder(tmp_path / str(episodes)), make_family).state
        assert (state.iteration, state.episodes) == (1, episodes)


def test_a_run_of_before_that_went_beyond_its_budget_can_still_be_resumed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    train(config(40), folder, make_family)
    newest = folder.newest()
    save_checkpoint(folder.newest_file(), dataclasses.replace(newest, config=config(3)))
    assert train(config(3), folder, make_family, resume=True).state.iteration == 1


# --- killed


KILLED = ("normalise=true", "meta.score_episodes=2", "validation.every=4", "validation.tasks=3")


def arguments(folder, *more):
    sets = [f"--set={s}" for s in (*SETTINGS, *KILLED)]
    head = ["train", "four_corners", "--out", str(folder), "--seed", "1", "--episodes", "1600", "--workers", "2"]
    return [sys.executable, "-c", COMMAND, *head, *sets, *more]


#: In 1600 episodes: blocks of four iterations of 8 (3 + 1 + 2) episodes and a validation of 3 (3 + 1 + 2).
ITERATIONS = 4 * (1600 // (4 * 48 + 18)) + (1600 % (4 * 48 + 18)) // 48


def test_killed_by_sigkill_and_resumed_is_undisturbed(tmp_path):
    train(config(1600, 1, *KILLED), RunFolder(tmp_path / "whole"), make_family, workers=2)
    folder = tmp_path / "run"
    process = subprocess.Popen(arguments(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    metrics, deadline = folder / "metrics.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= 5:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said.decode()  # it was still at it
    assert RunFolder(folder).newest().state.iteration < ITERATIONS
    done = subprocess.run(arguments(folder, "--resume"), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert end(folder) == end(tmp_path / "whole")
    assert len(end(folder)[3]) == ITERATIONS


def test_run_config_is_read_back_from_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / "run")
    train(config(40), folder, make_family)
    assert folder.newest().config == config(40)
    assert isinstance(folder.newest().config, RunConfig)
