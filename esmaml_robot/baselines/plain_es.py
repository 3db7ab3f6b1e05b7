"""Learning one task from scratch: plain evolution strategies on a single task's return, and how long that takes.

The learner is ES-MAML's own outer loop (meta.py: antithetic pairs, fitness over its standard deviation, Adam) on one
task, without an operator, so nothing but the missing meta-training sets it apart. Salimans et al., "Evolution
strategies as a scalable alternative to reinforcement learning" (2017).

Its episodes are counted as an operator's are: every episode that informs the parameters. The episode that scores them
is not among them, as it is not for anybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from .. import directions, meta
from ..errors import EsmamlError
from ..evaluation import EpisodeBatch, Split, TaskFamily
from ..meta import MetaConfig
from ..policy import Policy
from ..scoring import Estimate, estimate, score_seeds

F32 = npt.NDArray[np.float32]

_LEARNING = 0x53435241

#: Pairs an iteration: few, so that as few as ten episodes already make a step.
PAIRS = 5
#: Steps to choose from, in parameters: sigma and learning rate.
SIGMAS, RATES = (0.05, 0.15, 0.5), (0.02, 0.1, 0.4)


def plain_es(sigma: float, learning_rate: float, pairs: int = PAIRS) -> MetaConfig:
    """The settings of a learner from scratch."""
    return MetaConfig(pairs=pairs, sigma=sigma, learning_rate=learning_rate, averaging=1)


GRID: tuple[MetaConfig, ...] = tuple(plain_es(s, r) for s, r in product(SIGMAS, RATES))


def learning_curve(
    family: TaskFamily,
    policy: Policy,
    config: MetaConfig,
    marks: Sequence[int],
    split: Split,
    tasks: int,
    seed: int,
) -> list[EpisodeBatch]:
    """An episode on each task of what `policy` has become there after so many episodes, for each of `marks`.

    Args:
        policy: where learning starts, on every task.
        marks: numbers of episodes, ascending, 0 for the start. No iteration goes beyond the mark before it is scored.
        tasks: tasks 0 .. tasks - 1 of the split, each learnt by itself, side by side.

    Raises:
        EsmamlError: an episode was invalid.
    """
    sampled = [family.sample(split, i) for i in range(tasks)]
    run_seeds = directions.fold_many(directions.fold(seed, _LEARNING), np.arange(tasks)).tolist()
    final = score_seeds(seed, tasks)
    states = [meta.start(policy.theta)] * tasks
    iteration = 0
    outcomes = []
    for mark in marks:
        while (iteration + 1) * config.items <= mark:
            items = [meta.work_items(config, s, iteration) for s in run_seeds]
            points = [meta.perturbed(config, s.params, own) for s, own in zip(states, items, strict=True)]
            seeds = np.array([i.score_seed for own in items for i in own], dtype=np.uint32)
            repeated = [t for t in sampled for _ in range(config.items)]
            batch = family.evaluate(policy.spec, policy.normaliser, np.concatenate(points), repeated, seeds)
            values = np.where(batch.valid, batch.returns, np.nan).reshape(tasks, config.items)
            states = [
                meta.tell(config, state, own, value, config.items)
                for state, own, value in zip(states, items, values, strict=True)
            ]
            iteration += 1
        learnt = np.stack([s.params for s in states])
        outcome = family.evaluate(policy.spec, policy.normaliser, learnt, sampled, final)
        if not outcome.valid.all():
            index = int(np.argmin(outcome.valid))
            raise EsmamlError(f"task {index} of split {split} ({sampled[index].parameters}) gave an invalid episode.")
        outcomes.append(outcome)
    return outcomes


@dataclass(frozen=True)
class Point:
    """A place on the curve: the return after so many episodes, at the settings that suit that number best.

    ended_early: share of the episodes that an abort ended.
    """

    episodes: int
    sigma: float
    learning_rate: float
    result: Estimate
    ended_early: float

    def to_json(self) -> dict[str, object]:
        return {
            "episodes": self.episodes,
            "sigma": self.sigma,
            "learning_rate": self.learning_rate,
            **self.result.to_json(),
            "ended_early": self.ended_early,
        }


def best_curve(
    family: TaskFamily,
    policy: Policy,
    marks: Sequence[int],
    *,
    split: Split,
    tasks: int,
    choosing: int,
    seed: int,
    grid: Sequence[MetaConfig] = GRID,
) -> list[Point]:
    """The learning curve, at each mark with the settings of `grid` that did best there on validation tasks.

    Args:
        choosing: validation tasks.
        tasks: tasks of the split that the returned figures are of.
    """
    means = np.array(
        [
            [b.returns.mean() for b in learning_curve(family, policy, c, marks, "validation", choosing, seed + 1)]
            for c in grid
        ]
    )
    best = [grid[int(i)] for i in means.argmax(axis=0)]
    curves = {c: learning_curve(family, policy, c, marks, split, tasks, seed) for c in set(best)}
    points = []
    for i, (mark, config) in enumerate(zip(marks, best, strict=True)):
        batch = curves[config][i]
        full = family.spec.episode.steps if family.spec else int(batch.steps.max())
        ended = float((batch.steps < full).mean())
        points.append(Point(mark, config.sigma, config.learning_rate, estimate(batch.returns), ended))
    return points


def episodes_to_reach(points: Sequence[Point], target: float) -> int | None:
    """The first number of episodes whose mean return is `target` or more; None where none is."""
    return next((p.episodes for p in points if p.result.mean >= target), None)
