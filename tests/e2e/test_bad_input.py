"""Bad input: one line that says what to do, an exit code that is not 0, and nothing overwritten."""

import json
import os
import pty
import shutil
import subprocess
import sys
import tty
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from esmaml_robot import checkpoint
from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_host_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

CONFIGS = Path(__file__).resolve().parents[2] / "hardware_configs"


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(esmaml, *arguments, code, says):
    """The command fails with `code`, one line on standard error that contains all of `says`, and no traceback."""
    done = esmaml(*arguments, check=False)
    assert done.returncode == code, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("esmaml: ")]
    assert len(said) == 1, done.stderr
    assert done.stderr.rstrip().splitlines()[-1] == said[0]
    assert "Traceback" not in done.stderr
    for part in says:
        assert part in said[0], said[0]
    return said[0]


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "run")


def test_unknown_key_in_the_robot_file(esmaml, run, tmp_path):
    robot = tmp_path / "rover_uno.yaml"
    robot.write_text((CONFIGS / "rover_uno.yaml").read_text().replace("steps: 100", "stepz: 100"))
    before = contents(run)
    refused(
        esmaml, "adapt", run, "--robot", robot, "--port", "sim://rover_uno",
        code=2, says=[str(robot), "episode.stepz", "did you mean episode.steps"],
    )  # fmt: skip
    assert contents(run) == before


def test_corrupt_checkpoint(esmaml, run):
    file = RunFolder(run).newest_file()
    data = bytearray(file.read_bytes())
    data[-20] ^= 0x10
    file.write_bytes(data)
    before = contents(run)
    for command in (["adapt", run, "--port", "sim://rover_uno"], ["eval", run], ["export", run, "--meta"]):
        refused(esmaml, *command, code=3, says=[str(file), "damaged"])
    assert contents(run) == before


def test_nan_in_theta(esmaml, run):
    # a file that is whole, checksums and all, but holds a NaN: not written by this version
    file = RunFolder(run).newest_file()
    with safe_open(file, framework="numpy") as opened:
        header = opened.metadata()
    arrays = load_file(file)
    arrays["mean"][7] = np.nan
    header["crc32"] = str(checkpoint._checksum(arrays))
    header["header_crc32"] = checkpoint._header_checksum(arrays, header)
    save_file(arrays, file, metadata=header)
    before = contents(run)
    refused(esmaml, "export", run, "--meta", code=5, says=["theta[7] is nan", "earlier checkpoint"])
    refused(esmaml, "adapt", run, "--port", "sim://rover_uno", code=5, says=["theta[7] is nan"])
    assert contents(run) == before


def test_port_that_does_not_exist(esmaml, run):
    refused(esmaml, "adapt", run, "--port", "/dev/ttyNOSUCH7", "--yes", code=6, says=["/dev/ttyNOSUCH7"])


@pytest.mark.parametrize("port", ["sim://ant", "/dev/no_such_port"])
def test_a_session_that_never_began_leaves_its_name_free(esmaml, run, port):
    before = contents(run)
    esmaml("adapt", run, "--port", port, check=False)
    assert contents(run) == before
    assert not (run / "adapted" / "robot").exists()


@pytest.mark.parametrize(
    ("port", "part"),
    [
        ("sim://rover_due", "rover_due"),
        ("sim://rover_uno?sed=3", "'sed'"),
        ("sim://rover_uno?seed=three", "'three'"),
        ("sim://rover_uno?board=esp32", "'esp32'"),
        ("sim:", "sim://rover_uno?seed=3"),
    ],
)
def test_sim_port_that_is_wrong(esmaml, run, port, part):
    refused(esmaml, "adapt", run, "--port", port, code=2, says=[part])


@pytest.fixture
def robot_on_the_desk(run, tmp_path):
    """A virtual robot that stays plugged in, at a path as a real one has."""
    policy = RunFolder(run).newest().policy
    spec = load_robot("rover_uno")
    folder = tmp_path / "firmware"
    folder.mkdir()
    write_policy_c(policy, spec, folder)
    write_robot_c(spec, folder)
    with VirtualRobot("rover_uno", build_host_firmware(spec, folder, folder / "firmware"), seed=1) as robot:
        yield robot.port


def test_port_in_use_by_another_program(esmaml, run, robot_on_the_desk):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True); input()",
            robot_on_the_desk,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        refused(esmaml, "adapt", run, "--port", robot_on_the_desk, "--yes", code=6, says=[robot_on_the_desk, "another"])
    finally:
        holder.communicate("\n")


