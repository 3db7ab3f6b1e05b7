"""What bodies share that run along x on position servos and are paid by their forward velocity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..articulated import ArticulatedPlant
from ..world import PhysicsSettings, RobotModel, RobotWorld

#: Of PyBullet's position servos, as its own environments have them.
POSITION_GAIN, VELOCITY_GAIN = 0.1, 1.0

#: What a task pays for a true forward velocity (m/s): the robot's last sensor, `merit`, which the policy does not see.
Merit = Callable[[Task, float], float]


class Runner(ArticulatedPlant):
    """A body with position servos; `sense` of a subclass ends with what `paid` returns.

    Args:
        motors: joint -> force limit, N m, in the order of the actuators.
        sensors: names of the sensors before `merit`; the last of them is the forward velocity.
        read: joints to read, if not the motors'.

    Attributes:
        efforts: share of its force that each motor has while there is torque, in the order of the actuators.
    """

    def __init__(
        self,
        spec: RobotSpec,
        model: RobotModel,
        physics: PhysicsSettings,
        merit: Merit,
        *,
        motors: Mapping[str, float],
        sensors: Sequence[str],
        read: Sequence[str] | None = None,
    ) -> None:
        super().__init__(spec, model, physics, driven=list(motors), read=read)
        self.expect([*sensors, "merit"], list(motors))
        self._merit = merit
        self._forces = list(motors.values())
        self.efforts = [1.0] * len(motors)
        self._kp, self._kd = [POSITION_GAIN] * len(motors), [VELOCITY_GAIN] * len(motors)
        self._tasks: dict[int, Task] = {}
        self._x: dict[int, float] = {}

    def prepare(self, world: RobotWorld, row: int, task: Task, episode_seed: int) -> None:
        self._tasks[row] = task
        self._x[row] = 0.0

    def drive(self, world: RobotWorld, row: int, command: list[float]) -> None:
        forces = [force * share for force, share in zip(self._forces, self.efforts, strict=True)]
        world.command_positions(command, forces, self._kp, self._kd)
        world.step(self.substeps)

    def servo_joints(self, row: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        positions, velocities, _, _ = zip(*self.worlds[row].driven_states(), strict=True)
        return positions, velocities

    def paid(self, row: int, x: float) -> tuple[float, float]:
        """Forward velocity (m/s) over the last control period, as odometry would give it, and its merit; x in m."""
        forward = (x - self._x[row]) * self.spec.control_rate_hz
        self._x[row] = x
        return forward, self._merit(self._tasks[row], forward)
