"""Ant: a four-legged body of eight joints, PyBullet's ant.xml, with position servos.

Each leg has a hip that swings about the vertical and an ankle that lifts the foot. The body is the model's with
Bullet's density for it, 182 kg in all, and looks the same from four sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..articulated import ArticulatedPlant
from ..world import PhysicsSettings, RobotModel, RobotWorld

MOTORS = ("hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4")
#: N m: the motors of PyBullet's own environment (power 2.5 times 100)
MAX_TORQUE = 250.0
POSITION_GAIN, VELOCITY_GAIN = 0.1, 1.0

#: The middle of the ankles' ranges, in which the body stands with its feet on the ground.
STANCE = {"ankle_1": 1.13, "ankle_2": -1.13, "ankle_3": -1.13, "ankle_4": 1.13}
STANCE_HEIGHT_M = 0.6

#: The goal of a task and the true forward velocity (m/s) to the robot's last sensor.
GoalSensor = Callable[[Task, float], float]


def roll_pitch_yaw(q: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Angles (rad) of a quaternion x, y, z, w; rotations about the fixed axes x, y, z in this order."""
    x, y, z, w = q
    sine = min(1.0, max(-1.0, 2.0 * (w * y - z * x)))
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    return roll, math.asin(sine), math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


class AntPlant(ArticulatedPlant):
    """Sensors: roll, pitch, yaw (rad), forward velocity (m/s), and `goal`, which the policy does not see.

    Forward is the direction that the body faced at the start, x. Velocity is that of the torso over the last control
    period, as odometry would give it.
    """

    def __init__(self, spec: RobotSpec, physics: PhysicsSettings, goal: GoalSensor) -> None:
        model = RobotModel("pybullet_data:mjcf/ant.xml", position=(0.0, 0.0, STANCE_HEIGHT_M), joints=STANCE, floor=0.8)
        super().__init__(spec, model, physics, driven=MOTORS)
        self.expect(["roll", "pitch", "yaw", "forward", spec.sensors[-1].name], MOTORS)
        self._goal = goal
        self._forces = [MAX_TORQUE] * len(MOTORS)
        self._kp, self._kd = [POSITION_GAIN] * len(MOTORS), [VELOCITY_GAIN] * len(MOTORS)
        self._tasks: dict[int, Task] = {}
        self._x: dict[int, float] = {}

    def prepare(self, world: RobotWorld, row: int, task: Task, episode_seed: int) -> None:
        self._tasks[row] = task
        self._x[row] = 0.0

    def drive(self, world: RobotWorld, row: int, command: list[float]) -> None:
        world.command_positions(command, self._forces, self._kp, self._kd)
        world.step(self.substeps)

    def sense(self, world: RobotWorld, row: int) -> Sequence[float]:
        pose = world.base()
        forward = (pose.position[0] - self._x[row]) * self.spec.control_rate_hz
        self._x[row] = pose.position[0]
        return *roll_pitch_yaw(pose.orientation), forward, self._goal(self._tasks[row], forward)
