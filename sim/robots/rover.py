"""The rover: a planar body on two drive axes, each a velocity servo with a force limit.

The servo asks for the force that would bring the axis to the commanded speed within SERVO_TIME_S and gets at most
MAX_FORCE_N; rolling resistance brakes a rover whose motors are off. Speeds are in m/s, forces in N.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..world import MAX_BRANCHES, Link, WorldPool

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]

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


class RoverBodies:
    """B rovers side by side, spread over worlds of up to 32.

    Args:
        control_rate_hz, physics_rate_hz: a command is held for physics_rate / control_rate steps.
    """

    def __init__(self, control_rate_hz: int, physics_rate_hz: int) -> None:
        self._pool = WorldPool(LINKS, physics_rate_hz)
        self._substeps = physics_rate_hz // control_rate_hz
        # a servo faster than one physics step would overshoot
        self._gain = MASS_KG / max(SERVO_TIME_S, 1.0 / physics_rate_hz)
        self._count = 0

    def reset(self, positions: F64) -> None:
        """Rovers at rest at `positions` (2, B) in m."""
        self._count = positions.shape[1]
        self._worlds = self._pool.take(self._count)
        padded = sum(w.branches for w in self._worlds)
        # stored branch after branch, as Bullet numbers its joints, so that no call has to reorder
        self.position, self.velocity, self._target, self._force = (np.zeros((padded, 2)).T for _ in range(4))
        self.position[:, : self._count] = positions
        for index, world in enumerate(self._worlds):
            at = index * MAX_BRANCHES
            world.reset(self.position[:, at : at + world.branches])

    def step(self, speeds: F32, torque_on: bool) -> F64:
        """One control period at commanded speeds (2, B) in m/s; returns positions (2, B) in m."""
        self._target[:, : self._count] = speeds
        force = self._force
        for _ in range(self._substeps):
            if torque_on:
                np.subtract(self._target, self.velocity, out=force)
                np.multiply(force, self._gain, out=force)
                np.maximum(force, -MAX_FORCE_N, out=force)
                np.minimum(force, MAX_FORCE_N, out=force)
            else:
                np.multiply(self.velocity, -COASTING_DRAG_NS_M, out=force)
            for index, world in enumerate(self._worlds):
                at = index * MAX_BRANCHES
                here = slice(at, at + world.branches)
                world.step(force[:, here])
                self.position[:, here], self.velocity[:, here] = world.read()
        return self.position[:, : self._count]

    def close(self) -> None:
        self._pool.close()
