"""`--resume` on the command line: it goes on with a run, and never begins one by a slip of the keyboard."""

from __future__ import annotations

import contextlib
import json

import pytest
from typer.testing import CliRunner

from esmaml_robot import checkpoint
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


# --- damaged checkpoints


class Cut(Exception):
    pass


def trained(folder, cut=None, *more):
    """A run with a checkpoint after each of its iterations, cut short after `cut` of them."""

    def stop(progress):
        if progress.iteration == cut:
            raise Cut

    with contextlib.suppress(Cut):
        train(config("nav2d", *more), folder, make_family, checkpoint_seconds=0.0, on_progress=stop)
    return folder


def end(folder):
    """What a run came to."""
    newest = folder.newest()
    state = newest.state
    arrays = [a.tobytes() for a in (state.theta, state.mean, state.first, state.second)]
    return arrays, state.iteration, state.episodes, newest.config, folder.metrics_file.read_text()


def damage(*files):
    for file in files:
        data = bytearray(file.read_bytes())
        data[-20] ^= 0x10
        file.write_bytes(data)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("cut", [2, 3])
@pytest.mark.parametrize("broken", [1, 2])
def test_training_goes_on_from_the_newest_whole_checkpoint_with_the_same_bits(tmp_path, cut, broken):
    whole = trained(RunFolder(tmp_path / "whole"))
    folder = trained(RunFolder(tmp_path / "run"), cut)
    files = [folder.checkpoint_file(i) for i in range(cut, cut - broken, -1)]
    damage(*files)
    evidence = files[0].read_bytes()
    done = esmaml("train", "--out", folder.path, "--workers", 1, "--resume", "--json")
    assert done.exit_code == 0, done.stderr
    for file in files:
        note = f"esmaml: {file} is damaged and now called {file.name}.damaged; training goes on from iteration "
        assert f"{note}{cut - broken}, " in done.stderr
    assert files[0].with_name(f"{files[0].name}.damaged").read_bytes() == evidence
    assert end(folder) == end(whole)
    assert esmaml("info", folder.path).exit_code == 0


def test_other_commands_do_not_take_an_older_policy_for_the_run_s_but_say_how_to(tmp_path):
    folder = trained(RunFolder(tmp_path / "run"))
    newest, older = folder.checkpoint_file(3), folder.checkpoint_file(2)
    damage(newest)
    before = contents(folder.path)
    line = said(esmaml("info", folder.path))
    assert (
        f"{newest} is damaged, {older.name} is whole; `esmaml train --out {folder.path} --resume` trains again" in line
    )
    assert f"to use {older.name} as it is, delete what is damaged" in line
    assert contents(folder.path) == before
    newest.unlink()
    assert json.loads(esmaml("info", folder.path, "--json").stdout)["iteration"] == 2


def test_without_a_whole_checkpoint_nothing_is_touched(tmp_path):
    folder = trained(RunFolder(tmp_path / "run"))
    damage(*folder.checkpoints.iterdir())
    before = contents(folder.path)
    for command in (("info", folder.path), ("train", "--out", folder.path, "--resume")):
        assert "3.safetensors is damaged, and no older checkpoint of the run is whole; train again" in said(
            esmaml(*command)
        )
    assert contents(folder.path) == before


def test_a_checkpoint_of_another_version_is_not_gone_behind(tmp_path, monkeypatch):
    folder = trained(RunFolder(tmp_path / "run"), 2)
    newest = folder.newest()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", "esmaml-checkpoint-99")
        checkpoint.save_checkpoint(folder.checkpoint_file(2), newest)
    assert "has format 'esmaml-checkpoint-99'" in said(esmaml("train", "--out", folder.path, "--resume"))


def test_a_run_that_was_given_more_episodes_keeps_them(tmp_path):
    rates = "meta.learning_rate_final=null"
    whole = trained(RunFolder(tmp_path / "whole"), None, rates, "episodes=160")
    folder = trained(RunFolder(tmp_path / "run"), None, rates)
    # the checkpoint of the third iteration says 160 episodes since then, those before it 120
    train(config("nav2d", rates, "episodes=160"), folder, make_family, resume=True)
    damage(folder.checkpoint_file(4), folder.checkpoint_file(3))
    assert esmaml("train", "--out", folder.path, "--workers", 1, "--resume").exit_code == 0
    assert end(folder) == end(whole)


# --- what a command says at its end


@pytest.mark.parametrize("patience", [0, 1])
def test_early_stopping_and_what_was_kept_are_said(tmp_path, patience):
    # steps too short to change anything: the second validation is no better than the first
    still = ("meta.learning_rate=1e-300", "meta.learning_rate_final=null", "validation.every=1", "validation.tasks=2")
    sets = [f"--set={s}" for s in (*SETTINGS, *still, f"validation.patience={patience}")]
    options = ("nav2d", "--episodes", 200, "--workers", 1, *sets)
    done = esmaml("train", *options, "--out", tmp_path / "run", "--json")
    found = json.loads(done.stdout)
    checkpoint = RunFolder(tmp_path / "run").newest()
    assert found["stopped_early"] is bool(patience)
    assert found["iterations"] == (2 if patience else 4)
    assert found["best_iteration"] == 1
    assert found["validation_return"] == checkpoint.best.score
    said = " ".join(esmaml("train", "--out", tmp_path / "run", "--resume").stderr.split())
    assert ("stopped early after 2 of 4 iterations (validations without a new best: 1)" in said) is bool(patience)
    assert f"kept what it was after iteration 1 (validation return {checkpoint.best.score:.2f})" in said
