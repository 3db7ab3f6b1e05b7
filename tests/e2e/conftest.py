"""A small trained run, made once, and helpers to call `esmaml` as a user does."""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.checkpoint import Checkpoint, RunFolder, save_checkpoint
from esmaml_robot.cli.settings import run_config

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
    """A meta-policy written by hand, so that tests of the link need no training run.

    On each axis a = 4 tanh(3 x) - B tanh(0.8 x), x in units of 2.5 m, with B such that a = 0 at x = 0.8, which is 2 m:
    the middle is unstable and the four corners attract, so a small perturbation decides to which one the rover goes.
    """
    slow, fast, push, corner = 0.8, 3.0, 4.0, 0.8
    pull = push * math.tanh(fast * corner) / math.tanh(slow * corner)
    first, second = np.zeros((8, 2)), np.zeros((2, 8))
    for axis in (0, 1):
        for unit in (4 * axis, 4 * axis + 1):
            first[unit, axis], second[axis, unit] = fast, push / 2
            first[unit + 2, axis], second[axis, unit + 2] = slow, -pull / 2
    return np.concatenate([first.ravel(), np.zeros(8), second.ravel(), np.zeros(2)])


@pytest.fixture(scope="session")
def make_run(seeking_theta):
    """A function of a path that makes a run folder there, whose meta-policy seeks."""
    from esmaml_robot import meta
    from esmaml_robot.moments import Moments
    from esmaml_robot.policy import Normaliser

    def make(folder: Path, **changes) -> Path:
        config = run_config("four_corners", seed=0).model_copy(update=changes)
        run = RunFolder(folder)
        run.create(config)
        checkpoint = Checkpoint(config, meta.start(seeking_theta), Normaliser.identity(2), Moments.empty(2))
        save_checkpoint(run.checkpoint_file(0), checkpoint)
        return folder

    return make


def read_json(text):
    return json.loads(text)


class Desk:
    """Boards on a desk: `esmaml emulate` as a user runs it, each ended as by Ctrl-C."""

    def __init__(self):
        self.command = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()"]

    @contextlib.contextmanager
    def board(self, name, *more):
        """What an emulated board says of itself, for as long as the block lasts."""
        command = [*self.command, "emulate", "--robot", "rover_uno", "--board", name, *map(str, more)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()  # the command itself gives up after a minute, and closes the pipe
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.terminate()
            _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said


@pytest.fixture(scope="session")
def desk():
    return Desk()


@pytest.fixture(scope="session")
def images(make_run, tmp_path_factory):
    """A function of a board: its image of the seeking meta-policy, built once by the command."""
    from firmware_export.image import load_image

    run, made = make_run(tmp_path_factory.mktemp("images") / "run"), {}

    def image(board):
        if board not in made:
            built = json.loads(run_esmaml("build", run, "--meta", "--board", board, "--json").stdout)
            made[board] = load_image(Path(built["folder"]))
        return made[board]

    image.run = run
    return image


@pytest.fixture(scope="session")
def proven():
    """A function of what `esmaml flash --json` printed and an image: asserts that the one proves the other."""

    def check(proof, image):
        names = ("board", "spec_hash", "layout_hash", "policy_hash", "firmware_id", "parameters_crc32")
        assert {n: proof[n] for n in names} == {n: getattr(image.manifest, n) for n in names}
        assert 0.0 <= proof["selftest_error"] <= 1e-5

    return check
