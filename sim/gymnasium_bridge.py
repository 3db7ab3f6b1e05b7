"""Environments of Gymnasium behind step-wise episodes: many side by side, spaces turned into [-1, 1] and back."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from PIL import Image

from esmaml_robot import directions
from esmaml_robot.errors import ConfigError, EsmamlError, SimulationError
from esmaml_robot.evaluation import Task
from esmaml_robot.own_code import episode_failure, failure, place_of, what_happened

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Bool = npt.NDArray[np.bool_]
Environment = gymnasium.Env[Any, Any]

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output is the caller's

#: Key of a task's parameters.
ENVIRONMENT_SEED = "environment_seed"
#: A bound beyond this is none: some environments write the largest float for infinity.
LARGEST_BOUND = 1e6
#: A policy takes no more inputs, and no more outputs.
MOST_INPUTS, MOST_OUTPUTS = 256, 64


def _scaling(low: F64, high: F64) -> tuple[F64, F64]:
    """Centre and half width that map [low, high] to [-1, 1]; 0 and 1 where a bound is missing."""
    bounded = (np.abs(low) <= LARGEST_BOUND) & (np.abs(high) <= LARGEST_BOUND) & (low < high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    return 0.5 * (low + high), 0.5 * (high - low)


class Bridge:
    """Environments of one kind, made when they are needed and put into tasks.

    Args:
        family: what errors call it.
        environment: Gymnasium's id.
        keywords: of the constructor.
        attributes: what a task sets on the unwrapped environment, dotted paths.
        varied_keywords: what a task gives to the constructor.
        one_start: episodes of a task begin with the same seed.
        steps: longest episode; None for the environment's own limit.
        example: a task, to try the first environment with.

    Attributes:
        inputs, outputs: numbers seen and given.
        spaces: the spaces as text.
        steps: longest episode.
        rate_hz: steps a second of the environment's own time.
        render_mode: of environments made from now on.
    """

    def __init__(
        self,
        family: str,
        environment: str,
        *,
        keywords: Mapping[str, Any],
        attributes: Sequence[str],
        varied_keywords: Sequence[str],
        one_start: bool,
        steps: int | None,
        example: Task,
    ) -> None:
        self._family, self._id, self._keywords = family, environment, dict(keywords)
        self._attributes, self._varied, self.one_start = attributes, varied_keywords, one_start
        self.render_mode: str | None = None
        self._pool: list[tuple[dict[str, float], Environment]] = []
        first = self.take([example])[0]
        self._read(first.observation_space)
        self._act(first.action_space)
        self.spaces = {"observation": str(first.observation_space), "action": str(first.action_space)}
        limit = steps or (first.spec.max_episode_steps if first.spec else None)
        if limit is None:
            raise ConfigError(f"task family {family}: this environment has no limit of time; set options.steps.")
        self.steps = int(limit)
        self.rate_hz = float(first.metadata.get("render_fps") or 30.0)

    def _read(self, space: spaces.Space[Any]) -> None:
        flat: spaces.Space[Any] = space
        with contextlib.suppress(NotImplementedError):
            flat = spaces.utils.flatten_space(space)
        if not isinstance(flat, spaces.Box) or not 1 <= flat.shape[0] <= MOST_INPUTS:
            raise ConfigError(
                f"task family {self._family}: observations are {space}; a policy takes 1 to {MOST_INPUTS} numbers."
            )
        self._observation_space, self.inputs = space, int(flat.shape[0])
        self._centre, self._half = _scaling(flat.low.astype(np.float64), flat.high.astype(np.float64))

    def _act(self, space: spaces.Space[Any]) -> None:
        if isinstance(space, spaces.Discrete):
            self.outputs = int(space.n)
        elif isinstance(space, spaces.Box):
            self.outputs = int(np.prod(space.shape))
            self._action_centre, self._action_half = _scaling(
                space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
            )
        else:
            raise ConfigError(f"task family {self._family}: actions are {space}; only Discrete and Box are known.")
        if not 1 <= self.outputs <= MOST_OUTPUTS:
            raise ConfigError(f"task family {self._family}: actions are {space}; a policy gives 1 to {MOST_OUTPUTS}.")
        self._action_space = space

    def observe(self, observation: Any) -> F32:
        """An observation as the policy sees it, (inputs,)."""
        flat = np.asarray(spaces.utils.flatten(self._observation_space, observation), dtype=np.float64)
        seen: F32 = ((flat - self._centre) / self._half).astype(np.float32)
        return seen

    def action(self, values: F32) -> Any:
        """The environment's action for outputs (outputs,) in [-1, 1]."""
        space = self._action_space
        if isinstance(space, spaces.Discrete):
            return int(space.start) + int(np.argmax(values))
        scaled = self._action_centre + self._action_half * values
        return scaled.reshape(space.shape).astype(space.dtype)

    def _make(self, varied: Mapping[str, float]) -> Environment:
        here = os.getcwd()
        if here not in sys.path:  # "module:Name-v0" may be the user's own, in the folder that `esmaml` was started in
            sys.path.insert(0, here)
        keywords = {**self._keywords, **varied}
        if self.render_mode is not None:
            keywords["render_mode"] = self.render_mode
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a newer version exists is not for every worker to say
                return gymnasium.make(self._id, disable_env_checker=True, **keywords)
        except (gymnasium.error.Error, ImportError, TypeError, ValueError, AttributeError) as error:
            message = what_happened(error) if place_of(error) else " ".join(str(error).split())
            raise ConfigError(f"task family {self._family}: Gymnasium cannot make it: {message}") from error
        except Exception as error:
            message = f"task family {self._family}: {what_happened(error)}; the environment cannot be made."
            raise failure(ConfigError, message, error) from error

    def _set(self, env: Environment, path: str, value: float) -> None:
        *owners, name = path.split(".")
        at: Any = env.unwrapped
        for part in (*owners, name):
            if not hasattr(at, part):
                near = difflib.get_close_matches(part, [n for n in dir(at) if not n.startswith("_")], n=1)
                hint = f"did you mean {near[0]!r}?" if near else "name an attribute that it has."
                raise ConfigError(f"task family {self._family}: {type(at).__name__} has no attribute {part!r}; {hint}")
            owner, at = at, getattr(at, part)
        if isinstance(at, bool) or not isinstance(at, int | float | np.number):
            raise ConfigError(
                f"task family {self._family}: attribute {path!r} is a {type(at).__name__}; only a number can vary."
            )
        setattr(owner, name, value)

    def take(self, tasks: Sequence[Task]) -> list[Environment]:
        """An environment for each task, in it, not reset yet."""
        out = []
        for row, task in enumerate(tasks):
            varied = {name: task.parameters[name] for name in self._varied}
            if row == len(self._pool):
                self._pool.append((varied, self._make(varied)))
            elif self._pool[row][0] != varied:
                self._pool[row][1].close()
                self._pool[row] = varied, self._make(varied)
            env = self._pool[row][1]
            for path in self._attributes:
                self._set(env, path, task.parameters[path])
            out.append(env)
        return out

    def picture(self, row: int) -> Any:
        """What the environment of a row shows. Raises ConfigError where its renderer is not installed."""
        try:
            return self._pool[row][1].render()
        except gymnasium.error.DependencyNotInstalled as error:
            message = " ".join(str(error).split())
            raise ConfigError(f"task family {self._family}: its pictures need more: {message}") from error

    def close(self) -> None:
        for _, env in self._pool:
            env.close()
        self._pool.clear()


