"""A small trained run, made once, and helpers to call `esmaml` as a user does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esmaml_robot.checkpoint import Checkpoint, RunFolder, save_checkpoint
from esmaml_robot.cli.settings import run_config
from esmaml_robot.robot_spec import load_robot

TIMEOUT_S = 240


def run_esmaml(*arguments, check=True, cwd=None):
    """`esmaml ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=cwd)
    if check:
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def esmaml():
    return run_esmaml


@pytest.fixture(scope="session")
def seeking_theta():
    """A meta-policy as training makes it, written by hand: its first layer is small feedback towards the middle.

    With rows w of the second layer, W1 = -c W2^T gives the closed-loop matrix -c W2 W2^T, and perturbations of the
    first layer's bias move the point that the rover steers to. Tests of the link need no training run for that.
    """
    import numpy as np

    from esmaml_robot.policy import initial_theta

    config = run_config("four_corners", load_robot("rover_uno"), seed=0)
    theta = initial_theta(config.policy, "rest", 8.0, 0).astype(np.float64)
    second = theta[24:40].reshape(2, 8)
    theta[:16] = (-0.05 * second.T).ravel()
    return theta


@pytest.fixture(scope="session")
def make_run(seeking_theta):
    """A function of a path that makes a run folder there, whose meta-policy seeks."""
    from esmaml_robot import meta
    from esmaml_robot.policy import Normaliser

    def make(folder: Path, **changes) -> Path:
        config = run_config("four_corners", load_robot("rover_uno"), seed=0).model_copy(update=changes)
        run = RunFolder(folder)
        run.create(config)
        checkpoint = Checkpoint(config, meta.start(seeking_theta), Normaliser.identity(2))
        save_checkpoint(run.checkpoint_file(0), checkpoint)
        return folder

    return make


def read_json(text):
    return json.loads(text)
