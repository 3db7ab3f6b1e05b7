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
from .errors import EsmamlError
from .evaluation import EpisodeBatch, Split, Task, TaskFamily
from .policy import Policy

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

_OPERATOR_STREAM, _SCORE_STREAM = 0x53434F50, 0x53435352

#: two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 + 2.4 / df is close beyond
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


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
        return f"{self.mean:.1f} ± {self.half_width:.1f}"

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "half_width_95": self.half_width, "count": self.count}


def estimate(values: npt.ArrayLike) -> Estimate:
    """Mean and 95 % interval of independent values."""
    v = np.asarray(values, dtype=np.float64)
    if v.size < 2:
        return Estimate(float(v.mean()), float("nan"), v.size)
    df = v.size - 1
    t = _T95[df - 1] if df <= len(_T95) else 1.96 + 2.4 / df
    return Estimate(float(v.mean()), float(t * v.std(ddof=1) / np.sqrt(v.size)), v.size)


@dataclass(frozen=True)
class Score:
    """Returns per held-out task before (B,) and after (B,) adaptation."""

    before: F32
    after: F32

    def summary(self) -> tuple[Estimate, Estimate]:
        return estimate(self.before), estimate(self.after)


def score(family: TaskFamily, policy: Policy, operator: OperatorConfig, split: Split, tasks: int, seed: int) -> Score:
    """Adapt `policy` to tasks 0 .. tasks - 1 of a split and run the result once more in each.

    Raises:
        EsmamlError: an episode was invalid; the message names the task.
    """
    sampled = [family.sample(split, i) for i in range(tasks)]

    def evaluate(rows: F32, row_tasks: Sequence[Task], seeds: U32) -> EpisodeBatch:
        return family.evaluate(policy.spec, policy.normaliser, rows, row_tasks, seeds)

    seeds = directions.fold_many(directions.fold(seed, _SCORE_STREAM), np.arange(tasks))
    operator_seeds = directions.fold_many(directions.fold(seed, _OPERATOR_STREAM), np.arange(tasks))
    items = [Item(policy.theta, t, int(s)) for t, s in zip(sampled, operator_seeds, strict=True)]
    before = evaluate(np.repeat(policy.theta[None, :], tasks, axis=0), sampled, seeds)
    adapted = adapt_many(operator.build(), evaluate, items)
    whole = [a for a in adapted if isinstance(a, Adapted)]
    if len(whole) < tasks:
        index = next(i for i, a in enumerate(adapted) if a is None)
        raise EsmamlError(f"task {index} of split {split} ({sampled[index].parameters}) gave an invalid episode.")
    after = evaluate(np.stack([a.params for a in whole]), sampled, seeds)
    return Score(before.returns, after.returns)


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
