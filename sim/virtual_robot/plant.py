"""What a board process needs of the physical world."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]


class Plant(Protocol):
    """The world between a robot's actuators and its sensors, in counts, one control period at a time."""

    def reset(self, episode_seed: int) -> I32:
        """Put the robot at the start that the seed stands for; sensor counts, shape (n_sensors,)."""
        ...

    def step(self, actuators: I32, torque_on: bool) -> I32:
        """One control period with actuator counts (n_actuators,); sensor counts at its end, (n_sensors,).

        Without torque the actuators exert nothing, whatever their counts.
        """
        ...


class StandingPlant:
    """A world in which nothing moves: all counts are 0, whatever the actuators do. For firmware that is only asked."""

    def __init__(self, n_sensors: int) -> None:
        self._sensors = np.zeros(n_sensors, np.int32)

    def reset(self, episode_seed: int) -> I32:
        return self._sensors

    def step(self, actuators: I32, torque_on: bool) -> I32:
        return self._sensors
