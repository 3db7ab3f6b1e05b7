"""Scores on held-out tasks: before and after adaptation, beside the controls that a gain must be measured against.

A gain counts only beside domain randomisation (plain ES over the same tasks, the same total number of episodes, then
the same operator) and the untrained start (theta = 0 and the run's own initial parameters, each at its best inner
sigma). Inner sigmas of controls are chosen on validation tasks; test tasks are used for the final figures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import directions
from .adaptation import OperatorConfig
from .adaptation.base import Adapted
from .adaptation.side_by_side import Item, adapt_many
from .adaptation.student import t975
from .errors import EsmamlError
from .evaluation import EpisodeBatch, Split, Task, TaskFamily, require_finite
from .policy import Policy

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

_OPERATOR_STREAM, _SCORE_STREAM = 0x53434F50, 0x53435352


@dataclass(frozen=True)
class Estimate:
    """Mean with the half width of its 95 % confidence interval (Student's t over independent values)."""

    mean: float
    half_width: float
    count: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def __str__(self) -> str:
        digits = 1 if abs(self.mean) >= 10 else 3
        return f"{self.mean:.{digits}f} ± {self.half_width:.{digits}f}"

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "half_width_95": self.half_width, "count": self.count}


def estimate(values: npt.ArrayLike) -> Estimate:
    """Mean and 95 % interval of independent values."""
    v = np.asarray(values, dtype=np.float64)
    if v.size < 2:
        return Estimate(float(v.mean()), float("nan"), v.size)
    return Estimate(float(v.mean()), float(t975(v.size - 1) * v.std(ddof=1) / np.sqrt(v.size)), v.size)


@dataclass(frozen=True)
class Score:
    """Returns per held-out task before (B,) and after (B,) adaptation.

    ended_early: share of the final episodes that an abort ended: falls, for a robot that walks.
    """

    before: F32
    after: F32
    ended_early: float

    def summary(self) -> tuple[Estimate, Estimate]:
        return estimate(self.before), estimate(self.after)


def score_seed(seed: int, task: int) -> int:
    """`score_seeds` of a task number, below 2^32, by itself."""
    return directions.fold(seed, _SCORE_STREAM, task)


def operator_seed(seed: int, task: int) -> int:
    """`operator_seeds` of a task number, below 2^32, by itself."""
    return directions.fold(seed, _OPERATOR_STREAM, task)


def score_seeds(seed: int, tasks: int) -> U32:
    """Seeds of the episodes that score tasks 0 .. tasks - 1, the same before and after adaptation and for everybody."""
    return directions.fold_many(directions.fold(seed, _SCORE_STREAM), np.arange(tasks))


def operator_seeds(seed: int, tasks: int) -> U32:
    """Seeds of the operators that adapt to tasks 0 .. tasks - 1."""
    return directions.fold_many(directions.fold(seed, _OPERATOR_STREAM), np.arange(tasks))


def score(family: TaskFamily, policy: Policy, operator: OperatorConfig, split: Split, tasks: int, seed: int) -> Score:
    """Adapt `policy` to tasks 0 .. tasks - 1 of a split and run the result once more in each.

    Raises:
        EsmamlError: an episode was invalid, or its return is not finite; the message names the task.
    """
    sampled = [family.sample(split, i) for i in range(tasks)]

    def evaluate(rows: F32, row_tasks: Sequence[Task], seeds: U32) -> EpisodeBatch:
        batch = family.evaluate(policy.spec, policy.normaliser, rows, row_tasks, seeds)
        return require_finite(batch, row_tasks, seeds)

    seeds = score_seeds(seed, tasks)
    items = [Item(policy.theta, t, int(s)) for t, s in zip(sampled, operator_seeds(seed, tasks), strict=True)]
    before = evaluate(np.repeat(policy.theta[None, :], tasks, axis=0), sampled, seeds)
    adapted = adapt_many(operator.build(), evaluate, items)
    whole = [a for a in adapted if isinstance(a, Adapted)]
    if len(whole) < tasks:
        index = next(i for i, a in enumerate(adapted) if a is None)
        raise EsmamlError(f"task {index} of split {split} ({sampled[index].parameters}) gave an invalid episode.")
    after = evaluate(np.stack([a.params for a in whole]), sampled, seeds)
    full = family.spec.episode.steps if family.spec else int(after.steps.max())
    return Score(before.returns, after.returns, float((after.steps < full).mean()))


def best_sigma(
    family: TaskFamily,
    policy: Policy,
    operator: OperatorConfig,
    grid: Sequence[float],
    tasks: int,
    seed: int,
) -> tuple[float, Estimate]:
    """The inner sigma of `grid` with the best mean on validation tasks, and that mean."""
    results = []
    for sigma in grid:
        changed = operator.model_copy(update={"sigma": sigma})
        results.append(estimate(score(family, policy, changed, "validation", tasks, seed).after))
    index = int(np.argmax([r.mean for r in results]))
    return grid[index], results[index]
