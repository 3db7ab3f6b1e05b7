"""A million draws of the direction generator on each board, against numpy, bit for bit.

    python -m benchmarks.direction_bits
    python -m benchmarks.direction_bits --boards atmega328p --draws 100000

A board is told to add sigma * direction(seed) to its parameters, and refuses unless the CRC-32 of the result is the one
that numpy came to: 42 draws a step, each step from where the one before ended.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.progress import track

from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import known_boards
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", nargs="+", default=known_boards(), choices=known_boards())
    parser.add_argument("--draws", type=int, default=1_000_000)
    options = parser.parse_args()
    spec, layout = load_robot("rover_uno"), PolicySpec(inputs=2, outputs=2, hidden=(8,))
    start = np.zeros(layout.dimension, np.float32)
    steps = -(-options.draws // layout.dimension)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_policy_c(Policy(layout, start, Normaliser.identity(2)), spec, folder)
        write_robot_c(spec, folder)
        for board in options.boards:
            rng, theta, began = np.random.default_rng(0), start, time.monotonic()
            firmware = build_firmware(board, spec, folder, folder / board)
            with (
                VirtualRobot("rover_uno", firmware.command) as robot,
                RobotController.open(robot.port, spec, layout) as controller,
            ):
                controller.connect()
                for _ in track(range(steps), description=board, transient=True):
                    seed, sigma = int(rng.integers(2**32)), np.float32(rng.normal())
                    one = Proposals(theta, np.uint32([seed]), np.float32([sigma]), np.zeros(1, np.uint32))
                    theta = materialise([one])[0]
                    controller.commit(seed, float(sigma), theta)  # raises where the bits differ
                assert controller.read_parameters().tobytes() == theta.tobytes()
            seconds = time.monotonic() - began
            print(f"{board}: {steps * layout.dimension} draws, all bits equal to numpy's ({seconds:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
