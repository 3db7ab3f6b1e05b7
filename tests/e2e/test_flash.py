"""From a policy to a flashed, proven Uno: real avrdude into its real boot loader, and all that goes wrong on the way.

The board is an emulated chip as it is bought: nothing of ours is in it before it is uploaded through its port.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.bridge.controller import RobotController, theta_crc32
from esmaml_robot.bridge.messages import Reason
from esmaml_robot.bridge.transport import DEFAULT_BAUD, open_port
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.flash import quiet_link
from esmaml_robot.errors import FlashError, SpecMismatch
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import load_board
from firmware_export.build import build_firmware
from firmware_export.flasher_file import AvrdudeFlasher
from firmware_export.image import build_image
from firmware_export.policy_c import write_policy_c
from firmware_export.proof import expected_of, prove, require_built_in
from firmware_export.robot_c import write_robot_c
from firmware_export.upload import upload
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
BEGIN_S = 60


@pytest.fixture(scope="module")
def uno(desk):
    with desk.board("atmega328p", "--seed", 2) as plugged:
        yield plugged["port"]


@contextlib.contextmanager
def asking(port):
    """A link to the Uno once its boot loader has given up waiting."""
    with quiet_link(port, DEFAULT_BAUD, load_board("atmega328p").settings.flasher.quiet_s) as link:
        yield link


def _child_that_has_written(parent, count):
    """Process id of a child of `parent` that has written so many bytes: avrdude, in the middle of an upload."""
    end = time.monotonic() + BEGIN_S
    while time.monotonic() < end:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with contextlib.suppress(OSError):
                written = dict(line.split(": ") for line in Path(f"/proc/{child}/io").read_text().splitlines())
                if int(written["wchar"]) > count:
                    return int(child)
        time.sleep(0.01)
    raise AssertionError("no upload began")


@pytest.fixture(scope="module")
def cut(desk, uno, images):
    """The first upload into the empty chip, its avrdude killed after a third of it: exit code, last words, HELLO."""
    image = images("atmega328p")
    command = [*desk.command, "flash", str(image.folder), "--port", uno]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.kill(_child_that_has_written(process.pid, image.manifest.memory.flash // 3), signal.SIGKILL)
    _, said = process.communicate(timeout=BEGIN_S)
    with asking(uno) as link:
        return process.returncode, said, link.probe()


@pytest.fixture(scope="module")
def flashed(esmaml, cut, uno, images):
    """The Uno after the second try: the proof that `esmaml flash` printed."""
    return json.loads(esmaml("flash", images("atmega328p").folder, "--port", uno, "--json").stdout)


def test_a_cut_upload_is_named_and_leaves_no_firmware(cut):
    code, said, answer = cut
    assert code == 11
    assert "the upload broke off" in said
    assert "flash again" in said
    assert answer is None


def test_the_second_try_works_and_proves_what_runs(flashed, images, proven):
    proven(flashed, images("atmega328p"))


def test_an_episode_on_the_flashed_uno_is_the_host_boards(flashed, uno, images, tmp_path):
    policy = RunFolder(images.run).newest().policy
    write_policy_c(policy, SPEC, tmp_path)
    write_robot_c(SPEC, tmp_path)
    host = build_firmware("host", SPEC, tmp_path, tmp_path / "host")
    records = []
    with VirtualRobot("rover_uno", host.command, seed=2) as reference:
        for port in (reference.port, uno):
            with RobotController.open(port, SPEC, policy.spec) as controller:
                controller.connect()
                controller.arm()
                records.append(controller.run_episode(1, 50, 4, 0.1))
    there, here = records
    assert here.valid, here.problem
    assert (here.reason, here.steps) == (Reason.COMPLETED, there.steps)
    assert here.sensors.tolist() == there.sensors.tolist()
    assert here.actuators.tolist() == there.actuators.tolist()
    assert len({tuple(row) for row in here.actuators.tolist()}) > 10
    assert np.float32(here.return_) == np.float32(there.return_)


def test_a_busy_port_is_said_before_anything_is_written(esmaml, flashed, uno, images):
    with contextlib.closing(open_port(uno)):
        refused = esmaml("flash", images("atmega328p").folder, "--port", uno, check=False)
    assert refused.returncode == 6
    assert "another program holds this port" in refused.stderr


def test_an_image_for_another_board_leaves_the_board_as_it_was(esmaml, flashed, uno, images):
    mega = images("atmega2560")
    refused = esmaml("flash", mega.folder, "--port", uno, "--board", "atmega328p", check=False)
    assert refused.returncode == 2
    assert "is for board atmega2560" in refused.stderr
    refused = esmaml("flash", mega.folder, "--port", uno, check=False)
    assert refused.returncode == 11
    assert "no boot loader of board atmega2560 answers" in refused.stderr
    # and where the boot loader speaks the same language, but another chip is behind it
    board = load_board("atmega2560")
    talks = AvrdudeFlasher(tool="avrdude", part="m2560", programmer="arduino", baud=115200)
    board = dataclasses.replace(board, settings=board.settings.model_copy(update={"flasher": talks}))
    with pytest.raises(FlashError, match="the chip there is m328p, the image is for board atmega2560"):
        upload(mega, board, uno, None)
    with asking(uno) as link:
        assert prove(link, expected_of(images("atmega328p").manifest)).board == "atmega328p"


def test_a_board_that_runs_something_else_is_no_proof(flashed, uno, images):
    expected = expected_of(images("atmega328p").manifest)
    with asking(uno) as link:
        for what in ("spec_hash", "layout_hash", "policy_hash", "firmware_id", "board"):
            with pytest.raises(SpecMismatch) as caught:
                prove(link, dataclasses.replace(expected, **{what: "0123456789abcdef"}))
            assert what in str(caught.value)
            assert "what was built has 0123456789abcdef, what runs there has " in str(caught.value)
        prove(link, expected)


def test_verify_asks_emulators_and_the_robot(esmaml, flashed, uno, images, tmp_path):
    folder = tmp_path / "export"
    esmaml("export", images.run, "--meta", "--out", folder, "--formats", "c", "--samples", "10")
    places = ("--on", "host", "--on", "qemu", "--on", "simavr", "--on", "robot", "--port", uno)
    shown = json.loads(esmaml("verify", folder, *places, "--json").stdout)
    assert [row["on"] for row in shown["results"]] == ["host", "qemu", "simavr", "robot"]
    assert shown["results"][3]["where"] == f"atmega328p at {uno}"
    assert all(0.0 <= row["largest_error"] <= shown["tolerance"] for row in shown["results"])


def test_parameters_alone_reach_the_firmware_and_stay(esmaml, flashed, uno, images, proven, tmp_path):
    image = images("atmega328p")
    base = RunFolder(images.run).newest().policy
    moved = base.theta + np.float32(0.125)
    adapted = build_image(Policy(base.spec, moved, base.normaliser), SPEC, "atmega328p", tmp_path / "adapted", base)
    assert adapted.manifest.same_normaliser == (adapted.manifest.policy_hash, base.policy_hash)
    sent = json.loads(esmaml("flash", adapted.folder, "--port", uno, "--parameters-only", "--json").stdout)
    assert sent["parameters_crc32"] == f"{theta_crc32(moved):08x}"
    # opening the port was a reset, so what is in force now comes from the EEPROM; an upload would not have touched it
    with asking(uno) as link:
        proof = prove(link, expected_of(image.manifest))
        assert proof.parameters_crc32 == f"{theta_crc32(moved):08x}"
        with pytest.raises(SpecMismatch, match="has kept parameters of before"):
            require_built_in(link, proof, image, forget=False)
    done = esmaml("flash", image.folder, "--port", uno, "--forget-kept", "--json")
    proven(json.loads(done.stdout), image)
    with asking(uno) as link:
        assert prove(link, expected_of(image.manifest)).parameters_crc32 == image.manifest.parameters_crc32
