"""A task family on a robot: the class that families here, and a user's own, are made from.

    class Payload(RobotFamily):
        '''Carry what nobody told it about.'''                 # one line: what `esmaml tasks` shows

        name = "payload"
        robot = "my_robot.yaml"                                # beside the class's file, or a robot that ships
        laws = (Uniform("payload_kg", 0.0, 0.5, "kg", "mass on the base"),)
        preset = {"policy": {"hidden": [8]}, "meta": {"pairs": 16}}

        def make_plant(self) -> BatchedPlant:
            return MyPlant(self.spec)

`esmaml train my_module:Payload` finds it. docs/your_own_robot.md walks through one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from esmaml_robot.errors import ConfigError, EsmamlError
from esmaml_robot.evaluation import EpisodeBatch, Split, Task
from esmaml_robot.first_problem import first_problem
from esmaml_robot.own_code import failure, short, what_happened
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from esmaml_robot.robot_spec import RobotSpec, load_robot
from esmaml_robot.signals import Signals

from .laws import Law, draw_parameters
from .plant import BatchedPlant
from .rollout import Episodes, Tick, run_episodes

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]


class FamilyOptions(BaseModel):
    """Options of a family that a run may set (`--set options.KEY=VALUE`); part of the run's configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_options(name: str, model: type[FamilyOptions], values: Mapping[str, Any]) -> FamilyOptions:
    """Options of family `name` out of plain values; ConfigError naming the key otherwise.

    In a group of options, those that are not given are the family's, not the group's own defaults.
    """
    whole = dict(values)
    for key, field in model.model_fields.items():
        given = whole.get(key)
        if isinstance(field.default, BaseModel) and isinstance(given, Mapping):
            whole[key] = {**field.default.model_dump(), **given}
    try:
        return model.model_validate(whole)
    except ValidationError as error:
        raise ConfigError(f"task family {name}: {first_problem(error, model).of('option')}.") from error


def _check_class(family: type[RobotFamily], needs_robot: bool) -> None:
    """Raise ConfigError unless a class says all that a family must, in the kinds that it must."""

    def refuse(what: str) -> ConfigError:
        file = getattr(sys.modules.get(family.__module__), "__file__", None)
        return ConfigError(f"task family class {family.__name__} ({short(file or family.__module__)}): {what}")

    needed = {
        "name": "a word, what it is called",
        "laws": "a tuple of laws (sim/laws.py), what varies from task to task",
        **({"robot": "a YAML file beside it, or a robot that ships"} if needs_robot else {}),
    }
    for key, what in needed.items():
        if not hasattr(family, key):
            raise refuse(f"it has no {key!r}; write `{key} = ...` in it: {what}.")
    for key in ("name", "robot"):
        if not isinstance(value := getattr(family, key, ""), str):
            raise refuse(f"`{key}` is {value!r}; it must be {needed.get(key, 'a text')}.")
    laws = family.laws
    if not isinstance(laws, tuple | list) or not all(isinstance(law, Law) for law in laws):
        raise refuse("`laws` must be a tuple of laws; one alone needs a comma behind it: laws = (Uniform(...),)")
    names = [law.name for law in laws]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise refuse(f"`laws` has {twice!r} {names.count(twice)} times; names must differ.")
    if not isinstance(family.preset, Mapping) or not isinstance(family.preset.get("policy", {}), Mapping):
        raise refuse('`preset` must be a dict of settings, its "policy" one too: {"policy": {"hidden": [8]}}.')
    if family.width is not None and (not isinstance(family.width, int) or family.width < 1):
        raise refuse(f"`width` is {family.width!r}; it must be a whole number from 1 on, or None.")


