"""Any Gymnasium environment as a task family: `gym:CartPole-v1`.

    esmaml train gym:Pendulum-v1 --out runs/pendulum --set options.vary.m=[0.5,2.0] --set options.vary.l=[0.7,1.3]

A task is an environment seed and a draw of everything that `vary` and `vary_kwargs` name; both are hidden from the
policy. Laws (=U(a, b): set to a uniform draw, each split from its own stream):

    environment_seed   =U of 2^29 numbers; splits share none
    <attribute>        =U(low, high), or one of `values`; set on the unwrapped environment before each reset
    <keyword>          the same, given to the environment's constructor, which is called again for each task

An attribute is set as it is: one that the constructor computed from it (CartPole's polemass_length, from length) stays
what it was, so vary what the environment reads each step, or a keyword.

The policy sees the observation flattened by Gymnasium (one-hot where discrete), each number scaled to [-1, 1] by its
bounds where both are finite; the others pass as they are, and `normalise: true` in the preset scales them by what
training sees. Actions: the largest output for Discrete; for Box, [-1, 1] scaled to its bounds where they are finite.
Returns are sums of the environment's rewards. How reproducible an episode is, is up to the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from esmaml_robot import directions, identity
from esmaml_robot.evaluation import EpisodeBatch, Split, Task
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec

from ..family import FamilyOptions, parse_options
from ..gymnasium_bridge import ENVIRONMENT_SEED, Bridge, BridgedEpisodes, BridgePainter
from ..laws import SPLIT_STREAM, Choice, Law, Uniform, draw_parameters

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

PREFIX = "gym:"
#: Environments side by side in one process.
WIDTH = 32
_SEED_BITS = 29

Finite = Annotated[float, Field(allow_inf_nan=False)]


class OneOf(BaseModel):
    """One of these values, each equally likely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: Annotated[tuple[Finite, ...], Field(min_length=2)]


Range = tuple[Finite, Finite] | OneOf


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """`--set options.vary.model.mass=[1,2]` arrives nested; attribute paths are flat."""
    if isinstance(value, Mapping) and set(value) != {"values"}:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path.removeprefix("unwrapped."), value


class GymnasiumOptions(FamilyOptions):
    """Of an environment.

    kwargs: keywords of the constructor, the same in every task.
    vary: attribute of the unwrapped environment -> [low, high] or {values: [...]}.
    vary_kwargs: keyword of the constructor -> the same.
    start: task, all episodes of a task begin with its seed; episode, each begins with another one, as noise.
    steps: longest episode, for environments that have no limit of their own.
    """

    kwargs: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, Range] = Field(default_factory=dict)
    vary_kwargs: dict[str, Range] = Field(default_factory=dict)
    start: Literal["task", "episode"] = "task"
    steps: Annotated[int, Field(ge=1, le=60_000)] | None = None

    @field_validator("vary", mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        return dict(_flat(value)) if isinstance(value, Mapping) else value

    @field_validator("vary", "vary_kwargs")
    @classmethod
    def _check(cls, value: dict[str, Range], info: ValidationInfo) -> dict[str, Range]:
        for name, given in value.items():
            if not isinstance(given, OneOf) and not given[0] < given[1]:
                raise ValueError(f"{name} is [{given[0]:g}, {given[1]:g}]; the first number must be below the second")
            if name in info.data.get("vary", {}):
                raise ValueError(f"{name} is varied as an attribute already")
        return value


def _law(name: str, given: Range, meaning: str) -> Law:
    if isinstance(given, OneOf):
        return Choice(name, given.values, "1", meaning)
    return Uniform(name, *given, "1", meaning)


class GymnasiumFamily:
    """An environment of Gymnasium; what varies is its seed and what the options `vary` and `vary_kwargs` name.

    Args:
        environment: Gymnasium's id; "module:Name-v0" imports the module first.
        options: see GymnasiumOptions.

    Raises:
        ConfigError: the environment cannot be made, has no attribute that `vary` names, no limit of time, or spaces
            that no policy here fits.
    """

    spec = None
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [8]},
        "normalise": True,
        "initial": "zeros",
        "operator": {"name": "hill_climb", "queries": 10, "sigma": 0.2},
        "meta": {"pairs": 16, "sigma": 0.1, "learning_rate": 0.05},
        "episodes": 40_000,
    }

    def __init__(self, environment: str, options: Mapping[str, Any] | None = None) -> None:
        self.name = PREFIX + environment
        parsed = parse_options(self.name, GymnasiumOptions, options or {})
        assert isinstance(parsed, GymnasiumOptions)
        self.options = parsed
        self.laws: tuple[Law, ...] = (
            *(_law(n, r, "attribute of the environment") for n, r in self.options.vary.items()),
            *(_law(n, r, "keyword of its constructor") for n, r in self.options.vary_kwargs.items()),
        )
        self._bridge = Bridge(
            self.name,
            environment,
            keywords=self.options.kwargs,
            attributes=tuple(self.options.vary),
            varied_keywords=tuple(self.options.vary_kwargs),
            one_start=self.options.start == "task",
            steps=self.options.steps,
            example=self.sample("train", 0),
        )
        self.inputs, self.outputs, self.steps = self._bridge.inputs, self._bridge.outputs, self._bridge.steps
        self.interface_hash = identity.digest_json({"environment": environment, **self._bridge.spaces})

    def sample(self, split: Split, seed: int) -> Task:
        stream = SPLIT_STREAM[split]
        number = (stream << _SEED_BITS) | (directions.fold(seed, stream) >> (32 - _SEED_BITS))
        return Task(self.name, {ENVIRONMENT_SEED: float(number), **draw_parameters(self.laws, split, seed)})

    def episodes(self) -> BridgedEpisodes:
        """Episodes a step at a time."""
        return BridgedEpisodes(self._bridge)

    def painter(self, size: tuple[int, int]) -> BridgePainter:
        """Pictures by the environment's own renderer; to be asked for before the first episode."""
        return BridgePainter(self._bridge, size)

    def evaluate(
        self,
        policy: PolicySpec,
        normaliser: Normaliser,
        params: F32,
        tasks: Sequence[Task],
        episode_seeds: U32,
        observe: bool = False,
    ) -> EpisodeBatch:
        parts: list[EpisodeBatch] = []
        for first in range(0, len(tasks), WIDTH):
            rows = slice(first, first + WIDTH)
            batch = PolicyBatch(policy, params[rows], normaliser)
            parts.append(self._run(batch, tasks[rows], episode_seeds[rows], observe))
        return EpisodeBatch(
            np.concatenate([p.returns for p in parts]),
            np.concatenate([p.steps for p in parts]),
            np.concatenate([p.valid for p in parts]),
            [m for p in parts for m in p.observed or ()] if observe else None,
        )

    def _run(self, policies: PolicyBatch, tasks: Sequence[Task], seeds: U32, observe: bool) -> EpisodeBatch:
        episodes = self.episodes()
        seen = episodes.begin(tasks, seeds)
        policies.reset()
        looks: list[list[F32]] = [[] for _ in tasks]
        for tick in range(episodes.length):
            if observe:
                for row in np.flatnonzero(episodes.running).tolist():
                    looks[row].append(seen[:, row])
            seen = episodes.advance(policies.act(seen, tick))
            if not episodes.running.any():
                break
        returns = np.where(episodes.valid, episodes.total, np.float32(np.nan)).astype(np.float32)
        observed = [Moments.of(np.array(rows)) for rows in looks] if observe else None
        return EpisodeBatch(returns, episodes.steps, episodes.valid, observed)

    def close(self) -> None:
        self._bridge.close()
