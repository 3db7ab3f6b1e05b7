"""Task family on the rover: visit the goals that pay, stay away from the others, and nobody said which are which.

es_maml's NavigationTaskCombo (Song et al., ICLR 2020). Goals stand evenly on a circle of radius sqrt(8) m, the first
one on the x axis. Each control period adds up, d being the distance to the goal after the period, in m:

    a goal that pays, not yet visited     -4 + max(0, 4 - d^2)
    a goal that pays, visited             0; visited means that an earlier period ended with d^2 < 0.01
    a goal that does not pay              10000 * min(0, d^2 - 4)

Law: `paying` =one of the subsets of `options.num_correct` out of `options.num_goals` goals (1 of 4), as a number whose
bit i says that goal i pays; start x, y =U(-0.2, 0.2) m, where es_maml starts at (0, 0), so that splits share no task.
With `options.dynamics=kinematic` the rover is es_maml's as well (sim/tasks/beacon.py), with walls at +-5 m.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Split, Task
from esmaml_robot.robot_spec import RobotSpec

from ..laws import Choice, Law, Uniform, draw_parameters
from ..plant import BatchedPlant
from ..robots.rover import Rovers
from ..scenes import rover_scene
from ..world import Scene
from .beacon import PLANAR_GOAL, RoverFamily, RoverOptions

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

RADIUS_M = 8.0**0.5
REACH_M2, VISITED_M2 = 4.0, 0.01
SENSORS = ("x", "y", "beacon", "goals_left", "trespass")


class ComboOptions(RoverOptions):
    """num_goals on the circle, num_correct of them pay."""

    num_goals: Annotated[int, Field(ge=2, le=12)] = 4
    num_correct: Annotated[int, Field(ge=1, le=12)] = 1

    @model_validator(mode="after")
    def _some_may_pay(self) -> Self:
        if self.num_correct > self.num_goals:
            raise ValueError(f"num_correct is {self.num_correct}; there are {self.num_goals} goals")
        return self


def laws_for(options: ComboOptions) -> tuple[Law, ...]:
    subsets = itertools.combinations(range(options.num_goals), options.num_correct)
    return (
        Choice("paying", tuple(float(sum(1 << i for i in s)) for s in subsets), "1", "goals that pay, a bit each"),
        Uniform("start_x", -0.2, 0.2, "m", "where the rover starts, x"),
        Uniform("start_y", -0.2, 0.2, "m", "where the rover starts, y"),
    )


class ComboPlant:
    """B rovers among goals.

    Sensors: x, y (m); beacon, the sum of max(0, 4 - d^2) over goals that pay and are left (m^2); goals_left, their
    number; trespass, the sum of max(0, 4 - d^2) over goals that do not pay (m^2).
    """

    def __init__(self, spec: RobotSpec, num_goals: int, bodies: Rovers) -> None:
        found = tuple(s.name for s in spec.sensors)
        if found != SENSORS or [a.name for a in spec.actuators] != ["vx", "vy"]:
            raise ConfigError(
                f"robot {spec.name}: the simulated rover has sensors {list(SENSORS)} and actuators ['vx', 'vy'], the "
                f"file has {list(found)} and {[a.name for a in spec.actuators]}; make them agree."
            )
        angles = 2.0 * np.pi * np.arange(num_goals) / num_goals
        self._goals: F64 = RADIUS_M * np.stack([np.cos(angles), np.sin(angles)])[:, :, None]
        self._bodies = bodies

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        p = [t.parameters for t in tasks]
        start = np.array([[v["start_x"] for v in p], [v["start_y"] for v in p]])
        mask = np.array([int(v["paying"]) for v in p])
        self._pays: Bool = (mask >> np.arange(self._goals.shape[1])[:, None] & 1).astype(bool)
        self._left = self._pays.copy()
        self._bodies.reset(start)
        return self._sense(start)[0]

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        sensed, squared = self._sense(self._bodies.step(commands, torque_on, running))
        self._left &= squared >= VISITED_M2
        return sensed

    def scene(self, row: int) -> Scene:
        """What the rover of this row looks like now, for pictures; goals that pay are green."""
        x, y = self._position[:, row].tolist()
        goals: list[list[float]] = self._goals[:, :, 0].T.tolist()
        pays = self._pays[:, row].tolist()
        green, grey = (
            [(gx, gy) for (gx, gy), p in zip(goals, pays, strict=True) if p is kind] for kind in (True, False)
        )
        return rover_scene((x, y), green, grey, reach=3.6, signal_m=REACH_M2**0.5)

    def _sense(self, position: F64) -> tuple[F64, F64]:
        self._position = position
        offset = position[:, None, :] - self._goals
        squared = offset[0] * offset[0] + offset[1] * offset[1]
        near = np.maximum(0.0, REACH_M2 - squared)
        sensed = np.empty((len(SENSORS), position.shape[1]))
        sensed[:2] = position
        sensed[2] = (near * self._left).sum(axis=0)
        sensed[3] = self._left.sum(axis=0)
        sensed[4] = (near * ~self._pays).sum(axis=0)
        return sensed, squared

    def close(self) -> None:
        self._bodies.close()


class Combo(RoverFamily):
    """Visit the goals that pay and stay away from the others."""

    name = "combo"
    robot = "rover_combo"
    walls_m = 5.0
    Options = ComboOptions
    options: ComboOptions
    laws: ClassVar[tuple[Law, ...]] = laws_for(ComboOptions())
    # ranks: a return of -1e6 for a goal that does not pay would drown all others
    preset: ClassVar[Mapping[str, Any]] = PLANAR_GOAL | {"meta": PLANAR_GOAL["meta"] | {"shaping": "centred_ranks"}}

    def sample(self, split: Split, seed: int) -> Task:
        return Task(self.name, draw_parameters(laws_for(self.options), split, seed))

    def make_plant(self) -> BatchedPlant:
        return ComboPlant(self.spec, self.options.num_goals, self.make_rovers())
