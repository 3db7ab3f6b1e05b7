"""Half cheetah: a planar runner of six leg joints, PyBullet's half_cheetah.xml, with position servos.

The torso moves in the x-z plane (joints ignorex, ignorez, ignorey of the model). A servo's force limit is the motor's
torque in PyBullet's own environment (power coefficients 120, 90, 60, 140, 60, 30 N m).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..articulated import ArticulatedPlant
from ..world import PhysicsSettings, RobotModel, RobotWorld

#: joint -> force limit, N m
MOTORS = {"bthigh": 120.0, "bshin": 90.0, "bfoot": 60.0, "fthigh": 140.0, "fshin": 60.0, "ffoot": 30.0}
ROOT = ("ignorex", "ignorez", "ignorey")
POSITION_GAIN, VELOCITY_GAIN = 0.1, 1.0

#: The goal of a task and the true forward velocity (m/s) to the robot's last sensor.
GoalSensor = Callable[[Task, float], float]


class CheetahPlant(ArticulatedPlant):
    """Sensors: pitch (rad), pitch_rate (rad/s), forward velocity (m/s), and `goal`, which the policy does not see.

    Velocity is that of the torso over the last control period, as odometry would give it.
    """

    def __init__(self, spec: RobotSpec, physics: PhysicsSettings, goal: GoalSensor) -> None:
        model = RobotModel("pybullet_data:mjcf/half_cheetah.xml", floor=0.8)
        super().__init__(spec, model, physics, driven=list(MOTORS), read=[*ROOT, *MOTORS])
        self.expect(["pitch", "pitch_rate", "forward", spec.sensors[-1].name], list(MOTORS))
        self._goal = goal
        self._forces = list(MOTORS.values())
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
        positions, velocities = world.read_joints()
        forward = (positions[0] - self._x[row]) * self.spec.control_rate_hz
        self._x[row] = positions[0]
        return positions[2], velocities[2], forward, self._goal(self._tasks[row], forward)
