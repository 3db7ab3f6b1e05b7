"""Our task families as environments of Gymnasium, for whoever brings an algorithm of their own.

    import gymnasium, sim.gym_env
    env = gymnasium.make("esmaml/CheetahDirection-v0")
    observation, info = env.reset(seed=0)                                # a training task that seed 0 stands for
    observation, info = env.reset(options={"split": "test", "task": 7})  # held-out task number 7

The policy's view is the same as in training here: observed sensors and actions in [-1, 1], the reward of the robot's
file, computed in float32 on quantised sensors. The task's hidden parameters are in `info` and nowhere else; an
algorithm that adapts must not read them. An episode is `terminated` by an abort condition and `truncated` at its end.

A family of your own: gymnasium.make("esmaml/Family-v0", family="my_robot:Crawler").
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Split, Task

from .render import Painter, has_picture, make_painter, stepwise
from .tasks import FAMILIES, make_family

F32 = npt.NDArray[np.float32]

NAMESPACE = "esmaml"
SPLITS: tuple[Split, ...] = typing.get_args(Split)
_TASK, _EPISODE = 1, 2


class FamilyEnv(gymnasium.Env[F32, F32]):
    """One robot of a family; `reset` puts it into a task.

    Args:
        family: as `esmaml train` takes it.
        options: of the family.
        render_mode: "rgb_array", or None for no pictures; bodies with shapes take more memory.

    Raises:
        ConfigError: there is no such family, or it has no step-wise episodes.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - Gymnasium's form

    def __init__(self, family: str, options: Mapping[str, Any] | None = None, render_mode: str | None = None) -> None:
        made = stepwise(make_family(family, options))
        self.family = made
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (made.inputs,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (made.outputs,), np.float32)
        self.render_mode = render_mode
        self._painter: Painter | None = make_painter(made) if render_mode == "rgb_array" else None
        self._episodes = made.episodes()
        modes = FamilyEnv.metadata["render_modes"] if has_picture(made) else []
        self.metadata = {"render_modes": modes, "render_fps": self._episodes.rate_hz}
        self._root: int | None = None
        self._number = 0
        self._task: Task | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[F32, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: decides the tasks of this and all later resets, if `options` does not.
            options: `split` (train, validation, test, outside; default train) and `task`, a number in it.
        """
        super().reset(seed=seed)
        if seed is not None or self._root is None:
            assert self.np_random_seed is not None
            self._root, self._number = self.np_random_seed & 0xFFFFFFFF, 0
        split, index = self._choice(options or {})
        if index is None:
            index = directions.fold(directions.fold(self._root, _TASK), self._number)
        episode_seed = directions.fold(directions.fold(self._root, _EPISODE), self._number)
        self._number += 1
        self._task = self.family.sample(split, index)
        observation = self._episodes.begin([self._task], np.array([episode_seed], dtype=np.uint32))
        if self._painter is not None:
            self._painter.begin()
        return observation[:, 0].copy(), self._info()

    @staticmethod
    def _choice(options: dict[str, Any]) -> tuple[Split, int | None]:
        unknown = sorted(set(options) - {"split", "task"})
        if unknown:
            raise ConfigError(f"reset option {unknown[0]!r} is unknown; known: split, task.")
        split, index = options.get("split", "train"), options.get("task")
        if split not in SPLITS:
            raise ConfigError(f"reset option split is {split!r}; known: {', '.join(SPLITS)}.")
        if index is not None and not 0 <= index < 2**32:
            raise ConfigError(f"reset option task is {index!r}; it must be 0 to 4294967295.")
        return split, index

    def step(self, action: F32) -> tuple[F32, float, bool, bool, dict[str, Any]]:
        column = np.asarray(action, dtype=np.float32).reshape(-1, 1)
        observation = self._episodes.advance(np.clip(column, -1.0, 1.0))
        truncated = int(self._episodes.steps[0]) >= self._episodes.length and not self._episodes.aborted[0]
        terminated = not (self._episodes.running[0] or truncated)
        return observation[:, 0].copy(), float(self._episodes.reward[0]), terminated, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        assert self._task is not None
        return {"task": dict(self._task.parameters)}

    def render(self) -> npt.NDArray[np.uint8] | None:
        return None if self._painter is None else self._painter.picture(0)

    def close(self) -> None:
        if self._painter is not None:
            self._painter.close()
        self.family.close()


def register() -> None:
    """Register each family that ships, by its class's name, and `Family` for one of your own."""
    names = {attribute: {"family": name} for name, (_, attribute) in FAMILIES.items()}
    for name, arguments in {**names, "Family": {}}.items():
        key = f"{NAMESPACE}/{name}-v0"
        if key not in gymnasium.registry:
            gymnasium.register(key, entry_point=f"{__name__}:FamilyEnv", kwargs=arguments)


register()
