"""Scores of policy-gradient MAML on held-out tasks, before and after adaptation, as lines of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .. import directions
from ..comparison import Row
from ..evaluation import Split, Task, TaskFamily
from ..policy import Normaliser
from ..scoring import estimate, score_seeds
from .pg_maml import Learner, chunks, one_thread
from .pg_run import PGConfig, PGRun
from .rollouts import collect

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_ADAPTATION = 0x50474144
#: Inner learning rates to choose from.
RATE_GRID = (0.03, 0.1, 0.3, 1.0, 3.0)

PG_MAML, AT_THE_MEAN = "PG-MAML", "PG-MAML, mean action"


@dataclass(frozen=True)
class Acted:
    """One episode in each task: returns (tasks,), and which of them an abort ended."""

    returns: F32
    ended_early: Bool


@dataclass(frozen=True)
class PGScore:
    """Before and after adaptation; `sampled` acts with noise, as it was trained, `mean` without."""

    before_sampled: Acted
    after_sampled: Acted
    before_mean: Acted
    after_mean: Acted


def with_budget(config: PGConfig, episodes: int) -> PGConfig:
    """The settings with an adaptation of at most so many episodes, shared among the inner steps."""
    return config.model_copy(update={"rollouts": max(2, episodes // config.inner_steps)})


def adapted_params(run: PGRun, family: TaskFamily, tasks: Sequence[Task], seed: int) -> F64:
    """Parameters adapted to each task, (tasks, d + outputs)."""
    learner, start = Learner(run.config, family), torch.tensor(run.params)
    root, parts = directions.fold(seed, _ADAPTATION), []
    with one_thread():
        for numbers in chunks(len(tasks)):
            some = tasks[numbers.start : numbers.stop]
            parts.append(learner.adapt(start, some, numbers, root)[0].detach().numpy())
    return np.concatenate(parts)


def act(run: PGRun, family: TaskFamily, params: F64, tasks: Sequence[Task], seed: int) -> tuple[Acted, Acted]:
    """One episode of each policy, params (tasks, d + outputs), in its task: with noise, and at the mean."""
    config, seeds = run.config, score_seeds(seed, len(tasks))
    with one_thread():
        learner = Learner(config, family)
        noisy = collect(family, learner.policy, torch.from_numpy(params), tasks, seeds[:, None])
    theta = params[:, : config.policy.dimension].astype(np.float32)
    batch = family.evaluate(config.policy, Normaliser.identity(config.policy.inputs), theta, tasks, seeds)
    full = family.spec.episode.steps if family.spec else int(batch.steps.max())
    return Acted(noisy.returns[:, 0], noisy.ended_early[:, 0]), Acted(batch.returns, batch.steps < full)


def score(run: PGRun, family: TaskFamily, split: Split, tasks: int, seed: int) -> PGScore:
    """Adapt to tasks 0 .. tasks - 1 of a split and run the result once more in each."""
    sampled = [family.sample(split, i) for i in range(tasks)]
    before = act(run, family, np.repeat(run.params[None, :], tasks, axis=0), sampled, seed)
    after = act(run, family, adapted_params(run, family, sampled, seed), sampled, seed)
    return PGScore(before[0], after[0], before[1], after[1])


def best_rate(run: PGRun, family: TaskFamily, tasks: int, seed: int, grid: Sequence[float] = RATE_GRID) -> float:
    """The inner learning rate with the best mean return after adaptation to validation tasks."""
    means = []
    for rate in grid:
        changed = PGRun(run.config.model_copy(update={"inner_rate": rate}), run.state)
        result = score(changed, family, "validation", tasks, seed)
        means.append(max(float(a.returns.mean()) for a in (result.after_sampled, result.after_mean)))
    return grid[int(np.argmax(means))]


def pg_rows(
    run: PGRun, family: TaskFamily, *, episodes: int, split: Split, tasks: int, choosing: int, seed: int
) -> list[Row]:
    """Lines of a comparison: with noise and at the mean action, at the rate of training and (*) at the best one.

    Args:
        episodes: of an adaptation, as the other lines of the comparison have them.
        choosing: validation tasks on which the best inner learning rate is chosen.
    """
    run = PGRun(with_budget(run.config, episodes), run.state)
    rate = best_rate(run, family, choosing, seed + 1)
    rows = []
    for mark, chosen in (("", run.config.inner_rate), (" *", rate)):
        changed = PGRun(run.config.model_copy(update={"inner_rate": chosen}), run.state)
        s = score(changed, family, split, tasks, seed)
        for label, before, after in (
            (PG_MAML, s.before_sampled, s.after_sampled),
            (AT_THE_MEAN, s.before_mean, s.after_mean),
        ):
            ended = float(after.ended_early.mean())
            summary = estimate(before.returns), estimate(after.returns)
            rows.append(Row(label + mark, chosen, run.state.episodes, *summary, ended))
    return rows
