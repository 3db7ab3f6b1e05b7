"""Paths of policies through a task, for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec

from .family import RobotFamily
from .rollout import Tick


def sensor_paths(
    family: RobotFamily,
    policy: PolicySpec,
    normaliser: Normaliser,
    params: npt.NDArray[np.float32],
    tasks: Sequence[Task],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Sensor values in SI over an episode of each row: ((T + 1, n_sensors, B), returns (B,))."""
    ticks: list[npt.NDArray[np.float32]] = []

    def record(tick: Tick) -> None:
        ticks.append(family.signals.to_si(tick.sensor_counts))

    seeds = np.zeros(len(tasks), dtype=np.uint32)
    outcome = family.evaluate(policy, normaliser, params, tasks, seeds, record=record)
    return np.stack(ticks), outcome.returns
