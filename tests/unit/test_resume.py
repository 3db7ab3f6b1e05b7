"""`--resume` on the command line: it goes on with a run, and never begins one by a slip of the keyboard."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.main import app
from esmaml_robot.cli.settings import run_config
from esmaml_robot.training import train
from sim.tasks import make_family

SETTINGS = ("meta.pairs=4", "operator.queries=3", "policy.hidden=[4]")
#: Three iterations of 4 pairs, 2 halves, 3 + 2 episodes.
EPISODES = 120


def config(family="nav2d", *more):
    return run_config(family, seed=1, episodes=EPISODES, settings=(*SETTINGS, *more))


def esmaml(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def said(done):
    """The one line of an error."""
    assert isinstance(done.exception, SystemExit), done.exception
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("esmaml: ")]
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize("command", [("train", "four_corners"), ("train",), ("baseline", "pg-maml", "nav2d")])
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_run_is_not_resumed(tmp_path, command, there):
    if command[0] == "baseline":
        pytest.importorskip("torch")
    folder = tmp_path / "nope"
    if there:
        (folder / "run").mkdir(parents=True)  # the folder above the run
    done = esmaml(*command, "--out", folder, "--resume")
    assert done.exit_code == 3
    expected = f"{folder} holds no run to resume; leave out --resume to begin one, or check --out."
    assert said(done) == f"esmaml: {expected}"
    assert [p.name for p in tmp_path.rglob("*")] == (["nope", "run"] if there else [])


@pytest.mark.parametrize("left", ["config.yaml", "both", "checkpoints"])
def test_a_run_that_was_killed_before_its_first_checkpoint_goes_on(tmp_path, left):
    expected = train(config(), RunFolder(tmp_path / "whole"), make_family).policy.policy_hash
    folder = RunFolder(tmp_path / "run")
    folder.create(config())
    if left == "config.yaml":
        folder.checkpoints.rmdir()
    elif left == "checkpoints":
        folder.config_file.unlink()
    options = ("nav2d", "--seed", 1, "--episodes", EPISODES, *(f"--set={s}" for s in SETTINGS))
    done = esmaml("train", *options, "--out", folder.path, "--workers", 1, "--resume", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["policy_hash"] == expected


def test_such_a_run_goes_on_with_its_own_settings(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(config())
    done = esmaml("train", "--out", folder.path, "--workers", 1, "--resume")
    assert done.exit_code == 0, done.stderr
    assert folder.newest().config == config()


def test_a_description_of_another_kind_of_run_is_left_alone(tmp_path):
    (tmp_path / "config.yaml").write_text("# policy-gradient MAML\nfamily: nav2d\nrollouts: 20\n")
    done = esmaml("train", "--out", tmp_path, "--resume")
    assert done.exit_code == 3
    assert "config.yaml describes no run of `esmaml train` of this version" in said(done)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]
