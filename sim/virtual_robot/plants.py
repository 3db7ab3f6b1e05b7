"""Which body stands behind a virtual robot's pins, and which task is hidden in it.

A plant here is a task family's own body with a batch of one, so a virtual robot moves with the same bits as a
robot in training. The task is a test task that the host program is never told: number `seed` of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec
from esmaml_robot.signals import Signals

from ..family import RobotFamily
from ..laws import own_task
from ..plant import ServoDriven
from ..tasks import FAMILIES, family_class, make_family

I32 = npt.NDArray[np.int32]


class FamilyPlant:
    """One robot of a family in one task; speaks counts, as sensors and actuators do."""

    def __init__(self, family: RobotFamily, task: Task) -> None:
        self._plant, self._signals, self._task = family.plant, Signals(family.spec), task

    def reset(self, episode_seed: int) -> I32:
        """Put the robot at its start; returns sensor counts (n_sensors,)."""
        truth = self._plant.reset([self._task], np.array([episode_seed], dtype=np.uint32))
        return self._signals.quantise(truth)[:, 0]

    def step(self, actuators: I32, torque_on: bool) -> I32:
        """One control period under actuator counts (n_actuators,); returns sensor counts (n_sensors,)."""
        commands = self._signals.commands_si(np.asarray(actuators, dtype=np.int32).reshape(-1, 1))
        return self._signals.quantise(self._plant.step(commands, torque_on))[:, 0]

    def limit(self, efforts: list[float]) -> None:
        """Share of its force that each actuator has from the next step on. Raises ConfigError where they are no servos,
        one a joint.
        """
        self._servos.efforts = list(efforts)

    def joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Angles (rad) and velocities (rad/s) of the actuators' joints. Raises ConfigError as `limit` does."""
        return self._servos.servo_joints(0)

    @property
    def _servos(self) -> ServoDriven:
        if not isinstance(self._plant, ServoDriven):
            name = self._signals.spec.name
            raise ConfigError(f"the simulated body of {name} has no position servos that a bus could drive one by one.")
        return self._plant


def _family_of(spec: RobotSpec) -> type[RobotFamily]:
    known: set[str] = set()
    for name in FAMILIES:  # one after the other: importing them all would be a long start for a robot
        family: type[object] = family_class(name)
        if not issubclass(family, RobotFamily):
            continue
        if family.robot == spec.name:
            return family
        known.add(family.robot)
    raise ConfigError(
        f"there is no simulated body for robot {spec.name!r}; there is one for: {', '.join(sorted(known))}."
    )


def _named_family(spec: RobotSpec, name: str, options: Mapping[str, Any]) -> RobotFamily:
    family: Any = make_family(name, options)
    if not isinstance(family, RobotFamily):
        raise ConfigError(f"task family {name} has no robot to stand behind a port.")
    if family.spec.spec_hash != spec.spec_hash:
        raise ConfigError(f"task family {name} is on robot {family.spec.name}, not on this {spec.name}.")
    return family


def make_plant(
    spec: RobotSpec,
    seed: int,
    task_json: str | None,
    family_name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> FamilyPlant:
    """The body of `spec` in a hidden task.

    Args:
        spec: the robot.
        seed: number of the test task.
        task_json: a task's parameters as JSON instead, for example a goal of your own.
        family_name: the family to draw the task from, with its options; without it, the first that ships on this robot.

    Raises:
        ConfigError: no body for this robot, or the JSON is no task of its family.
    """
    family = _named_family(spec, family_name, options or {}) if family_name else _family_of(spec)(spec)
    task = family.sample("test", seed)
    if task_json is not None:
        task = own_task(task, task_json)
    return FamilyPlant(family, task)