def test_robot_of_another_spec_hash_is_refused_by_the_run(esmaml, run, tmp_path):
    robot = tmp_path / "rover_uno.yaml"
    robot.write_text((CONFIGS / "rover_uno.yaml").read_text().replace("release_ms: 600", "release_ms: 700"))
    other = refused(
        esmaml, "adapt", run, "--robot", robot, "--port", "sim://rover_uno", code=4, says=["spec_hash differs"]
    )
    assert load_robot("rover_uno").spec_hash in other
    assert load_robot(robot).spec_hash in other


def test_robot_of_another_spec_hash_is_refused_at_the_port(esmaml, make_run, robot_on_the_desk, tmp_path):
    robot = tmp_path / "rover_uno.yaml"
    robot.write_text((CONFIGS / "rover_uno.yaml").read_text().replace("release_ms: 600", "release_ms: 700"))
    other = make_run(tmp_path / "other", spec_hash=load_robot(robot).spec_hash)
    said = refused(
        esmaml, "adapt", other, "--robot", robot, "--port", robot_on_the_desk, "--yes", code=4, says=["spec_hash"]
    )
    assert load_robot("rover_uno").spec_hash in said
    assert load_robot(robot).spec_hash in said


def test_a_port_where_no_robot_answers(esmaml, run):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    try:
        refused(esmaml, "adapt", run, "--port", os.ttyname(theirs), "--yes", code=6, says=[os.ttyname(theirs)])
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_real_port_does_not_move_without_a_person(esmaml, run, robot_on_the_desk):
    # rover_uno is put back by a person: with no terminal to ask in, nothing moves
    refused(esmaml, "adapt", run, "--port", robot_on_the_desk, code=7, says=["not moved"])


def test_a_run_is_not_overwritten(esmaml, run):
    before = contents(run)
    refused(esmaml, "train", "--out", run, "--episodes", "3000", code=3, says=["--resume", "--out"])
    assert contents(run) == before


def test_unknown_family_and_setting(esmaml, tmp_path):
    refused(esmaml, "train", "four_korners", "--out", tmp_path / "x", code=2, says=["did you mean 'four_corners'"])
    refused(
        esmaml, "train", "--out", tmp_path / "x", "--set", "operator.sigmma=1",
        code=2, says=["operator.sigmma"],
    )  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_a_control_that_is_none_is_not_called_one(esmaml, run, make_run, tmp_path):
    refused(
        esmaml, "eval", run, "--beside", run, "--tasks", "2", code=2, says=["hill_climb", "esmaml train --baseline"]
    )
    other = make_run(tmp_path / "other", operator=OperatorConfig(name="none"), spec_hash="0" * 16)
    refused(esmaml, "eval", run, "--beside", other, "--tasks", "2", code=4, says=["spec_hash differs"])
    assert not (run / "scores.png").exists()


def test_export_without_an_adapted_policy_says_what_to_do(esmaml, run):
    refused(esmaml, "export", run, code=3, says=["esmaml adapt", "--meta"])


def test_export_of_what_is_not_there_names_what_is(esmaml, run, tmp_path):
    refused(esmaml, "export", tmp_path / "other", code=3, says=["other holds no checkpoint", "esmaml train"])
    refused(esmaml, "info", run.parent, code=3, says=["no run folder; runs in it: ", str(run)])  # as of `esmaml demo`
    esmaml("adapt", run, "--port", "sim://rover_uno", "--name", "desk")
    refused(esmaml, "export", run, "--session", "robot", code=3, says=["no adapted policy 'robot'", "there: desk."])


def test_export_into_a_place_that_cannot_be_written_keeps_what_was_there(esmaml, run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    refused(esmaml, "export", run, "--meta", "--out", blocked, code=8, says=[str(blocked)])
    assert blocked.read_text() == "in the way"


def test_export_twice_gives_the_same_bytes(esmaml, run, tmp_path):
    esmaml("export", run, "--meta", "--out", tmp_path / "a")
    report = json.loads(esmaml("export", run, "--meta", "--out", tmp_path / "b", "--json").stdout)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert report["verify"]["bit_equal"] is True
    assert report["verify"]["numpy_onnx"] <= 1e-5
    shutil.rmtree(tmp_path / "a")
