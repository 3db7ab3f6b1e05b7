"""Ant: a four-legged body of eight joints, PyBullet's ant.xml, with position servos.

Each leg has a hip that swings about the vertical and an ankle that lifts the foot. The body is the model's with
Bullet's density for it, 182 kg in all, and looks the same from four sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from esmaml_robot.robot_spec import RobotSpec

from ..world import PhysicsSettings, RobotModel, RobotWorld
from .runner import Merit, Runner

MOTORS = ("hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4")
#: N m: the motors of PyBullet's own environment (power 2.5 times 100)
MAX_TORQUE = 250.0

#: The middle of the ankles' ranges, in which the body stands with its feet on the ground.
STANCE = {"ankle_1": 1.13, "ankle_2": -1.13, "ankle_3": -1.13, "ankle_4": 1.13}
STANCE_HEIGHT_M = 0.6


def roll_pitch_yaw(q: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Angles (rad) of a quaternion x, y, z, w; rotations about the fixed axes x, y, z in this order."""
    x, y, z, w = q
    sine = min(1.0, max(-1.0, 2.0 * (w * y - z * x)))
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    return roll, math.asin(sine), math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


class AntPlant(Runner):
    """Sensors: roll, pitch, yaw (rad), forward velocity (m/s), merit. Forward is where the body faced at the start."""

    def __init__(self, spec: RobotSpec, physics: PhysicsSettings, merit: Merit) -> None:
        model = RobotModel("pybullet_data:mjcf/ant.xml", position=(0.0, 0.0, STANCE_HEIGHT_M), joints=STANCE, floor=0.8)
        motors = dict.fromkeys(MOTORS, MAX_TORQUE)
        super().__init__(spec, model, physics, merit, motors=motors, sensors=("roll", "pitch", "yaw", "forward"))

    def sense(self, world: RobotWorld, row: int) -> Sequence[float]:
        pose = world.base()
        return *roll_pitch_yaw(pose.orientation), *self.paid(row, pose.position[0])
