"""The contract between a simulated robot and whoever runs episodes on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from esmaml_robot.evaluation import Task

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


class BatchedPlant(Protocol):
    """B robots side by side, each in its own task. Arrays have the batch as their last axis."""

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        """Put each robot at its start; returns the true sensor values in SI, (n_sensors, B)."""
        ...

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        """Run one control period under actuator commands in SI (n_actuators, B); returns the true sensor values.

        Rows whose `running` (B,) is False have ended: nobody reads their sensors any more, so they need no physics.
        """
        ...

    def close(self) -> None:
        """Free the physics engine's worlds."""
        ...


@runtime_checkable
class ServoDriven(Protocol):
    """A body whose actuators are position servos, one a joint, each with a torque of its own.

    Attributes:
        efforts: share of its force that each servo has while there is torque, in the order of the robot's file; of all
            rows.
    """

    efforts: list[float]

    def servo_joints(self, row: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Angles (rad) and velocities (rad/s) of the servos' joints."""
        ...
