"""The rover: a planar body on two drive axes, each a velocity servo with a force limit.

The servo asks for the force that would bring the axis to the commanded speed within SERVO_TIME_S and gets at most
MAX_FORCE_N; rolling resistance brakes a rover whose motors are off. Speeds are in m/s, forces in N.

Beside it stands the rover of the published navigation tasks, which has no mass at all: in a control period it moves by
the commanded speed, and a wall stops it.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..world import Branches, Link

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

BODY_KG = 1.2
CARRIAGE_KG = 0.3  # the x axis carries its own carriage besides the body
LINKS = (
    Link("x", "prismatic", (1.0, 0.0, 0.0), CARRIAGE_KG, 1e-3),
    Link("y", "prismatic", (0.0, 1.0, 0.0), BODY_KG, 5e-3),
)
MASS_KG = np.array([[BODY_KG + CARRIAGE_KG], [BODY_KG]])
MAX_FORCE_N = 12.0
SERVO_TIME_S = 0.12
COASTING_DRAG_NS_M = 3.0  # motors off

Dynamics = Literal["bullet", "kinematic"]


class Rovers(Protocol):
    """B rovers in the plane, whatever moves them."""

    def reset(self, positions: F64) -> None:
        """Rovers at rest at `positions` (2, B) in m."""
        ...

    def step(self, speeds: F32, torque_on: bool, running: Bool | None = None) -> F64:
        """One control period at commanded speeds (2, B) in m/s; returns positions (2, B) in m.

        Rovers that are not `running` may be left where they are.
        """
        ...

    def close(self) -> None: ...


def make_rovers(dynamics: Dynamics, control_rate_hz: int, physics_rate_hz: int, walls_m: float) -> Rovers:
    """Rovers with masses and servos in Bullet, on an open plane, or without, between walls at +-walls_m."""
    if dynamics == "kinematic":
        return KinematicRovers(control_rate_hz, walls_m)
    return RoverBodies(control_rate_hz, physics_rate_hz)


class KinematicRovers:
    """Rovers as in `es_maml/task.py` of Song et al. (ICLR 2020): position += speed * period, clipped at the walls."""

    def __init__(self, control_rate_hz: int, walls_m: float) -> None:
        self._rate, self._walls_m = control_rate_hz, walls_m
        self._position: F64 = np.zeros((2, 0))

    def reset(self, positions: F64) -> None:
        self._position = positions.astype(np.float64)

    def step(self, speeds: F32, torque_on: bool, running: Bool | None = None) -> F64:
        if torque_on:
            moved = self._position + speeds.astype(np.float64) / self._rate
            self._position = np.clip(moved, -self._walls_m, self._walls_m)
        return self._position

    def close(self) -> None:
        """Nothing to free."""


class RoverBodies:
    """B rovers side by side, spread over worlds of up to 32.

    Args:
        control_rate_hz, physics_rate_hz: a command is held for physics_rate / control_rate steps.

    Attributes after `reset`:
        position, velocity: (2, B) in m and m/s.
    """

    def __init__(self, control_rate_hz: int, physics_rate_hz: int) -> None:
        self._branches = Branches(LINKS, physics_rate_hz)
        self._substeps = physics_rate_hz // control_rate_hz
        # a servo faster than one physics step would overshoot
        self._gain_of_axis = MASS_KG / max(SERVO_TIME_S, 1.0 / physics_rate_hz)

    def reset(self, positions: F64) -> None:
        """Rovers at rest at `positions` (2, B) in m."""
        self._branches.reset(positions)
        self.position, self.velocity = self._branches.position, self._branches.velocity
        self._target, self._gain = np.empty_like(self.velocity), np.empty_like(self.velocity)
        self._gain[...] = self._gain_of_axis

    def step(self, speeds: F32, torque_on: bool, running: Bool | None = None) -> F64:
        """One control period at commanded speeds (2, B) in m/s; returns positions (2, B) in m.

        Rovers that are not `running` may be left where they are.
        """
        self._target[...] = speeds
        force = self._branches.force
        for _ in range(self._substeps):
            if torque_on:
                np.subtract(self._target, self.velocity, out=force)
                np.multiply(force, self._gain, out=force)
                np.maximum(force, -MAX_FORCE_N, out=force)
                np.minimum(force, MAX_FORCE_N, out=force)
            else:
                np.multiply(self.velocity, -COASTING_DRAG_NS_M, out=force)
            self._branches.step(running)
        return self.position

    def close(self) -> None:
        self._branches.close()
