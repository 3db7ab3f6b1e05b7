"""Robots with contacts as a BatchedPlant: each row has a PyBullet world of its own.

A robot's class says three things: what a task changes on the body (`prepare`), how commands become motor commands
(`drive`), and what the sensors read (`sense`). Everything else, worlds, batches and control periods, is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError, EsmamlError, SimulationError
from esmaml_robot.evaluation import Task
from esmaml_robot.own_code import episode_failure, short
from esmaml_robot.robot_spec import RobotSpec

from .world import PhysicsSettings, RobotModel, RobotWorld, View

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
Bool = npt.NDArray[np.bool_]

#: Robots side by side in one process: enough to share the cost of array operations; a world takes some 35 MB.
WIDTH = 8


def _described(rows: Sequence[Any], wanted: int) -> str:
    """What is wrong with the first of the rows that should have been `wanted` numbers each."""
    for row in rows:
        if row is None or not hasattr(row, "__len__"):
            return f"{row!r}, which is no list of numbers"
        if len(row) != wanted:
            return f"{len(row)} value{'s' if len(row) != 1 else ''}"
        strange = [v for v in row if not isinstance(v, int | float | np.number | np.bool_)]
        if strange:
            return f"a {type(strange[0]).__name__} among its values"
    return "something that is no list of numbers"


class ArticulatedPlant:
    """B robots, each in its own world.

    Args:
        spec: the robot; its physics_rate_hz is the rate of Bullet's steps.
        model: the robot's body and start.
        physics: solver settings.
        driven: joints that commands drive, in the order that `drive` uses.
        read: joints that `sense` reads; by default the driven ones.

    A subclass may keep what belongs to a row in lists of its own, indexed by `row`.

    Attributes:
        visual: worlds made from now on can be seen; set it before the first reset (sim/render.py).
        view: the direction that pictures are taken from.
    """

    view: ClassVar[View] = View()

    def __init__(
        self,
        spec: RobotSpec,
        model: RobotModel,
        physics: PhysicsSettings,
        driven: Sequence[str],
        read: Sequence[str] | None = None,
    ) -> None:
        self.spec, self.model, self.physics = spec, model, physics
        self._driven, self._read = list(driven), list(read if read is not None else driven)
        self.substeps = spec.physics_rate_hz // spec.control_rate_hz
        self.visual = False
        self.worlds: list[RobotWorld] = []
        self._truth: F64 = np.zeros((len(spec.sensors), 0))

    def expect(self, sensors: Sequence[str], actuators: Sequence[str]) -> None:
        """Raise ConfigError unless the robot's file has just these sensors and actuators, in this order."""
        found = [s.name for s in self.spec.sensors], [a.name for a in self.spec.actuators]
        for what, ours, theirs in zip(("sensors", "actuators"), (sensors, actuators), found, strict=True):
            if list(ours) != theirs:
                raise ConfigError(
                    f"robot {self.spec.name}: the simulated body has {what} {', '.join(ours)}; the file has "
                    f"{', '.join(theirs)}; make them agree."
                )

    def prepare(self, world: RobotWorld, row: int, task: Task, episode_seed: int) -> None:
        """Make the world, just reset, into `task`: every parameter, every time; Bullet's reset keeps dynamics."""
        raise self._lacks("prepare", "makes a world into a task")

    def drive(self, world: RobotWorld, row: int, command: list[float]) -> None:
        """Send one control period's commands (SI, in the order of the file) and run `substeps` physics steps."""
        raise self._lacks("drive", "turns commands into motor commands and steps the world")

    def sense(self, world: RobotWorld, row: int) -> Sequence[float]:
        """True sensor values in SI, in the order of the file."""
        raise self._lacks("sense", "returns what the sensors read")

    def _lacks(self, method: str, what: str) -> ConfigError:
        return ConfigError(f"{type(self).__name__} has no method `{method}`; write one that {what}.")

    def _sensed(self, rows: Sequence[Sequence[float]]) -> F64:
        """What `sense` returned for some robots, (n_sensors, rows). Raises ConfigError unless each has a number for
        each sensor.
        """
        try:
            table = np.array(rows)
        except ValueError:  # rows of different lengths
            table = np.empty(0, object)
        sensors = self.spec.sensors
        if table.shape != (len(rows), len(sensors)) or table.dtype.kind not in "fiub":
            names = ", ".join(s.name for s in sensors)
            code = type(self).sense.__code__
            raise ConfigError(
                f"{type(self).__name__}.sense ({short(code.co_filename)}:{code.co_firstlineno}) returned "
                f"{_described(rows, len(sensors))}; robot {self.spec.name} has {len(sensors)} sensors ({names}): "
                "return one number for each, in the order of its file."
            )
        return table.T

    def _failed(self, error: Exception, row: int) -> SimulationError:
        """What a robot's class raised, as one line that says in which task."""
        task, seed = self.__tasks[row], int(self.__seeds[row])
        return episode_failure(error, task.family, f"in an episode with seed {seed} in task {task.parameters}")

    def reset(self, tasks: Sequence[Task], episode_seeds: U32) -> F64:
        count = len(tasks)
        self.__tasks, self.__seeds = tasks, episode_seeds  # a subclass may have a _tasks of its own
        while len(self.worlds) < count:
            world = RobotWorld(self.model, self.physics, self.spec.physics_rate_hz, self.visual)
            world.choose(self._driven, self._read)
            self.worlds.append(world)
        self._truth = np.empty((len(self.spec.sensors), count))
        for row, (task, seed) in enumerate(zip(tasks, episode_seeds.tolist(), strict=True)):
            world = self.worlds[row]
            world.reset()
            world.release()
            try:
                self.prepare(world, row, task, seed)
                sensed = self.sense(world, row)
            except EsmamlError:
                raise
            except Exception as error:
                raise self._failed(error, row) from error
            self._truth[:, row] = self._sensed([sensed])[:, 0]
        return self._truth.copy()

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        rows = commands.T.tolist()
        alive = range(len(rows)) if running is None else np.flatnonzero(running).tolist()
        sensed = []
        row = 0
        try:
            for row in alive:
                world = self.worlds[row]
                if torque_on:
                    self.drive(world, row, rows[row])
                else:
                    world.release()
                    world.step(self.substeps)
                sensed.append(self.sense(world, row))
        except EsmamlError:
            raise
        except Exception as error:
            raise self._failed(error, row) from error
        if running is None:
            self._truth = self._sensed(sensed).copy()
        elif sensed:
            self._truth[:, alive] = self._sensed(sensed)
        return self._truth.copy()

    def close(self) -> None:
        for world in self.worlds:
            world.close()
        self.worlds.clear()
