"""cppcheck on the controller's portable C: what a compiler does not see."""

from __future__ import annotations

import subprocess

import numpy as np

from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import BOARDS
from firmware_export.build import RUNTIME
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c


def test_the_core_and_what_boards_share_are_clean(tmp_path):
    layout = PolicySpec(inputs=2, outputs=2, hidden=(8,))
    policy = Policy(layout, np.zeros(layout.dimension, np.float32), Normaliser.identity(2))
    spec = load_robot("rover_uno")
    write_policy_c(policy, spec, tmp_path)
    write_robot_c(spec, tmp_path)
    # robot_model.c is left out: cppcheck 2.10 misreads hexadecimal floats
    checked = [RUNTIME, BOARDS / "virtual", BOARDS / "common", tmp_path / "policy.c"]
    done = subprocess.run(
        ["cppcheck", "--std=c99", "--enable=warning,performance,portability,style", "--quiet", "--error-exitcode=1",
         "-DESMAML_FIRMWARE", "-DFIRMWARE_ID=1", f"-I{RUNTIME}", f"-I{BOARDS / 'common'}", f"-I{BOARDS / 'virtual'}",
         f"-I{tmp_path}", *map(str, checked)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
