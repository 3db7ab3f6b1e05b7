"""Running work items of a training run: any chunk of any iteration, on any worker, with the same bits.

Rows of a batch do not influence one another, and moments of observations are kept item by item, so that how items are
split over workers leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from . import directions, first_order, meta
from .adaptation.base import Adapted
from .adaptation.es_gradient import ESGradient
from .adaptation.side_by_side import Item, adapt_many
from .checkpoint import RunConfig
from .evaluation import EpisodeBatch, Task, TaskFamily, require_finite
from .moments import Moments
from .policy import Normaliser

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

_VALIDATION = 0x56414C49


class FamilyFactory(Protocol):
    """Makes a task family from its name and options; a top-level function, so that a new process can import it."""

    def __call__(self, name: str, options: Mapping[str, Any], /) -> TaskFamily: ...


@dataclass(frozen=True)
class Work:
    """All items of an iteration, or all validation tasks, at these parameters.

    kind: train, the iteration's items; validate, adaptation to the run's validation tasks.
    """

    kind: Literal["train", "validate"]
    params: F32
    iteration: int
    normaliser: Normaliser


@dataclass(frozen=True)
class Outcome:
    """What items yield.

    Attributes:
        values: float32, returns (items,) or gradients (items, d); NaN where one failed.
        episodes: episodes that were run, those of failed items too.
        observed: moments of what the policies saw, one an item; empty for a validation.
    """

    values: F32
    episodes: int
    observed: Sequence[Moments]


class ItemRunner:
    """Runs any items of one training run."""

    def __init__(self, config: RunConfig, factory: FamilyFactory) -> None:
        self._config = config
        self.family = factory(config.family, config.options)
        self._operator = config.operator.build()
        self._adaptation = config.adaptation.build()

    def close(self) -> None:
        """Free what the family holds, if it holds anything: a simulated world takes tens of megabytes."""
        close = getattr(self.family, "close", None)
        if close is not None:
            close()

    def run(self, work: Work, first: int, last: int) -> Outcome:
        """Items first .. last - 1."""
        self._work, self._ran = work, 0
        self._seen = [Moments.empty(self._config.policy.inputs) for _ in range(last - first)]
        if work.kind == "validate":
            return self._validate(range(first, last))
        if self._config.meta.method == "zero_order":
            return self._zero_order(first, last)
        return self._first_order(first, last)

    def _evaluate(self, rows: F32, tasks: Sequence[Task], seeds: U32) -> EpisodeBatch:
        config, work = self._config, self._work
        observe = config.normalise and work.kind == "train"
        self._ran += len(rows)
        batch = self.family.evaluate(config.policy, work.normaliser, rows, tasks, seeds, observe=observe)
        return require_finite(batch, tasks, seeds)

    def _note(self, item: int, moments: Moments) -> None:
        self._seen[item] = self._seen[item].merge(moments)

    def _scores(self, rows: F32, tasks: Sequence[Task], seeds: Sequence[int], items: Sequence[int]) -> F32:
        """Mean return of `score_episodes` episodes for each row, NaN where one was invalid."""
        count = self._config.meta.score_episodes
        own = np.array(seeds, dtype=np.uint32)
        if count > 1:
            own = np.concatenate([directions.fold_many(int(s), np.arange(count)) for s in own])
        batch = self._evaluate(np.repeat(rows, count, axis=0), [t for t in tasks for _ in range(count)], own)
        for moments, item in zip(batch.observed or (), np.repeat(items, count).tolist(), strict=False):
            self._note(item, moments)
        returns = np.where(batch.valid, batch.returns, np.nan).astype(np.float64).reshape(-1, count)
        scores: F32 = returns.mean(axis=1).astype(np.float32)
        return scores

    def _scores_after(self, adapted: Sequence[Adapted | None], tasks: Sequence[Task], seeds: Sequence[int]) -> F32:
        """`_scores` of adapted parameters, one an item; NaN where the adaptation failed."""
        values = np.full(len(adapted), np.nan, dtype=np.float32)
        good = [i for i, a in enumerate(adapted) if a is not None]
        if good:
            rows = np.stack([a.params for a in adapted if a is not None])
            values[good] = self._scores(rows, [tasks[i] for i in good], [seeds[i] for i in good], good)
        return values

    def _zero_order(self, first: int, last: int) -> Outcome:
        config, work = self._config, self._work
        items = meta.work_items(config.meta, config.seed, work.iteration)[first:last]
        starts = meta.perturbed(config.meta, work.params, items, config.progress(work.iteration))
        tasks = [self.family.sample("train", item.task_index) for item in items]
        adaptations = [Item(s, t, i.operator_seed) for s, t, i in zip(starts, tasks, items, strict=True)]
        adapted = adapt_many(self._operator, self._evaluate, adaptations, self._note)
        values = self._scores_after(adapted, tasks, [i.score_seed for i in items])
        return Outcome(values, self._ran, self._seen)

    def _first_order(self, first: int, last: int) -> Outcome:
        config, work = self._config, self._work
        items = first_order.task_items(config.meta, config.seed, work.iteration)[first:last]
        tasks = [self.family.sample("train", item.task_index) for item in items]
        adaptations = [Item(work.params, t, i.operator_seed) for t, i in zip(tasks, items, strict=True)]
        adapted = adapt_many(self._operator, self._evaluate, adaptations, self._note)
        sigma = config.meta.sigma_at(config.progress(work.iteration))
        gradients = np.full((len(items), len(work.params)), np.nan, dtype=np.float32)
        for number, (item, task, result) in enumerate(zip(items, tasks, adapted, strict=True)):
            if result is None:
                continue
            rows = first_order.pair_rows(config.meta, item, len(work.params))
            points = first_order.pair_params(result.params, rows, sigma)
            # both halves of a pair with the same seed: common random numbers
            seeds = np.tile(directions.fold_many(item.score_seed, np.arange(len(rows))), 2).tolist()
            values = self._scores(points, [task] * len(points), seeds, [number] * len(points))
            slope = first_order.gradient(rows, values, sigma)
            if config.meta.method == "first_order_hessian":
                assert isinstance(self._operator, ESGradient)  # RunConfig has checked
                curved = first_order.hessian_product(
                    self._operator, work.params, item.operator_seed, result.history, slope
                )
                slope = slope + self._operator.alpha * curved
            gradients[number] = slope
        return Outcome(gradients, self._ran, self._seen)

    def _validate(self, numbers: range) -> Outcome:
        config, work = self._config, self._work
        tasks = [self.family.sample("validation", n) for n in numbers]
        root = directions.fold(config.seed, _VALIDATION)
        operator_seeds = directions.fold_many(directions.fold(root, 1), numbers).tolist()
        score_seeds = directions.fold_many(directions.fold(root, 2), numbers).tolist()
        starts = [Item(work.params, t, s) for t, s in zip(tasks, operator_seeds, strict=True)]
        adapted = adapt_many(self._adaptation, self._evaluate, starts)
        return Outcome(self._scores_after(adapted, tasks, score_seeds), self._ran, [])
