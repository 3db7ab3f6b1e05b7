"""Validation in the course of training: the best parameters are kept, and training stops when none better come."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from esmaml_robot.checkpoint import RunConfig, RunFolder
from esmaml_robot.cli.train import ending
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.items import ItemRunner, Work
from esmaml_robot.moments import Moments
from esmaml_robot.training import train

F = np.float32


class Overtrained:
    """Training pays for ever larger parameters; validation for those near `best`: what overfitting looks like."""

    name, spec, preset = "overtrained", None, {}
    interface_hash, inputs, outputs = "0" * 16, 2, 1

    def __init__(self, best=0.5, validation_fails=False):
        self.best, self.validation_fails = best, validation_fails
        self.validated = []

    def sample(self, split, seed):
        return Task("overtrained", {"validation": float(split == "validation"), "number": float(seed)})

    def evaluate(self, policy, normaliser, params, tasks, episode_seeds, observe=False):
        validation = np.array([t.parameters["validation"] for t in tasks]) == 1
        self.validated += [t.parameters["number"] for t, v in zip(tasks, validation, strict=True) if v]
        mean = params.astype(np.float64).mean(axis=1)
        returns = np.where(validation, -np.abs(mean - self.best), mean).astype(F)
        valid = ~validation if self.validation_fails else np.ones(len(params), bool)
        observed = [Moments.of(np.tanh(row[None, :2])) for row in params] if observe else None
        return EpisodeBatch(np.where(valid, returns, np.nan).astype(F), np.ones(len(params), np.int32), valid, observed)


def settings(every=2, tasks=3, patience=0, iterations=20, **changes):
    base = {
        "family": "overtrained",
        "robot": "",
        "spec_hash": "0" * 16,
        "policy": {"inputs": 2, "outputs": 1, "hidden": []},
        "initial": "zeros",
        "normalise": True,
        "operator": {"name": "hill_climb", "queries": 2, "sigma": 0.001},
        "meta": {"pairs": 16, "sigma": 0.1, "learning_rate": 0.1, "averaging": 1},
        "validation": {"every": every, "tasks": tasks, "patience": patience},
        "episodes": 10**6,
        "seed": 3,
        **changes,
    }
    one = RunConfig.model_validate(base)
    validations = -(-iterations // every) if every else 0
    needed = iterations * one.episodes_per_iteration + validations * one.episodes_per_validation
    one = one.model_copy(update={"episodes": needed})
    assert one.iterations == iterations
    return one


def metrics(folder):
    return [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]


def test_the_best_parameters_on_validation_tasks_are_the_result(tmp_path):
    config, folder, family = settings(), RunFolder(tmp_path / "run"), Overtrained()
    kept = {}  # every state that was validated
    checkpoint = train(
        config,
        folder,
        lambda *_: family,
        checkpoint_seconds=0.0,
        on_progress=lambda p: kept.update({p.iteration: folder.newest()}),
    )
    rows = metrics(folder)
    scores = {r["iteration"]: r["validation_return"] for r in rows if "validation_return" in r}
    assert list(scores) == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    peak = max(scores, key=scores.get)
    assert 2 < peak < 16  # it went up, and down again
    assert checkpoint.state.iteration == 20
    assert checkpoint.best.score == scores[peak]
    assert checkpoint.best.stale == (20 - peak) // 2
    assert checkpoint.best_iteration == peak
    assert not checkpoint.stopped_early
    at_peak = kept[peak]
    assert checkpoint.policy.theta.tobytes() == at_peak.state.result.tobytes()
    assert checkpoint.policy.normaliser.mean.tobytes() == at_peak.normaliser.mean.tobytes()
    assert checkpoint.policy.normaliser.inverse_std.tobytes() != checkpoint.normaliser.inverse_std.tobytes()
    assert checkpoint.policy.theta.tobytes() != checkpoint.state.result.tobytes()
    assert set(family.validated) == {0.0, 1.0, 2.0}
    # and the score is what a validation of those parameters gives
    again = ItemRunner(config, lambda *_: family).run(
        Work("validate", checkpoint.policy.theta, 0, at_peak.normaliser), 0, 3
    )
    assert float(np.mean(again.values)) == pytest.approx(checkpoint.best.score, rel=1e-6)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_so_many_validations_without_a_new_best(tmp_path, patience):
    train(settings(), RunFolder(tmp_path / "whole"), lambda *_: Overtrained())
    scores = [r["validation_return"] for r in metrics(RunFolder(tmp_path / "whole")) if "validation_return" in r]
    peak = int(np.argmax(scores))
    assert (np.diff(scores[: peak + 1]) > 0).all()  # no earlier stop
    folder, config = RunFolder(tmp_path / "run"), settings(patience=patience)
    checkpoint = train(config, folder, lambda *_: Overtrained())
    assert checkpoint.state.iteration == 2 * (peak + 1 + patience) < config.iterations
    assert checkpoint.best.stale == patience
    assert checkpoint.stopped_early
    assert ending(checkpoint) == (
        f"{checkpoint.state.episodes} episodes, stopped early after {2 * (peak + 1 + patience)} of 20 iterations "
        f"(validations without a new best: {patience}), kept what it was after iteration {2 * (peak + 1)} "
        f"(validation return {scores[peak]:.2f})"
    )
    assert checkpoint.best.score == scores[peak]
    assert metrics(folder) == metrics(RunFolder(tmp_path / "whole"))[: checkpoint.state.iteration]
    assert folder.newest().state.iteration == checkpoint.state.iteration  # what was written is what is returned

    files = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    again = train(config, folder, lambda *_: Overtrained(), resume=True)
    assert again.policy.policy_hash == checkpoint.policy.policy_hash
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == files


class Wavy(Overtrained):
    """Validation goes up and down and up again, each time a little higher."""

    def evaluate(self, *args, **options):
        outcome = super().evaluate(*args, **options)
        validation = np.array([t.parameters["validation"] for t in args[3]]) == 1
        mean = args[2].astype(np.float64).mean(axis=1)
        returns = np.where(validation, mean + np.sin(12 * mean), outcome.returns).astype(F)
        return EpisodeBatch(returns, outcome.steps, outcome.valid, outcome.observed)


def test_a_new_best_gives_the_whole_patience_again(tmp_path):
    folder = RunFolder(tmp_path / "run")
    checkpoint = train(settings(every=1, patience=50, iterations=40), folder, lambda *_: Wavy())
    best, stale, resets = -math.inf, 0, 0
    for row in metrics(folder):
        if row["validation_return"] > best:
            resets += stale > 0
            best, stale = row["validation_return"], 0
        else:
            stale += 1
    assert resets > 0  # there was a new best after a worse one
    assert (checkpoint.best.score, checkpoint.best.stale) == (best, stale)


@pytest.mark.parametrize(("every", "iterations"), [(1, 40), (3, 40), (3, 13), (4, 15)])
def test_the_iteration_that_was_kept_is_known_at_any_time(tmp_path, every, iterations):
    """Also where the last validation is that of the end, at no regular time."""
    folder, known = RunFolder(tmp_path / "run"), {}
    train(
        settings(every=every, iterations=iterations, patience=50),
        folder,
        lambda *_: Wavy(),
        checkpoint_seconds=0.0,
        on_progress=lambda p: known.update({p.iteration: folder.newest().best_iteration}),
    )
    best, kept, expected = -math.inf, None, {}
    for row in metrics(folder):
        if row.get("validation_return", -math.inf) > best:
            best, kept = row["validation_return"], row["iteration"]
        expected[row["iteration"]] = kept
    assert known == expected
    assert list(known) == list(range(1, iterations + 1))


def test_training_that_gets_better_does_not_stop(tmp_path):
    checkpoint = train(settings(patience=1), RunFolder(tmp_path / "run"), lambda *_: Overtrained(best=1e6))
    assert checkpoint.state.iteration == 20
    assert checkpoint.policy.theta.tobytes() == checkpoint.state.result.tobytes()


def test_without_validation_the_running_mean_is_the_result(tmp_path):
    checkpoint = train(settings(every=0), RunFolder(tmp_path / "run"), lambda *_: Overtrained())
    assert checkpoint.best.theta is None
    assert (checkpoint.best_iteration, checkpoint.stopped_early) == (None, False)
    assert ending(checkpoint) == f"{checkpoint.state.episodes} episodes"
    assert checkpoint.policy.theta.tobytes() == checkpoint.state.result.tobytes()
    assert all("validation_return" not in r for r in metrics(RunFolder(tmp_path / "run")))


def test_validations_change_nothing_in_training(tmp_path):
    thetas = []
    for every in (0, 5):
        config = settings(every, meta={"pairs": 16, "sigma": 0.1, "learning_rate": 0.1})
        thetas.append(train(config, RunFolder(tmp_path / str(every)), lambda *_: Overtrained()).state.theta.tobytes())
    assert thetas[0] == thetas[1]


def test_a_validation_in_which_every_episode_fails_is_never_the_best(tmp_path):
    folder = RunFolder(tmp_path / "run")
    checkpoint = train(settings(patience=2), folder, lambda *_: Overtrained(validation_fails=True))
    assert checkpoint.state.iteration == 4
    assert checkpoint.best.theta is None
    assert checkpoint.best.score == -math.inf
    assert checkpoint.best_iteration is None
    assert ending(checkpoint).endswith("kept the last iteration's (every validation failed)")
    assert folder.newest().best == checkpoint.best
    assert [r["validation_return"] for r in metrics(folder) if "validation_return" in r] == [None, None]
    assert checkpoint.policy.theta.tobytes() == checkpoint.state.result.tobytes()


def test_a_run_without_an_operator_is_validated_with_hill_climbing():
    config = settings(operator={"name": "none", "queries": 5, "sigma": 0.1})
    family = Overtrained()
    theta = np.full(config.policy.dimension, 0.1, F)
    found = ItemRunner(config, lambda *_: family).run(Work("validate", theta, 0, None), 0, 3)
    assert found.episodes == len(family.validated) == 3 * (5 + 1 + 1)
    assert (found.values > -0.4).all()  # closer than without adaptation
