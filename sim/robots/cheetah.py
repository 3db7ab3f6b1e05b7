"""Half cheetah: a planar runner of six leg joints, PyBullet's half_cheetah.xml, with position servos.

The torso moves in the x-z plane (joints ignorex, ignorez, ignorey of the model). A servo's force limit is the motor's
torque in PyBullet's own environment (power coefficients 120, 90, 60, 140, 60, 30 N m).
"""

from __future__ import annotations

from collections.abc import Sequence

from esmaml_robot.robot_spec import RobotSpec

from ..world import PhysicsSettings, RobotModel, RobotWorld
from .runner import Merit, Runner

#: joint -> force limit, N m
MOTORS = {"bthigh": 120.0, "bshin": 90.0, "bfoot": 60.0, "fthigh": 140.0, "fshin": 60.0, "ffoot": 30.0}
ROOT = ("ignorex", "ignorez", "ignorey")


class CheetahPlant(Runner):
    """Sensors: pitch (rad), pitch_rate (rad/s), forward velocity of the torso (m/s), merit."""

    def __init__(self, spec: RobotSpec, physics: PhysicsSettings, merit: Merit) -> None:
        model = RobotModel("pybullet_data:mjcf/half_cheetah.xml", floor=0.8)
        sensors = ("pitch", "pitch_rate", "forward")
        super().__init__(spec, model, physics, merit, motors=MOTORS, sensors=sensors, read=[*ROOT, *MOTORS])

    def sense(self, world: RobotWorld, row: int) -> Sequence[float]:
        positions, velocities = world.read_joints()
        return positions[2], velocities[2], *self.paid(row, positions[0])