class BridgedEpisodes:
    """Episodes in environments, side by side; sim.rollout.Episodes describes methods and attributes."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    @property
    def length(self) -> int:
        return self._bridge.steps

    @property
    def rate_hz(self) -> float:
        return self._bridge.rate_hz

    def begin(self, tasks: Sequence[Task], episode_seeds: U32) -> F32:
        count = len(tasks)
        self.reward: F32 = np.zeros(count, dtype=np.float32)
        self._sum = np.zeros(count)
        self.steps: I32 = np.zeros(count, dtype=np.int32)
        self.valid: Bool = np.ones(count, dtype=bool)
        self.running: Bool = np.ones(count, dtype=bool)
        self.aborted: Bool = np.zeros(count, dtype=bool)
        self._envs = self._bridge.take(tasks)
        self._tasks, self._seeds = tasks, episode_seeds
        self._seen: F32 = np.empty((self._bridge.inputs, count), dtype=np.float32)
        for row, (env, task, seed) in enumerate(zip(self._envs, tasks, episode_seeds.tolist(), strict=True)):
            own = int(task.parameters[ENVIRONMENT_SEED])
            try:
                observation, _ = env.reset(seed=own if self._bridge.one_start else directions.fold(own, seed))
                self._show(row, observation)
            except EsmamlError:
                raise
            except Exception as error:
                raise self._failed(error, row) from error
        return self._seen.copy()

    @property
    def total(self) -> F32:
        """Sum of rewards so far, float32 (B,); summed in float64."""
        return self._sum.astype(np.float32)

    def advance(self, actions: F32) -> F32:
        self.reward = np.zeros(len(self._envs), dtype=np.float32)
        broken = self.running & ~np.isfinite(actions).all(axis=0)
        self.valid &= ~broken
        self.running &= ~broken
        row = 0
        try:
            for row in np.flatnonzero(self.running).tolist():
                given = self._bridge.action(actions[:, row])
                observation, reward, terminated, truncated, _ = self._envs[row].step(given)
                self.steps[row] += 1
                self.aborted[row] = terminated
                self.running[row] = not (terminated or truncated)
                self._show(row, observation)
                if not math.isfinite(reward):
                    raise self._broken(row, f"the reward is {reward}")
                self.reward[row] = reward
                self._sum[row] += float(reward)
        except EsmamlError:
            raise
        except Exception as error:
            raise self._failed(error, row) from error
        return self._seen.copy()

    def _show(self, row: int, observation: Any) -> None:
        """What the policy of a row sees next. Raises SimulationError where it is not finite and the episode goes on."""
        seen = self._bridge.observe(observation)
        finite = np.isfinite(seen)
        if finite.all():
            self._seen[:, row] = seen
        elif self.running[row]:
            number = int(np.flatnonzero(~finite)[0])
            raise self._broken(row, f"number {number} of the observation is {seen[number]}")

    def _failed(self, error: Exception, row: int) -> SimulationError:
        """What an environment raised, as one line that says in which task."""
        task, step, seed = self._tasks[row], int(self.steps[row]), int(self._seeds[row])
        where = f"after step {step} of an episode with seed {seed} in task {task.parameters}"
        return episode_failure(error, task.family, where)

    def _broken(self, row: int, what: str) -> SimulationError:
        task = self._tasks[row]
        return SimulationError(
            f"task family {task.family}: {what} after step {int(self.steps[row])} of an episode with seed "
            f"{int(self._seeds[row])} in task {task.parameters}; mend the environment, or vary it less."
        )


class BridgePainter:
    """The environments' own pictures, scaled into the size asked for. To be made before the first episode."""

    def __init__(self, bridge: Bridge, size: tuple[int, int]) -> None:
        self._bridge, self._size = bridge, size
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame would look for a display that nobody needs
        bridge.close()
        bridge.render_mode = "rgb_array"

    def begin(self) -> None:
        pass

    def picture(self, row: int) -> U8:
        raw = np.asarray(self._bridge.picture(row), dtype=np.uint8)
        image = Image.fromarray(raw)
        image.thumbnail(self._size, Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", self._size, (255, 255, 255))
        canvas.paste(image, ((self._size[0] - image.width) // 2, (self._size[1] - image.height) // 2))
        return np.asarray(canvas, dtype=np.uint8)

    def close(self) -> None:
        pass