class RobotFamily:
    """Tasks drawn from `laws`, on the robot of a RobotSpec, in episodes that run on a BatchedPlant.

    Class attributes:
        name: as `esmaml train` calls it.
        robot: a robot that ships with the package, or a YAML file beside the module of the class.
        laws: what varies from task to task, hidden from the policy.
        preset: training settings that suit the family.
        width: at most so many robots side by side in one process; None for no limit. Worlds of one robot cost memory.
        Options: what a run may set.

    Raises ConfigError where the class lacks one that has no default, or has one of another kind.
    """

    name: ClassVar[str]
    robot: ClassVar[str]
    laws: ClassVar[tuple[Law, ...]]
    preset: ClassVar[Mapping[str, Any]] = {}
    width: ClassVar[int | None] = None
    Options: ClassVar[type[FamilyOptions]] = FamilyOptions

    def __init__(self, spec: RobotSpec | None = None, options: Mapping[str, Any] | None = None) -> None:
        _check_class(type(self), needs_robot=spec is None)
        self.spec: RobotSpec = spec or load_robot(self.robot_file())
        self.options = parse_options(self.name, self.Options, options or {})
        self.signals = Signals(self.spec)

    @classmethod
    def robot_file(cls) -> str:
        """The robot's name, or the path of the YAML file beside the class's module."""
        if cls.robot.endswith((".yaml", ".yml")):
            return str(Path(inspect.getfile(cls)).parent / cls.robot)
        return cls.robot

    def make_plant(self) -> BatchedPlant:
        """The bodies; called once, when the first episode runs."""
        raise ConfigError(
            f"task family {self.name}: {type(self).__name__} has no make_plant; write one that returns its bodies."
        )

    @cached_property
    def plant(self) -> BatchedPlant:
        try:
            made = self.make_plant()
        except EsmamlError:
            raise
        except Exception as error:
            message = f"task family {self.name}: {what_happened(error)}; its make_plant yields no bodies."
            raise failure(ConfigError, message, error) from error
        if not all(callable(getattr(made, method, None)) for method in ("reset", "step", "close")):
            raise ConfigError(
                f"task family {self.name}: {type(self).__name__}.make_plant returned a {type(made).__name__}; return a "
                "plant, with `reset`, `step` and `close`."
            )
        return made

    @property
    def interface_hash(self) -> str:
        return self.spec.spec_hash

    @property
    def inputs(self) -> int:
        return len(self.spec.observed)

    @property
    def outputs(self) -> int:
        return len(self.spec.actuators)

    def sample(self, split: Split, seed: int) -> Task:
        """The task that `seed` stands for in a split."""
        return Task(self.name, draw_parameters(self.laws, split, seed))

    def episodes(self) -> Episodes:
        """Episodes a control period at a time, for whoever brings actions of its own."""
        return Episodes(self.plant, self.signals)

    def evaluate(
        self,
        policy: PolicySpec,
        normaliser: Normaliser,
        params: F32,
        tasks: Sequence[Task],
        episode_seeds: U32,
        observe: bool = False,
        record: Callable[[Tick], None] | None = None,
    ) -> EpisodeBatch:
        """One episode per row, `width` at a time; see TaskFamily.evaluate. `record` needs all rows in one batch."""
        width = self.width or max(1, len(tasks))
        if record is not None and len(tasks) > width:
            raise ValueError(f"{len(tasks)} rows do not fit one batch of {width}")
        parts = []
        for first in range(0, len(tasks), width):
            rows = slice(first, first + width)
            batch = PolicyBatch(policy, params[rows], normaliser)
            parts.append(
                run_episodes(
                    self.plant, self.signals, batch, tasks[rows], episode_seeds[rows], record=record, observe=observe
                )
            )
        if len(parts) == 1:
            return parts[0]
        return EpisodeBatch(
            np.concatenate([p.returns for p in parts]),
            np.concatenate([p.steps for p in parts]),
            np.concatenate([p.valid for p in parts]),
            [m for p in parts for m in p.observed or ()] if observe else None,
        )

    def close(self) -> None:
        """Free the bodies, if any episode ever ran."""
        if "plant" in self.__dict__:
            self.plant.close()
            del self.__dict__["plant"]
