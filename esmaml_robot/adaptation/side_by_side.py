"""Many adaptations at once: every operator asks, all candidates run in one batch, every operator is told.

In simulation this fills the batch although a hill climber asks for one episode at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..evaluation import EpisodeBatch, Task
from ..moments import Moments
from .base import Adapted, Operator, materialise

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

#: params (B, d), tasks (B), episode seeds (B) -> outcomes
EvaluateMany = Callable[[F32, Sequence[Task], U32], EpisodeBatch]


@dataclass(frozen=True)
class Item:
    """One adaptation to run: start parameters (d,), task, and the operator's seed."""

    theta: F32
    task: Task
    seed: int


def adapt_many(
    operator: Operator,
    evaluate: EvaluateMany,
    items: Sequence[Item],
    observed: Callable[[int, Moments], None] | None = None,
) -> list[Adapted | None]:
    """U(theta, T) for each item; None where an episode of it was invalid (simulations repeat exactly: no retry).

    `observed` is called with an item's number and the moments of each of its episodes, in order, if batches have them.
    """
    states = [operator.start(item.theta, item.seed) for item in items]
    failed = [False] * len(items)
    while True:
        open_items = [i for i, s in enumerate(states) if not failed[i] and not operator.done(s)]
        if not open_items:
            break
        asked = [operator.ask(states[i]) for i in open_items]
        tasks = [items[i].task for i, a in zip(open_items, asked, strict=True) for _ in range(len(a))]
        batch = evaluate(materialise(asked), tasks, np.concatenate([a.episode_seeds for a in asked]))
        at, all_valid = 0, bool(batch.valid.all())
        for i, a in zip(open_items, asked, strict=True):
            rows = slice(at, at + len(a))
            at += len(a)
            if observed is not None and batch.observed is not None:
                for moments in batch.observed[rows]:
                    observed(i, moments)
            if all_valid or batch.valid[rows].all():
                states[i] = operator.tell(states[i], batch.returns[rows])
            else:
                failed[i] = True
    return [None if bad else operator.result(s) for bad, s in zip(failed, states, strict=True)]
