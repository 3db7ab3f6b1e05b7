"""Task family on the cart-pole: balance with sensors that are off and a motor that may be wired the wrong way round.

Laws, =U(a, b): set to a uniform draw:

    polarity         = +1, -1 in turn       the motor pushes along its command, or against it
    mounting_error   =U(-0.3, 0.3) rad      added to the angle; the gyro is off by GYRO_PER_ANGLE times as much, rad/s
    motor_gain       =U(0.7, 1.3)           force over command

The pole starts START_TILT_RAD from upright, at rest, and an episode of 3 s at 50 Hz ends when it is 0.5 rad from
upright or the cart 1.2 m from the middle of its rail. The return is the share of the episode that it stood, 0 to 1.

Policies have no memory, so what balances with one polarity throws the pole over with the other: without adaptation
no policy does well in more than half of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..family import RobotFamily
from ..laws import Cycle, Law, Uniform
from ..plant import BatchedPlant
from ..robots.cartpole import POLE_M, RAIL_M, CartPoleBodies
from ..scenes import cartpole_scene
from ..world import Scene

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

#: 1/s
GYRO_PER_ANGLE = 2.0
START_TILT_RAD = 0.05
SENSORS = ("position", "speed", "angle", "gyro", "tilt")


class CartPolePlant:
    """B cart-poles, each with its own sensor errors and motor; sensors SENSORS, `tilt` being the true angle."""

    def __init__(self, spec: RobotSpec) -> None:
        found = tuple(s.name for s in spec.sensors), [a.name for a in spec.actuators]
        if found != (SENSORS, ["force"]):
            raise ConfigError(
                f"robot {spec.name}: the simulated cart-pole has sensors {list(SENSORS)} and actuators ['force'], the "
                f"file has {list(found[0])} and {found[1]}; make them agree."
            )
        self._bodies = CartPoleBodies(spec.control_rate_hz, spec.physics_rate_hz)

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        p = [t.parameters for t in tasks]
        self._angle_error = np.array([v["mounting_error"] for v in p])
        self._gyro_error = GYRO_PER_ANGLE * self._angle_error
        self._gain = np.array([v["polarity"] * v["motor_gain"] for v in p])
        self._bodies.reset(np.stack([np.zeros(len(p)), np.full(len(p), START_TILT_RAD)]))
        return self._sense()

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        self._bodies.step(self._gain * commands[0] * torque_on, running)
        return self._sense()

    def scene(self, row: int) -> Scene:
        """What the cart-pole of this row looks like now, for pictures."""
        x, angle = self._bodies.position[:, row].tolist()
        return cartpole_scene(x, angle, POLE_M, RAIL_M)

    def _sense(self) -> F64:
        position, velocity = self._bodies.position, self._bodies.velocity
        sensed = np.empty((len(SENSORS), position.shape[1]))
        sensed[0], sensed[1] = position[0], velocity[0]
        np.add(position[1], self._angle_error, out=sensed[2])
        np.add(velocity[1], self._gyro_error, out=sensed[3])
        sensed[4] = position[1]
        return sensed

    def close(self) -> None:
        self._bodies.close()


class CartpoleSensors(RobotFamily):
    """Balance a pole with sensors that are off and a motor that may be wired the wrong way round."""

    name = "cartpole_sensors"
    robot = "cartpole"
    laws: ClassVar[tuple[Law, ...]] = (
        Uniform("mounting_error", -0.3, 0.3, "rad", "added to the angle; the gyro is off by twice as much, rad/s"),
        Uniform("motor_gain", 0.7, 1.3, "1", "force over command"),
        Cycle("polarity", (1.0, -1.0), "1", "which way the motor is wired"),
    )
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [4]},
        "initial": "scaled",
        "initial_gain": 2.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.5},
        "meta": {"pairs": 32, "sigma": 0.5, "learning_rate": 0.2, "learning_rate_final": 0.02},
        "episodes": 200_000,
    }

    def make_plant(self) -> BatchedPlant:
        return CartPolePlant(self.spec)
