"""Task families on the rover: a hidden goal, sensed only as a beacon (four_corners) or as a distance (nav2d).

Laws (=U(a, b): set to a uniform draw):

    four_corners   corner        = one of (2, 2), (-2, 2), (-2, -2), (2, -2) m, by task index modulo 4
                   start x, y    =U(-0.2, 0.2) m
                   robot         rover_uno: reward -4 + max(0, 4 - d^2) a period, d to the corner after the period
    nav2d          goal x, y     =U(-1, 1) m
                   start         (0, 0)
                   robot         rover_nav: reward -d^2 a period, over when d^2 < 0.01

Goal and start are hidden from the policy, which sees the rover's position alone. Splits draw from different streams
of the counter-based generator: no start (four_corners) and no goal (nav2d) is in two splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import EpisodeBatch, Split, Task
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from esmaml_robot.robot_spec import RobotSpec, load_robot
from esmaml_robot.signals import Signals

from ..robots.rover import RoverBodies
from ..rollout import run_episodes

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]

CORNERS = ((2.0, 2.0), (-2.0, 2.0), (-2.0, -2.0), (2.0, -2.0))
_SPLIT_STREAM = {"train": 1, "validation": 2, "test": 3}


def _beacon(distance_squared: F64) -> F64:
    """Signal strength max(0, 4 - d^2): nothing beyond 2 m, so that the centre of four_corners is perfectly flat."""
    return np.maximum(0.0, 4.0 - distance_squared)


class RoverPlant:
    """B rovers, each with its own hidden goal; sensors x, y and the goal signal of the family."""

    def __init__(self, spec: RobotSpec, goal_sensor: str) -> None:
        expected = ["x", "y", goal_sensor]
        found = [s.name for s in spec.sensors]
        if found != expected or [a.name for a in spec.actuators] != ["vx", "vy"]:
            raise ConfigError(
                f"robot {spec.name}: the simulated rover has sensors {expected} and actuators ['vx', 'vy'], "
                f"the file has {found} and {[a.name for a in spec.actuators]}; make them agree."
            )
        self._beacon = goal_sensor == "beacon"
        self._bodies = RoverBodies(spec.control_rate_hz, spec.physics_rate_hz)

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        p = [t.parameters for t in tasks]
        self._goal = np.array([[v["goal_x"] for v in p], [v["goal_y"] for v in p]])
        start = np.array([[v["start_x"] for v in p], [v["start_y"] for v in p]])
        self._bodies.reset(start)
        return self._sense(start)

    def step(self, commands: F32, torque_on: bool = True) -> F64:
        return self._sense(self._bodies.step(commands, torque_on))

    def _sense(self, position: F64) -> F64:
        dx, dy = position[0] - self._goal[0], position[1] - self._goal[1]
        squared = dx * dx + dy * dy
        sensed = np.empty((3, len(squared)))
        sensed[:2] = position
        sensed[2] = _beacon(squared) if self._beacon else squared
        return sensed

    def close(self) -> None:
        self._bodies.close()


class _RoverFamily:
    name: str
    robot: str
    goal_sensor: str

    def __init__(self, spec: RobotSpec | None = None) -> None:
        self.spec = spec or load_robot(self.robot)
        self.signals = Signals(self.spec)
        self.plant = RoverPlant(self.spec, self.goal_sensor)

    def evaluate(
        self,
        policy: PolicySpec,
        normaliser: Normaliser,
        params: F32,
        tasks: Sequence[Task],
        episode_seeds: npt.NDArray[np.uint32],
    ) -> EpisodeBatch:
        batch = PolicyBatch(policy, params, normaliser)
        return run_episodes(self.plant, self.signals, batch, tasks, episode_seeds)

    def close(self) -> None:
        self.plant.close()


class FourCorners(_RoverFamily):
    """Find out which of four corners pays, where the signal begins 2 m from the corner."""

    name = "four_corners"
    robot = "rover_uno"
    goal_sensor = "beacon"

    def sample(self, split: Split, seed: int) -> Task:
        x, y = CORNERS[seed % 4]
        u = directions.uniforms(directions.fold(seed, _SPLIT_STREAM[split]), 2) * 0.4 - 0.2
        return Task(self.name, {"goal_x": x, "goal_y": y, "start_x": float(u[0]), "start_y": float(u[1])})


class Nav2d(_RoverFamily):
    """Reach a goal in the square [-1, 1]^2 that is known only by the distance to it."""

    name = "nav2d"
    robot = "rover_nav"
    goal_sensor = "distance_squared"

    def sample(self, split: Split, seed: int) -> Task:
        u = directions.uniforms(directions.fold(seed, _SPLIT_STREAM[split]), 2) * 2.0 - 1.0
        return Task(self.name, {"goal_x": float(u[0]), "goal_y": float(u[1]), "start_x": 0.0, "start_y": 0.0})
