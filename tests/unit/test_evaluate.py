"""`esmaml eval`: which tasks are scored is said wherever the scores are; a run of another kind is told by name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from esmaml_robot import meta
from esmaml_robot.baselines.pg_run import PGFolder, PGRun
from esmaml_robot.checkpoint import Checkpoint, RunFolder, save_checkpoint
from esmaml_robot.cli.baselines import pg_config
from esmaml_robot.cli.main import app
from esmaml_robot.cli.settings import run_config
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser
from esmaml_robot.report import plots
from sim.tasks.sinusoid import Sinusoid


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    """A run of the family that is evaluated fastest."""
    config = run_config("sinusoid", seed=0, settings=("policy.hidden=[]", "operator.queries=1"))
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    state = meta.start(np.zeros(config.policy.dimension, np.float32))
    save_checkpoint(folder.checkpoint_file(0), Checkpoint(config, state, Normaliser.identity(1), Moments.empty(1)))
    return folder.path


@pytest.fixture
def larger_waves(monkeypatch):
    """Sinusoid with a range for tasks outside the training range."""
    amplitude, phase = Sinusoid.laws
    monkeypatch.setattr(Sinusoid, "laws", (replace(amplitude, outside=(6.0, 8.0)), phase))


@pytest.fixture
def labels(monkeypatch):
    """What the axes of the pictures that were saved say, by file name."""
    said = {}
    save = plots.save_figure

    def noted(figure, path):
        said[path.name] = figure.axes[0].get_ylabel()
        return save(figure, path)

    monkeypatch.setattr(plots, "save_figure", noted)
    return said


def test_title_picture_and_json_say_which_tasks_were_scored(run, larger_waves, labels):
    said = {}
    for split, option in (("test", ()), ("outside", ("--outside",))):
        done = command("eval", run, "--tasks", 2, *option)
        assert done.exit_code == 0, done.output
        said[split] = " ".join(done.stdout.split())
        rows = json.loads(command("eval", run, "--tasks", 2, "--json", "--no-picture", *option).stdout)
        assert {row["split"] for row in rows} == {split}
    assert "Return on 2 held-out tasks (split test), mean" in said["test"]
    assert "Return on 2 tasks outside the training range (split outside), mean" in said["outside"]
    assert labels == {
        "scores.png": "return on held-out tasks (split test)",
        "scores-outside.png": "return on tasks outside the training range (split outside)",
    }
    assert {p.name for p in run.glob("*.png")} == set(labels)


@pytest.mark.parametrize("arguments", [("eval", "--outside", "--tasks", 2), ("play", "--split", "outside")])
def test_a_family_without_a_range_for_them_has_no_tasks_outside(run, arguments):
    done = command(arguments[0], run, *arguments[1:])
    assert done.exit_code == 2
    assert done.stderr.startswith("esmaml: task family sinusoid has no tasks outside the training range, ")
    assert done.stderr.count("\n") == 1
    assert not list(run.glob("*.png"))


@pytest.mark.parametrize("arguments", [("info",), ("play",), ("eval",), ("export",), ("eval", "RUN", "--beside")])
def test_a_run_of_policy_gradient_maml_is_told_from_no_run_at_all(run, tmp_path, arguments):
    config = pg_config("sinusoid", seed=0, episodes=None, policy=None, settings=())
    folder = PGFolder(tmp_path / "pg")
    folder.create(config)
    folder.save(PGRun(config, meta.start(np.zeros(config.policy.dimension + 1, np.float32))))
    done = command(*(run if part == "RUN" else part for part in arguments), folder.path)
    assert done.exit_code == 3
    assert done.stderr.startswith(f"esmaml: {folder.path} is a run of policy-gradient MAML, a baseline: ")
    assert f"`esmaml eval RUN --pg-maml {folder.path}`" in done.stderr
    assert done.stderr.count("\n") == 1
