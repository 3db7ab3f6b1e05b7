"""Training that starts from another run's policy: what it brings along, what is counted, what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.settings import baseline_config, run_config
from esmaml_robot.cli.train import warm_config
from esmaml_robot.errors import CheckpointError, ConfigError
from esmaml_robot.items import ItemRunner
from esmaml_robot.training import train
from sim.tasks import make_family

SETTINGS = ("meta.pairs=4", "operator.queries=3", "policy.hidden=[4]", "normalise=true")
COMMAND = "from esmaml_robot.cli.main import run; run()"


def config(episodes=80, *more, family="four_corners", seed=1):
    return run_config(family, seed=seed, episodes=episodes, settings=(*SETTINGS, *more))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of two iterations of 40 episodes: domain randomisation, as a start would be; its operator is free."""
    folder = RunFolder(tmp_path_factory.mktemp("warm") / "first")
    train(baseline_config(config(80)), folder, make_family)
    return folder


def started(folder, warm, episodes=200, **changes):
    """Train from `warm`; the checkpoint and every Work that was run."""
    one = warm_config(config(episodes).model_copy(update=changes), str(warm.path), warm.newest())
    works, run = [], ItemRunner.run

    def spy(self, work, start, end):
        works.append(work)
        return run(self, work, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ItemRunner, "run", spy)
        checkpoint = train(one, folder, make_family, warm=warm.newest())
    return checkpoint, works


def test_it_starts_from_the_policy_with_its_normaliser_and_counts_its_episodes(first, tmp_path):
    source = first.newest()
    assert source.state.episodes == 80
    assert source.observed.count > 0
    checkpoint, works = started(RunFolder(tmp_path / "run"), first)
    assert works[0].params.tobytes() == source.policy.theta.tobytes()
    assert works[0].normaliser.mean.tobytes() == source.policy.normaliser.mean.tobytes()
    assert not source.policy.normaliser.is_identity
    # 200 episodes, 80 of them the first run's: three iterations of 40
    assert [w.iteration for w in works] == [0, 1, 2]
    assert checkpoint.config.iterations == checkpoint.state.iteration == 3
    assert checkpoint.state.episodes == 200
    assert checkpoint.observed.count > source.observed.count
    assert checkpoint.config.warm_start.policy_hash == source.policy.policy_hash
    # moments of the optimiser begin anew: the source's own are another loop's
    at_start = train(
        warm_config(config(120), str(first.path), source), RunFolder(tmp_path / "none"), make_family, warm=source
    )
    assert at_start.state.iteration == 1


def test_the_best_on_validation_tasks_is_what_a_start_brings(tmp_path):
    source = RunFolder(tmp_path / "source")
    train(config(400, "validation.every=1", "validation.tasks=2"), source, make_family)
    newest = source.newest()
    _, works = started(RunFolder(tmp_path / "run"), source, episodes=newest.state.episodes + 40)
    assert works[0].params.tobytes() == newest.best.theta.tobytes()


def test_resumed_it_is_as_if_it_had_not_been_interrupted(first, tmp_path):
    whole, _ = started(RunFolder(tmp_path / "whole"), first)
    one, folder = whole.config, RunFolder(tmp_path / "run")

    def stop(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(one, folder, make_family, warm=first.newest(), checkpoint_seconds=0.0, on_progress=stop)
    checkpoint = train(one, folder, make_family, resume=True)  # the start is in the checkpoint
    assert checkpoint.state.theta.tobytes() == whole.state.theta.tobytes()
    assert checkpoint.policy.policy_hash == whole.policy.policy_hash
    assert checkpoint.state.episodes == whole.state.episodes


def test_another_policy_than_the_one_named_is_refused(first, tmp_path):
    one = warm_config(config(200), str(first.path), first.newest())
    other = RunFolder(tmp_path / "other")
    train(config(40, seed=5), other, make_family)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(CheckpointError) as caught:
        train(one, folder, make_family, warm=other.newest())
    said = str(caught.value)
    for part in (first.newest().policy.policy_hash, other.newest().policy.policy_hash, str(first.path)):
        assert part in said
    with pytest.raises(CheckpointError, match="found no run"):
        train(one, RunFolder(tmp_path / "run2"), make_family)


@pytest.mark.parametrize(
    "change", ["policy.hidden=[5]", "policy.activation=relu", "policy.clock_steps=10", "policy.hidden=[]"]
)
def test_another_architecture_is_refused(first, tmp_path, change):
    one = warm_config(config(200, change), str(first.path), first.newest())
    with pytest.raises(CheckpointError, match=r"holds a tanh MLP 2-4-2.*this run needs a .*--policy"):
        train(one, RunFolder(tmp_path / "run"), make_family, warm=first.newest())


@pytest.mark.parametrize("episodes", [79, 80])
def test_a_budget_that_the_start_has_used_up_is_refused(first, episodes):
    with pytest.raises(ConfigError, match=rf"episodes is {episodes}; the policy to start from took 80 already"):
        warm_config(config(episodes), str(first.path), first.newest())


def test_a_budget_that_leaves_no_iteration_is_refused(first, tmp_path):
    one = warm_config(config(119), str(first.path), first.newest())
    with pytest.raises(ConfigError, match="one iteration after the 80 of the policy to start from; give at least 120"):
        train(one, RunFolder(tmp_path / "run"), make_family, warm=first.newest())


def test_on_the_command_line(first, tmp_path):
    def esmaml(*arguments):
        command = [sys.executable, "-c", COMMAND, "train", "--workers", "1", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    sets = [f"--set={s}" for s in SETTINGS]
    done = esmaml(
        "four_corners", "--out", tmp_path / "run", "--seed", 1, "--episodes", 200, "--from", first.path, *sets
    )
    assert done.returncode == 0, done.stderr
    found, expected = RunFolder(tmp_path / "run").newest(), started(RunFolder(tmp_path / "same"), first)[0]
    assert found.state.theta.tobytes() == expected.state.theta.tobytes()
    assert found.state.episodes == 200

    refused = esmaml("four_corners", "--out", tmp_path / "no", "--episodes", 200, "--from", first.path)
    assert refused.returncode == 3
    (line,) = [x for x in refused.stderr.splitlines() if x.startswith("esmaml: ")]
    assert "use the same --policy for both" in line
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "no").exists()
    assert np.isfinite(found.state.theta).all()
