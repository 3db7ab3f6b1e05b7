"""A virtual robot without physics, as its own process: two integrators and a beacon, in exact integer counts.

Starts at (seed % 200 - 100) counts; `--seed` of the process hides the beacon. Quick to start and exact, so a test can
say what every count must be.
"""

from __future__ import annotations

import sys

import numpy as np

from esmaml_robot.robot_spec import RobotSpec
from sim.virtual_robot.server import run_server


class KinematicRover:
    """rover_uno as an integrator: a command of 1000 counts moves 100 counts (0.1 m) a control period."""

    def __init__(self, spec: RobotSpec, seed: int, task: str | None) -> None:
        self._beacon = np.array([2000, 2000]) * ((-1) ** (seed & 1), (-1) ** (seed >> 1 & 1))
        self._at = np.zeros(2, dtype=np.int64)

    def _sense(self) -> np.ndarray:
        d2 = float(np.sum(((self._at - self._beacon) * 0.001) ** 2))
        beacon = round(max(0.0, 4.0 - d2) / 0.00391006842)
        return np.array([*self._at, min(beacon, 1023)], dtype=np.int32)

    def reset(self, episode_seed: int) -> np.ndarray:
        self._at[:] = episode_seed % 200 - 100
        return self._sense()

    def step(self, actuators: np.ndarray, torque_on: bool) -> np.ndarray:
        if torque_on:
            self._at += actuators // 10
        return self._sense()


if __name__ == "__main__":
    sys.exit(run_server(KinematicRover))
