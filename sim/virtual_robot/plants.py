"""Which body stands behind a virtual robot's pins, and which task is hidden in it.

A plant here is a task family's own body with a batch of one, so a virtual robot moves with the same bits as a
robot in training. The task is a test task that the host program is never told: number `seed` of the split.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec
from esmaml_robot.signals import Signals

from ..tasks import FAMILIES, Family

I32 = npt.NDArray[np.int32]


class FamilyPlant:
    """One robot of a family in one task; speaks counts, as sensors and actuators do."""

    def __init__(self, family: Family, task: Task) -> None:
        self._plant, self._signals, self._task = family.plant, Signals(family.spec), task

    def reset(self, episode_seed: int) -> I32:
        """Put the robot at its start; returns sensor counts (n_sensors,)."""
        truth = self._plant.reset([self._task], np.array([episode_seed], dtype=np.uint32))
        return self._signals.quantise(truth)[:, 0]

    def step(self, actuators: I32, torque_on: bool) -> I32:
        """One control period under actuator counts (n_actuators,); returns sensor counts (n_sensors,)."""
        commands = self._signals.commands_si(np.asarray(actuators, dtype=np.int32).reshape(-1, 1))
        return self._signals.quantise(self._plant.step(commands, torque_on))[:, 0]


def _family_of(spec: RobotSpec) -> type[Any]:
    for family in FAMILIES.values():
        if family.robot == spec.name:
            return family
    known = ", ".join(sorted({f.robot for f in FAMILIES.values()}))
    raise ConfigError(f"there is no simulated body for robot {spec.name!r}; there is one for: {known}.")


def make_plant(spec: RobotSpec, seed: int, task_json: str | None) -> FamilyPlant:
    """The body of `spec` in a hidden task.

    Args:
        spec: the robot; a family's robot by name.
        seed: number of the test task.
        task_json: a task's parameters as JSON instead, for example a goal of your own.

    Raises:
        ConfigError: no body for this robot, or the JSON is no task of its family.
    """
    family: Family = _family_of(spec)(spec)
    task = family.sample("test", seed)
    if task_json is not None:
        try:
            given = {k: float(v) for k, v in json.loads(task_json).items()}
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ConfigError(f"task {task_json!r} is not a JSON object of numbers: {error}") from error
        strange = sorted(k for k, v in given.items() if not math.isfinite(v))
        if strange:
            raise ConfigError(f"task key {strange[0]!r} is {given[strange[0]]}; a finite number is needed.")
        unknown = sorted(set(given) - set(task.parameters))
        if unknown:
            raise ConfigError(f"task key {unknown[0]!r} is unknown; known: {', '.join(sorted(task.parameters))}.")
        task = Task(task.family, {**task.parameters, **given})
    return FamilyPlant(family, task)
