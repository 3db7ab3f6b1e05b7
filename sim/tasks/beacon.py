"""Task families on the rover: a hidden goal, sensed only as a beacon (four_corners) or as a distance (nav2d).

Laws (=U(a, b): set to a uniform draw):

    four_corners   corner        = one of (2, 2), (-2, 2), (-2, -2), (2, -2) m, by task index modulo 4
                   start x, y    =U(-0.2, 0.2) m
                   robot         rover_uno: reward -4 + max(0, 4 - d^2) a period, d to the corner after the period
    nav2d          goal x, y     =U(-1, 1) m
                   start         (0, 0)
                   robot         rover_nav: reward -d^2 a period, over when d^2 < 0.01

With `options.dynamics=kinematic` the rover is that of es_maml's NavigationTask4corner and NavigationTask2d (Song et
al., ICLR 2020): at most 0.1 m a period, walls at +-5 m and +-1 m; positions and distances are read in counts as ever.
`bullet`, the default, has masses, servos and no walls.

Goal and start are hidden from the policy, which sees the rover's position alone. Splits draw from different streams
of the counter-based generator: no start (four_corners) and no goal (nav2d) is in two splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..family import FamilyOptions, RobotFamily
from ..laws import Cycle, Law, Uniform
from ..plant import BatchedPlant
from ..robots.rover import Dynamics, Rovers, make_rovers
from ..scenes import rover_scene
from ..world import Scene

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

CORNERS = ((2.0, 2.0), (-2.0, 2.0), (-2.0, -2.0), (2.0, -2.0))


def _beacon(squared: F64) -> None:
    """A distance squared becomes, in place, a signal strength max(0, 4 - d^2).

    Beyond 2 m there is none, so that the centre of four_corners is perfectly flat.
    """
    np.subtract(4.0, squared, out=squared)
    np.maximum(squared, 0.0, out=squared)


class RoverPlant:
    """B rovers, each with its own hidden goal; sensors x, y and the goal signal of the family."""

    def __init__(self, spec: RobotSpec, goal_sensor: str, bodies: Rovers) -> None:
        expected = ["x", "y", goal_sensor]
        found = [s.name for s in spec.sensors]
        if found != expected or [a.name for a in spec.actuators] != ["vx", "vy"]:
            raise ConfigError(
                f"robot {spec.name}: the simulated rover has sensors {expected} and actuators ['vx', 'vy'], "
                f"the file has {found} and {[a.name for a in spec.actuators]}; make them agree."
            )
        self._beacon = goal_sensor == "beacon"
        self._bodies = bodies

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        p = [t.parameters for t in tasks]
        self._goal = np.array([[v["goal_x"] for v in p], [v["goal_y"] for v in p]])
        start = np.array([[v["start_x"] for v in p], [v["start_y"] for v in p]])
        self._bodies.reset(start)
        return self._sense(start)

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        return self._sense(self._bodies.step(commands, torque_on, running))

    def scene(self, row: int) -> Scene:
        """What the rover of this row looks like now, for pictures."""
        x, y = self._position[:, row].tolist()
        goal_x, goal_y = self._goal[:, row].tolist()
        if self._beacon:
            return rover_scene((x, y), [(goal_x, goal_y)], CORNERS, reach=3.6, signal_m=2.0)
        return rover_scene((x, y), [(goal_x, goal_y)], (), reach=1.5, scale=0.5)

    def _sense(self, position: F64) -> F64:
        self._position = position
        sensed = np.empty((3, position.shape[1]))
        sensed[:2] = position
        offset = sensed[:2] - self._goal
        np.multiply(offset, offset, out=offset)
        squared = np.add(offset[0], offset[1], out=sensed[2])
        if self._beacon:
            _beacon(squared)
        return sensed

    def close(self) -> None:
        self._bodies.close()


#: The gain and the two sigmas belong together. A hill-climbing step of sigma moves the place that the policy steers to
#: by about sigma over the weights of the first layer, and the gain of the layer above decides how fast it gets there.
#: docs/learning.md has what was tried.
PLANAR_GOAL: dict[str, Any] = {
    "policy": {"hidden": [8]},
    "initial": "rest",
    "initial_gain": 8.0,
    "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15, "shrink": 0.8},
    "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.04, "learning_rate_final": 0.004},
    "episodes": 600_000,
}


class RoverOptions(FamilyOptions):
    dynamics: Dynamics = "bullet"


class RoverFamily(RobotFamily):
    """What families on the rover share.

    walls_m: how far a rover without masses can go from the centre, along each axis.
    """

    Options = RoverOptions
    options: RoverOptions
    walls_m: ClassVar[float]

    def make_rovers(self) -> Rovers:
        spec = self.spec
        return make_rovers(self.options.dynamics, spec.control_rate_hz, spec.physics_rate_hz, self.walls_m)


class FourCorners(RoverFamily):
    """Find out which of four corners pays, where the signal begins 2 m from the corner."""

    name = "four_corners"
    robot = "rover_uno"
    walls_m = 5.0
    preset = PLANAR_GOAL
    laws: ClassVar[tuple[Law, ...]] = (
        Cycle("goal_x", tuple(c[0] for c in CORNERS), "m", "the corner that pays, x"),
        Cycle("goal_y", tuple(c[1] for c in CORNERS), "m", "the corner that pays, y"),
        Uniform("start_x", -0.2, 0.2, "m", "where the rover starts, x"),
        Uniform("start_y", -0.2, 0.2, "m", "where the rover starts, y"),
    )

    def make_plant(self) -> BatchedPlant:
        return RoverPlant(self.spec, "beacon", self.make_rovers())


class Nav2d(RoverFamily):
    """Reach a goal in the square [-1, 1]^2 that is known only by the distance to it."""

    name = "nav2d"
    robot = "rover_nav"
    walls_m = 1.0
    preset = PLANAR_GOAL
    laws: ClassVar[tuple[Law, ...]] = (
        Uniform("goal_x", -1.0, 1.0, "m", "the goal, x"),
        Uniform("goal_y", -1.0, 1.0, "m", "the goal, y"),
        Cycle("start_x", (0.0,), "m", "where the rover starts, x"),
        Cycle("start_y", (0.0,), "m", "where the rover starts, y"),
    )

    def make_plant(self) -> BatchedPlant:
        return RoverPlant(self.spec, "distance_squared", self.make_rovers())
