"""The seam between the method and the world: "run episodes with these parameters, tell me the returns".

Operators and the meta-loop know nothing else. In simulation the B rows of a call run side by side; on a robot they
run one after the other. An invalid episode (link lost, robot picked up, fault) is not a number: it is repeated with
the same candidate and the same seed, and never scored as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from .errors import SimulationError
from .moments import Moments
from .policy import Normaliser, PolicySpec
from .robot_spec import RobotSpec

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

#: `outside` holds tasks beyond the training range, for families that declare one.
Split = Literal["train", "validation", "test", "outside"]


@dataclass(frozen=True)
class EpisodeBatch:
    """Outcome of B episodes.

    Attributes:
        returns: float32 (B,), undiscounted sum of rewards; NaN where invalid.
        steps: int32 (B,), control periods run.
        valid: bool (B,), False where the episode must be repeated.
        observed: moments of what the policy saw in each episode, before normalisation; None where not asked for.
    """

    returns: F32
    steps: npt.NDArray[np.int32]
    valid: npt.NDArray[np.bool_]
    observed: Sequence[Moments] | None = None

    def __len__(self) -> int:
        return len(self.returns)


def require_finite(batch: EpisodeBatch, tasks: Sequence[Task], episode_seeds: U32) -> EpisodeBatch:
    """The batch itself. Raises SimulationError where an episode is called valid and its return is not finite."""
    bad = batch.valid & ~np.isfinite(batch.returns)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SimulationError(
            f"task family {tasks[row].family}: the return is {batch.returns[row]} after step {batch.steps[row]} of "
            f"an episode with seed {episode_seeds[row]} in task {tasks[row].parameters}, and the episode is called "
            "valid; look at the family's rewards."
        )
    return batch


class Evaluator(Protocol):
    """f^T: one task T, any number of parameter vectors."""

    def evaluate(self, params: F32, episode_seeds: U32) -> EpisodeBatch:
        """Run one episode per row of params (B, d) with the seeds (B,)."""
        ...


@dataclass(frozen=True)
class Task:
    """One task T of a family, as plain data: what varies and is hidden from the policy."""

    family: str
    parameters: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"family": self.family, "parameters": dict(self.parameters)}


@runtime_checkable
class TaskFamily(Protocol):
    """A distribution of tasks on one robot, and the way to run episodes in them.

    Attributes:
        name: how `esmaml train` finds it.
        spec: the robot; None for a family without one (a supervised problem, a foreign environment).
        interface_hash: the robot's spec_hash, or a hash of the family's own inputs and outputs.
        inputs, outputs: what the policy sees and gives.
        preset: training settings that suit the family, as `RunConfig` takes them.
        options: what a run may set, with the values set; a run stores them all.
    """

    name: str
    spec: RobotSpec | None
    preset: Mapping[str, Any]
    options: BaseModel

    @property
    def interface_hash(self) -> str: ...

    @property
    def inputs(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    def sample(self, split: Split, seed: int) -> Task:
        """The task that `seed` stands for in a split.

        Splits share no task, but where a family has only a handful, which come in turn in every split.
        """
        ...

    def evaluate(
        self,
        policy: PolicySpec,
        normaliser: Normaliser,
        params: F32,
        tasks: Sequence[Task],
        episode_seeds: U32,
        observe: bool = False,
    ) -> EpisodeBatch:
        """Run one episode per row: params (B, d), tasks (B), seeds (B,). A row's result depends on that row only.

        With `observe`, the batch carries the moments of what each row's policy saw.
        """
        ...


class TaskEvaluator:
    """An Evaluator out of a family and one of its tasks."""

    def __init__(self, family: TaskFamily, policy: PolicySpec, normaliser: Normaliser, task: Task) -> None:
        self._family, self._policy, self._normaliser, self._task = family, policy, normaliser, task

    def evaluate(self, params: F32, episode_seeds: U32) -> EpisodeBatch:
        tasks = [self._task] * len(params)
        return self._family.evaluate(self._policy, self._normaliser, params, tasks, episode_seeds)


class FunctionEvaluator:
    """An Evaluator out of a plain function params (d,) -> return; for closed-form objectives."""

    def __init__(self, function: Callable[[F32], float]) -> None:
        self._function = function

    def evaluate(self, params: F32, episode_seeds: U32) -> EpisodeBatch:
        returns = np.array([self._function(row) for row in params], dtype=np.float32)
        return EpisodeBatch(returns, np.ones(len(params), np.int32), np.isfinite(returns))
