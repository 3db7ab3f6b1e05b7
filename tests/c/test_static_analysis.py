"""cppcheck on the controller's portable C: what a compiler does not see."""

from __future__ import annotations

import subprocess

import numpy as np

from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import BOARDS, load_board, render_wiring
from firmware_export.build import RUNTIME
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

DRIVER = BOARDS.parent / "dynamixel"


def check(folder, *checked):
    """Cppcheck on files and folders, with what was generated into `folder`."""
    includes = [f"-I{f}" for f in (RUNTIME, BOARDS / "common", BOARDS / "virtual", DRIVER, folder)]
    done = subprocess.run(
        ["cppcheck", "--std=c99", "--enable=warning,performance,portability,style", "--quiet", "--error-exitcode=1",
         "-DESMAML_FIRMWARE", "-DFIRMWARE_ID=1", *includes, *map(str, checked)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_core_and_what_boards_share_are_clean(tmp_path):
    layout = PolicySpec(inputs=2, outputs=2, hidden=(8,))
    policy = Policy(layout, np.zeros(layout.dimension, np.float32), Normaliser.identity(2))
    spec = load_robot("rover_uno")
    write_policy_c(policy, spec, tmp_path)
    write_robot_c(spec, tmp_path)
    # robot_model.c is left out: cppcheck 2.10 misreads hexadecimal floats
    check(tmp_path, RUNTIME, BOARDS / "virtual", BOARDS / "common", tmp_path / "policy.c")


def test_the_servo_driver_is_clean(tmp_path):
    spec = load_robot("ant")
    write_robot_c(spec, tmp_path)
    (tmp_path / "wiring.h").write_text(render_wiring(load_board("mps2_an386"), spec))
    check(tmp_path, DRIVER)
